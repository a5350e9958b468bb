//! Shell scripts of ucarp to a hook: the Lua text, its grants, a test, and a summary of what is
//! left to do.
//!
//! ```text
//! shell (text -> tree) -> lower (tree -> steps, by the table in commands) -> mirror (is down the undo of up?)
//!   -> lua, grants, sheet (what is printed)
//! ```
//! Nothing is dropped or guessed in silence. What is not understood exactly (an option that a
//! command is not known to have, a redirection, a word that may be split) stays at its place as a
//! TODO that fails the hook when it is reached; what rests on a guess, and what is done in another
//! way, is a fact of the summary. What fails in the shell and is gone past is gone past in the hook.

pub mod api;
mod asked;
mod commands;
mod duration;
mod facts;
mod fold;
mod grant_name;
mod grants;
mod ir;
mod lower;
mod lua;
mod mirror;
mod recognise;
mod settings;
mod sheet;
mod shell;
mod states;
#[cfg(test)]
mod tests;
mod uncalled;

use std::collections::BTreeSet;

pub use facts::{Fact, FactKind};
pub use settings::{Caller, Keepalived, Settings};
pub use sheet::{Seen, Sheet};
pub use shell::SyntaxError;

use facts::Facts;
use ir::{Action, Cond, Expr, Step, Visit, What};
use lower::{Lower, Scope, Shared};
use mirror::Actions;

/// A script to port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its file name, for remarks.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// What the caller's configuration has it called with before the caller's own arguments.
    pub arguments: Vec<String>,
}

/// Why nothing could be ported.
#[derive(Debug, thiserror::Error)]
#[error("{script}: {reason}")]
pub struct PortError {
    /// Which script.
    pub script: String,
    /// Where and why.
    #[source]
    pub reason: Refusal,
}

/// What is said of a script that init runs.
const INIT: &str = "it is an init script, which is called with start or stop: a hook starts and \
    stops its service by service.start and service.stop";

/// Why a script cannot be ported as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no shell script.
    #[error("{}{what}", at(*.line))]
    Other {
        /// The line that shows it, from 1; 0 if it is the whole file.
        line: usize,
        /// What it is.
        what: String,
    },
    /// It cannot be read as one.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// It is a notify script of keepalived, and was to be ported as ucarp's.
    #[error(
        "line {line}: it is a notify script of keepalived: its arguments are not those of ucarp"
    )]
    Keepalived {
        /// The line that shows it, from 1.
        line: usize,
    },
}

impl Refusal {
    /// The line that shows it, from 1; 0 if it is the whole file.
    #[must_use]
    pub const fn line(&self) -> usize {
        match self {
            Self::Other { line, .. } | Self::Keepalived { line } => *line,
            Self::Syntax(error) => error.line,
        }
    }
}

fn at(line: usize) -> String {
    match line {
        0 => String::new(),
        line => format!("line {line}: "),
    }
}

/// The result.
#[derive(Debug, Clone)]
pub struct Ported {
    /// The hook.
    pub lua: String,
    /// `[hook.NAME]` with its grants, as TOML.
    pub toml: String,
    /// What the hook's test is made of.
    pub sheet: Sheet,
    /// What a person should know, by script and line.
    pub facts: Vec<Fact>,
    /// How many lines of the scripts have commands on them.
    pub lines: usize,
    /// Is down the mirror of up, so that the undoing of `on_master` takes its place?
    pub mirrored: bool,
}

impl Ported {
    /// The facts of one kind.
    pub fn of(&self, kind: FactKind) -> impl Iterator<Item = &Fact> {
        self.facts.iter().filter(move |fact| fact.kind == kind)
    }

    /// What was not translated.
    #[must_use]
    pub fn todos(&self) -> Vec<&Fact> {
        self.of(FactKind::Untranslated).collect()
    }

    /// Is there nothing left to do?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.facts.iter().any(|fact| fact.kind.asks())
    }
}

/// One script, translated.
struct Half {
    steps: Vec<Step>,
    scope: Scope,
    facts: Facts,
    /// Lines that have commands on them.
    lines: BTreeSet<usize>,
}

