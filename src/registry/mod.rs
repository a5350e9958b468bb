//! Plugins in an OCI registry, in the layout that `wkg` uses for components: one layer
//! `application/wasm`, and a configuration `application/vnd.wasm.config.v0+json`. The signature, if
//! there is one, is an annotation of the manifest.
//!
//! A small part of the distribution specification: one manifest, its blobs, bearer tokens.
//! Everything received is bounded, and checked against the digest that names it.

mod client;
mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use client::{Client, Way};
pub use reference::{BadReference, Reference, Version};

use crate::trust::{self, Digest, FILE_MAX};

/// The annotation of a manifest that holds the signature of its component: the `.minisig` file in
/// base64. Not as text: `wkg` writes line breaks in annotations unescaped, which is not valid JSON.
pub const SIGNATURE: &str = "carpd.minisig";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The annotation of a layer that names its file.
const TITLE: &str = "org.opencontainers.image.title";
const WASM: &str = "application/wasm";
/// The largest manifest that is read, in bytes.
const MANIFEST_MAX: u64 = 256 << 10;

/// Why something could not be fetched from a registry, or uploaded to it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry cannot be reached.
    #[error("{url}: {why}")]
    Unreachable {
        /// What was requested.
        url: String,
        /// What happened.
        why: String,
    },
    /// The registry refused.
    #[error("{url}: the registry answered {status}{}", said(why))]
    Refused {
        /// What was requested.
        url: String,
        /// The HTTP status.
        status: u16,
        /// Its explanation.
        why: String,
    },
    /// What was received does not match its digest.
    #[error(
        "{what} is not what it should be: its digest is {found}, not {wanted}; do not use this registry"
    )]
    Digest {
        /// The manifest, or a blob.
        what: String,
        /// The digest that was requested.
        wanted: Digest,
        /// The digest of what was received.
        found: Digest,
    },
    /// It is not a plugin, or is too large for one.
    #[error("{reference}: {why}")]
    NoPlugin {
        /// What was requested.
        reference: Reference,
        /// What is wrong with it.
        why: String,
    },
}

fn said(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    }
}

/// A plugin as received from a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The digest of the manifest: names exactly this version in the registry.
    pub digest: Digest,
    /// The component.
    pub component: Vec<u8>,
    /// The text of its signature.
    pub signature: Option<String>,
}

/// The parts of a manifest that matter here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u8,
    #[serde(default = "of_image")]
    media_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn of_image() -> String {
    MANIFEST.to_owned()
}

/// A blob by its digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Descriptor {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        let (digest, size) = (Digest::of(bytes).to_string(), bytes.len() as u64);
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations: BTreeMap::new(),
        }
    }
}

/// The configuration of a component, field by field as `wkg` writes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: &'a str,
    author: Option<&'a str>,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [&'a str; 1],
    component: Interfaces<'a>,
}

/// What a component imports and exports, for people who search for one.
#[derive(Debug, Serialize)]
struct Interfaces<'a> {
    exports: &'a [String],
    imports: &'a [String],
    target: Option<&'a str>,
}

/// Fetches a plugin. `limit` is the largest component that is accepted, in bytes; `progress` is
/// called with the number of bytes so far and in total.
///
/// # Errors
/// [`RegistryError`].
pub fn pull(
    client: &mut Client,
    reference: &Reference,
    limit: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Pulled, RegistryError> {
    let no_plugin = |why: String| RegistryError::NoPlugin {
        reference: reference.clone(),
        why,
    };
    let path = format!("manifests/{}", reference.version);
    let bytes = client.get(&path, MANIFEST, MANIFEST_MAX, &mut |_, _| {})?;
    let digest = Digest::of(&bytes);
    if let Version::Digest(wanted) = reference.version {
        same(&format!("the manifest of {reference}"), wanted, digest)?;
    }
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|err| no_plugin(format!("its manifest is invalid: {err}")))?;
    let layer = plugin_layer(&manifest, limit).map_err(no_plugin)?;
    let wanted: Digest = layer
        .digest
        .parse()
        .map_err(|_| no_plugin(format!("{:?} is an unknown kind of digest", layer.digest)))?;
    let component = client.get(&format!("blobs/{wanted}"), "*/*", layer.size, progress)?;
    same(
        &format!("the component of {reference}"),
        wanted,
        Digest::of(&component),
    )?;
    let signature = manifest
        .annotations
        .get(SIGNATURE)
        .map(|text| signature(text))
        .transpose()
        .map_err(no_plugin)?;
    Ok(Pulled {
        digest,
        component,
        signature,
    })
}

