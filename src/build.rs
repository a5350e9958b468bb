//! Says which build this is, for [`carpd::programs::BUILD`]: a digest of all that the programs are
//! made of. The same sources with the same features give the same one, whenever and wherever they
//! are built.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut digest = Digest::new();
    for name in ["Cargo.toml", "Cargo.lock", "src"] {
        println!("cargo::rerun-if-changed={name}");
        let path = root.join(name);
        // There is no lock where it is somebody's dependency.
        if path.exists() {
            add(&mut digest, &root, &path)?;
        }
    }
    // Messages have parts that exist in some builds alone, and numbers that are as wide as
    // addresses.
    let mut settings: Vec<String> = env::vars()
        .filter(|(name, _)| {
            name.starts_with("CARGO_FEATURE_")
                || name == "CARGO_CFG_DEBUG_ASSERTIONS"
                || name == "TARGET"
        })
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    settings.sort();
    for setting in settings {
        digest.add(setting.as_bytes());
    }
    println!("cargo::rustc-env=CARPD_BUILD={:016x}", digest.0);
    Ok(())
}

/// A file, or all that is below a directory in the order of its names.
fn add(digest: &mut Digest, root: &Path, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
        let mut below = entries.collect::<io::Result<Vec<_>>>()?;
        below.sort();
        return below.iter().try_for_each(|path| add(digest, root, path));
    }
    let name = path.strip_prefix(root).unwrap_or(path);
    digest.add(name.as_os_str().as_encoded_bytes());
    digest.add(&fs::read(path)?);
    Ok(())
}

/// FNV-1a: builds are to be told apart, not protected from each other.
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes and their number, so that what is added is told apart from what follows.
    fn add(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for byte in bytes.iter().chain(&length) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
