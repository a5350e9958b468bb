//! Shell scripts of ucarp to a hook: the Lua text, its grants, a test, and a summary of what is
//! left to do.
//!
//! ```text
//! shell (text -> tree) -> lower (tree -> steps, by the table in commands) -> mirror (is down the undo of up?)
//!   -> lua, grants, sheet (what is printed)
//! ```
//! Nothing is dropped or guessed in silence: what cannot be translated stays at its place as a TODO
//! that fails the hook, what is done in another way is a note.

pub mod api;
mod commands;
mod grants;
mod ir;
mod lower;
mod lua;
mod mirror;
mod settings;
mod sheet;
mod shell;
#[cfg(test)]
mod tests;

pub use settings::Settings;
pub use shell::SyntaxError;

use ir::{Step, Visit, What};
use lower::{Lower, Scope, Shared};

/// A script to port.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its file name, for remarks.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Why nothing could be ported.
#[derive(Debug, thiserror::Error)]
#[error("{script}: {source}")]
pub struct PortError {
    /// Which script.
    pub script: String,
    /// Where and why.
    pub source: SyntaxError,
}

/// A line that a person must look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The script's file name.
    pub script: String,
    /// Line, from 1.
    pub line: usize,
    /// What to know.
    pub text: String,
}

/// The result.
#[derive(Debug, Clone)]
pub struct Ported {
    /// The hook.
    pub lua: String,
    /// `[hook.NAME]` with its grants, as TOML.
    pub toml: String,
    /// The hook's test.
    pub test: String,
    /// Lines that were not translated; each makes the hook fail where it stands.
    pub todos: Vec<Remark>,
    /// Lines that are done in another way.
    pub notes: Vec<Remark>,
    /// Is down the mirror of up, so that the undoing of `on_master` takes its place?
    pub mirrored: bool,
}

/// One script, translated.
struct Half {
    steps: Vec<Step>,
    scope: Scope,
}

/// Ports the script that runs on becoming master and the one on becoming backup.
///
/// # Errors
/// [`PortError`] if a script cannot be read as shell at all.
pub fn port(up: &Source, down: Option<&Source>, settings: &Settings) -> Result<Ported, PortError> {
    let mut shared = Shared::default();
    let mut up_half = half(up, settings, &mut shared)?;
    let down_half = down
        .map(|down| half(down, settings, &mut shared))
        .transpose()?;
    let mirrored = !settings.explicit
        && down_half
            .as_ref()
            .is_some_and(|down| mirror::undoes(&up_half.steps, &down.steps));
    let down_half = down_half.filter(|_| !mirrored);
    let mut keeps = Vec::new();
    if let Some(down) = &down_half {
        keeps = mirror::kept(&up_half.steps, &down.steps);
    }
    drop_unused(&mut up_half.steps);
    let mut todos = remarks_of(&up.name, &up_half.steps);
    let mut halves = vec![("on_master", up.name.as_str(), up_half)];
    if let (Some(mut half), Some(source)) = (down_half, down) {
        drop_unused(&mut half.steps);
        todos.extend(remarks_of(&source.name, &half.steps));
        halves.push(("on_backup", source.name.as_str(), half));
    }
    let lua = lua::print(
        &halves,
        settings,
        mirrored.then(|| down.map_or("", |d| d.name.as_str())),
        &keeps,
    );
    let toml = grants::print(&halves, settings);
    let test = sheet::print(&halves, settings);
    let notes = shared
        .notes
        .into_iter()
        .map(|(script, line, text)| Remark { script, line, text })
        .collect();
    Ok(Ported {
        lua,
        toml,
        test,
        todos,
        notes,
        mirrored,
    })
}

fn half(source: &Source, settings: &Settings, shared: &mut Shared) -> Result<Half, PortError> {
    let script = shell::parse(&source.text).map_err(|err| PortError {
        script: source.name.clone(),
        source: err,
    })?;
    let (steps, scope) = Lower::script(&script, &source.text, &source.name, settings, shared);
    Ok(Half { steps, scope })
}

fn remarks_of(script: &str, steps: &[Step]) -> Vec<Remark> {
    struct Todos<'a>(&'a str, Vec<Remark>);
    impl Visit for Todos<'_> {
        fn step(&mut self, step: &Step) {
            if let What::Todo { original, why } = &step.what {
                let first = original.lines().next().unwrap_or_default();
                let more = if original.lines().count() > 1 {
                    " ..."
                } else {
                    ""
                };
                self.1.push(Remark {
                    script: self.0.to_owned(),
                    line: step.line,
                    text: format!("{first}{more}   ({why})"),
                });
            }
        }
    }
    let mut todos = Todos(script, Vec::new());
    ir::walk(steps, &mut todos);
    todos.1
}

/// Drops variables that nothing reads any more: `IP=/sbin/ip` and its like. Values that do
/// something stay.
fn drop_unused(steps: &mut Vec<Step>) {
    struct Reads(Vec<String>);
    impl Visit for Reads {
        fn expr(&mut self, _: usize, expr: &ir::Expr) {
            if let ir::Expr::Var(name) = expr {
                self.0.push(name.clone());
            }
        }
    }
    loop {
        let mut reads = Reads(Vec::new());
        ir::walk(steps, &mut reads);
        if !remove_unread(steps, &reads.0) {
            return;
        }
    }
}

fn remove_unread(steps: &mut Vec<Step>, reads: &[String]) -> bool {
    let before = steps.len();
    steps.retain(
        |step| !matches!(&step.what, What::Assign(name, value) if !reads.contains(name) && !matches!(value, ir::Expr::Output(_))),
    );
    let mut changed = steps.len() < before;
    for step in steps {
        let bodies: Vec<&mut Vec<Step>> = match &mut step.what {
            What::If(arms, otherwise) => arms
                .iter_mut()
                .map(|(_, body)| body)
                .chain(std::iter::once(otherwise))
                .collect(),
            What::For(_, _, body)
            | What::While(_, body)
            | What::Block(body)
            | What::Function(_, _, body) => vec![body],
            _ => Vec::new(),
        };
        for body in bodies {
            changed |= remove_unread(body, reads);
        }
    }
    changed
}
