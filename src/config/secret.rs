//! The password of a virtual host, and other secrets.

use std::fmt;

use zeroize::Zeroizing;

/// A password: 1 to 19 bytes, wiped from memory when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// A password that CARP has no room for, or that its implementations would not agree on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Nothing on the first line.
    #[error("the password is empty: its first line has no bytes")]
    Empty,
    /// Others would silently cut it (docs/protocol.md, section 2.1).
    #[error("the password has {0} bytes; CARP takes at most 19")]
    TooLong(usize),
    /// Others would end it there.
    #[error("the password contains a NUL byte")]
    Nul,
}

impl Secret {
    /// Room for a password in the key of 20 bytes, its closing NUL taken off.
    pub const BYTES_MAX: usize = 19;

    /// Takes the first line of a password file without its newline; every other byte counts.
    ///
    /// # Errors
    /// See [`BadSecret`].
    pub fn from_file(content: &[u8]) -> Result<Self, BadSecret> {
        let line = content.split(|b| *b == b'\n').next().unwrap_or_default();
        match line.len() {
            0 => Err(BadSecret::Empty),
            n if n > Self::BYTES_MAX => Err(BadSecret::TooLong(n)),
            _ if line.contains(&0) => Err(BadSecret::Nul),
            _ => Ok(Self(Zeroizing::new(line.to_vec()))),
        }
    }

    /// The bytes as they are; the key of the HMAC is these, padded with zeros.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Does it begin with the mark that some editors put before a text?
    #[must_use]
    pub fn begins_with_bom(&self) -> bool {
        self.0.starts_with(b"\xef\xbb\xbf")
    }

    /// Does it end in a carriage return, as after editing on another system?
    #[must_use]
    pub fn ends_in_carriage_return(&self) -> bool {
        self.0.last() == Some(&b'\r')
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A secret for another server, such as a token: one line of printable ASCII, wiped from memory when
/// dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

/// What is no [`Token`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Nothing on the first line.
    #[error("the secret is empty: its first line has no characters")]
    Empty,
    /// It would not fit where it is needed.
    #[error("the secret has {0} bytes; at most {max} are possible", max = Token::BYTES_MAX)]
    TooLong(usize),
    /// It could not stand in a header.
    #[error("the secret has a character that is not printable ASCII")]
    Unprintable,
}

impl Token {
    /// Room in a URL.
    pub const BYTES_MAX: usize = 1024;

    /// Takes the first line of a file without its end, and without blanks around it.
    ///
    /// # Errors
    /// See [`BadToken`].
    pub fn from_file(content: &[u8]) -> Result<Self, BadToken> {
        let line = content.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = line.trim_ascii();
        match line.len() {
            0 => return Err(BadToken::Empty),
            n if n > Self::BYTES_MAX => return Err(BadToken::TooLong(n)),
            _ => {}
        }
        let printable = line.iter().all(|b| (b' '..=b'~').contains(b));
        let text = str::from_utf8(line).ok().filter(|_| printable);
        let text = text.ok_or(BadToken::Unprintable)?;
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