/// A script, and what it is called with.
struct Role<'a> {
    script: &'a Source,
    /// Its path, which is its `$0`.
    path: String,
    arguments: Vec<Expr>,
    /// That these are its arguments is not said anywhere.
    assumed: bool,
}

/// Ports the script that runs on becoming master and the one on becoming backup. keepalived may have
/// one for both.
///
/// # Errors
/// [`PortError`] if a script cannot be read as shell at all, or is another program's.
pub fn port(up: &Source, down: Option<&Source>, settings: &Settings) -> Result<Ported, PortError> {
    let mut shared = Shared::default();
    let (master, others) = roles(up, down, settings);
    let mut up_half = half(&master, settings, &mut shared)?;
    if up_half.lines.is_empty() {
        let (line, what) = (0, "there is no command in it".to_owned());
        return Err(PortError {
            script: up.name.clone(),
            reason: Refusal::Other { line, what },
        });
    }
    let down_half = if only_on_master(up, &others, settings) {
        up_half.facts.record(
            FactKind::Guessed,
            0,
            "it does not look at the state: taken for notify_master, which nothing but becoming master runs; if it is notify's, name it twice",
        );
        None
    } else {
        backup(&others, settings, &mut shared)?
    };
    let nothing = |half: &Half| !half.lines.is_empty() && !does_something(&half.steps);
    if settings.keepalived().is_some()
        && nothing(&up_half)
        && down_half.as_ref().is_none_or(nothing)
    {
        up_half.facts.record(FactKind::Guessed, 0, EMPTY);
    }
    let down_name = others
        .first()
        .map_or("", |(_, role)| role.script.name.as_str());
    let mut lines = up_half.lines.len();
    if down.is_some() {
        lines += down_half.as_ref().map_or(0, |half| half.lines.len());
    }
    let mirrored = !settings.explicit
        && down_half
            .as_ref()
            .is_some_and(|down| mirror::undoes(&up_half.steps, &down.steps));
    let mut down_half = down_half.filter(|_| !mirrored);
    let mut keeps = Vec::new();
    let done = Actions::of(&up_half.steps);
    if let Some(down) = &mut down_half {
        keeps = mirror::kept(&up_half.steps, &down.steps);
        ends_otherwise(down, &done, &keeps);
    }
    drop_own_deletes(&mut up_half, settings);
    drop_unused(&mut up_half.steps);
    let mut halves = vec![("on_master", up.name.as_str(), up_half)];
    if let Some(mut half) = down_half {
        drop_unused(&mut half.steps);
        halves.push(("on_backup", down_name, half));
    }
    let lua = lua::print(&halves, settings, mirrored.then_some(down_name), &keeps);
    let timeout = duration::needed(&mut halves, settings);
    let toml = grants::print(&mut halves, settings, timeout);
    let sheet = sheet::of(&halves, settings, mirrored);
    let mut facts: Vec<Fact> = Vec::new();
    for (_, _, mut half) in halves {
        record_todos(&half.steps, &mut half.facts);
        goes_on(&half.steps, &mut half.facts);
        for fact in half.facts.into_all() {
            facts::add(&mut facts, fact);
        }
    }
    Ok(Ported {
        lua,
        toml,
        sheet,
        facts,
        lines,
        mirrored,
    })
}

/// Leaves out what takes the virtual host's own address down on becoming master: scripts do so
/// before they put it up. carpd has it up by then.
fn drop_own_deletes(half: &mut Half, settings: &Settings) {
    let Half {
        steps,
        scope,
        facts,
        ..
    } = half;
    let own = |step: &Step| match &step.what {
        What::Do(Action::Addr {
            add: false,
            cidr,
            dev,
        }) => {
            let is = |value: &Expr, what: &Option<String>| {
                let text = scope.constant(value, settings);
                text.is_some()
                    && text.as_deref().and_then(|text| text.split('/').next()) == what.as_deref()
            };
            let begins = match cidr {
                Expr::Join(parts) => parts.first() == Some(&Expr::Vip),
                value => matches!(value, Expr::Vip | Expr::Cidr),
            };
            let here = dev
                .as_ref()
                .is_none_or(|dev| *dev == Expr::Dev || is(dev, &settings.interface));
            here && (begins || is(cidr, &settings.address))
        }
        _ => false,
    };
    let lines: Vec<usize> = steps
        .iter()
        .filter(|step| own(step))
        .map(|step| step.line)
        .collect();
    steps.retain(|step| !own(step));
    for line in lines {
        facts.record(
            FactKind::Different,
            line,
            "taking the virtual host's own address down is left out: carpd has put it up by then",
        );
    }
}

