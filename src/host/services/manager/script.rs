//! Services that scripts start: SysV and OpenRC. Runs in the helper.

use std::path::Path;
use std::time::Duration;

use super::{ScriptBackend, checked};
use crate::effect::{Outcome, ServiceVerb, UnitState};
use crate::host::HostError;
use crate::host::services::spawn::{self, Deadline, Finished};

/// Where SysV keeps them.
pub(super) const INIT_SCRIPTS: &str = "/etc/init.d";

/// One service, and how its script is called.
struct Script {
    backend: ScriptBackend,
    name: String,
}

impl Script {
    fn new(backend: ScriptBackend, unit: &str) -> Result<Self, HostError> {
        let name = checked(unit.strip_suffix(".service").unwrap_or(unit))?.to_owned();
        let script = Path::new(INIT_SCRIPTS).join(&name);
        if !script.exists() {
            let message = format!(
                "there is no service {name}: {} does not exist",
                script.display()
            );
            return Err(HostError::errno(message, libc::ENOENT));
        }
        Ok(Self { backend, name })
    }

    fn line(&self, verb: &str) -> Vec<String> {
        let words: &[&str] = match self.backend {
            ScriptBackend::SysV => {
                return vec![format!("{INIT_SCRIPTS}/{}", self.name), verb.to_owned()];
            }
            // With nothing to do, these make OpenRC do nothing, rather than warn.
            ScriptBackend::OpenRc if verb == "start" => {
                &["rc-service", &self.name, "--ifstopped", verb]
            }
            ScriptBackend::OpenRc if verb == "stop" => {
                &["rc-service", &self.name, "--ifstarted", verb]
            }
            ScriptBackend::OpenRc => &["rc-service", &self.name, verb],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// LSB's exit codes for SysV; OpenRC adds to them.
    fn state(&self, status: i32) -> UnitState {
        match (status, self.backend) {
            (0, _) => UnitState::Active,
            (1 | 2, ScriptBackend::SysV) | (32, ScriptBackend::OpenRc) => UnitState::Failed,
            (3, _) | (16, ScriptBackend::OpenRc) => UnitState::Inactive,
            (4, ScriptBackend::OpenRc) => UnitState::Deactivating,
            (8, ScriptBackend::OpenRc) => UnitState::Activating,
            _ => UnitState::Unknown,
        }
    }
}

/// Asks the script.
pub(in crate::host) async fn status(
    backend: ScriptBackend,
    unit: &str,
    limit: Duration,
    cancelled: impl Future<Output = ()> + Unpin,
) -> Result<UnitState, HostError> {
    let script = Script::new(backend, unit)?;
    let finished = spawn::run(&script.line("status"), limit, cancelled).await?;
    Ok(script.state(finished.output.status))
}

/// Calls the script with the verb, unless the service is so already.
pub(in crate::host) async fn perform(
    backend: ScriptBackend,
    unit: &str,
    verb: ServiceVerb,
    limit: Duration,
    mut cancelled: impl Future<Output = ()> + Unpin,
) -> Result<Outcome, HostError> {
    let script = Script::new(backend, unit)?;
    let deadline = Deadline::after(limit);
    let before = match verb {
        ServiceVerb::Start | ServiceVerb::Stop => {
            let asked = spawn::run(&script.line("status"), deadline.left(), &mut cancelled).await?;
            script.state(asked.output.status)
        }
        ServiceVerb::Restart | ServiceVerb::Reload => UnitState::Unknown,
    };
    if verb == ServiceVerb::Start && before == UnitState::Active {
        return Ok(Outcome::Unchanged);
    }
    let Finished { output, .. } =
        spawn::run(&script.line(verb.as_str()), deadline.left(), &mut cancelled).await?;
    match (verb, before, output.status) {
        // Many scripts answer a `status` that they do not know with 3 as well, so `stop` was called
        // all the same.
        (ServiceVerb::Stop, UnitState::Inactive, _) => Ok(Outcome::Unchanged),
        (_, _, 0) => Ok(Outcome::Changed),
        (_, _, status) => {
            let message = format!(
                "{} of {} failed with status {status}{}",
                verb.as_str(),
                script.name,
                spawn::said(&output)
            );
            Err(HostError::new(message))
        }
    }
}
