//! `carpd plugin new`: a plugin to begin with, and the SDK that fits this carpd.

use std::fs;
use std::path::PathBuf;

use super::{failure, write};
use crate::cli::{Exit, Failure, output};
use crate::types::Name;

/// Make a directory with a plugin that builds, its test, its manifest, and the SDK of this version beside it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin new announcer\n  \
    carpd plugin new announcer --sdk ../carpd/plugins/sdk\n  \
    carpd plugin new announcer --sdk https://git.example.org/carpd.git\n\n\
    The SDK is copied, so that nothing but the crate wit-bindgen has to be fetched. After an upgrade of carpd make it anew beside\n\
    another directory, and replace carpd-hook/ with that one.")]
pub(in crate::cli) struct Args {
    /// The plugin's name: letters, digits and dashes.
    #[arg(value_name = "NAME")]
    name: Name,

    /// The language.
    #[arg(long, value_name = "LANG", default_value = "rust")]
    lang: Lang,

    /// Where to make it; ./NAME if not given.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,

    /// Take the crate carpd-hook from this directory or Git repository, and copy nothing.
    #[arg(long, value_name = "PATH|URL")]
    sdk: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Lang {
    Rust,
}

/// The SDK, as it was when this carpd was built.
const SDK: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("../../../plugins/sdk/Cargo.toml")),
    ("src/bindings.rs", include_str!("../../../plugins/sdk/src/bindings.rs")),
    ("src/fake.rs", include_str!("../../../plugins/sdk/src/fake.rs")),
    ("src/groups.rs", include_str!("../../../plugins/sdk/src/groups.rs")),
    ("src/lib.rs", include_str!("../../../plugins/sdk/src/lib.rs")),
    ("src/panic.rs", include_str!("../../../plugins/sdk/src/panic.rs")),
];

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let Lang::Rust = args.lang;
    let name = args.name.as_str();
    if name.contains(['.', '_']) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Failure::new(Exit::Usage, format!("{name} cannot be the name of a crate: letters, digits and dashes")));
    }
    let directory = args.dir.clone().unwrap_or_else(|| PathBuf::from(name));
    if directory.exists() {
        return Err(failure(format!("{} exists", directory.display())));
    }
    let mut files = template(name, &dependency(args.sdk.as_deref()));
    if args.sdk.is_none() {
        files.extend(SDK.map(|(file, text)| (format!("carpd-hook/{file}"), on_its_own(text))));
    }
    for (file, text) in &files {
        let path = directory.join(file);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(|err| failure(format!("{}: {err}", path.display())))?;
        write(&path, text.as_bytes())?;
    }
    let text = format!("made {}; {0}/README.md says how to test and build it\n", directory.display());
    output::data(text.as_bytes())
}

/// Where the crate carpd-hook comes from, as TOML.
fn dependency(sdk: Option<&str>) -> String {
    match sdk {
        None => "{ path = \"carpd-hook\" }".to_owned(),
        Some(url) if url.contains("://") || url.starts_with("git@") => format!("{{ git = {url:?} }}"),
        Some(path) => format!("{{ path = {path:?} }}"),
    }
}

/// The manifest of the SDK without the workspace that it comes from.
fn on_its_own(text: &str) -> String {
    let line = |line: &str| match line.strip_suffix(".workspace = true") {
        Some("version") => concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"").to_owned(),
        Some("edition") => "edition = \"2024\"".to_owned(),
        Some("license") => concat!("license = \"", env!("CARGO_PKG_LICENSE"), "\"").to_owned(),
        Some("publish") => "publish = false".to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn template(name: &str, sdk: &str) -> Vec<(String, String)> {
    let artifact = name.replace('-', "_");
    let cargo = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         # The component, and the library that is tested.\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\ncarpd-hook = {sdk}\n\n\
         [profile.release]\nopt-level = \"s\"\nlto = true\npanic = \"abort\"\ncodegen-units = 1\n\
         # Function names stay: a backtrace without them says nothing.\nstrip = \"debuginfo\"\n\n\
         # No part of another workspace.\n[workspace]\n"
    );
    let lib = "\
//! Writes this node's role to a file. Every call may be repeated; what is as it should be stays untouched.

use carpd_hook::{Event, Result, file, hook, log};

hook!(on_master, on_backup);

const ROLE: &str = \"/run/NAME.role\";

/// We are master: the addresses are up and announced.
fn on_master(event: Event) -> Result {
    file::write(ROLE, b\"master\\n\", Default::default())?;
    log::info(\"Took over\", &[(\"instance\".to_owned(), event.instance.name)]);
    Ok(())
}

/// We are not master, or no longer: the addresses are gone. What on_master did is undone after this.
fn on_backup(event: Event) -> Result {
    log::info(\"Stands by\", &[(\"instance\".to_owned(), event.instance.name)]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use carpd_hook::fake;

    use super::*;

    #[test]
    fn a_master_writes_its_role_down() {
        on_master(fake::event(\"on_master\")).unwrap();
        assert_eq!(fake::asked(), [\"file.write /run/NAME.role (7 bytes)\", \"log.info Took over\"]);
    }

    #[test]
    fn what_fails_ends_the_run_with_its_words() {
        fake::fail(\"file.write\", \"no space left on device\");
        assert_eq!(on_master(fake::event(\"on_master\")).unwrap_err().to_string(), \"no space left on device\");
    }
}
"
    .replace("NAME", name);
    let manifest = format!(
        "name = \"{name}\"\nversion = \"0.1.0\"\ndescription = \"Writes this node's role to a file\"\nlicense = \"MIT OR Apache-2.0\"\n\n\
         # What it needs to be granted, each with the reason for it: operators read this before they run it.\n\
         [asks]\nfile = \"the role of the node is told to others by a file\"\n"
    );
    let readme = format!(
        "# {name}\n\nA plugin for carpd.\n\nTest it on this machine:\n\n```sh\ncargo test\n```\n\nBuild it:\n\n```sh\n\
         rustup target add wasm32-unknown-unknown\n\
         cargo build --release --target wasm32-unknown-unknown\n\
         carpd plugin build target/wasm32-unknown-unknown/release/{artifact}.wasm --manifest plugin.toml --output {name}.wasm\n```\n\n\
         Look at it, sign it, and use it:\n\n```sh\n\
         carpd plugin inspect {name}.wasm\n\
         carpd plugin sign {name}.wasm --secret-key team.key\n\
         carpd plugin add {name}.wasm --grant 'file = [{{ path = \"/run/{name}.role\", do = [\"write\"] }}]'\n```\n"
    );
    [
        ("Cargo.toml", cargo),
        ("src/lib.rs", lib),
        ("plugin.toml", manifest),
        ("README.md", readme),
        (".gitignore", "/target\n".to_owned()),
    ]
    .map(|(file, text)| (file.to_owned(), text))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_the_sdk_is_copied() {
        let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/sdk");
        let mut there: Vec<String> = fs::read_dir(format!("{sdk}/src"))
            .unwrap()
            .map(|entry| format!("src/{}", entry.unwrap().file_name().into_string().unwrap()))
            .collect();
        there.sort();
        let copied: Vec<&str> = SDK.iter().map(|(file, _)| *file).filter(|file| *file != "Cargo.toml").collect();
        assert_eq!(copied, there);
        assert!(!on_its_own(SDK[0].1).contains("workspace"));
    }
}
