//! What the helper does for an engine: what the configuration grants, which it reads itself, and
//! restoring previous values.
//!
//! The engine has its own gate, before the ledger, and tells hooks why they are refused. This gate
//! protects against an engine that has been compromised.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::records::Records;
use super::{Duty, HelperOp};
use crate::effect::{Effect, Grants, Own, Query, Resource, ServiceVerb, Value};
use crate::host::HostError;
use crate::host::services::files;
use crate::host::services::manager::ServiceBackend;
use crate::host::services::spawn::CommandLine;
use crate::types::IfName;

/// What the helper of a daemon may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// The grants of all hooks.
    pub grants: Vec<Grants>,
    /// The scripts that are run, as they are called; variables are added to them.
    pub scripts: Vec<CommandLine>,
    /// Who starts services.
    pub services: Option<ServiceBackend>,
    /// The directory in which helpers record previous values before a granted change.
    pub records: PathBuf,
    /// This daemon's file in it.
    pub name: String,
    /// Where ledgers are, in directories of their instances: records that a ledger refers to are
    /// kept.
    pub ledgers: [PathBuf; 2],
}

impl Terms {
    /// What a helper for this must be able to do, apart from what is still to be restored; `None`
    /// if nothing that is granted needs one.
    #[must_use]
    pub fn duty(&self) -> Option<Duty> {
        let commands = |grants: &Grants| {
            !grants.command.is_empty() || (self.by_script() && !grants.service.is_empty())
        };
        if !self.scripts.is_empty() || self.grants.iter().any(commands) {
            return Some(Duty::Commands);
        }
        self.grants
            .iter()
            .any(Grants::needs_helper)
            .then_some(Duty::Settings)
    }

    /// Whether services are started by scripts, which may need any privilege.
    fn by_script(&self) -> bool {
        self.services.and_then(ServiceBackend::script).is_some()
    }
}

/// Why something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// It is granted: the previous value must be recorded.
    Granted,
    /// It restores a previous value, or the caller needs no grant.
    Free,
}

#[expect(clippy::disallowed_methods, reason = "compared with the age of files")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Judges each request.
#[derive(Debug)]
pub(super) enum Gate {
    /// For a command run by an operator, who could do the same directly.
    Open,
    /// For `carpd cleanup`: only restoring.
    Undo(Records),
    /// For an engine.
    Held(Box<Terms>, Mutex<Records>),
}

impl Gate {
    pub(super) fn new(terms: Option<Terms>) -> Self {
        terms.map_or(Self::Open, |terms| {
            let records = Records::new(terms.records.clone(), Some(terms.name.clone()));
            records.prune(&terms.ledgers.each_ref().map(PathBuf::as_path), now());
            Self::Held(Box::new(terms), Mutex::new(records))
        })
    }

    /// The most that a helper behind this gate ever needs.
    pub(super) fn duty(&self) -> Duty {
        match self {
            Self::Open | Self::Undo(_) => Duty::Commands,
            Self::Held(terms, records) => {
                let records = records.lock().unwrap_or_else(PoisonError::into_inner);
                let by_script = terms.by_script()
                    && records.any(|resource| matches!(resource, Resource::Service { .. }));
                if by_script {
                    Duty::Commands
                } else {
                    terms.duty().unwrap_or(Duty::Settings)
                }
            }
        }
    }

    /// Whether this may be done. Reads the records if it is not granted.
    ///
    /// # Errors
    /// `EPERM`: it is refused.
    pub(super) fn right(&self, op: &HelperOp) -> Result<Right, HostError> {
        let put_back = |records: &Records| match (op.assigns(), op.looks_at()) {
            (Some((resource, value)), _) => records.has(&resource, Some(&value)),
            (None, Some(resource)) => records.has(&resource, None),
            (None, None) => false,
        };
        let may = match self {
            Self::Open => true,
            Self::Undo(records) => put_back(records),
            Self::Held(terms, _) if terms.allow(op) => return Ok(Right::Granted),
            Self::Held(_, records) => {
                put_back(&records.lock().unwrap_or_else(PoisonError::into_inner))
            }
        };
        if may {
            Ok(Right::Free)
        } else {
            Err(refused(op))
        }
    }

    /// Records the previous value before a granted change, so that it may be restored later,
    /// whoever asks for that.
    pub(super) fn remember(
        &self,
        right: Right,
        resource: &Resource,
        next: Value,
        there: impl FnOnce() -> Result<Value, HostError>,
    ) {
        let Self::Held(_, records) = self else { return };
        if right == Right::Free {
            return records
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .put_back(resource);
        }
        // What cannot be read cannot be restored either.
        if let Ok(there) = there() {
            records
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remember(resource, there, next);
        }
    }

    /// As [`Self::remember`], of a file.
    pub(super) fn remember_file(&self, right: Right, path: &Path, next: Value) {
        // A path of a request is a string.
        let resource = Resource::File {
            path: path.to_string_lossy().into_owned(),
        };
        self.remember(right, &resource, next, || {
            Ok(files::find(path)?.map_or(Value::Absent, Value::FoundFile))
        });
    }
}

