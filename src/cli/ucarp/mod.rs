//! `carpd ucarp ...`, and the same when called by the name `ucarp`.
//!
//! The process that is called parses the command line, checks everything that can be checked, and
//! puts the result into a memory file that its successors inherit. Then it executes the daemon, in
//! the same process or, with `-B`, in a new one. After that the password no longer appears in
//! process lists, and all problems have been reported before the process detaches.

mod check;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use super::{Exit, output};
use crate::config::legacy::{self, Options, Refusal, USAGE};
use crate::daemon::ucarp::{self as daemon, NAME};
use crate::telemetry::ucarp::{Level, Sink};

/// Behave like ucarp 1.5.2: same options, scripts, signals and log lines.
///
/// This is a drop-in replacement for ucarp: command line and scripts stay as they are. The same
/// happens when this program is called by the name ucarp. `carpd ucarp --help` shows the options.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct Args {
    /// ucarp's arguments.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    pub(super) words: Vec<OsString>,
}

/// The arguments after the name, if this program was called as ucarp.
pub(super) fn called(mut words: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let program = words.next()?;
    if Path::new(&program).file_name() == Some(OsStr::new(NAME)) {
        return Some(words.collect());
    }
    (words.next()? == NAME).then(|| words.collect())
}

/// Runs the `ucarp` command.
pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let words: Vec<String> = match words.into_iter().map(OsString::into_string).collect() {
        Ok(words) => words,
        Err(word) => return complain(&format!("{} is not valid UTF-8", word.display())),
    };
    let mut notes = Notes::default();
    let mut options = match legacy::parse(&words, &mut |path| password_file(path, &mut notes)) {
        Ok(options) => options,
        Err(Refusal::Usage) => {
            return output::artefact(USAGE.as_bytes())
                .map_or_else(|_| Exit::Failure.into(), Into::into);
        }
        Err(Refusal::Option(text)) => return complain(&text),
        Err(Refusal::Value { status, message }) => {
            return refuse(&Sink::new(None, true, false, 0), status, &message);
        }
    };
    start(&mut options, &words, &notes)
}

fn start(options: &mut Options, words: &[String], notes: &Notes) -> ExitCode {
    let sink = Sink::new(
        options.facility.map(legacy::Facility::number),
        true,
        options.debug,
        std::process::id(),
    );
    if let Some(name) = &options.unknown_facility {
        sink.say(Level::Error, &format!("Unknown syslog facility: [{name}]"));
    }
    if options.interface.is_none()
        && let Some(found) = check::first_interface()
    {
        sink.say(
            Level::Info,
            &format!("Using [{found}] as a network interface"),
        );
        options.interface = Some(found);
    }
    let checked = options.check().and_then(|()| {
        for text in notes
            .0
            .iter()
            .map(String::as_str)
            .chain(missing_scripts(options).collect::<Vec<_>>())
        {
            sink.say(Level::Warning, text);
        }
        check::check(options, &sink)
    });
    match checked {
        Ok(handover) => daemon::start(handover, legacy::masked(words), &sink),
        Err(Refusal::Value { status, message }) => refuse(&sink, status, &message),
        Err(Refusal::Usage | Refusal::Option(_)) => Exit::Usage.into(),
    }
}

fn missing_scripts(options: &Options) -> impl Iterator<Item = &'static str> {
    let up = options
        .up
        .is_none()
        .then_some("Warning: no script called when going up");
    let down = options
        .down
        .is_none()
        .then_some("Warning: no script called when going down");
    up.into_iter().chain(down)
}

/// Messages to print later, in ucarp's order.
#[derive(Debug, Default)]
struct Notes(Vec<String>);

/// Reads a password file; one that others can read only causes a warning here.
fn password_file(path: &str, notes: &mut Notes) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let reason = |error: &std::io::Error| match error.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_owned(),
        None => error.to_string(),
    };
    let mut file = File::open(path)
        .map_err(|e| format!("unable to open passfile {path} for reading: {}", reason(&e)))?;
    let mut content = Vec::new();
    file.by_ref()
        .take(512)
        .read_to_end(&mut content)
        .map_err(|e| format!("error reading passfile {path}: {}", reason(&e)))?;
    if content.is_empty() {
        return Err(format!(
            "error reading passfile {path}: unexpected end of file"
        ));
    }
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        notes
            .0
            .push(format!("Others can read the password in {path}"));
    }
    Ok(content)
}

/// Reports an invalid option with getopt's wording, as ucarp does, and returns the exit status for
/// it.
fn complain(text: &str) -> ExitCode {
    use std::io::Write as _;
    let program = std::env::args_os().next().unwrap_or_default();
    let program = if called(std::env::args_os().take(1)).is_some() {
        program
    } else {
        NAME.into()
    };
    let _ = writeln!(
        std::io::stderr(),
        "{}: {text}\nTry 'ucarp --help' for the options.",
        program.display()
    );
    Exit::Usage.into()
}

/// Says why no daemon is started, one log line of ucarp's for each reason.
fn refuse(sink: &Sink, status: u8, message: &str) -> ExitCode {
    for line in message.lines() {
        sink.say(Level::Error, line);
    }
    ExitCode::from(status)
}
