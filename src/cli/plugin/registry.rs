//! `carpd plugin pull` and `push`: exchange plugins with an OCI registry.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal as _, stderr};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::look::Look;
use super::{Keys, failure, read_at_most, write};
use crate::cli::{Exit, Failure, output};
use crate::hooks::artifact::manifest;
use crate::hooks::artifact::source::MAX_TOTAL;
use crate::hooks::artifact::vet::beside;
use crate::host::children::http_worker::certificates;
use crate::registry::{self, About, Client, Pulled, Reference, RegistryError, Way};
use crate::trust::{FILE_MAX, Trust};
use crate::types::Page;

/// How to connect to a registry.
#[derive(Debug, clap::Args)]
pub(super) struct Connection {
    /// Use an unencrypted connection to a registry that is not on this machine.
    #[arg(long)]
    insecure: bool,

    /// CA certificates (PEM) to trust in addition to the system's. With this, the connection is
    /// encrypted even to a registry on this machine.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca_file: Option<PathBuf>,
}

impl Connection {
    fn client(&self, reference: &Reference) -> Result<Client, Failure> {
        let way = match &self.ca_file {
            Some(path) => Way::Believing(certificates(path).map_err(failure)?),
            None if self.insecure => Way::Insecure,
            None => Way::Usual,
        };
        Ok(Client::new(reference, &way))
    }
}

/// Download a plugin, and its signature if it has one, from an OCI registry. Does not change the
/// configuration.
///
/// REF is HOST/NAME:TAG, or HOST/NAME@sha256:... for exactly one version. The layout is that of
/// `wkg`. Credentials are taken from ~/.docker/config.json. Only connections to this machine are
/// unencrypted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin pull registry.example.org/carpd/failover:0.2.0\n  \
    carpd plugin pull registry.example.org/carpd/failover:0.2.0 --output new.wasm && carpd plugin diff failover.wasm new.wasm")]
pub(in crate::cli) struct Args {
    /// The plugin.
    #[arg(value_name = "REF")]
    reference: Reference,

    /// The file to write; the signature goes next to it [default: NAME.wasm].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    keys: Keys,

    #[command(flatten)]
    connection: Connection,

    /// Overwrite an existing file.
    #[arg(long)]
    force: bool,

    /// Print what was downloaded as JSON.
    #[arg(long)]
    json: bool,
}

/// Upload a plugin, with the signature next to it, to an OCI registry.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd plugin push failover.wasm registry.example.org/carpd/failover:0.2.0"
)]
pub(in crate::cli) struct PushArgs {
    /// The component.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Where to upload it.
    #[arg(value_name = "REF")]
    reference: Reference,

    #[command(flatten)]
    connection: Connection,

    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let path = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.wasm", args.reference.name())));
    for path in [&path, &beside(&path)] {
        if path.exists() && !args.force {
            return Err(
                failure(format!("{} exists", path.display())).hint("use --force to overwrite it")
            );
        }
    }
    let trust = args.keys.trust()?;
    let pulled = fetch(&args.reference, &args.connection)?;
    let look = keep(&pulled, &path, &trust)?;
    if args.json {
        let (reference, manifest) = (args.reference.to_string(), pulled.digest.to_string());
        return output::pretty_json(
            &json!({ "reference": reference, "manifest": manifest, "plugin": look.json() }),
        );
    }
    let mut page = Page::default();
    writeln!(
        page,
        "{}: {} bytes, {}",
        path.display(),
        look.bytes.len(),
        look.digest
    );
    writeln!(page, "{}", look.signature.text());
    writeln!(
        page,
        "in the registry: {}/{}@{}",
        args.reference.host, args.reference.repository, pulled.digest
    );
    output::page(&page)
}