/// Who runs when: the one on becoming master, and those for the states that are not.
fn roles<'a>(
    up: &'a Source,
    down: Option<&'a Source>,
    settings: &'a Settings,
) -> (Role<'a>, Vec<(&'static str, Role<'a>)>) {
    let path = |script: &Source| {
        if std::ptr::eq(script, up) {
            settings.script.clone()
        } else {
            settings.path_of_down(&script.name)
        }
    };
    let Some(keepalived) = settings.keepalived() else {
        let role = |script| Role {
            script,
            path: path(script),
            arguments: vec![Expr::Dev, Expr::Vip, Expr::Xparam],
            assumed: false,
        };
        let down = down.map(|down| ("BACKUP", role(down)));
        return (role(up), down.into_iter().collect());
    };
    let role = |script: &'a Source, states: &[&str]| {
        let given = |words: &[&str]| Expr::Given(words.iter().map(|w| (*w).to_owned()).collect());
        let mut arguments: Vec<Expr> = script
            .arguments
            .iter()
            .map(|word| given(&[word.as_str()]))
            .collect();
        // Those of notify_master and its like are called as the configuration says, and no more.
        if down.is_none() || arguments.is_empty() {
            arguments.extend([
                given(&[keepalived.kind()]),
                Expr::Outside(keepalived.name_key().to_owned()),
                given(states),
                Expr::Outside("priority".to_owned()),
            ]);
        }
        Role {
            script,
            path: path(script),
            arguments,
            assumed: down.is_some() && script.arguments.is_empty(),
        }
    };
    let (fault, stop) = (keepalived.fault.as_ref(), keepalived.stop.as_ref());
    let mut others = Vec::new();
    let mut left = vec!["BACKUP"];
    match fault {
        Some(script) => others.push(("FAULT", role(script, &["FAULT"]))),
        None => left.push("FAULT"),
    }
    match stop {
        Some(script) => others.push(("STOP", role(script, &["STOP"]))),
        None => left.push("STOP"),
    }
    others.insert(0, ("BACKUP", role(down.unwrap_or(up), &left)));
    (role(up, &["MASTER"]), others)
}

/// Is the one script of keepalived most likely `notify_master`'s? One that never looks at the state
/// would do the same when it is lost.
fn only_on_master(up: &Source, others: &[(&'static str, Role<'_>)], settings: &Settings) -> bool {
    let alone = others
        .iter()
        .all(|(_, role)| std::ptr::eq(role.script, up) && !role.assumed);
    // After what its line says come the type, the name and the state.
    let state = up.arguments.len() + 3;
    settings.keepalived().is_some()
        && !others.is_empty()
        && alone
        && shell::parse(&up.text)
            .is_ok_and(|script| !recognise::looks_at(&lower::settled(&script), state))
}

/// What runs on becoming backup: one script, or one for each state.
fn backup(
    others: &[(&'static str, Role<'_>)],
    settings: &Settings,
    shared: &mut Shared,
) -> Result<Option<Half>, PortError> {
    let Some(((_, first), special)) = others.split_first() else {
        return Ok(None);
    };
    let mut all = half(first, settings, shared)?;
    if special.is_empty() {
        return Ok(Some(all));
    }
    let state = || Expr::Given(["BACKUP", "FAULT", "STOP"].map(str::to_owned).to_vec());
    let (mut words, mut bodies) = (Vec::new(), Vec::new());
    for (word, role) in special {
        let one = half(role, settings, shared)?;
        let is = Cond::Equal(state(), Expr::Text((*word).to_owned()));
        words.push((is, role.script.name.clone()));
        bodies.push(one.steps);
        all.scope.join(one.scope);
        all.facts.join(one.facts);
        all.lines.extend(one.lines);
    }
    let name = first.script.name.clone();
    bodies.push(std::mem::take(&mut all.steps));
    if words.iter().all(|(_, other)| *other == name) {
        all.steps = states::common(&mut bodies);
    }
    let rest = bodies.pop().unwrap_or_default();
    let arms = words.into_iter().zip(bodies);
    let arms = arms.map(|((is, name), body)| (is, vec![whole(name, body)]));
    all.steps.push(Step {
        line: 0,
        what: What::If(arms.collect(), vec![whole(name, rest)]),
    });
    Ok(Some(all))
}

