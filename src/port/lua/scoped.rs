//! Where the functions of a script are seen: one of Lua ends with its block, one of a shell does
//! not.

use std::collections::BTreeSet;

use super::super::ir::{Step, What};
use super::super::uncalled::own_call;

/// The functions that are defined in a block and called where Lua would not have them: they are
/// declared before all else.
pub(super) fn beyond_blocks(steps: &[Step]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    defined_in_blocks(steps, false, &mut names);
    names.retain(|name| !is_seen(steps, name, &mut false));
    names
}

fn defined_in_blocks(steps: &[Step], in_block: bool, names: &mut BTreeSet<String>) {
    for step in steps {
        match &step.what {
            What::Function(name, ..) if in_block => {
                names.insert(name.clone());
            }
            What::Script(_, body) => defined_in_blocks(body, in_block, names),
            what => blocks(what)
                .into_iter()
                .for_each(|body| defined_in_blocks(body, true, names)),
        }
    }
}

/// The blocks of Lua that it becomes.
fn blocks(what: &What) -> Vec<&[Step]> {
    match what {
        What::If(arms, otherwise) => {
            let arms = arms.iter().map(|(_, body)| body.as_slice());
            arms.chain([otherwise.as_slice()]).collect()
        }
        What::For(_, _, body) | What::While(_, body) | What::Block(body) => vec![body],
        _ => Vec::new(),
    }
}

/// Does each call of the function stand after a definition in its own block or one around that?
fn is_seen(steps: &[Step], name: &str, defined: &mut bool) -> bool {
    for step in steps {
        if !*defined && own_call(step).iter().any(|callee| callee == name) {
            return false;
        }
        let seen = match &step.what {
            What::Script(_, body) => is_seen(body, name, defined),
            What::Function(own, _, body) => {
                *defined |= own == name;
                is_seen(body, name, &mut defined.clone())
            }
            what => blocks(what)
                .into_iter()
                .all(|body| is_seen(body, name, &mut defined.clone())),
        };
        if !seen {
            return false;
        }
    }
    true
}
