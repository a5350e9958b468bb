//! `carpd plugin sign` and `verify`: signatures that are compatible with minisign.

use std::io::Cursor;
use std::path::PathBuf;

use minisign::PublicKey;
use serde_json::json;

use super::look::Signature;
use super::{Keys, failure, key, read, read_at_most, write};
use crate::cli::{Exit, Failure, output};
use crate::hooks::artifact::vet::beside;
use crate::host::clock;
use crate::trust::FILE_MAX;

/// Sign exactly these bytes of a hook.
///
/// Does the same as `minisign -S`. Asks for the key's password; if standard input is not a
/// terminal, its first line is the password.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin sign failover.wasm -s team.key\n  \
    carpd plugin sign failover.lua -s team.key -t \"reviewed, 0.2.0\"")]
pub(in crate::cli) struct Args {
    /// The hook: a component, or a script or module in Lua.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The secret key, from `carpd plugin keygen` or `minisign -G`.
    #[arg(long = "secret-key", short, value_name = "FILE")]
    secret: PathBuf,

    /// The signature file to write [default: FILE.minisig].
    #[arg(long, short = 'x', value_name = "FILE")]
    signature: Option<PathBuf>,

    /// A comment, which is signed too [default: the time and the file's name].
    #[arg(long, short = 't', value_name = "TEXT")]
    comment: Option<String>,
}

/// Show who signed a hook; the exit status is 1 if it is not a known key.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  \
    carpd plugin verify failover.wasm\n  \
    carpd plugin verify failover.wasm -p team.pub")]
pub(in crate::cli) struct VerifyArgs {
    /// The hook.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    keys: Keys,

    /// The signature file [default: FILE.minisig].
    #[arg(long, short = 'x', value_name = "FILE")]
    signature: Option<PathBuf>,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let bytes = read(&args.file)?;
    let name = args.file.file_name().unwrap_or_default().to_string_lossy();
    let usual = || format!("timestamp:{}\tfile:{name}\thashed", clock::wall_ms() / 1000);
    let comment = args.comment.clone().unwrap_or_else(usual);
    if comment.contains(['\r', '\n']) || comment.len() > 8 << 10 {
        return Err(Failure::new(
            Exit::Usage,
            "a comment is one line of at most 8 KiB",
        ));
    }
    let secret = key::secret_key(&args.secret)?;
    let untrusted = "signature from carpd plugin sign";
    let public = PublicKey::from_secret_key(&secret)
        .map_err(|err| failure(format!("{}: {err}", args.secret.display())))?;
    // The signature is verified with the public key at once, in case the secret key is damaged.
    let signature = minisign::sign(
        Some(&public),
        &secret,
        Cursor::new(bytes),
        Some(&comment),
        Some(untrusted),
    )
    .map_err(|err| failure(format!("could not sign {}: {err}", args.file.display())))?;
    let path = args.signature.clone().unwrap_or_else(|| beside(&args.file));
    write(&path, signature.into_string().as_bytes())?;
    output::line(format_args!("wrote {}", path.display()))
}

pub(super) fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let trust = args.keys.trust()?;
    let bytes = read(&args.file)?;
    let path = args.signature.clone().unwrap_or_else(|| beside(&args.file));
    let text = String::from_utf8_lossy(&read_at_most(&path, FILE_MAX)?).into_owned();
    let verdict = trust.signer(&bytes, &text);
    if args.json {
        let good = verdict.is_ok();
        let signature = verdict.map_or_else(|why| Signature::Bad(why.to_string()), Signature::Good);
        output::pretty_json(&json!({ "file": args.file, "signature": signature.json() }))?;
        return Ok(if good { Exit::Success } else { Exit::Failure });
    }
    let signer = verdict.map_err(|why| failure(format!("{}: {why}", path.display())))?;
    output::line(format_args!(
        "{}: signed by {} ({})",
        args.file.display(),
        signer.key,
        signer.comment
    ))
}
