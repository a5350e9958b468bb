//! Hooks of `kind = "script"`: programs, called as ucarp calls them, in a separate helper process.
//!
//! Only the queue of their virtual host waits for them. They always end: at their time limit, or
//! when a newer state supersedes them, their whole process group gets TERM and then KILL, and the
//! outcome is logged.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use crate::config;
use crate::effect::CommandOutput;
use crate::hooks::{EntryPoint, HookError, HookEvent, Returned};
use crate::host::HostError;
use crate::host::children::helper::{CommandLine, Duty, HelperClient, HelperOp, HelperReply};
use crate::host::services::spawn;
use crate::keeper::{ChildId, Client, Role};
use crate::types::{IfName, Name, VirtualAddress};

/// Lines of each output that are logged; the rest is counted.
const LINES_MAX: usize = 50;

/// The programs of one hook, and the process that runs them.
#[derive(Debug)]
pub(in crate::engine) struct Script {
    programs: config::Script,
    keeper: Client,
    helper: RefCell<Option<Rc<Helper>>>,
}

/// Dropping it ends the process.
#[derive(Debug)]
struct Helper {
    client: HelperClient,
    id: ChildId,
    keeper: Client,
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.keeper.kill(self.id);
    }
}

impl Script {
    pub(in crate::engine) const fn new(programs: config::Script, keeper: Client) -> Self {
        Self {
            programs,
            keeper,
            helper: RefCell::new(None),
        }
    }

    /// Where there is a program.
    pub(in crate::engine) fn entry_points(&self) -> Vec<EntryPoint> {
        [
            (EntryPoint::OnMaster, &self.programs.up),
            (EntryPoint::OnBackup, &self.programs.down),
        ]
        .into_iter()
        .filter_map(|(entry, program)| program.as_ref().map(|_| entry))
        .collect()
    }

    /// Starts the helper before it is needed.
    pub(in crate::engine) async fn warm(&self) {
        if let Err(error) = self.helper().await {
            warn!(%error, "Could not start the process that runs scripts");
        }
    }

    async fn helper(&self) -> Result<Rc<Helper>, HostError> {
        let there = self.helper.borrow().clone();
        if let Some(helper) = there.filter(|helper| helper.client.is_alive()) {
            return Ok(helper);
        }
        let failed =
            |error: std::io::Error| HostError::with(error.to_string(), error.raw_os_error());
        let (id, stream) = self.keeper.spawn(Role::Helper).await.map_err(failed)?;
        let client = HelperClient::new(stream, Duty::Commands).map_err(failed)?;
        let helper = Rc::new(Helper {
            client,
            id,
            keeper: self.keeper.clone(),
        });
        *self.helper.borrow_mut() = Some(Rc::clone(&helper));
        Ok(helper)
    }

    /// Runs the program of one entry point.
    ///
    /// # Errors
    /// [`HookError`]: it could not be run, did not end well, ran too long or was overtaken.
    pub(in crate::engine) async fn run(
        &self,
        event: &HookEvent,
        limit: Duration,
        cancel: impl Future<Output = ()>,
    ) -> Result<Returned, HookError> {
        let program = match event.entry {
            EntryPoint::OnMaster => self.programs.up.as_deref(),
            EntryPoint::OnBackup => self.programs.down.as_deref(),
            EntryPoint::BeforeMaster
            | EntryPoint::BeforeBackup
            | EntryPoint::OnPeerClaim
            | EntryPoint::Health
            | EntryPoint::OnStop => None,
        };
        let Some(program) = program else {
            return Ok(Returned::Done);
        };
        let instance = &event.instance;
        let xparam = event.xparam.as_deref();
        let line = line(
            &self.programs,
            program,
            &instance.interface,
            &instance.addresses,
            xparam,
        );
        let line = CommandLine {
            variables: variables(event),
            ..line
        };
        let shown = line.argv.join(" ");
        info!(vhost = %event.instance.name, script = shown, "Running a script");
        let turn = event.instance.name.to_string();
        let run = async {
            self.helper()
                .await?
                .client
                .call(HelperOp::Script { turn, line }, limit)
                .await
        };
        let result = tokio::select! {
            result = run => result,
            () = cancel => return Err(HookError::Superseded),
        };
        match result {
            Ok(HelperReply::Command(output)) => judge(&event.instance.name, &shown, &output),
            Ok(reply) => Err(raised(format!(
                "the helper gave an answer of the wrong kind: {reply:?}"
            ))),
            Err(error) => Err(could_not(&event.instance.name, &shown, error, limit)),
        }
    }
}