/// Writes what was downloaded to a file, and its signature next to it. A signature left by another
/// file is removed.
fn keep(pulled: &Pulled, path: &Path, trust: &Trust) -> Result<Look, Failure> {
    // Checked before anything is written.
    manifest::abilities(&pulled.component).map_err(|err| failure(err.to_string()))?;
    write(path, &pulled.component)?;
    match &pulled.signature {
        Some(text) => write(&beside(path), text.as_bytes())?,
        None if beside(path).exists() => {
            fs::remove_file(beside(path))
                .map_err(|err| failure(format!("{}: {err}", beside(path).display())))?;
        }
        None => {}
    }
    Look::at(path, trust)
}

/// Downloads a plugin, and shows the progress.
fn fetch(reference: &Reference, connection: &Connection) -> Result<Pulled, Failure> {
    let mut client = connection.client(reference)?;
    let watched = stderr().is_terminal();
    let mut progress = |done: u64, of: u64| {
        if watched {
            output::progress(format_args!(
                "{reference}: {} of {} KiB",
                done >> 10,
                of >> 10
            ));
        }
    };
    let pulled = registry::pull(&mut client, reference, MAX_TOTAL, &mut progress);
    if watched {
        output::progress_ended();
    }
    pulled.map_err(|err| failed(&err))
}

fn failed(err: &RegistryError) -> Failure {
    failure(err.to_string())
}

/// A private directory for what was downloaded; removed when this value is dropped.
#[derive(Debug)]
pub(super) struct Fetched {
    directory: PathBuf,
    /// The component in it.
    pub(super) file: PathBuf,
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Downloads a plugin for `carpd plugin add` to inspect.
pub(super) fn fetch_for_add(
    reference: &Reference,
    connection: &Connection,
) -> Result<Fetched, Failure> {
    let pulled = fetch(reference, connection)?;
    let directory = std::env::temp_dir().join(format!("carpd-pull-{}", std::process::id()));
    fs::create_dir(&directory).map_err(|err| failure(format!("{}: {err}", directory.display())))?;
    let fetched = Fetched {
        file: directory.join(format!("{}.wasm", reference.name())),
        directory,
    };
    keep(&pulled, &fetched.file, &Trust::default())?;
    Ok(fetched)
}

/// The text of the signature next to a file.
fn signature(file: &Path) -> Result<Option<String>, Failure> {
    let path = beside(file);
    if !path.exists() {
        return Ok(None);
    }
    let text = String::from_utf8(read_at_most(&path, FILE_MAX)?);
    text.map(Some).map_err(|_| {
        failure(format!(
            "{}: this is not a minisign signature",
            path.display()
        ))
    })
}

pub(super) fn push(args: &PushArgs) -> Result<Exit, Failure> {
    let look = Look::at(&args.file, &Trust::default())?;
    let (imports, exports) =
        manifest::interfaces(&look.bytes).map_err(|err| failure(err.to_string()))?;
    let mut annotations = BTreeMap::new();
    if let Some(manifest) = &look.manifest {
        let mut set = |name: &str, value: &str| {
            annotations.insert(format!("org.opencontainers.image.{name}"), value.to_owned())
        };
        set("title", &manifest.name);
        set("version", &manifest.version);
        set("description", &manifest.description);
        set("licenses", &manifest.license);
        if let Some(source) = &manifest.source {
            set("source", source);
        }
    }
    let signature = signature(&args.file)?;
    let signed = signature.is_some();
    let created = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let file_name = args
        .file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let about = About {
        imports,
        exports,
        created,
        annotations,
        signature,
        file_name,
    };
    let mut client = args.connection.client(&args.reference)?;
    let digest = registry::push(&mut client, &args.reference, &look.bytes, &about)
        .map_err(|err| failed(&err))?;
    let place = format!(
        "{}/{}@{digest}",
        args.reference.host, args.reference.repository
    );
    if args.json {
        return output::pretty_json(&json!({
            "reference": args.reference.to_string(),
            "manifest": digest.to_string(),
            "digest": look.digest.to_string(),
            "signed": signed,
        }));
    }
    output::line(format_args!(
        "{}: {place}, {}",
        args.reference,
        if signed {
            "with its signature"
        } else {
            "not signed"
        }
    ))
}
