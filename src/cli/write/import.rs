//! `carpd import`: makes a configuration of another daemon's.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::{Exit, Failure, output};
use crate::config::{Excerpt, Problem, Report};
use crate::import::{
    self, File, Files, Format, ImportError, Imported, Node, Outcome, Source, Statement,
};
use crate::types::{Page, shown};

/// The largest file that is read.
const FILE_MAX: u64 = 4 << 20;
/// The most names of a directory that are looked at.
const LIST_MAX: usize = 10_000;

/// Make a configuration of that of ucarp, keepalived, FreeBSD or OPNsense.
///
/// Reads the files without running anything, and accounts for every statement in them: what it
/// became, or why it is not translated. The exit status is 6 if something is left for you to do.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd import /etc/keepalived/keepalived.conf\n  \
    carpd import --from keepalived -o /etc/carpd\n  \
    carpd import --from ifupdown -o /etc/carpd\n  \
    carpd import --from ucarp\n  \
    ps -ww -o args= -C ucarp | carpd import --from ucarp -\n  \
    carpd import rc.conf sysctl.conf -o carpd\n  \
    carpd import --from keepalived --root /mnt/oldhost --config-id oldhost -o carpd")]
pub(in crate::cli) struct Args {
    /// The files to import, all of one format; `-` is standard input.
    ///
    /// Without them, the files where FORMAT usually is, below DIR of --root; of ucarp, the command
    /// lines of the processes that run here.
    #[arg(value_name = "FILE", required_unless_present = "from")]
    files: Vec<PathBuf>,

    /// What they are; found out by what is in them if not given.
    #[arg(long, value_enum, value_name = "FORMAT")]
    from: Option<From>,

    /// Where the other host's `/` is, to find the files and scripts that its files name.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/",
        hide_default_value = true
    )]
    root: PathBuf,

    /// Whose lines of keepalived.conf that begin with @NAME are, as in `keepalived -i`; this host's
    /// name if not given.
    #[arg(long, value_name = "NAME")]
    config_id: Option<String>,

    /// Write carpd.toml, hooks and passwords into this directory; without it, the configuration goes
    /// to standard output.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Overwrite existing files.
    #[arg(long)]
    force: bool,

    /// Show every statement, not only those that need attention.
    #[arg(long)]
    all: bool,

    /// Print everything as one JSON object, passwords left out; write no files.
    #[arg(long, conflicts_with_all = ["output", "force", "all"])]
    json: bool,
}

/// [`Format`], on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// Command lines of ucarp, or a script with them.
    Ucarp,
    /// /etc/network/interfaces of Debian.
    Ifupdown,
    /// /etc/ucarp/vip-*.conf of EPEL.
    Epel,
    /// rc.conf and sysctl.conf of FreeBSD.
    #[value(name = "rc.conf")]
    RcConf,
    /// config.xml of OPNsense or pfSense.
    Opnsense,
    /// keepalived.conf.
    Keepalived,
}

impl From {
    const fn format(self) -> Format {
        match self {
            Self::Ucarp => Format::Ucarp,
            Self::Ifupdown => Format::Ifupdown,
            Self::Epel => Format::Epel,
            Self::RcConf => Format::RcConf,
            Self::Opnsense => Format::Opnsense,
            Self::Keepalived => Format::Keepalived,
        }
    }
}

pub(in crate::cli) fn run(args: &Args) -> Result<Exit, Failure> {
    let (format, sources) = sources(args)?;
    let config_id = args.config_id.clone().unwrap_or_else(own_name);
    let node = Node {
        root: &args.root,
        config_id: &config_id,
    };
    let imported = match import::import(format, &sources, node, &Disk) {
        Ok(imported) => imported,
        Err(error) => return refused(&error, &sources),
    };
    if args.json {
        output::json(&as_json(&imported))?;
    } else if let Some(directory) = &args.output {
        let mut page = write(directory, &imported, args.force)?;
        told(&imported, args, &mut page);
        output::page(&page)?;
    } else {
        output::artefact(imported.config.as_bytes())?;
        let mut page = Page::default();
        if !imported.files.is_empty() {
            let files: Vec<&str> = imported
                .files
                .iter()
                .map(|file| file.path.as_str())
                .collect();
            writeln!(page, "Not written without --output: {}", files.join(", "));
        }
        told(&imported, args, &mut page);
        output::notes(&page);
    }
    Ok(if imported.is_complete() {
        Exit::Success
    } else {
        Exit::Todo
    })
}

/// The files that a configuration names, on this machine.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<String, String> {
        read(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(path).map_err(|error| error.to_string())?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.take(LIST_MAX).collect())
    }
}

