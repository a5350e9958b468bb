//! Reads `[trust]`.

use std::path::Path;

use super::problem::Findings;
use super::read::{At, Table};
use super::reference::trust as key;
use super::{Surroundings, Unusable, reference};
use crate::trust::{Key, Trust};

/// The keys that may sign hooks. Those that could not be read are reported.
pub(super) fn read(root: &Table<'_>, around: &dyn Surroundings, out: &mut Findings) -> Trust {
    let Some(At { value: table, .. }) = root.read(&reference::TRUST, out) else {
        return Trust::default();
    };
    let names = table.read(&key::KEYS, out);
    // The table is strict by default: only an explicit `false` makes it lenient.
    let require_signature = table.get(&key::REQUIRE_SIGNATURE, out);
    if let Some(none) = names
        .as_ref()
        .filter(|names| names.value.is_empty() && require_signature)
    {
        out.error(none.span.clone(), "signatures are required, but there is no key to check them with: no hook could run")
            .hint("name a minisign public key or its file in `keys`, or write `require-signature = false`".to_owned());
    }
    let names = names.map(|names| names.value).unwrap_or_default();
    let keys = names
        .iter()
        .filter_map(|name| public_key(name, around, out))
        .collect();
    Trust {
        keys,
        require_signature,
    }
}

/// What stands in `keys` for the key that signs the plugins of carpd's own releases.
const OF_CARPD: &str = "carpd";
/// Where packages and the tarball have it.
const KEYS_OF_CARPD: [&str; 2] = [
    "/usr/share/carpd/carpd.pub",
    "/usr/local/share/carpd/carpd.pub",
];

/// The bytes of a key's file.
fn file(name: &str, around: &dyn Surroundings) -> Result<Vec<u8>, Unusable> {
    if name != OF_CARPD {
        return around.key_file(Path::new(name));
    }
    let [package, tarball] = KEYS_OF_CARPD.map(Path::new);
    around.key_file(package).or_else(|why| {
        around.key_file(tarball).map_err(|_| Unusable {
            hint: Some(
                "packages of carpd install it; otherwise write the path of the file".to_owned(),
            ),
            ..why
        })
    })
}

/// A key as it stands, or one in a file.
fn public_key(name: &At<String>, around: &dyn Surroundings, out: &mut Findings) -> Option<Key> {
    if Key::looks_like(&name.value) {
        return super::read::parse(
            At {
                value: name.value.as_str(),
                span: name.span.clone(),
            },
            out,
        )
        .map(|key| key.value);
    }
    let bytes = file(&name.value, around).map_err(|why| {
        out.error(name.span.clone(), why.message).hint(why.hint);
    });
    let key = Key::from_file(&String::from_utf8_lossy(&bytes.ok()?)).map_err(|_| {
        let hint =
            "a public key's file has two lines, as minisign -G and carpd plugin keygen write it"
                .to_owned();
        out.error(
            name.span.clone(),
            format!("{:?} is not a minisign public key", name.value),
        )
        .hint(hint);
    });
    key.ok()
}
