//! Whose hooks may run: pins and minisign signatures.
//!
//! Pure: bytes and keys in, a verdict out. Whoever loads a hook reads it once into memory and asks
//! here about these bytes. Every doubt is a refusal ([`Distrust`]).

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use minisign_verify::{Error, PublicKey, Signature};
use sha2::{Digest as _, Sha256};

/// What a signature's file is called: the signed file's name with this behind it, as minisign has
/// it.
pub const SUFFIX: &str = ".minisig";

/// The largest file with a signature or a public key that is read, in bytes. minisign's own
/// comments are at most 9 KiB.
pub const FILE_MAX: u64 = 16 << 10;

/// Letters of a public key in base64.
const KEY_LETTERS: usize = 56;

/// SHA-256 of a file, written `sha256:` and 64 hexadecimal digits: what `sha256sum` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first digits: enough for a person, and for a file's name.
    #[must_use]
    pub fn short(&self) -> String {
        self.0
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is \"sha256:\" and 64 hexadecimal digits, as `carpd plugin inspect` shows it")]
pub struct BadDigest;

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let digits = text
            .strip_prefix("sha256:")
            .filter(|digits| digits.len() == 64 && digits.is_ascii())
            .ok_or(BadDigest)?;
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = digits
                .get(2 * at..2 * at + 2)
                .filter(|pair| !pair.starts_with('+'))
                .ok_or(BadDigest)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| BadDigest)?;
        }
        Ok(Self(bytes))
    }
}

/// The number that names a key pair, in minisign's comments too. Names, and proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl KeyId {
    /// Of a key or a signature: behind two bytes for the algorithm stand eight for the number,
    /// lowest first.
    fn of(base64: &str) -> Option<Self> {
        let bytes = decode_base64(base64.get(..16)?)?;
        let number = bytes.get(2..10)?.try_into().ok()?;
        Some(Self(u64::from_le_bytes(number)))
    }
}

/// Base64 as it is written in files of keys and in annotations: padding may be missing, and bits at
/// the end that make no byte are dropped, since other writers are less careful than we are.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What a text in base64 stands for; `None` if it is none.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Bytes in base64, on one line.
#[must_use]
pub fn encode_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// A minisign public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    id: KeyId,
    inner: PublicKey,
}

/// A text that is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a minisign public key: 56 letters that begin with RW")]
pub struct BadKey;

impl Key {
    /// Which one it is.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Does this look like a key, rather than like the name of a file with one?
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.len() == KEY_LETTERS && text.starts_with("RW")
    }

    /// From the content of a key's file: a line of comment, and the key on the next.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_file(text: &str) -> Result<Self, BadKey> {
        let mut lines = text.lines();
        match (lines.next(), lines.next()) {
            (Some(comment), Some(key)) if comment.starts_with("untrusted comment:") => key.parse(),
            _ => Err(BadKey),
        }
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        let inner = PublicKey::from_base64(text).map_err(|_| BadKey)?;
        Ok(Self {
            id: KeyId::of(text).ok_or(BadKey)?,
            inner,
        })
    }
}

/// Whose hooks may run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// Who may vouch for a hook.
    pub keys: Vec<Key>,
    /// Nothing runs that none of them vouches for.
    pub require_signature: bool,
}

/// Who signed something, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Whose key.
    pub key: KeyId,
    /// What else was signed: by default the time and the file's name.
    pub comment: String,
}

/// Why something is not trusted; to be read behind the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Other bytes than those that somebody looked at.
    #[error(
        "it is not the pinned file: its digest is {found}, and the configuration has digest = \"{pinned}\"; if the new one \
         is wanted, look at it (carpd plugin inspect) and pin it"
    )]
    Pin {
        /// What the configuration has.
        pinned: Digest,
        /// What the file has.
        found: Digest,
    },
    /// There is no key that could vouch.
    #[error("there is no key to check its signature with: name one under [trust] keys")]
    NoKeys,
    /// The signature cannot be read as one.
    #[error(
        "this is not a minisign signature; sign the file again: carpd plugin sign, or minisign -S"
    )]
    Malformed,
    /// A signature over the file itself and not over its hash: what minisign did before 0.10.
    #[error(
        "this is a signature of the legacy kind, which is not accepted; sign the file again, without -l: minisign -S"
    )]
    Legacy,
    /// Nobody whom we know.
    #[error("it was made with the key {found}, which is none of [trust] keys ({})", known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Stranger {
        /// Whose key it says it is.
        found: KeyId,
        /// Ours.
        known: Vec<KeyId>,
    },
    /// The file, the signature or its trusted comment is not what it was when it was signed.
    #[error(
        "the signature does not fit: the file, its signature or the trusted comment in it was changed after it was signed with \
         the key {0}; get both again from their distributor"
    )]
    Broken(KeyId),
}

impl Trust {
    /// Who signed these bytes.
    ///
    /// # Errors
    /// [`Distrust`]: whatever is not a good signature by one of the keys.
    pub fn signer(&self, bytes: &[u8], signature: &str) -> Result<Signer, Distrust> {
        if self.keys.is_empty() {
            return Err(Distrust::NoKeys);
        }
        let decoded = Signature::decode(signature).map_err(|_| Distrust::Malformed)?;
        let id = signature
            .lines()
            .nth(1)
            .and_then(KeyId::of)
            .ok_or(Distrust::Malformed)?;
        let known = || self.keys.iter().map(Key::id).collect();
        let mut verdict = Distrust::Stranger {
            found: id,
            known: known(),
        };
        for key in self.keys.iter().filter(|key| key.id == id) {
            match key.inner.verify(bytes, &decoded, false) {
                Ok(()) => {
                    return Ok(Signer {
                        key: id,
                        comment: decoded.trusted_comment().to_owned(),
                    });
                }
                Err(Error::UnexpectedAlgorithm) => verdict = Distrust::Legacy,
                Err(_) => verdict = Distrust::Broken(id),
            }
        }
        Err(verdict)
    }
}

/// Are these the bytes that were pinned?
///
/// # Errors
/// [`Distrust::Pin`].
pub fn pinned(bytes: &[u8], pin: Digest) -> Result<(), Distrust> {
    let found = Digest::of(bytes);
    if found == pin {
        Ok(())
    } else {
        Err(Distrust::Pin { pinned: pin, found })
    }
}
