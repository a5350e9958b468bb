//! `[trust]`.

use super::Kind::Plain;
use super::{Section, defaults, required};

/// `[trust]`.
pub(crate) static TRUST: Section = Section {
    header: "[trust]",
    text: "Whose hooks may run, whatever they are written in. Without this table a hook needs no signature. A signature is a file beside \
           the hook, made by `carpd plugin sign` or minisign over exactly the bytes that are loaded. One that is there must be good, \
           whether it is required or not.",
    keys: &[
        required(
            "keys",
            Plain("list of minisign public keys, or of paths of their files"),
            "[\"team.pub\", \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"]",
            "Any one of these may vouch for a hook. Files are read with the configuration: `carpd reload` reads them again.",
        ),
        defaults(
            "require-signature",
            Plain("boolean"),
            "true",
            "Refuse every hook without a signature, and hooks of kind `script`, which cannot have one. Modules of a Lua hook that have \
             none of their own cannot be required.",
        ),
    ],
};
