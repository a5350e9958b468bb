//! Does anybody vouch for a hook? Asked about the bytes in memory, before anything is done with
//! them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::source::{SourceError, read_file};
use crate::hooks::HookSource;
use crate::resolve::Sources;
use crate::trust::{self, Digest, Distrust, FILE_MAX, SUFFIX, Signer, Trust};

/// What the operator wants of a hook before it is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Whose hooks may run.
    pub trust: &'a Trust,
    /// The only content of its file that is taken.
    pub digest: Option<Digest>,
    /// Where the signature is, and that there must be one; `None` is the usual place.
    pub signature: Option<&'a Path>,
    /// Reads the signatures, and notes who else could write to them: whoever could might keep the
    /// next version from being taken.
    pub sources: &'a Sources,
}

/// Why a hook is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// Of its file.
    pub digest: Digest,
    /// The operator wrote the digest into the configuration.
    pub pinned: bool,
    /// The signer, if it is signed with a known key.
    pub signer: Option<Signer>,
    /// The good signatures that were found.
    pub signatures: Signatures,
}

/// Signatures as they were read, for storing with a copy of a hook: the signature next to the file
/// may later be that of a newer version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signatures {
    /// Of the hook's file.
    main: Option<String>,
    /// Of its modules, by their keys.
    modules: BTreeMap<String, String>,
}

impl fmt::Display for Vouched {
    /// As in `pinned, signed by 92639DC33396818E`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pinned {
            "pinned, "
        } else {
            "not pinned, "
        })?;
        match &self.signer {
            Some(signer) => write!(f, "signed by {}", signer.key),
            None => f.write_str("not signed"),
        }
    }
}

/// Why a hook is not trusted. Names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum VetError {
    /// The file, or its signature, is not to be trusted.
    #[error("{}: {why}", path.display())]
    Distrust {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: Distrust,
    },
    /// A signature is required, and there is none.
    #[error(
        "{}: it is not signed: there is no {}; sign it (carpd plugin sign, or minisign -S), or get the signature from its distributor",
        path.display(), signature.display()
    )]
    Unsigned {
        /// The hook's file.
        path: PathBuf,
        /// Where the signature would be.
        signature: PathBuf,
    },
    /// The signature could not be read.
    #[error(transparent)]
    Unreadable(#[from] SourceError),
    /// The signature is not text.
    #[error("{}: this is not a minisign signature: it is not text", .0.display())]
    NoText(PathBuf),
}

impl HookSource {
    /// Verifies the hook that was read from `path`. Modules that would need a signature but have
    /// none cannot be required.
    ///
    /// # Errors
    /// [`VetError`]: the terms are not met.
    pub fn vet(&mut self, path: &Path, terms: Terms<'_>) -> Result<Vouched, VetError> {
        self.vet_kept(path, terms, &Signatures::default())
    }

    /// As [`Self::vet`], for a copy that was kept with its signatures. One of these that no longer
    /// counts is as none.
    ///
    /// # Errors
    /// As there.
    pub fn vet_kept(
        &mut self,
        path: &Path,
        terms: Terms<'_>,
        kept: &Signatures,
    ) -> Result<Vouched, VetError> {
        let digest = Digest::of(&self.main);
        if let Some(pin) = terms.digest {
            trust::pinned(&self.main, pin).map_err(|why| VetError::Distrust {
                path: path.to_owned(),
                why,
            })?;
        }
        let signature = terms.signature.map_or_else(|| beside(path), Path::to_owned);
        let main = Signed {
            path,
            bytes: &self.main,
            signature,
            kept: kept.main.as_ref(),
        };
        let (signer, main) = main
            .look(terms, terms.require_signature(), terms.sources)?
            .unzip();
        let mut signatures = Signatures {
            main,
            modules: BTreeMap::new(),
        };
        let strict = terms.require_signature() || terms.digest.is_some();
        let directory = path.parent().unwrap_or(Path::new("/"));
        let mut foreign = Vec::new();
        for (key, content) in &mut self.modules {
            let path = directory.join(key);
            let module = Signed {
                path: &path,
                bytes: content,
                signature: beside(&path),
                kept: kept.modules.get(key),
            };
            let sources = terms.sources.anew();
            match module.look(terms, strict, &sources) {
                Ok(None) => {}
                Ok(Some((_, text))) => _ = signatures.modules.insert(key.clone(), text),
                Err(why) => *content = withheld(&why),
            }
            foreign.push((key.clone(), sources.refusals()));
        }
        self.note_of_modules(foreign, terms.sources);
        Ok(Vouched {
            digest,
            pinned: terms.digest.is_some(),
            signer,
            signatures,
        })
    }
}