impl Terms {
    fn allow(&self, op: &HelperOp) -> bool {
        // These effects are nobody's own.
        let Ok(dev) = "lo".parse::<IfName>() else {
            return false;
        };
        let own = Own {
            dev: &dev,
            addresses: &[],
        };
        let any = |allows: &dyn Fn(&Grants) -> bool| self.grants.iter().any(allows);
        let effect = |effect: Effect| any(&|grants| grants.permit(effect.clone(), own).is_ok());
        let query = |query: Query| any(&|grants| grants.permit_query(&query).is_ok());
        match op {
            HelperOp::SetHostname { name } => effect(Effect::HostnameSet { name: name.clone() }),
            HelperOp::ReadParameter { key } => query(Query::Sysctl { key: key.clone() }),
            HelperOp::WriteParameter { key, value } => effect(Effect::SysctlSet {
                key: key.clone(),
                value: value.clone(),
            }),
            // Writing or removing it requires knowing its previous content.
            HelperOp::ReadFile { path } | HelperOp::FindFile { path } => {
                any(&|grants| grants.file.iter().any(|grant| grant.path == *path))
            }
            HelperOp::WriteFile { path, content } => effect(Effect::FileWrite {
                path: path.clone(),
                content: content.clone(),
            }),
            // Only previous content may be restored, which no grant covers.
            HelperOp::RestoreFile { .. } => false,
            HelperOp::RemoveFile { path } => effect(Effect::FileRemove { path: path.clone() }),
            HelperOp::Run { argv } => {
                any(&|grants| grants.command.values().any(|command| command.yields(argv)))
            }
            HelperOp::Script { line, .. } => {
                let CommandLine {
                    argv,
                    environment,
                    variables,
                    directory,
                } = line;
                let same = |script: &CommandLine| {
                    script.argv == *argv
                        && script.environment == *environment
                        && script.directory == *directory
                };
                self.scripts.iter().any(same)
                    && variables.iter().all(|(name, _)| name.starts_with("CARPD_"))
            }
            HelperOp::Service {
                backend,
                unit,
                verb,
            } => {
                self.services == Some(*backend)
                    && effect(Effect::Service {
                        unit: unit.clone(),
                        verb: *verb,
                    })
            }
            HelperOp::ServiceStatus { backend, unit } => {
                self.services == Some(*backend)
                    && query(Query::ServiceStatus { unit: unit.clone() })
            }
        }
    }
}

impl HelperOp {
    /// The resource and the value that it sets, if that can be restored.
    fn assigns(&self) -> Option<(Resource, Value)> {
        Some(match self {
            Self::SetHostname { name } => (Resource::Hostname, Value::Text(name.clone())),
            Self::WriteParameter { key, value } => (
                Resource::Sysctl { key: key.clone() },
                Value::Text(value.clone()),
            ),
            Self::WriteFile { path, content } => (
                Resource::File { path: path.clone() },
                Value::File(content.clone()),
            ),
            Self::RestoreFile { path, found } => (
                Resource::File { path: path.clone() },
                Value::FoundFile(found.clone()),
            ),
            Self::RemoveFile { path } => (Resource::File { path: path.clone() }, Value::Absent),
            Self::Service { unit, verb, .. } => {
                let running = match verb {
                    ServiceVerb::Start => true,
                    ServiceVerb::Stop => false,
                    ServiceVerb::Restart | ServiceVerb::Reload => return None,
                };
                (
                    Resource::Service { unit: unit.clone() },
                    Value::Running(running),
                )
            }
            Self::ReadParameter { .. }
            | Self::ReadFile { .. }
            | Self::FindFile { .. }
            | Self::ServiceStatus { .. }
            | Self::Run { .. }
            | Self::Script { .. } => return None,
        })
    }

    /// The resource that it reads without changing it.
    fn looks_at(&self) -> Option<Resource> {
        Some(match self {
            Self::ReadParameter { key } => Resource::Sysctl { key: key.clone() },
            Self::ReadFile { path } | Self::FindFile { path } => {
                Resource::File { path: path.clone() }
            }
            Self::ServiceStatus { unit, .. } => Resource::Service { unit: unit.clone() },
            Self::SetHostname { .. }
            | Self::WriteParameter { .. }
            | Self::WriteFile { .. }
            | Self::RestoreFile { .. }
            | Self::RemoveFile { .. }
            | Self::Run { .. }
            | Self::Script { .. }
            | Self::Service { .. } => return None,
        })
    }
}

fn refused(op: &HelperOp) -> HostError {
    let what = match op {
        HelperOp::SetHostname { .. } => "setting the host name to this".to_owned(),
        HelperOp::ReadParameter { key } => format!("reading the parameter {key:?}"),
        HelperOp::WriteParameter { key, .. } => format!("setting the parameter {key:?} to this"),
        HelperOp::ReadFile { path } | HelperOp::FindFile { path } => {
            format!("reading the file {path:?}")
        }
        HelperOp::WriteFile { path, .. } => format!("writing the file {path:?}"),
        HelperOp::RestoreFile { path, .. } => {
            format!("restoring the file {path:?} to this content")
        }
        HelperOp::RemoveFile { path } => format!("removing the file {path:?}"),
        HelperOp::Run { .. } => "running this command line".to_owned(),
        HelperOp::Script { .. } => "running this script".to_owned(),
        HelperOp::Service { unit, verb, .. } => {
            format!("{} of the service {unit:?}", verb.as_str())
        }
        HelperOp::ServiceStatus { unit, .. } => format!("asking for the service {unit:?}"),
    };
    let message =
        format!("the helper process refuses {what}: in its configuration no hook is granted this");
    HostError::errno(message, libc::EPERM)
}