/// As ucarp calls its scripts, without the variables that tell of the event.
pub(in crate::engine) fn line(
    programs: &config::Script,
    program: &Path,
    interface: &IfName,
    addresses: &[VirtualAddress],
    xparam: Option<&str>,
) -> CommandLine {
    let interface = programs
        .interface
        .clone()
        .unwrap_or_else(|| interface.to_string());
    let address = addresses
        .first()
        .map(|address| address.ip.to_string())
        .unwrap_or_default();
    let mut argv = vec![program.display().to_string(), interface, address];
    argv.extend(xparam.map(str::to_owned));
    CommandLine {
        argv,
        environment: programs.environment.clone(),
        variables: Vec::new(),
        directory: programs.directory.clone(),
    }
}

fn variables(event: &HookEvent) -> Vec<(String, String)> {
    let HookEvent {
        entry,
        instance,
        state,
        previous,
        cause,
        peer,
        seq,
        initial,
        missed,
        node,
        time_left_ms,
        ..
    } = event;
    let addresses: Vec<String> = instance.addresses.iter().map(ToString::to_string).collect();
    let pair = |name: &str, value: String| (format!("CARPD_{name}"), value);
    vec![
        pair("ENTRY", entry.as_str().to_owned()),
        pair("NAME", instance.name.to_string()),
        pair("INTERFACE", instance.interface.to_string()),
        pair("VHID", instance.vhid.to_string()),
        pair("ADDRESSES", addresses.join(" ")),
        pair("STATE", state.to_string()),
        pair("PREVIOUS", previous.to_string()),
        pair("CAUSE", cause.clone()),
        pair(
            "PEER",
            peer.map(|peer| peer.to_string()).unwrap_or_default(),
        ),
        pair("SEQ", seq.to_string()),
        pair("INITIAL", u8::from(*initial).to_string()),
        pair("MISSED", missed.to_string()),
        pair("NODE", node.clone()),
        pair("TIME_LEFT_MS", time_left_ms.to_string()),
    ]
}

fn judge(vhost: &Name, script: &str, output: &CommandOutput) -> Result<Returned, HookError> {
    for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        for line in lines.by_ref().take(LINES_MAX) {
            info!(%vhost, stream, line, "Script output");
        }
        let more = lines.count();
        if more > 0 {
            info!(%vhost, stream, more, "Script output beyond the limit was not logged");
        }
    }
    match output.status {
        0 => Ok(Returned::Done),
        status => Err(raised(format!(
            "{script} ended with status {status}{}",
            spawn::said(output)
        ))),
    }
}

fn could_not(vhost: &Name, script: &str, error: HostError, limit: Duration) -> HookError {
    match error.errno {
        Some(libc::ETIMEDOUT) => {
            warn!(%vhost, script, %error, "Killed a script that ran too long");
            HookError::TimedOut(limit)
        }
        Some(libc::ECANCELED) => HookError::Superseded,
        errno => {
            let why = errno.map_or_else(
                || error.message.clone(),
                |errno| nix::errno::Errno::from_raw(errno).desc().to_owned(),
            );
            warn!(%vhost, script, why, "Could not run a script");
            raised(error.message)
        }
    }
}

const fn raised(message: String) -> HookError {
    HookError::Raised {
        message,
        backtrace: String::new(),
    }
}
