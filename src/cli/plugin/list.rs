//! `carpd plugin list`: the hooks in the configuration, who signed them, and which of them the
//! daemon has loaded.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::foresee::owners;
use crate::cli::{CONFIG, Exit, Failure, instance_dir, output};
use crate::config::{Config, Hook, Kind, Share};
use crate::control::{self, Order, Reply};
use crate::engine::report::HookStatus;
use crate::hooks::artifact::manifest;
use crate::hooks::artifact::vet::{Terms, Vouched};
use crate::hooks::{HookSource, Language};
use crate::resolve::Sources;
use crate::types::{Name, Page, shown};

/// List the hooks in the configuration with digest, signer, pin and contract, and whether the
/// daemon has loaded them.
///
/// Reads the configuration and the hooks as the daemon would. The exit status is 1 if one of them
/// would be refused.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,

    /// Print the list as JSON.
    #[arg(long)]
    json: bool,
}

/// One hook.
struct Listed<'a> {
    name: &'a Name,
    hook: &'a Hook,
    /// Its bytes and who vouches for them, or why it would be refused.
    found: Result<(HookSource, Vouched), String>,
    /// The daemon's version of it.
    status: Option<&'a HookStatus>,
    /// Whether a daemon answers.
    running: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let (loaded, _) = owners::look(&args.config).map_err(|report| {
        output::problems(&report);
        Failure::new(Exit::Config, "")
    })?;
    let config = loaded.config;
    let status = daemon(args, &config);
    let modules = config
        .hooks
        .iter()
        .filter(|(_, hook)| hook.kind == Kind::Module);
    let listed = modules.map(|(name, hook)| Listed {
        name,
        hook,
        found: look(&config, name, hook),
        status: status.iter().flatten().find(|status| status.name == *name),
        running: status.is_some(),
    });
    let listed: Vec<Listed<'_>> = listed.collect();
    if args.json {
        output::pretty_json(&listed.iter().map(Listed::json).collect::<Vec<_>>())?;
    } else {
        let mut page = Page::default();
        for listed in &listed {
            listed.text(&mut page);
        }
        output::page(&page)?;
    }
    Ok(if listed.iter().all(|listed| listed.found.is_ok()) {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// The hooks of the daemon that runs this configuration; `None` if it is not running, or we have no
/// permission to ask.
fn daemon(args: &Args, config: &Config) -> Option<Vec<HookStatus>> {
    let socket = control::socket_path(
        &instance_dir(&config.daemon.run_dir, &args.config, &Share::All).ok()?,
    );
    match control::call(&socket, Order::Status) {
        Ok(Reply::Status(status)) => Some(status.hooks),
        _ => None,
    }
}

fn look(config: &Config, name: &Name, hook: &Hook) -> Result<(HookSource, Vouched), String> {
    let sources = Sources::of_daemon();
    let mut source = HookSource::read(name.clone(), &hook.path, hook.config_json.clone(), &sources)
        .map_err(|err| err.to_string())?;
    let terms = Terms {
        trust: &config.trust,
        digest: hook.digest,
        signature: hook.signature.as_deref(),
        sources: &sources,
    };
    let vouched = source
        .vet(&hook.path, terms)
        .map_err(|err| err.to_string())?;
    Ok((source, vouched))
}

impl Listed<'_> {
    /// The contract version of a component.
    fn contract(&self) -> Option<String> {
        let (source, _) = self
            .found
            .as_ref()
            .ok()
            .filter(|(source, _)| source.language == Language::Wasm)?;
        manifest::abilities(&source.main).ok()?.contract
    }

    /// `yes`, `other`, `no`, or `unknown` where no daemon answers.
    fn loaded(&self) -> &'static str {
        match (self.status, &self.found) {
            (Some(status), Ok((source, _))) if status.digest == source.digest() => "yes",
            (Some(_), _) => "other",
            (None, _) if self.running => "no",
            (None, _) => "unknown",
        }
    }

    fn text(&self, page: &mut Page) {
        let (name, source) = (self.name, &self.hook.source);
        match &self.found {
            Ok((read, vouched)) => {
                let contract = self
                    .contract()
                    .map(|contract| format!(", contract {contract}"))
                    .unwrap_or_default();
                writeln!(
                    page,
                    "{name}: {source}, {} bytes{contract}",
                    read.main.len()
                );
                writeln!(page, "  {}", vouched.digest);
                let signer = vouched
                    .signer
                    .as_ref()
                    .map(|signer| format!(" ({})", shown(&signer.comment)));
                writeln!(page, "  {vouched}{}", signer.unwrap_or_default());
            }
            Err(why) => {
                writeln!(page, "{name}: {source}");
                writeln!(page, "  would be refused: {why}");
            }
        }
        let loaded = match self.loaded() {
            "yes" => "loaded in this version",
            "other" => "the daemon has loaded another version",
            "no" => "not loaded: the daemon does not know it yet (run `carpd reload`)",
            _ => "no daemon answers for this configuration",
        };
        writeln!(page, "  {loaded}");
    }

    /// The output of `--json`, which is stable.
    fn json(&self) -> Value {
        let found = self.found.as_ref();
        let vouched = found.map(|(_, vouched)| vouched).ok();
        json!({
            "name": self.name,
            "source": self.hook.source,
            "bytes": found.map(|(source, _)| source.main.len()).ok(),
            "digest": vouched.map(|vouched| vouched.digest.to_string()),
            "pinned": self.hook.digest.is_some(),
            "signer": vouched.and_then(|v| v.signer.as_ref()).map(|s| json!({ "key": s.key.to_string(), "comment": s.comment })),
            "contract": self.contract(),
            "loaded": self.loaded(),
            "problem": found.err(),
        })
    }
}
