//! A hook in Rust: the template, and the SDK that matches this carpd.

use super::language::{File, RUST};
use crate::cli::{Exit, Failure};
use crate::types::Name;

/// The SDK, as it was when this carpd was built.
const SDK: [(&str, &str); 6] = [
    (
        "Cargo.toml",
        include_str!("../../../../plugins/sdk/Cargo.toml"),
    ),
    (
        "src/fake.rs",
        include_str!("../../../../plugins/sdk/src/fake.rs"),
    ),
    (
        "src/groups.rs",
        include_str!("../../../../plugins/sdk/src/groups.rs"),
    ),
    (
        "src/lib.rs",
        include_str!("../../../../plugins/sdk/src/lib.rs"),
    ),
    (
        "src/panic.rs",
        include_str!("../../../../plugins/sdk/src/panic.rs"),
    ),
    // Its bindings are generated from the contract when it is compiled.
    (
        "wit/hooks.wit",
        include_str!("../../../../plugins/wit/hooks.wit"),
    ),
];

/// The files of a hook in Rust; `sdk` is the location of the crate carpd-hook, which is copied if
/// not given.
///
/// # Errors
/// The name cannot be the name of a crate.
pub(in crate::cli) fn files(name: &Name, sdk: Option<&str>) -> Result<Vec<File>, Failure> {
    let krate = name.as_str();
    if krate.contains(['.', '_']) || krate.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{krate} cannot be the name of a crate: letters, digits and dashes"),
        ));
    }
    let artifact = krate.replace('-', "_");
    let mut files = RUST.files(name, &[("ARTIFACT", &artifact), ("SDK", &dependency(sdk))]);
    if sdk.is_none() {
        files.extend(
            SDK.map(|(path, text)| File::new(format!("carpd-hook/{path}"), on_its_own(text))),
        );
    }
    Ok(files)
}

/// Where the crate carpd-hook comes from, as TOML.
fn dependency(sdk: Option<&str>) -> String {
    match sdk {
        None => "{ path = \"carpd-hook\" }".to_owned(),
        Some(url) if url.contains("://") || url.starts_with("git@") => {
            format!("{{ git = {url:?} }}")
        }
        Some(path) => format!("{{ path = {path:?} }}"),
    }
}

/// The SDK's manifest, made independent of its workspace.
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_of_the_sdk_is_copied() {
        let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/sdk");
        let mut there: Vec<String> = ["src", "wit"]
            .iter()
            .flat_map(|part| {
                fs::read_dir(format!("{sdk}/{part}"))
                    .unwrap()
                    .map(move |entry| (part, entry.unwrap()))
            })
            .map(|(part, entry)| format!("{part}/{}", entry.file_name().into_string().unwrap()))
            .collect();
        there.sort();
        let copied: Vec<&str> = SDK
            .iter()
            .map(|(file, _)| *file)
            .filter(|file| *file != "Cargo.toml")
            .collect();
        assert_eq!(copied, there);
        assert!(!on_its_own(SDK[0].1).contains("workspace"));
    }
}
