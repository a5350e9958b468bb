//! `carpd port`: the shell scripts of ucarp as a hook.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::{Exit, Failure, output};
use crate::port::{self, Ported, Remark, Settings, Source};
use crate::types::Page;

/// The longest script, in bytes.
const SCRIPT_MAX: u64 = 1 << 20;

/// Turn the shell scripts of ucarp into a hook.
///
/// Reads the scripts, never runs them, and writes a hook, the rights that it needs and a test. What
/// cannot be translated stays at its place, marked TODO, and makes the hook fail there: it never
/// reports success for work that it did not do. Exit status 1 says that there is such a line.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd port master-up.sh master-down.sh\n  \
    carpd port master-up.sh master-down.sh -o failover.lua\n  \
    carpd port vip-up.sh vip-down.sh --interface eth0 --address 192.168.32.22 --xparam node2 -o failover.lua")]
pub(in crate::cli) struct Args {
    /// What ucarp runs on becoming master.
    #[arg(value_name = "UP")]
    up: PathBuf,

    /// What ucarp runs on becoming backup.
    #[arg(value_name = "DOWN")]
    down: Option<PathBuf>,

    /// Write the hook here, its grants and its test beside it; on standard output if not given.
    #[arg(short, long, value_name = "FILE.lua")]
    output: Option<PathBuf>,

    /// Write on_backup even where undoing on_master does the same.
    #[arg(long)]
    explicit: bool,

    /// The virtual host's interface ($1), to write the grants out.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,

    /// Its address ($2), to write the grants out.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,

    /// ucarp's --xparam ($3), to write the grants out.
    #[arg(long, value_name = "TEXT")]
    xparam: Option<String>,

    /// The file of ifupdown in which aliases such as eth0:ucarp stand.
    #[arg(long, value_name = "FILE")]
    interfaces: Option<PathBuf>,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print everything as one JSON object; write no files.
    #[arg(long, conflicts_with_all = ["output", "force"])]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let settings = settings(args)?;
    let up = source(&args.up)?;
    let down = args.down.as_deref().map(source).transpose()?;
    let ported = port::port(&up, down.as_ref(), &settings)
        .map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    if args.json {
        output::json(&as_json(&ported))?;
    } else if let Some(path) = &args.output {
        let mut page = write(path, &ported, args.force)?;
        told(&ported, down.as_ref(), &mut page);
        output::page(&page)?;
    } else {
        output::artefact(ported.lua.as_bytes())?;
        let mut page = Page::default();
        told(&ported, down.as_ref(), &mut page);
        output::notes(&page);
    }
    Ok(if ported.todos.is_empty() {
        Exit::Success
    } else {
        Exit::Failure
    })
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
            format!("{} cannot be a hook's file", path.display()),
        );
        return Err(failure.hint("name it NAME.lua, of letters, digits and dashes"));
    }
    let mut settings = Settings::new(stem);
    settings.script = args.up.display().to_string();
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

fn source(path: &Path) -> Result<Source, Failure> {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    Ok(Source {
        name,
        text: read(path)?,
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
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    Ok(text
        .strip_prefix('\u{feff}')
        .map_or_else(|| text.clone(), str::to_owned))
}

/// Writes the three files; none if one of them exists.
fn write(path: &Path, ported: &Ported, force: bool) -> Result<Page, Failure> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let beside = |name: String| path.with_file_name(name);
    let files = [
        (path.to_owned(), &ported.lua),
        (beside(format!("{stem}.toml")), &ported.toml),
        (beside(format!("{stem}_test.lua")), &ported.test),
    ];
    if let Some((there, _)) = files.iter().find(|(path, _)| !force && path.exists()) {
        let failure = Failure::new(Exit::Failure, format!("{} exists", there.display()));
        return Err(failure.hint("choose another name, or replace it with --force"));
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

/// The lines for the configuration, and what became of the scripts.
fn told(ported: &Ported, down: Option<&Source>, page: &mut Page) {
    ported
        .toml
        .lines()
        .for_each(|line| writeln!(page, "{line}"));
    writeln!(page);
    if ported.mirrored {
        let name = down.map_or("the other script", |down| down.name.as_str());
        writeln!(
            page,
            "{name} undoes what the first script does. carpd does that by itself: there is no on_backup (see --explicit)."
        );
        writeln!(
            page,
            "A service that must not run on a backup should not be started at boot."
        );
    }
    if !ported.notes.is_empty() {
        writeln!(page, "Done in another way:");
        remarks(&ported.notes, page);
    }
    match ported.todos.len() {
        0 => writeln!(page, "Everything was translated."),
        1 => writeln!(page, "1 line was not translated; the hook fails there:"),
        n => writeln!(page, "{n} lines were not translated; the hook fails there:"),
    }
    remarks(&ported.todos, page);
}

fn remarks(remarks: &[Remark], page: &mut Page) {
    for Remark {
        script, line, text, ..
    } in remarks
    {
        writeln!(page, "  {script}:{line}: {text}");
    }
}

fn as_json(ported: &Ported) -> Value {
    let remarks = |remarks: &[Remark]| -> Vec<_> {
        remarks
            .iter()
            .map(|r| json!({ "script": r.script, "line": r.line, "text": r.text }))
            .collect()
    };
    let Ported {
        lua,
        toml,
        test,
        todos,
        notes,
        mirrored,
    } = ported;
    json!({
        "lua": lua, "toml": toml, "test": test, "mirrored": mirrored, "todos": remarks(todos), "notes": remarks(notes),
    })
}