/// A signature's file, from its annotation.
fn signature(annotation: &str) -> Result<String, String> {
    if annotation.len() as u64 > 2 * FILE_MAX {
        return Err(format!("its signature is larger than {FILE_MAX} bytes"));
    }
    let text = trust::decode_base64(annotation).and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| format!("its annotation {SIGNATURE} is not a minisign file in base64"))
}

fn same(what: &str, wanted: Digest, found: Digest) -> Result<(), RegistryError> {
    if wanted == found {
        Ok(())
    } else {
        Err(RegistryError::Digest {
            what: what.to_owned(),
            wanted,
            found,
        })
    }
}

/// The one layer of a component.
fn plugin_layer(manifest: &Manifest, limit: u64) -> Result<&Descriptor, String> {
    if manifest.schema_version != 2 || manifest.media_type != MANIFEST {
        return Err(format!(
            "it is not an OCI image but {}",
            manifest.media_type
        ));
    }
    if manifest.config.media_type != CONFIG {
        return Err(format!(
            "it does not contain a component but {}",
            manifest.config.media_type
        ));
    }
    let [layer] = manifest.layers.as_slice() else {
        return Err(format!("it has {} layers, not one", manifest.layers.len()));
    };
    if layer.media_type != WASM {
        return Err(format!(
            "its layer is not a component but {}",
            layer.media_type
        ));
    }
    if layer.size > limit {
        return Err(format!(
            "it has {} bytes; a plugin has at most {limit}",
            layer.size
        ));
    }
    Ok(layer)
}

/// What a registry is given about a component, in addition to its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Interfaces that it imports, in the component's own words.
    pub imports: Vec<String>,
    /// Interfaces that it exports.
    pub exports: Vec<String>,
    /// When it was made, as in RFC 3339.
    pub created: String,
    /// Annotations of the manifest, such as `org.opencontainers.image.version`.
    pub annotations: BTreeMap<String, String>,
    /// The text of its signature.
    pub signature: Option<String>,
    /// The file name, for tools that do not know components.
    pub file_name: String,
}

/// Uploads a plugin to a registry, and returns its digest there.
///
/// # Errors
/// [`RegistryError`].
pub fn push(
    client: &mut Client,
    reference: &Reference,
    component: &[u8],
    about: &About,
) -> Result<Digest, RegistryError> {
    let why = |err: serde_json::Error| RegistryError::NoPlugin {
        reference: reference.clone(),
        why: err.to_string(),
    };
    let mut annotations = about.annotations.clone();
    annotations.extend(
        about
            .signature
            .iter()
            .map(|text| (SIGNATURE.to_owned(), trust::encode_base64(text.as_bytes()))),
    );
    let mut layer = Descriptor::of(WASM, component);
    layer
        .annotations
        .insert(TITLE.to_owned(), about.file_name.clone());
    let config = Config {
        created: &about.created,
        author: None,
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [&layer.digest],
        component: Interfaces {
            exports: &about.exports,
            imports: &about.imports,
            target: None,
        },
    };
    let config = serde_json::to_vec(&config).map_err(why)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: Descriptor::of(CONFIG, &config),
        layers: vec![layer],
        annotations,
    };
    // With its keys in alphabetical order, as other tools write theirs: the same plugin has the
    // same digest.
    let manifest = serde_json::to_value(&manifest)
        .and_then(|manifest| serde_json::to_vec(&manifest))
        .map_err(why)?;
    let digest = Digest::of(&manifest);
    let version = match reference.version {
        Version::Digest(wanted) => {
            same("the manifest", wanted, digest)?;
            wanted.to_string()
        }
        Version::Tag(ref tag) => tag.clone(),
    };
    client.put_blob(component)?;
    client.put_blob(&config)?;
    client.put(&format!("manifests/{version}"), MANIFEST, &manifest)?;
    Ok(digest)
}
