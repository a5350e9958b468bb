//! `carpd port`: turns the shell scripts of ucarp or keepalived into a hook.

mod summary;
mod tested;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::{Exit, Failure, output};
use crate::port::{self, Caller, Keepalived, PortError, Ported, Refusal, Settings, Source};
use crate::types::Page;

/// The longest script, in bytes.
const SCRIPT_MAX: u64 = 1 << 20;

/// Translate the shell scripts of ucarp or keepalived into a hook.
///
/// Reads the scripts without running them, and writes a hook, the grants that it needs and a test.
/// Lines that cannot be translated stay where they are, marked TODO, and make the hook fail there:
/// it never reports success for work that it did not do. The exit status is 6 if there is such a
/// line, or something else for you to check: a guess, or a grant or value to fill in.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd port master-up.sh master-down.sh\n  \
    carpd port master-up.sh master-down.sh -o failover.lua\n  \
    carpd port vip-up.sh vip-down.sh --interface eth0 --address 192.168.32.22 --xparam node2 -o failover.lua\n  \
    carpd port --from keepalived notify.sh --instance VI_1 --priority 100 -o failover.lua\n  \
    carpd port --from keepalived 'state.sh master' 'state.sh backup' --fault 'state.sh fault'")]
pub(in crate::cli) struct Args {
    /// The script that runs on becoming master; a notify script of keepalived may be for all
    /// states.
    ///
    /// For keepalived, include its arguments as in the configuration: 'state.sh master'.
    #[arg(value_name = "UP")]
    up: PathBuf,

    /// The script that runs on becoming backup.
    #[arg(value_name = "DOWN")]
    down: Option<PathBuf>,

    /// The program that runs the scripts, which determines their arguments. Without this option
    /// scripts are read as ucarp's, and one that looks like keepalived's is refused.
    #[arg(long, value_enum, value_name = "PROGRAM")]
    from: Option<Program>,

    /// Write the hook to this file, and its grants and test next to it; to standard output if not
    /// given.
    #[arg(short, long, value_name = "FILE.lua")]
    output: Option<PathBuf>,

    /// Write on_backup even if undoing on_master has the same effect.
    #[arg(long)]
    explicit: bool,

    /// The virtual host's interface (ucarp's $1), for the grants.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,

    /// The virtual host's address (ucarp's $2), for the grants.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,

    /// ucarp's --xparam ($3), for the grants.
    #[arg(long, value_name = "TEXT")]
    xparam: Option<String>,

    /// The name of keepalived's vrrp_instance ($2).
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,

    /// The name of keepalived's vrrp_sync_group ($2), if the group has the script.
    #[arg(long, value_name = "NAME", conflicts_with = "instance")]
    group: Option<String>,

    /// keepalived's priority ($4).
    #[arg(long, value_name = "NUMBER")]
    priority: Option<u8>,

    /// The script that keepalived runs as notify_fault; the one for a backup if not given.
    #[arg(long, value_name = "SCRIPT")]
    fault: Option<PathBuf>,

    /// The script that keepalived runs as notify_stop; the one for a backup if not given.
    #[arg(long, value_name = "SCRIPT")]
    stop: Option<PathBuf>,

    /// The ifupdown file that defines aliases such as eth0:ucarp.
    #[arg(long, value_name = "FILE")]
    interfaces: Option<PathBuf>,

    /// Overwrite existing files.
    #[arg(long)]
    force: bool,

    /// Print everything as one JSON object; write no files.
    #[arg(long, conflicts_with_all = ["output", "force"])]
    json: bool,
}

/// The program that runs the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Program {
    /// Interface, address and --xparam are the arguments.
    Ucarp,
    /// Type, name, state and priority are the arguments.
    Keepalived,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let settings = settings(args)?;
    let up = source(&args.up, args.from)?;
    let down = args
        .down
        .as_deref()
        .map(|down| source(down, args.from))
        .transpose()?;
    let mut ported =
        port::port(&up, down.as_ref(), &settings).map_err(|error| refused(args, &error))?;
    // What is only shown needs no test.
    let test = (args.json || args.output.is_some())
        .then(|| tested::test(&settings.name, &mut ported, &up))
        .flatten();
    if args.json {
        output::json(&summary::as_json(&ported, test.as_deref()))?;
    } else if let Some(path) = &args.output {
        let mut page = write(path, &ported, test.as_deref(), args.force)?;
        told(&ported, down.as_ref(), &mut page);
        output::page(&page)?;
    } else {
        output::artefact(ported.lua.as_bytes())?;
        let mut page = Page::default();
        told(&ported, down.as_ref(), &mut page);
        output::notes(&page);
    }
    Ok(if ported.is_complete() {
        Exit::Success
    } else {
        Exit::Todo
    })
}

/// Why nothing was ported, with what to do about it.
fn refused(args: &Args, error: &PortError) -> Failure {
    let failure = Failure::new(Exit::Failure, error.to_string());
    if !matches!(error.reason, Refusal::Keepalived { .. }) {
        return failure;
    }
    let scripts = std::iter::once(&args.up).chain(&args.down);
    let scripts: Vec<String> = scripts.map(|path| path.display().to_string()).collect();
    failure.hint(format!(
        "carpd port --from keepalived {} (--from ucarp if it is one of ucarp all the same)",
        scripts.join(" ")
    ))
}