/// The first part of this host's name.
fn own_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// Why nothing was imported, at its place if there is one.
fn refused(error: &ImportError, sources: &[Source]) -> Result<Exit, Failure> {
    let report = error.place.as_ref().and_then(|place| {
        let source = sources.iter().find(|source| source.name == place.file);
        let text = match source {
            Some(source) => source.text.clone(),
            None => read(Path::new(&place.file)).ok()?,
        };
        let mut excerpt = Excerpt::line(&shown(&place.file), text, place.line)?;
        let line = excerpt.text.get(excerpt.span.clone())?;
        // It may have a password in it.
        if line.to_ascii_lowercase().contains("pass") {
            return None;
        }
        if let Some(column) = place.column {
            let line = excerpt.text.get(..excerpt.span.start)?.rfind('\n');
            let start = line.map_or(0, |at| at + 1);
            let rest = excerpt.text.get(start..)?;
            let (at, c) = rest.char_indices().nth(column.saturating_sub(1))?;
            excerpt.span = start + at..start + at + c.len_utf8();
        }
        Some(Report::about(Problem {
            elsewhere: Some(excerpt),
            ..Problem::error(None, shown(&error.message))
        }))
    });
    if let Some(report) = report {
        output::problems(&report);
        Ok(Exit::Failure)
    } else {
        let place = error.place.as_ref();
        let place = place.map(|place| format!("{}:{}: ", shown(&place.file), place.line));
        let place = place.unwrap_or_default();
        Err(Failure::new(
            Exit::Failure,
            format!("{place}{}", shown(&error.message)),
        ))
    }
}

/// What is to be imported, and what it is.
fn sources(args: &Args) -> Result<(Format, Vec<Source>), Failure> {
    let known = args.from.map(From::format);
    let sources = match known {
        Some(format) if args.files.is_empty() => match format.usual() {
            None => running()?,
            Some(usual) => usually(usual, &args.root)?,
        },
        _ => {
            let sources = args.files.iter().map(|path| source(path));
            sources.collect::<Result<Vec<_>, _>>()?
        }
    };
    let found = known.or_else(|| sources.iter().find_map(|source| Format::of(&source.text)));
    let format = found.ok_or_else(|| {
        let names: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
        let first = sources.first().map_or("", |source| source.name.as_str());
        let failure = Failure::new(
            Exit::Failure,
            format!(
                "{} looks like no configuration that carpd can import",
                shown(first)
            ),
        );
        failure.hint(format!(
            "if it is one of them, say which by --from: {}",
            names.join(", ")
        ))
    })?;
    Ok((format, sources))
}

fn source(path: &Path) -> Result<Source, Failure> {
    let (name, text) = if path == Path::new("-") {
        ("standard input".to_owned(), from(std::io::stdin().lock()))
    } else {
        (path.display().to_string(), read(path))
    };
    let text = text.map_err(|why| {
        Failure::new(
            Exit::Failure,
            format!("cannot read {}: {why}", shown(&name)),
        )
    })?;
    Ok(Source { name, text })
}

/// The files of a format where they usually are. That there is only some of them is usual, too.
fn usually(usual: &[&str], root: &Path) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in usual {
        let paths = import::matching(root, path, &Disk)
            .map_err(|why| Failure::new(Exit::Failure, format!("cannot read {path}: {why}")))?;
        for path in paths {
            let name = path.display().to_string();
            let is_there = sources.iter().any(|source: &Source| source.name == name);
            if path.exists() && !is_there {
                sources.push(source(&path)?);
            }
        }
    }
    if sources.is_empty() {
        let failure = Failure::new(
            Exit::Failure,
            format!(
                "there is no {} below {}",
                usual.join(" or "),
                root.display()
            ),
        );
        return Err(failure.hint("name the files"));
    }
    Ok(sources)
}

/// The command lines of all processes called ucarp that are not ours.
fn running() -> Result<Vec<Source>, Failure> {
    let cannot =
        |error: std::io::Error| Failure::new(Exit::Cannot, format!("cannot read /proc: {error}"));
    let mut sources = Vec::new();
    for entry in fs::read_dir("/proc").map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let Some(pid) = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // It may have ended meanwhile.
        let Ok(line) = fs::read(path.join("cmdline")) else {
            continue;
        };
        let words: Vec<String> = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        if words
            .first()
            .is_some_and(|program| program.rsplit('/').next() == Some("ucarp"))
        {
            let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            sources.push(Source {
                name: format!("process {pid}"),
                text: quoted.join(" "),
            });
        }
    }
    if sources.is_empty() {
        let failure = Failure::new(Exit::Failure, "no ucarp runs here");
        return Err(
            failure.hint("give the files that start it: /etc/network/interfaces, a unit, a script")
        );
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| error.to_string())?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    from(file)
}