impl Terms<'_> {
    /// Must there be a signature?
    const fn require_signature(&self) -> bool {
        self.trust.require_signature || self.signature.is_some()
    }
}

/// Verifies the test of a hook with these terms. The test decides whether a version becomes active,
/// so it must be signed if the hook must be; its signature is next to it. A pin applies only to the
/// hook.
///
/// # Errors
/// [`VetError`]: it is not to be believed.
pub fn vet_test(path: &Path, text: &[u8], terms: Terms<'_>) -> Result<(), VetError> {
    let test = Signed {
        path,
        bytes: text,
        signature: beside(path),
        kept: None,
    };
    test.look(terms, terms.require_signature(), terms.sources)
        .map(drop)
}

/// The default place of a file's signature.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// Bytes that somebody may have signed.
struct Signed<'a> {
    /// Where they were read.
    path: &'a Path,
    bytes: &'a [u8],
    /// The file of their signature.
    signature: PathBuf,
    /// The signature that they had before.
    kept: Option<&'a String>,
}

impl Signed<'_> {
    /// Who signed them, and the text that says so, which is read through `sources`.
    fn look(
        self,
        terms: Terms<'_>,
        required: bool,
        sources: &Sources,
    ) -> Result<Option<(Signer, String)>, VetError> {
        let Self {
            path,
            bytes,
            signature,
            kept,
        } = self;
        let trust = terms.trust;
        // There are no known keys, and a signature with an unknown key means nothing.
        if trust.keys.is_empty() && !required {
            return Ok(None);
        }
        if let Some((signer, text)) =
            kept.and_then(|text| Some((trust.signer(bytes, text).ok()?, text)))
        {
            return Ok(Some((signer, text.clone())));
        }
        let text = match read_file(&signature, FILE_MAX, &mut 0, sources) {
            Ok(text) => String::from_utf8(text).map_err(|_| VetError::NoText(signature.clone()))?,
            Err(SourceError::Io { err, .. }) if err.kind() == ErrorKind::NotFound && !required => {
                return Ok(None);
            }
            Err(SourceError::Io { err, .. }) if err.kind() == ErrorKind::NotFound => {
                return Err(VetError::Unsigned {
                    path: path.to_owned(),
                    signature,
                });
            }
            Err(err) => return Err(err.into()),
        };
        match trust.signer(bytes, &text) {
            Ok(signer) => Ok(Some((signer, text))),
            Err(why) => Err(VetError::Distrust {
                path: signature,
                why,
            }),
        }
    }
}

