//! Whether a service is active, as the service manager of this host sees it.

use std::time::Duration;

use super::Finding;
use crate::effect::UnitState;
use crate::host::HostError;
use crate::host::services::manager::systemd::Systemd;
use crate::host::services::manager::{ServiceBackend, script};

/// A service that is asked for.
#[derive(Debug)]
pub(super) struct Service {
    unit: String,
    /// As configured; `None`: whatever runs this host.
    backend: Option<ServiceBackend>,
    systemd: Systemd,
}

impl Service {
    pub(super) fn new(unit: String, backend: Option<ServiceBackend>) -> Self {
        Self {
            unit,
            backend,
            systemd: Systemd::new(None),
        }
    }

    pub(super) async fn look(&self, limit: Duration) -> Finding {
        match self.state(limit).await {
            Ok(UnitState::Active) => Finding::Well,
            Ok(UnitState::Inactive) => self.is("not running"),
            Ok(UnitState::Activating) => self.is("being started"),
            Ok(UnitState::Deactivating) => self.is("being stopped"),
            Ok(UnitState::Failed) => self.is("failed"),
            Ok(UnitState::Unknown) => Finding::bad(format!("there is no service {}", self.unit)),
            Err(error) => Finding::bad(error.message),
        }
    }

    fn is(&self, what: &str) -> Finding {
        Finding::bad(format!("{} is {what}", self.unit))
    }

    async fn state(&self, limit: Duration) -> Result<UnitState, HostError> {
        let backend = self.backend.or_else(ServiceBackend::detect);
        let backend = backend.ok_or_else(|| HostError::new("no service manager runs here"))?;
        match backend.script() {
            Some(backend) => {
                let never = std::future::pending();
                script::status(backend, &self.unit, limit, never).await
            }
            None => self.systemd.status(&self.unit, limit).await,
        }
    }
}
