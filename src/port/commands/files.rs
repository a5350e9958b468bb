//! `touch` and `rm` of plain files; `cp`, `mv` and the like, which keep modes and owners, as the
//! programs that they are.

use super::{Arg, Done, Untranslated, options};
use crate::port::ir::{Action, Cond, Expr};
use crate::port::lower::Lower;

/// `touch FILE...`: an empty file if there is none.
pub(super) fn touch(lower: &mut Lower<'_>, name: &str, args: &[Arg]) -> Result<Done, Untranslated> {
    let (flags, rest) = options(args);
    if !flags.is_empty() || rest.is_empty() || lower.has_moved() {
        return program(lower, name, args);
    }
    absolute(lower, rest)?;
    lower.differs("touch only makes a file: the time of one that is there stays");
    Ok(Done::Actions(
        rest.iter()
            .map(|arg| Action::Touch(arg.value.clone()))
            .collect(),
    ))
}

/// `rm [-f] FILE...`.
pub(super) fn remove(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let (flags, rest) = options(args);
    if rest.is_empty()
        || lower.has_moved()
        || !flags
            .iter()
            .all(|flag| matches!(*flag, "-f" | "-v" | "-fv" | "--"))
    {
        return program(lower, name, args);
    }
    absolute(lower, rest)?;
    // A hook removes plain files. What is linked to is mostly below /etc.
    let plain = |arg: &Arg| !lower.is_link(&arg.value) && super::test::is_small(lower, &arg.value);
    if !rest.iter().all(plain) {
        return program(lower, name, args);
    }
    let forced = flags.iter().any(|flag| flag.contains('f'));
    match rest {
        [file] if !forced => Ok(Done::Asks(Cond::Changed(Action::Remove(
            file.value.clone(),
        )))),
        files => Ok(Done::Actions(
            files
                .iter()
                .map(|arg| Action::Remove(arg.value.clone()))
                .collect(),
        )),
    }
}

/// The program itself, on absolute paths.
pub(super) fn program(
    lower: &mut Lower<'_>,
    name: &str,
    args: &[Arg],
) -> Result<Done, Untranslated> {
    let base = name.rsplit('/').next().unwrap_or(name);
    // What stands before the first path is a mode or an owner.
    let skip = usize::from(matches!(base, "chmod" | "chown" | "chgrp"));
    let (mut before, mut paths) = ("", Vec::new());
    for arg in args {
        let value = matches!(before, "-m" | "-o" | "-g" | "--mode");
        if !value && !arg.word().starts_with('-') {
            paths.push(arg.clone());
        }
        before = arg.word();
    }
    // The first path of a symbolic link is only text.
    let skip = skip + usize::from(base == "ln");
    absolute(lower, paths.get(skip..).unwrap_or_default())?;
    if let (true, Some(link)) = (base == "ln", paths.last()) {
        lower.add_link(&link.value);
    }
    Ok(Done::Actions(vec![Action::Run(super::program(
        lower, name, args,
    )?)]))
}

/// A hook has no directory in which relative paths begin.
fn absolute(lower: &Lower<'_>, paths: &[Arg]) -> Result<(), Untranslated> {
    for path in paths {
        let first = match &path.value {
            Expr::Join(parts) => parts.first(),
            value => Some(value),
        };
        let known = first.and_then(|first| lower.values(first));
        let begins_here = known.is_some_and(|all| all.iter().any(|text| !text.starts_with('/')));
        if begins_here && !lower.has_moved() {
            return Err("a path that is not absolute: a hook has no directory of its own".into());
        }
    }
    Ok(())
}
