//! What a plugin says about itself, and what it can really do.
//!
//! A plugin is a component with a manifest in the custom section `carpd-manifest`. The manifest
//! *asks*; [`abilities`] is what the component could ever use, read from the component itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldItem, WorldKey};

use crate::hooks::EntryPoint;
use crate::hooks::contract::api::wit::{self, kebab};
use crate::hooks::process::compiler::check_preamble;

/// The custom section that holds the manifest, as TOML.
pub const SECTION: &str = "carpd-manifest";

/// The longest manifest, in bytes.
const MAX_MANIFEST: usize = 64 << 10;

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// SPDX expression.
    pub license: String,
    /// Where its source is.
    #[serde(default)]
    pub source: Option<String>,
    /// What it asks for: the key of a grant and the reason for it.
    #[serde(default)]
    pub asks: BTreeMap<String, String>,
}

/// Why a plugin could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// Not a component, or a broken one.
    #[error("{0}")]
    Component(String),
    /// Its manifest makes no sense.
    #[error("its manifest: {0}")]
    Manifest(String),
}

fn broken(err: &dyn std::fmt::Display) -> PluginError {
    PluginError::Component(format!("this is a broken component: {err}"))
}

/// All that a component can ever do, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Abilities {
    /// Functions that it imports, sorted: `addr.add`; of another package, its full name.
    pub imports: Vec<String>,
    /// The version of the contract that it was made for, as in `1.0.0`; the newest, should there be
    /// several.
    pub contract: Option<String>,
    /// Entry points that it exports, by their names in the documentation.
    pub entry_points: Vec<String>,
}

/// Reads what a component imports and exports, without running or compiling it.
///
/// # Errors
/// [`PluginError::Component`].
pub fn abilities(component: &[u8]) -> Result<Abilities, PluginError> {
    check_preamble(component).map_err(PluginError::Component)?;
    let decoded = wit_component::decode(component).map_err(|err| broken(&err))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(PluginError::Component(
            "this is a WIT package and contains no code".to_owned(),
        ));
    };
    let world = resolve
        .worlds
        .get(world)
        .ok_or_else(|| broken(&"it has no world"))?;
    let mut imports: Vec<String> = world
        .imports
        .iter()
        .flat_map(|(key, item)| functions(&resolve, key, item))
        .collect();
    imports.sort();
    let exported = |entry: &EntryPoint| {
        let name = format!("{}/{}@", wit::PACKAGE, kebab(entry.as_str()));
        world
            .exports
            .keys()
            .any(|key| resolve.name_world_key(key).starts_with(&name))
    };
    let entry_points = EntryPoint::ALL
        .iter()
        .filter(|entry| exported(entry))
        .map(|entry| entry.as_str().to_owned())
        .collect();
    let names = world
        .imports
        .keys()
        .chain(world.exports.keys())
        .map(|key| resolve.name_world_key(key));
    let contract = names
        .filter_map(|name| version(&name))
        .max()
        .map(|(major, minor, patch)| format!("{major}.{minor}.{patch}"));
    Ok(Abilities {
        imports,
        contract,
        entry_points,
    })
}