/// Replaces a module that is not trusted: it raises an error when it is required.
fn withheld(why: &VetError) -> Vec<u8> {
    format!(
        "error({:?}, 0)",
        format!("this module may not be used by the hook: {why}")
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Of minisign 0.11: a key, and its signature of "hello\n".
    const KEY: &str = "RWSOgZYzw51jkpdmAVU4Dq+dCrIgIjBelH1cc7xhNLi37YLZye+Xy7EC";
    const SIGNATURE: &str = "\
untrusted comment: signature from minisign secret key
RUSOgZYzw51jkqCQZcdJP5g1WBT7KISTdWH32nwnNlnn3S4639OLpkWVbJLXZbo6y22beAvtcic9yzxDq28gHYokONZWN8GHsA4=
trusted comment: trusted words
JPrmdh8A3jsqU3oganaYUJ8sxPETlRNVTqQtkfCqJ1m4m9xfeW13yiybh9z3ITjl8vIJc6SfVJMgJGuTvJJLBw==
";

    fn trust(require_signature: bool) -> Trust {
        Trust {
            keys: vec![KEY.parse().unwrap()],
            require_signature,
        }
    }

    /// A hook whose only content is `hello`, with these files beside it.
    fn hook(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("h.lua", "hello\n")].iter().chain(files) {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn vet(
        directory: &tempfile::TempDir,
        terms: Terms<'_>,
    ) -> Result<(HookSource, Vouched), String> {
        let path = directory.path().join("h.lua");
        let mut source = HookSource::read(
            "h".parse().unwrap(),
            &path,
            "{}".into(),
            &Sources::of_daemon(),
        )
        .unwrap();
        let root = format!("{}/", directory.path().display());
        let vouched = source
            .vet(&path, terms)
            .map_err(|err| err.to_string().replace(&root, ""))?;
        Ok((source, vouched))
    }

    fn of(trust: &Trust) -> Terms<'_> {
        Terms {
            trust,
            digest: None,
            signature: None,
            sources: Box::leak(Box::new(Sources::of_daemon())),
        }
    }

    #[test]
    fn who_asks_for_nothing_gets_everything() {
        let (nobody, hook) = (
            Trust::default(),
            hook(&[("h.lua.minisig", "rubbish"), ("m.lua", "return 1")]),
        );
        let (source, vouched) = vet(&hook, of(&nobody)).unwrap();
        assert_eq!(vouched.to_string(), "not pinned, not signed");
        assert_eq!(source.modules["m.lua"], b"return 1");
    }

    #[test]
    fn what_is_required_must_be_there_and_what_is_there_must_be_good() {
        let signed = hook(&[("h.lua.minisig", SIGNATURE)]);
        for require in [false, true] {
            let (_, vouched) = vet(&signed, of(&trust(require))).unwrap();
            assert_eq!(
                vouched.to_string(),
                "not pinned, signed by 92639DC33396818E"
            );
            let odd = hook(&[("h.lua.minisig", "rubbish")]);
            let why = vet(&odd, of(&trust(require))).unwrap_err();
            assert!(
                why.starts_with("h.lua.minisig: this is not a minisign signature; sign"),
                "{why}"
            );
        }
        let why = vet(&hook(&[]), of(&trust(true))).unwrap_err();
        assert!(
            why.starts_with("h.lua: it is not signed: there is no h.lua.minisig; sign it"),
            "{why}"
        );
        assert_eq!(vet(&hook(&[]), of(&trust(false))).unwrap().1.signer, None);
        let lenient = trust(false);
        let elsewhere = Terms {
            signature: Some(Path::new("/nonexistent/h.sig")),
            ..of(&lenient)
        };
        assert!(
            vet(&signed, elsewhere)
                .unwrap_err()
                .contains("there is no /nonexistent/h.sig")
        );
    }

    #[test]
    fn a_signature_that_cannot_be_read_is_none() {
        let directory = hook(&[]);
        let signature = directory.path().join("h.lua.minisig");
        fs::create_dir(&signature).unwrap();
        assert!(
            vet(&directory, of(&trust(false)))
                .unwrap_err()
                .contains("not a regular file")
        );
        fs::remove_dir(&signature).unwrap();
        fs::write(&signature, vec![b'x'; 20 << 10]).unwrap();
        assert!(
            vet(&directory, of(&trust(false)))
                .unwrap_err()
                .contains("larger than 16384 bytes")
        );
        fs::write(&signature, [0xff; 200]).unwrap();
        assert!(
            vet(&directory, of(&trust(false)))
                .unwrap_err()
                .contains("it is not text")
        );
    }

    #[test]
    fn a_pin_names_the_only_content_that_is_taken() {
        let nobody = Trust::default();
        let (good, other) = (Digest::of(b"hello\n"), Digest::of(b"hello"));
        let pin = |digest| Terms {
            digest: Some(digest),
            ..of(&nobody)
        };
        assert_eq!(
            vet(&hook(&[]), pin(good)).unwrap().1.to_string(),
            "pinned, not signed"
        );
        let why = vet(&hook(&[]), pin(other)).unwrap_err();
        assert!(
            why.starts_with("h.lua: it is not the pinned file: its digest is sha256:5891b5"),
            "{why}"
        );
        // A pin is no signature.
        let strict = trust(true);
        assert!(
            vet(
                &hook(&[]),
                Terms {
                    digest: Some(good),
                    ..of(&strict)
                }
            )
            .unwrap_err()
            .contains("it is not signed")
        );
    }

    /// What a hook would load while it runs is part of it.
    #[test]
    fn modules_that_nobody_vouches_for_are_withheld() {
        let files = [
            ("h.lua.minisig", SIGNATURE),
            ("good.lua", "hello\n"),
            ("good.lua.minisig", SIGNATURE),
            ("plain.lua", "return 1"),
        ];
        let hook = hook(&files);
        let strict = trust(true);
        let (source, _) = vet(&hook, of(&strict)).unwrap();
        assert_eq!(source.modules["good.lua"], b"hello\n");
        let stub = String::from_utf8(source.modules["plain.lua"].clone()).unwrap();
        assert!(
            stub.starts_with("error(\"this module may not be used by the hook: "),
            "{stub}"
        );
        assert!(stub.contains("plain.lua.minisig; sign it"), "{stub}");
        let lenient = trust(false);
        assert_eq!(
            vet(&hook, of(&lenient)).unwrap().0.modules["plain.lua"],
            b"return 1"
        );
        let pinned = Terms {
            digest: Some(Digest::of(b"hello\n")),
            ..of(&lenient)
        };
        assert_ne!(
            vet(&hook, pinned).unwrap().0.modules["plain.lua"],
            b"return 1"
        );
    }

    /// A copy that was kept is vouched for by the signatures that it had, as long as these count.
    #[test]
    fn a_kept_copy_has_its_own_signatures() {
        let hook = hook(&[
            ("h.lua.minisig", SIGNATURE),
            ("m.lua", "hello\n"),
            ("m.lua.minisig", SIGNATURE),
        ]);
        let path = hook.path().join("h.lua");
        let strict = trust(true);
        let (mut source, vouched) = vet(&hook, of(&strict)).unwrap();
        for file in ["h.lua.minisig", "m.lua.minisig"] {
            fs::write(hook.path().join(file), "of other bytes").unwrap();
        }
        assert!(vet(&hook, of(&strict)).is_err());
        assert_eq!(
            source
                .vet_kept(&path, of(&strict), &vouched.signatures)
                .unwrap(),
            vouched
        );
        assert_eq!(source.modules["m.lua"], b"hello\n");
        let stranger = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
            .parse()
            .unwrap();
        let others = Trust {
            keys: vec![stranger],
            require_signature: true,
        };
        assert!(
            source
                .vet_kept(&path, of(&others), &vouched.signatures)
                .is_err(),
            "the keys have changed"
        );
        // What lies beside the file counts again where the kept one no longer does.
        fs::write(hook.path().join("h.lua.minisig"), SIGNATURE).unwrap();
        assert!(
            source
                .vet_kept(&path, of(&strict), &Signatures::default())
                .is_ok()
        );
    }

    #[test]
    fn a_test_must_be_signed_where_its_hook_must() {
        let directory = hook(&[]);
        let path = directory.path().join("h_test.lua");
        let (nobody, lenient, strict) = (Trust::default(), trust(false), trust(true));
        let with =
            |trust, text: &[u8]| vet_test(&path, text, of(trust)).map_err(|err| err.to_string());
        assert_eq!(
            (with(&nobody, b"hello\n"), with(&lenient, b"hello\n")),
            (Ok(()), Ok(()))
        );
        assert!(
            with(&strict, b"hello\n")
                .unwrap_err()
                .contains("h_test.lua: it is not signed")
        );
        let pin = Terms {
            digest: Some(Digest::of(b"x")),
            ..of(&nobody)
        };
        assert!(
            vet_test(&path, b"hello\n", pin).is_ok(),
            "a pin is for the hook alone"
        );
        fs::write(beside(&path), SIGNATURE).unwrap();
        assert_eq!(with(&strict, b"hello\n"), Ok(()));
        for trust in [&lenient, &strict] {
            assert!(
                with(trust, b"hello")
                    .unwrap_err()
                    .contains("the signature does not fit")
            );
        }
    }
}
