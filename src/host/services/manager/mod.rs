//! Services, by the service manager of this host.

pub(in crate::host) mod script;
pub(in crate::host) mod systemd;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::HostError;

/// Who starts services here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceBackend {
    /// systemd, by D-Bus. It never falls back to init scripts.
    Systemd,
    /// `/etc/init.d/NAME`, run as service(8) does.
    SysV,
    /// `rc-service`.
    OpenRc,
}

/// The backends whose services are started by scripts, and so by the helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScriptBackend {
    /// See [`ServiceBackend::SysV`].
    SysV,
    /// See [`ServiceBackend::OpenRc`].
    OpenRc,
}

impl ServiceBackend {
    /// Finds out which one runs this host; `None` if there is none that we know.
    #[must_use]
    pub fn detect() -> Option<Self> {
        let exists = |path: &str| Path::new(path).exists();
        if exists("/run/systemd/system") {
            Some(Self::Systemd)
        } else if exists("/run/openrc")
            && ["/sbin/rc-service", "/usr/sbin/rc-service"]
                .into_iter()
                .any(exists)
        {
            Some(Self::OpenRc)
        } else if exists(script::INIT_SCRIPTS) {
            Some(Self::SysV)
        } else {
            None
        }
    }

    /// The script backend of this one, if it is one.
    #[must_use]
    pub const fn script(self) -> Option<ScriptBackend> {
        match self {
            Self::Systemd => None,
            Self::SysV => Some(ScriptBackend::SysV),
            Self::OpenRc => Some(ScriptBackend::OpenRc),
        }
    }
}

/// A name that can stand for a service and for nothing else: no path, no option.
fn checked(unit: &str) -> Result<&str, HostError> {
    let fits = (1..=255).contains(&unit.len())
        && !unit.starts_with(['-', '.'])
        && unit
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.@:\\+".contains(&b));
    if fits {
        Ok(unit)
    } else {
        Err(HostError::errno(
            format!("{unit:?} is not the name of a service"),
            libc::EINVAL,
        ))
    }
}
