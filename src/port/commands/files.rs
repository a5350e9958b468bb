//! `touch`, `rm`, `cp`, `mv` of plain files.

use super::{Arg, Done, Untranslated, options};
use crate::port::ir::Action;

pub(super) fn touch(args: &[Arg]) -> Result<Done, Untranslated> {
    let (flags, rest) = options(args);
    if !flags.is_empty() || rest.is_empty() {
        return Err("only `touch FILE...` can be translated".into());
    }
    Ok(Done::Actions(
        rest.iter()
            .map(|arg| Action::Touch(arg.value.clone()))
            .collect(),
    ))
}

pub(super) fn remove(args: &[Arg]) -> Result<Done, Untranslated> {
    let (flags, rest) = options(args);
    if flags.iter().any(|flag| flag.contains(['r', 'R', 'd', 'i'])) {
        return Err("hooks remove single files, not directories".into());
    }
    Ok(Done::Actions(
        rest.iter()
            .map(|arg| Action::Remove(arg.value.clone()))
            .collect(),
    ))
}

pub(super) fn copy(args: &[Arg], and_remove: bool) -> Result<Done, Untranslated> {
    let (flags, rest) = options(args);
    let known = |flag: &&str| {
        flag.trim_start_matches('-')
            .chars()
            .all(|c| "fpv".contains(c))
    };
    let [from, to] = rest else {
        return Err("only one file at a time can be translated".into());
    };
    if !flags.iter().all(known) || to.word().ends_with('/') {
        return Err("hooks copy single files, not directories".into());
    }
    let mut actions = vec![Action::Copy {
        from: from.value.clone(),
        to: to.value.clone(),
    }];
    if and_remove {
        actions.push(Action::Remove(from.value.clone()));
    }
    Ok(Done::Actions(actions))
}
