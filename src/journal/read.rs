//! Reading a journal, whatever state its writer left it in.

use std::fs;
use std::io;
use std::path::Path;

use super::file::older;
use super::{Entry, MAGIC};
use crate::record::Records;

/// What a journal says, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Its records.
    pub entries: Vec<Entry>,
    /// It ended in the middle of a record: its writer was killed.
    pub torn: bool,
    /// Why the file before it is left out, if it is there and cannot be read.
    pub left_out: Option<String>,
}

/// Reads the file at `path` and, where it exists, the one before it.
///
/// # Errors
/// The file at `path` cannot be read, or is not a journal of this version. If that applies to the
/// previous file, it is left out.
pub fn read(path: &Path) -> io::Result<Contents> {
    let mut contents = Contents::default();
    if let Err(err) = read_one(&older(path), &mut contents) {
        // Half of it would be a life with holes.
        contents = Contents {
            left_out: (err.kind() != io::ErrorKind::NotFound).then(|| err.to_string()),
            ..Contents::default()
        };
    }
    read_one(path, &mut contents)?;
    Ok(contents)
}

fn read_one(path: &Path, contents: &mut Contents) -> io::Result<()> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let bytes = fs::read(path)?;
    let Some(mut records) = Records::new(&bytes, MAGIC) else {
        return Err(invalid(format!(
            "{} is not a journal of this version of carpd",
            path.display()
        )));
    };
    for record in &mut records {
        contents.entries.push(
            postcard::from_bytes(record)
                .map_err(|err| invalid(format!("{}: {err}", path.display())))?,
        );
    }
    contents.torn |= records.torn();
    Ok(())
}
