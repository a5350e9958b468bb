//! What the helper does: host name, parameters, files, services.

use std::time::Duration;

use super::{HELPER_PATIENCE, LinuxHost, Services};
use crate::effect::{FoundFile, Reply, ServiceVerb, UnitState};
use crate::host::HostError;
use crate::host::children::helper::{HelperOp, HelperReply};
use crate::host::services::files;

impl LinuxHost {
    pub(super) async fn helped(
        &self,
        op: HelperOp,
        limit: Duration,
    ) -> Result<HelperReply, HostError> {
        self.await_helper(limit).await;
        let helper = self.helper().ok_or_else(|| {
            HostError::errno(
                "this needs the helper process, and none is running",
                libc::EPIPE,
            )
        })?;
        helper.call(op, limit).await
    }

    /// One that died is being started again: not every hook that comes in between has to fail.
    async fn await_helper(&self, limit: Duration) {
        let died = || self.helper().is_some_and(|helper| !helper.is_alive());
        let again = async {
            loop {
                let told = self.helped_again.notified();
                if !died() {
                    return;
                }
                told.await;
            }
        };
        // If it takes longer, the call itself says what is wrong.
        _ = tokio::time::timeout(limit.min(HELPER_PATIENCE), again).await;
    }

    pub(super) async fn changed(&self, op: HelperOp, limit: Duration) -> Result<Reply, HostError> {
        let reply = self.helped(op, limit).await?;
        if let HelperReply::Outcome(outcome) = reply {
            Ok(Reply::Outcome(outcome))
        } else {
            Err(unexpected(&reply))
        }
    }

    pub(super) async fn service(
        &self,
        unit: &str,
        verb: ServiceVerb,
        limit: Duration,
    ) -> Result<Reply, HostError> {
        match &self.services {
            Services::Systemd(systemd) => {
                Ok(Reply::Outcome(systemd.perform(unit, verb, limit).await?))
            }
            Services::Helped(backend) => {
                self.changed(
                    HelperOp::Service {
                        backend: *backend,
                        unit: unit.to_owned(),
                        verb,
                    },
                    limit,
                )
                .await
            }
            Services::None => Err(no_services()),
        }
    }

    pub(super) async fn service_status(
        &self,
        unit: &str,
        limit: Duration,
    ) -> Result<UnitState, HostError> {
        match &self.services {
            Services::Systemd(systemd) => systemd.status(unit, limit).await,
            Services::Helped(backend) => {
                let reply = self
                    .helped(
                        HelperOp::ServiceStatus {
                            backend: *backend,
                            unit: unit.to_owned(),
                        },
                        limit,
                    )
                    .await?;
                if let HelperReply::Unit(state) = reply {
                    Ok(state)
                } else {
                    Err(unexpected(&reply))
                }
            }
            Services::None => Err(no_services()),
        }
    }

    pub(super) async fn parameter(&self, key: &str, limit: Duration) -> Result<String, HostError> {
        match files::read_parameter(key) {
            Err(HostError {
                errno: Some(libc::EACCES | libc::EPERM),
                ..
            }) => {}
            other => return other,
        }
        let reply = self
            .helped(
                HelperOp::ReadParameter {
                    key: key.to_owned(),
                },
                limit,
            )
            .await?;
        if let HelperReply::Text(text) = reply {
            Ok(text)
        } else {
            Err(unexpected(&reply))
        }
    }

    pub(super) async fn file(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<Option<Vec<u8>>, HostError> {
        let reply = self
            .helped(
                HelperOp::ReadFile {
                    path: path.to_owned(),
                },
                limit,
            )
            .await?;
        if let HelperReply::File(content) = reply {
            Ok(content)
        } else {
            Err(unexpected(&reply))
        }
    }

    pub(super) async fn found_file(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<Option<FoundFile>, HostError> {
        let reply = self
            .helped(
                HelperOp::FindFile {
                    path: path.to_owned(),
                },
                limit,
            )
            .await?;
        if let HelperReply::FoundFile(found) = reply {
            Ok(found)
        } else {
            Err(unexpected(&reply))
        }
    }
}

pub(super) fn unexpected(reply: &HelperReply) -> HostError {
    HostError::new(format!(
        "the helper process gave an answer of the wrong kind: {reply:?}"
    ))
}

fn no_services() -> HostError {
    let message =
        "no service manager was found: neither systemd, nor OpenRC, nor /etc/init.d".to_owned();
    HostError::errno(message, libc::ENOSYS)
}