fn whole(name: String, steps: Vec<Step>) -> Step {
    Step {
        line: 0,
        what: What::Script(name, steps),
    }
}

fn half(role: &Role<'_>, settings: &Settings, shared: &mut Shared) -> Result<Half, PortError> {
    let Role {
        script,
        path,
        arguments,
        ..
    } = role;
    let refused = |reason: Refusal| PortError {
        script: script.name.clone(),
        reason,
    };
    if let Some((line, what)) = recognise::other(&script.text) {
        return Err(refused(Refusal::Other { line, what }));
    }
    let tree = shell::parse(&script.text).map_err(|error| refused(error.into()))?;
    if settings.caller != (Caller::Ucarp { whatever: true })
        && script.arguments.is_empty()
        && let Some(line) = recognise::init(&lower::settled(&tree), &script.text)
    {
        let what = INIT.to_owned();
        return Err(refused(Refusal::Other { line, what }));
    }
    if settings.caller == (Caller::Ucarp { whatever: false })
        && let Some(line) = recognise::keepalived(&lower::settled(&tree), &script.text)
    {
        return Err(refused(Refusal::Keepalived { line }));
    }
    let lines = tree.lines();
    let (mut steps, scope, mut facts) =
        Lower::script(&tree, script, path, arguments, settings, shared);
    if role.assumed {
        guess_arguments(&steps, &mut facts);
    }
    asked::join(&mut steps);
    if settings.keepalived().is_some() {
        facts.forget(&fold::fold(&mut steps));
    }
    facts.forget(&uncalled::remove(&mut steps));
    uncalled::mark_missing(&mut steps);
    Ok(Half {
        steps,
        scope,
        facts,
        lines,
    })
}

/// What is said of a script that does nothing with its arguments.
const EMPTY: &str = "with these arguments the script does nothing at all: where its line in keepalived.conf gives it a word, as in 'SCRIPT master', port it with that word";

/// Does any of it have an effect, or may it?
fn does_something(steps: &[Step]) -> bool {
    steps.iter().any(|step| match &step.what {
        What::Assign(..)
        | What::Comment(_)
        | What::Local(_)
        | What::Function(..)
        | What::Return(None)
        | What::Break
        | What::Continue => false,
        What::If(arms, otherwise) => {
            arms.iter().any(|(_, body)| does_something(body)) || does_something(otherwise)
        }
        What::For(_, _, body) | What::Block(body) | What::Script(_, body) => does_something(body),
        _ => true,
    })
}

/// A script of one state that looks at arguments which its line in the configuration may not give.
fn guess_arguments(steps: &[Step], facts: &mut Facts) {
    struct Looks<'a>(&'a mut Facts);
    impl Visit for Looks<'_> {
        fn expr(&mut self, line: usize, expr: &Expr) {
            let given = match expr {
                Expr::Given(_) => true,
                Expr::Outside(name) => matches!(name.as_str(), "instance" | "group" | "priority"),
                _ => false,
            };
            if given {
                self.0.record(
                    FactKind::Guessed,
                    line,
                    "its arguments are taken to be those of notify; notify_master and its like have none but what their line says: port 'SCRIPT ARGUMENT'",
                );
            }
        }
    }
    ir::walk(steps, &mut Looks(facts));
}

