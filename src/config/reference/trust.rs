//! `[trust]`.

use super::{Defaulted, Key, Section, defaulted, required};
use crate::config::form::{Boolean, ListOf};

pub(in crate::config) static KEYS: Key<ListOf<String>> = required(
    "keys",
    ListOf::new("minisign public keys, or of paths of their files"),
    "[\"team.pub\", \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"]",
    "A hook may be signed with any one of these keys. `\"carpd\"` stands for the key that signs the plugins of carpd's own releases, which packages install as `/usr/share/carpd/carpd.pub`. Key files are read together with the configuration; `carpd reload` reads them again.",
);

pub(in crate::config) static REQUIRE_SIGNATURE: Defaulted<Boolean> = defaulted(
    "require-signature",
    Boolean,
    || true,
    "Refuse every hook without a signature, and hooks of kind `script`, which cannot have one. Modules of a Lua hook can only be required if they have a signature of their own.",
);

/// `[trust]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[trust]",
    text: "Whose hooks may run, in whatever language they are written. Without this table a hook needs no signature. A signature is a file next to the hook, made by `carpd plugin sign` or minisign over exactly the bytes that are loaded. If there is one it must be valid, whether it is required or not.",
    keys: &[&KEYS, &REQUIRE_SIGNATURE],
};
