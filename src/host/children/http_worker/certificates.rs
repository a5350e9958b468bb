//! Certificates of authorities that an operator names beside those of the system.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The largest file of certificates that is read, in bytes: all authorities of a system are some
/// 200 KiB.
const FILE_MAX: u64 = 1 << 20;

/// The certificates in a file of PEM; what else is in it does not matter.
///
/// # Errors
/// The file, and why it cannot be used: unreadable, too large, malformed, or without any
/// certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    // Looked at before it is opened: opening a FIFO would wait for its writer.
    if !fs::metadata(path).map_err(|err| failed(&err))?.is_file() {
        return Err(failed(&"not a regular file"));
    }
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut pem))
        .map_err(|err| failed(&err))?;
    if pem.len() as u64 > FILE_MAX {
        return Err(failed(&format!("larger than {FILE_MAX} bytes")));
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(failed(&"there is no certificate in it; it should be PEM"))
        }
        Ok(found) => Ok(found),
        Err(err) => Err(failed(&err)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/ca.pem");

    #[test]
    fn what_is_no_file_of_certificates_says_why() {
        assert_eq!(certificates(Path::new(CA)).unwrap().len(), 1);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let why = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            certificates(&path)
                .unwrap_err()
                .replace(&format!("{}: ", path.display()), "")
        };
        assert_eq!(why(b""), "there is no certificate in it; it should be PEM");
        assert_eq!(
            why(&[0xff; 100]),
            "there is no certificate in it; it should be PEM"
        );
        assert_eq!(why(&vec![b'x'; 2 << 20]), "larger than 1048576 bytes");
        let cut = fs::read(CA).unwrap();
        assert!(!why(&cut[..cut.len() / 2]).is_empty());
        fs::remove_file(&path).unwrap();
        assert!(certificates(&path).unwrap_err().contains("No such file"));
        assert!(
            certificates(directory.path())
                .unwrap_err()
                .contains("not a regular file")
        );
    }
}