fn record_todos(steps: &[Step], facts: &mut Facts) {
    struct Todos<'a>(&'a mut Facts);
    impl Visit for Todos<'_> {
        fn step(&mut self, step: &Step) {
            if let What::Script(name, _) = &step.what {
                self.0.turn_to(name);
            }
            if let What::Todo { original, why } = &step.what {
                let first = original.lines().next().unwrap_or_default();
                let more = if original.lines().count() > 1 {
                    " ..."
                } else {
                    ""
                };
                let text = format!("{first}{more}   ({why})");
                self.0.record(FactKind::Untranslated, step.line, text);
            }
        }
    }
    ir::walk(steps, &mut Todos(facts));
}

/// Where the hook goes on after a failure, as the script did.
fn goes_on(steps: &[Step], facts: &mut Facts) {
    struct Calls<'a>(&'a mut Facts);
    impl Visit for Calls<'_> {
        fn step(&mut self, step: &Step) {
            let tried = match &step.what {
                What::Script(name, _) => {
                    self.0.turn_to(name);
                    false
                }
                What::Do(Action::Log { .. } | Action::Sleep(_) | Action::Resign) => false,
                What::Do(_) | What::Try(Cond::Did(_) | Cond::Changed(_)) => true,
                _ => false,
            };
            if tried {
                self.0.record(FactKind::Different, step.line, GOES_ON);
            }
        }
    }
    ir::walk(steps, &mut Calls(facts));
}

/// Where what is done on becoming backup ends otherwise, since carpd undoes what `on_master` did.
fn ends_otherwise(down: &mut Half, done: &[Action], keeps: &[(&'static str, Expr)]) {
    struct Ends<'a> {
        facts: &'a mut Facts,
        done: &'a [Action],
        keeps: &'a [(&'static str, Expr)],
    }
    impl Visit for Ends<'_> {
        fn step(&mut self, step: &Step) {
            if let What::Script(name, _) = &step.what {
                self.facts.turn_to(name);
            }
        }
        fn action(&mut self, line: usize, action: &Action) {
            let ends = mirror::otherwise(self.done, self.keeps, action);
            for (_, text) in [(ends.put_back, PUT_BACK), (ends.any_prefix, ANY_PREFIX)]
                .into_iter()
                .filter(|(is, _)| *is)
            {
                self.facts.record(FactKind::Different, line, text);
            }
        }
    }
    let Half { steps, facts, .. } = down;
    let script = facts.script().to_owned();
    let mut ends = Ends { facts, done, keeps };
    ir::walk(steps, &mut ends);
    facts.turn_to(&script);
}

/// What is said of what is undone by the daemon where the script fails to.
const PUT_BACK: &str = "where the call fails, carpd puts back what there was before on_master; the script left it as on_master had made it";

/// What is said of an address that is taken away by another prefix length.
const ANY_PREFIX: &str = "the address is taken away whatever its prefix length is; the script failed where it was another";

/// What is said of calls that may fail.
const GOES_ON: &str = "where the call fails, the hook goes on with a warning in the log, as the script did; without `tolerant` it fails there";

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

/// Does finding it out do nothing?
fn is_pure(value: &ir::Expr) -> bool {
    struct Does(bool);
    impl Visit for Does {
        fn expr(&mut self, _: usize, expr: &ir::Expr) {
            self.0 |= matches!(
                expr,
                ir::Expr::Output(_)
                    | ir::Expr::Raw(..)
                    | ir::Expr::Answer(..)
                    | ir::Expr::Call("assert_set", _)
            );
        }
    }
    let step = Step {
        line: 0,
        what: What::Assign(String::new(), value.clone()),
    };
    let mut does = Does(false);
    ir::walk(&[step], &mut does);
    !does.0
}

fn remove_unread(steps: &mut Vec<Step>, reads: &[String]) -> bool {
    let before = steps.len();
    steps.retain(
        |step| !matches!(&step.what, What::Assign(name, value) if !reads.contains(name) && is_pure(value)),
    );
    let mut changed = steps.len() < before;
    for step in steps {
        for body in step.what.bodies_mut() {
            changed |= remove_unread(body, reads);
        }
    }
    changed
}