/// Of an interface of ours: `carpd:hooks/log@1.0.0`.
fn version(name: &str) -> Option<(u64, u64, u64)> {
    let (interface, version) = name.split_once('@')?;
    interface.strip_prefix(wit::PACKAGE)?.strip_prefix('/')?;
    let mut parts = version.splitn(3, '.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// The interfaces that a component imports and exports, in its own words.
///
/// # Errors
/// [`PluginError::Component`].
pub fn interfaces(component: &[u8]) -> Result<(Vec<String>, Vec<String>), PluginError> {
    let DecodedWasm::Component(resolve, world) =
        wit_component::decode(component).map_err(|err| broken(&err))?
    else {
        return Err(PluginError::Component(
            "this is a WIT package and contains no code".to_owned(),
        ));
    };
    let world = resolve
        .worlds
        .get(world)
        .ok_or_else(|| broken(&"it has no world"))?;
    let names = |keys: &mut dyn Iterator<Item = &WorldKey>| {
        keys.map(|key| resolve.name_world_key(key)).collect()
    };
    Ok((
        names(&mut world.imports.keys()),
        names(&mut world.exports.keys()),
    ))
}

fn functions(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> Vec<String> {
    let name = resolve.name_world_key(key);
    let own = name
        .strip_prefix(wit::PACKAGE)
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|rest| rest.split('@').next());
    let group = own.map_or_else(|| name.clone(), wit::snake);
    match item {
        WorldItem::Interface { id, .. } => {
            let interface = resolve.interfaces.get(*id);
            interface
                .into_iter()
                .flat_map(|i| i.functions.keys())
                .map(|f| format!("{group}.{}", wit::snake(f)))
                .collect()
        }
        WorldItem::Function(_) => vec![name],
        WorldItem::Type { .. } => Vec::new(),
    }
}

/// The manifest of a component; `None` if it has none.
///
/// # Errors
/// [`PluginError`], also if there are two.
pub fn manifest(component: &[u8]) -> Result<Option<Manifest>, PluginError> {
    let mut found = None;
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|err| broken(&err))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                let bad = |why: &dyn std::fmt::Display| PluginError::Manifest(why.to_string());
                if found.is_some() {
                    return Err(bad(&"there are two of them"));
                }
                if section.data().len() > MAX_MANIFEST {
                    return Err(bad(&format!("longer than {MAX_MANIFEST} bytes")));
                }
                let text = std::str::from_utf8(section.data()).map_err(|err| bad(&err))?;
                found = Some(toml::from_str(text).map_err(|err| bad(&err))?);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Makes a component of what a compiler left, with the manifest in it if there is one. What is a
/// component already stays what it is.
///
/// # Errors
/// [`PluginError`]: the module imports or exports what the contract does not have.
pub fn build(module: &[u8], manifest: Option<&str>) -> Result<Vec<u8>, PluginError> {
    let mut component = match module {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => componentize(module)?,
        _ => module.to_vec(),
    };
    abilities(&component)?;
    if let Some(text) = manifest {
        let _: Manifest =
            toml::from_str(text).map_err(|err| PluginError::Manifest(err.to_string()))?;
        push_section(&mut component, SECTION, text.as_bytes());
    }
    Ok(component)
}

/// A core module as a component of the world that it really exports.
fn componentize(module: &[u8]) -> Result<Vec<u8>, PluginError> {
    let mut text = "package carpd:plugin;\nworld plugin {\n".to_owned();
    let _ = writeln!(text, "  include {}/imports@{};", wit::PACKAGE, wit::VERSION);
    let exported = core_exports(module)?;
    for entry in EntryPoint::ALL {
        let interface = format!(
            "{}/{}@{}",
            wit::PACKAGE,
            kebab(entry.as_str()),
            wit::VERSION
        );
        if exported
            .iter()
            .any(|name| name.split('#').next() == Some(&interface))
        {
            let _ = writeln!(text, "  export {interface};");
        }
    }
    text += "}\n";
    let made = || {
        let mut resolve = Resolve::default();
        resolve.push_source("hooks.wit", &wit::contract())?;
        let package = resolve.push_source("plugin.wit", &text)?;
        let world = resolve.select_world(&[package], Some("plugin"))?;
        let mut module = module.to_vec();
        wit_component::embed_component_metadata(
            &mut module,
            &resolve,
            world,
            wit_component::StringEncoding::UTF8,
        )?;
        wit_component::ComponentEncoder::default()
            .validate(true)
            .module(&module)?
            .encode()
    };
    made().map_err(|err| PluginError::Component(format!("{err:#}")))
}

fn core_exports(module: &[u8]) -> Result<Vec<String>, PluginError> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(section) = payload.map_err(|err| broken(&err))? {
            for export in section {
                names.push(export.map_err(|err| broken(&err))?.name.to_owned());
            }
        }
    }
    Ok(names)
}

fn push_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut body = Vec::with_capacity(name.len() + data.len() + 8);
    push_length(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    component.push(0);
    push_length(component, body.len());
    component.extend_from_slice(&body);
}

/// LEB128, as WebAssembly writes numbers.
fn push_length(into: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap_or(0);
        length >>= 7;
        if length == 0 {
            into.push(byte);
            return;
        }
        into.push(byte | 0x80);
    }
}