/// Who runs the scripts, by the options.
fn caller(args: &Args) -> Result<Caller, Failure> {
    if args.from != Some(Program::Keepalived) {
        let options = [
            ("--instance", args.instance.is_some()),
            ("--group", args.group.is_some()),
            ("--priority", args.priority.is_some()),
            ("--fault", args.fault.is_some()),
            ("--stop", args.stop.is_some()),
        ];
        if let Some((option, _)) = options.iter().find(|(_, given)| *given) {
            let failure = Failure::new(Exit::Usage, format!("{option} is about keepalived"));
            return Err(failure.hint("say --from keepalived"));
        }
        let whatever = args.from.is_some();
        return Ok(Caller::Ucarp { whatever });
    }
    if args.xparam.is_some() {
        let failure = Failure::new(Exit::Usage, "--xparam is about ucarp");
        return Err(failure.hint("keepalived gives its scripts no such argument"));
    }
    let script = |path: &Option<PathBuf>| {
        path.as_deref()
            .map(|path| source(path, args.from))
            .transpose()
    };
    Ok(Caller::Keepalived(Box::new(Keepalived {
        name: args.instance.clone().or_else(|| args.group.clone()),
        group: args.group.is_some(),
        priority: args.priority.map(|priority| priority.to_string()),
        fault: script(&args.fault)?,
        stop: script(&args.stop)?,
    })))
}

fn settings(args: &Args) -> Result<Settings, Failure> {
    let path = args.output.as_deref().unwrap_or(Path::new("failover.lua"));
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if path.extension().is_none_or(|e| e != "lua" && e != "luau")
        || stem.parse::<crate::types::Name>().is_err()
    {
        let failure = Failure::new(
            Exit::Usage,
            format!("{} cannot be the file of a hook", path.display()),
        );
        return Err(failure.hint("name it NAME.lua, of letters, digits and dashes"));
    }
    let mut settings = Settings::new(stem);
    settings.caller = caller(args)?;
    settings.script = whole(&args.up);
    settings.down_script = args.down.as_deref().map(whole).unwrap_or_default();
    settings.directory = args
        .up
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    settings.interface.clone_from(&args.interface);
    settings.address = args
        .address
        .as_ref()
        .map(|text| text.split('/').next().unwrap_or_default().to_owned());
    settings.xparam.clone_from(&args.xparam);
    settings.explicit = args.explicit;
    settings.interfaces = match &args.interfaces {
        Some(path) => Some(read(path)?),
        None => fs::read_to_string("/etc/network/interfaces").ok(),
    };
    let tables = ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"];
    settings.tables = tables
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .map(|text| Settings::tables_of(&text))
        .unwrap_or_default();
    Ok(settings)
}

/// A script by its path; keepalived's with arguments behind it, as in its configuration.
/// The path that a script has as its `$0`.
fn whole(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    path.display().to_string()
}

fn source(path: &Path, from: Option<Program>) -> Result<Source, Failure> {
    let line = path.to_string_lossy();
    let mut words = line.split_whitespace();
    let (path, arguments) = match words.next() {
        Some(first) if from == Some(Program::Keepalived) && !path.exists() => {
            (Path::new(first), words.map(str::to_owned).collect())
        }
        _ => (path, Vec::new()),
    };
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    Ok(Source {
        name,
        text: read(path)?,
        arguments,
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |why: String| {
        Failure::new(
            Exit::Failure,
            format!("cannot read {}: {why}", path.display()),
        )
    };
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => return Err(failed("it is not a regular file".into())),
        Ok(meta) if meta.len() > SCRIPT_MAX => {
            return Err(failed(format!("it is larger than {SCRIPT_MAX} bytes")));
        }
        _ => {}
    }
    // What is not UTF-8 stays as a sign of that: in a comment it does no harm.
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(text
        .strip_prefix('\u{feff}')
        .map_or_else(|| text.clone(), str::to_owned))
}

/// Writes the files; none if one of them exists.
fn write(path: &Path, ported: &Ported, test: Option<&str>, force: bool) -> Result<Page, Failure> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let beside = |name: String| path.with_file_name(name);
    let mut files = vec![
        (path.to_owned(), ported.lua.as_str()),
        (beside(format!("{stem}.toml")), &ported.toml),
    ];
    files.extend(test.map(|test| (beside(format!("{stem}_test.lua")), test)));
    if let Some((there, _)) = files.iter().find(|(path, _)| !force && path.exists()) {
        let failure = Failure::new(Exit::Failure, format!("{} exists", there.display()));
        return Err(failure.hint("choose another name, or overwrite it with --force"));
    }
    let mut written = Page::default();
    for (path, text) in files {
        fs::write(&path, text).map_err(|error| {
            Failure::new(
                Exit::Failure,
                format!("cannot write {}: {error}", path.display()),
            )
        })?;
        writeln!(written, "wrote {}", path.display());
    }
    writeln!(written);
    Ok(written)
}

/// Prints the lines for the configuration, and how the scripts were translated.
fn told(ported: &Ported, down: Option<&Source>, page: &mut Page) {
    ported
        .toml
        .lines()
        .for_each(|line| writeln!(page, "{line}"));
    writeln!(page);
    summary::told(ported, down.map(|down| down.name.as_str()), page);
}