/// What can be read, as text.
fn from(file: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("it is larger than {FILE_MAX} bytes"));
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(text
        .strip_prefix('\u{feff}')
        .map_or_else(|| text.clone(), str::to_owned))
}

/// Writes the files; none if one of them exists.
fn write(directory: &Path, imported: &Imported, force: bool) -> Result<Page, Failure> {
    let config = File {
        path: "carpd.toml".to_owned(),
        text: imported.config.clone(),
        secret: false,
    };
    // The configuration last: with it, the others are of use.
    let files: Vec<&File> = imported.files.iter().chain([&config]).collect();
    let there = files
        .iter()
        .map(|file| directory.join(&file.path))
        .find(|path| path.exists());
    if let (Some(there), false) = (there, force) {
        let failure = Failure::new(Exit::Failure, format!("{} exists", there.display()));
        return Err(failure.hint("choose another directory, or overwrite it with --force"));
    }
    let mut page = Page::default();
    for file in files {
        let path = directory.join(&file.path);
        write_one(&path, file).map_err(|error| {
            Failure::new(
                Exit::Failure,
                format!("cannot write {}: {error}", path.display()),
            )
        })?;
        writeln!(page, "wrote {}", path.display());
    }
    writeln!(page);
    Ok(page)
}

fn write_one(path: &Path, file: &File) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // A password that an earlier run wrote is removed, so that its mode is ours.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = if file.secret { 0o600 } else { 0o644 };
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    out.write_all(file.text.as_bytes())
}

/// What a person acts on.
fn told(imported: &Imported, args: &Args, page: &mut Page) {
    let of = |kind: &str| -> Vec<&Statement> {
        imported
            .statements
            .iter()
            .filter(|said| said.outcome.as_str() == kind)
            .collect()
    };
    let (untranslated, open, different) = (of("untranslated"), of("open"), of("different"));
    let all = imported.statements.len();
    writeln!(
        page,
        "{} of {all} statements are translated or need no translation.",
        all - untranslated.len() - open.len() - different.len()
    );
    let mut lists = vec![
        ("Not translated:", untranslated.clone()),
        ("To be filled in or decided:", open.clone()),
        ("Different, with nothing to do:", different),
    ];
    if args.all {
        lists.push(("Translated:", of("translated")));
        lists.push(("Needs no translation:", of("unneeded")));
    }
    for (heading, list) in lists {
        if list.is_empty() {
            continue;
        }
        writeln!(page);
        writeln!(page, "{heading}");
        for Statement {
            file,
            line,
            text,
            outcome,
        } in list
        {
            writeln!(page, "  {}:{line}: {text}: {}", shown(file), outcome.text());
        }
    }
    if !imported.remarks.is_empty() {
        writeln!(page);
        for remark in &imported.remarks {
            writeln!(page, "Note: {remark}.");
        }
    }
    if !imported.problems.is_empty() {
        writeln!(page);
        writeln!(page, "As it stands, `carpd check` refuses it:");
        for problem in &imported.problems {
            writeln!(page, "  {}", shown(problem));
        }
    }
    writeln!(page);
    match untranslated.len() + open.len() {
        0 if !imported.problems.is_empty() => {
            writeln!(page, "What `carpd check` refuses is left for you to do.");
        }
        0 => writeln!(page, "Nothing is left for you to do but `carpd check`."),
        1 => writeln!(page, "1 thing is left for you to do."),
        n => writeln!(page, "{n} things are left for you to do."),
    }
}

/// Stable: `config`, `files` (each `path`, `secret`, and `text` unless it is secret), `complete`,
/// `remarks`, `problems`, and `statements`, each `file`, `line`, `text`, `outcome` (`translated`, `unneeded`,
/// `different`, `open`, `untranslated`) and `detail`.
fn as_json(imported: &Imported) -> Value {
    let file = |file: &File| {
        let text = (!file.secret).then_some(file.text.as_str());
        json!({ "path": file.path, "secret": file.secret, "text": text })
    };
    let statement = |said: &Statement| {
        let outcome: &Outcome = &said.outcome;
        json!({
            "file": said.file, "line": said.line, "text": said.text,
            "outcome": outcome.as_str(), "detail": outcome.text(),
        })
    };
    json!({
        "config": imported.config,
        "files": imported.files.iter().map(file).collect::<Vec<_>>(),
        "complete": imported.is_complete(),
        "remarks": imported.remarks,
        "problems": imported.problems,
        "statements": imported.statements.iter().map(statement).collect::<Vec<_>>(),
    })
}
