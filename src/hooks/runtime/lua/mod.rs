//! Luau as a hook language: what can be found out about a script without running it. Only
//! `carpd-worker` runs scripts.

pub mod check;

/// The path below the hook's directory that `require` refers to in the file `from`, without its
/// extension; `None` if it is outside.
#[must_use]
pub fn module_stem(wanted: &str, from: &str) -> Option<String> {
    let (base, path) = match wanted.strip_prefix("./") {
        Some(rest) => (from.rsplit_once('/').map_or("", |(dir, _)| dir), rest),
        None => ("", wanted),
    };
    let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
    if wanted.starts_with('/') || path.split('/').any(bad_part) {
        return None;
    }
    Some(if base.is_empty() {
        path.to_owned()
    } else {
        format!("{base}/{path}")
    })
}

/// The module that `require` refers to in the file `from`: the first of its possible names that
/// exists.
#[must_use]
pub fn find_module(wanted: &str, from: &str, is_there: impl Fn(&str) -> bool) -> Option<String> {
    let stem = module_stem(wanted, from)?;
    ["", ".lua", ".luau", "/init.lua", "/init.luau"]
        .iter()
        .map(|ending| format!("{stem}{ending}"))
        .find(|key| is_there(key))
}

/// A script without the byte order mark that some editors put before a text.
#[must_use]
pub fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}
