//! `carpd plugin keygen`: makes a key pair in minisign's format, and handles passwords of secret
//! keys.

use std::fs::{OpenOptions, Permissions};
use std::io::{BufRead as _, IsTerminal as _, Write as _, stdin};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use minisign::{KeyPair, SecretKey, SecretKeyBox};

use super::{failure, read_at_most};
use crate::cli::{Exit, Failure, output};
use crate::trust::{FILE_MAX, decode_base64};

/// Create a key pair for signing plugins: PREFIX.pub is public, PREFIX.key is secret.
///
/// Does the same as `minisign -G`; minisign can use the files too. Asks for a password that
/// protects the secret key; if standard input is not a terminal, its first line is the password.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  carpd plugin keygen team\n  carpd plugin keygen --no-password ci"
)]
pub(in crate::cli) struct Args {
    /// The path of the files, without their extensions.
    #[arg(value_name = "PREFIX")]
    prefix: PathBuf,

    /// Do not protect the secret key with a password: anyone who can read the file can sign.
    #[arg(long, short = 'W')]
    no_password: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let [public, secret] = ["pub", "key"].map(|ending| with_ending(&args.prefix, ending));
    for path in [&public, &secret] {
        if path.exists() {
            return Err(failure(format!("{} exists", path.display())));
        }
    }
    let failed = |err: minisign::PError| failure(format!("could not make a key pair: {err}"));
    let pair = if args.no_password {
        KeyPair::generate_unencrypted_keypair()
    } else {
        KeyPair::generate_encrypted_keypair(Some(new_password()?))
    };
    let pair = pair.map_err(failed)?;
    let locked = if args.no_password {
        "minisign unencrypted secret key"
    } else {
        "minisign encrypted secret key"
    };
    let secret_text = pair.sk.to_box(Some(locked)).map_err(failed)?.into_string();
    let public_text = pair.pk.to_box().map_err(failed)?.into_string();
    create(&secret, secret_text.as_bytes(), 0o600)?;
    create(&public, public_text.as_bytes(), 0o644)?;
    let key = public_text.lines().nth(1).unwrap_or_default();
    let text = format!(
        "{}: keep it secret; carpd plugin sign FILE -s {0}\n{}: give it to those who run your plugins; in their configuration:\n\n\
         [trust]\nkeys = [\"{key}\"]\n",
        secret.display(),
        public.display()
    );
    output::artefact(text.as_bytes())
}

fn with_ending(prefix: &Path, ending: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Creates a file with its final mode from the start, so that it is never open to others, not even
/// briefly.
fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| {
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    });
    written.map_err(|err| failure(format!("could not write {}: {err}", path.display())))
}

/// Opens a secret key, asking for its password if it has one.
pub(super) fn secret_key(path: &Path) -> Result<SecretKey, Failure> {
    let text = String::from_utf8_lossy(&read_at_most(path, FILE_MAX)?).into_owned();
    let sealed = || {
        SecretKeyBox::from_string(&text)
            .map_err(|err| failure(format!("{}: {err}", path.display())))
    };
    if let Some(key) = unlocked(&text) {
        return Ok(key);
    }
    let password = password("Password: ")?;
    sealed()?
        .into_secret_key(Some(password))
        .map_err(|err| failure(format!("{}: could not open the key: {err}", path.display())))
}

/// A key without a password. minisign leaves its checksum empty, so only verifying a signature can
/// show whether the key is intact.
fn unlocked(text: &str) -> Option<SecretKey> {
    let bytes = decode_base64(text.lines().nth(1)?)?;
    // The algorithm of the encryption follows that of the signature.
    (bytes.get(2..4)? == [0, 0])
        .then(|| SecretKey::from_bytes(&bytes).ok())
        .flatten()
}

fn new_password() -> Result<String, Failure> {
    let first = password("Password: ")?;
    if first.is_empty() {
        return Err(failure("the password is empty")
            .hint("to create a key without a password, use --no-password"));
    }
    if stdin().is_terminal() && password("Password (one more time): ")? != first {
        return Err(failure("the passwords do not match"));
    }
    Ok(first)
}

fn password(prompt: &str) -> Result<String, Failure> {
    let failed = |err: std::io::Error| failure(format!("could not read the password: {err}"));
    if stdin().is_terminal() {
        return rpassword::prompt_password(prompt).map_err(failed);
    }
    let mut line = String::new();
    stdin().lock().read_line(&mut line).map_err(failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
