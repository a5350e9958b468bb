//! Is one script the undo of the other?

use super::ir::{Action, Cond, Expr, RouteVerb, Step, Visit, What, walk};

/// Does undoing `up` do all that `down` does? Only straight lines are compared, in any order.
pub(super) fn undoes(up: &[Step], down: &[Step]) -> bool {
    let assigned = |steps: &[Step]| -> Vec<(String, Expr)> {
        let one = |step: &Step| {
            if let What::Assign(name, value) = &step.what {
                Some((name.clone(), value.clone()))
            } else {
                None
            }
        };
        steps.iter().filter_map(one).collect()
    };
    let (ours, theirs) = (assigned(up), assigned(down));
    // One name for two values would make different things look the same.
    if theirs
        .iter()
        .any(|(name, value)| ours.iter().any(|(n, v)| n == name && v != value))
    {
        return false;
    }
    let (Some(up), Some(down)) = (straight(up), straight(down)) else {
        return false;
    };
    let mut left: Vec<&Action> = up
        .into_iter()
        .filter(|action| leaves_something(action))
        .collect();
    let down: Vec<&Action> = down.into_iter().collect();
    if down.is_empty() || left.is_empty() {
        return false;
    }
    for action in down {
        let Some(at) = left.iter().position(|done| is_inverse(done, action)) else {
            return false;
        };
        left.remove(at);
    }
    left.is_empty()
}

/// The actions, if there is nothing else.
fn straight(steps: &[Step]) -> Option<Vec<&Action>> {
    let mut actions = Vec::new();
    for step in steps {
        match &step.what {
            What::Do(action) => actions.push(action),
            What::Comment(_)
            | What::Assign(_, Expr::Text(_) | Expr::Dev | Expr::Vip | Expr::Xparam) => {}
            _ => return None,
        }
    }
    Some(actions)
}

const fn leaves_something(action: &Action) -> bool {
    !matches!(
        action,
        Action::Announce { .. } | Action::Log { .. } | Action::Sleep(_)
    )
}

fn is_inverse(up: &Action, down: &Action) -> bool {
    match (up, down) {
        (
            Action::Addr {
                add: true,
                cidr: a,
                dev: x,
            },
            Action::Addr {
                add: false,
                cidr: b,
                dev: y,
            },
        ) => x == y && (a == b || without_prefix(a) == *b),
        (
            Action::Route {
                verb: RouteVerb::Add | RouteVerb::Insert,
                dst: a,
                options: x,
            },
            Action::Route {
                verb: RouteVerb::Delete,
                dst: b,
                options: y,
            },
        ) => a == b && y.iter().all(|option| x.contains(option)),
        (
            Action::Rule {
                add: true,
                options: x,
            },
            Action::Rule {
                add: false,
                options: y,
            },
        ) => x == y,
        // A service that ran before is not the hook's, and would go on running.
        (Action::LinkUp { dev: a, up: true }, Action::LinkUp { dev: b, up: false })
        | (
            Action::Touch(a)
            | Action::Write {
                path: a,
                append: false,
                ..
            },
            Action::Remove(b),
        ) => a == b,
        _ => false,
    }
}

fn without_prefix(value: &Expr) -> Expr {
    let strip = |text: &str| text.split('/').next().unwrap_or_default().to_owned();
    match value {
        Expr::Text(text) => Expr::Text(strip(text)),
        Expr::Join(parts) => match parts.as_slice() {
            [address, Expr::Text(prefix)] if prefix.starts_with('/') => address.clone(),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

/// What an action changes, as far as it can be compared.
pub(super) fn resource(action: &Action) -> Option<(&'static str, Expr)> {
    Some(match action {
        Action::Addr { cidr, .. } => ("addr", without_prefix(cidr)),
        Action::Route { dst, options, .. } => {
            let table = options
                .iter()
                .find(|(key, _)| *key == "table")
                .map(|(_, table)| table.clone());
            (
                "route",
                Expr::Join(std::iter::once(dst.clone()).chain(table).collect()),
            )
        }
        Action::Rule { options, .. } => (
            "rule",
            Expr::Join(options.iter().map(|(_, value)| value.clone()).collect()),
        ),
        Action::LinkUp { dev, .. } => ("link", dev.clone()),
        Action::LinkMac { dev, .. } => ("mac", dev.clone()),
        Action::Hostname(_) => ("hostname", Expr::Text(String::new())),
        Action::Service {
            verb: "start" | "stop" | "restart",
            unit,
        } => ("service", unit.clone()),
        Action::Sysctl { key, .. } => ("sysctl", key.clone()),
        Action::Write { path, .. } | Action::Remove(path) | Action::Touch(path) => {
            ("file", path.clone())
        }
        Action::Service { .. }
        | Action::Announce { .. }
        | Action::Run(_)
        | Action::Http { .. }
        | Action::Log { .. }
        | Action::Sleep(_)
        | Action::Resign => return None,
    })
}

/// What `up` changes and `down` does not touch on each of its ways: there the script left it so, and
/// so does the hook. The virtual host's own address is carpd's, and never kept.
pub(super) fn kept(up: &[Step], down: &[Step]) -> Vec<(&'static str, Expr)> {
    let done = Actions::of(up);
    let touched = Ways::through(down, &done, false);
    // Where `up` takes something away, what adds it where it is not does so.
    let put_back = Ways::through(down, &done, true);
    let taken = |wanted: &(&'static str, Expr)| {
        let mut own = done
            .iter()
            .filter(|action| resource(action).as_ref() == Some(wanted));
        own.all(|action| {
            matches!(
                action,
                Action::Remove(_)
                    | Action::Route {
                        verb: RouteVerb::Delete,
                        ..
                    }
            )
        })
    };
    let own = ("addr", Expr::Vip);
    resources(up)
        .into_iter()
        .filter(|resource| !touched.contains(resource) && *resource != own)
        .filter(|resource| !(put_back.contains(resource) && taken(resource)))
        .collect()
}

/// What is done on becoming backup, and ends otherwise than in the script.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Otherwise {
    /// Where it fails, the undoing of `on_master` puts back what was there before.
    pub(super) put_back: bool,
    /// It takes the address away, whose prefix length may be another.
    pub(super) any_prefix: bool,
}

/// How an action of `down` ends otherwise than in the script, after `up` has `done` this and the
/// hook keeps that.
pub(super) fn otherwise(
    done: &[Action],
    keeps: &[(&'static str, Expr)],
    action: &Action,
) -> Otherwise {
    let Some(wanted) = resource(action).filter(|found| *found != ("addr", Expr::Vip)) else {
        return Otherwise::default();
    };
    let mut same = done
        .iter()
        .filter(|action| resource(action).as_ref() == Some(&wanted))
        .peekable();
    if same.peek().is_none() {
        return Otherwise::default();
    }
    let other_prefix = |done: &Action| match (done, action) {
        (
            Action::Addr {
                add: true, cidr: a, ..
            },
            Action::Addr {
                add: false,
                cidr: b,
                ..
            },
        ) => a != b && without_prefix(b) != *b,
        _ => false,
    };
    // Taking away what is not there is no failure in a hook.
    let takes_away = matches!(
        action,
        Action::Addr { add: false, .. }
            | Action::Rule { add: false, .. }
            | Action::Remove(_)
            | Action::Route {
                verb: RouteVerb::Delete,
                ..
            }
    );
    Otherwise {
        any_prefix: same.clone().any(other_prefix),
        put_back: !takes_away
            && !keeps.contains(&wanted)
            && same.any(|done| !ends_alike(done, action)),
    }
}

/// Does undoing one come to the same as the other?
fn ends_alike(up: &Action, down: &Action) -> bool {
    let services = |a: &str, b: &str| matches!((a, b), ("start", "stop") | ("stop", "start"));
    is_inverse(up, down)
        || matches!((up, down), (Action::Service { verb: a, .. }, Action::Service { verb: b, .. }) if services(a, b))
}

/// Does the action ask for what the other one made? A shell takes nothing away that has another
/// device, or another gateway.
fn meets(done: &Action, action: &Action) -> bool {
    match (done, action) {
        (Action::Addr { dev: x, .. }, Action::Addr { dev: y, .. }) => {
            x == y || x.is_none() || y.is_none()
        }
        (
            Action::Route { options: x, .. },
            Action::Route {
                verb: RouteVerb::Delete,
                options: y,
                ..
            },
        ) => y.iter().all(|(key, value)| {
            let other = x.iter().find(|(k, _)| k == key).map(|(_, other)| other);
            !matches!((other, value), (Some(Expr::Text(a)), Expr::Text(b)) if a != b)
        }),
        _ => true,
    }
}

/// What an action surely asks of the host, after `up` has `done` this. One that only adds what is not
/// there yet may ask nothing: then nothing claims what `up` left, and it would be undone.
fn claimed(action: &Action, done: &[Action], adds: bool) -> Option<(&'static str, Expr)> {
    let adding = matches!(
        action,
        Action::Touch(_)
            | Action::Route {
                verb: RouteVerb::Add,
                ..
            }
    );
    let wanted = resource(action).filter(|_| adds || !adding)?;
    let mut same = done
        .iter()
        .filter(|done| resource(done).as_ref() == Some(&wanted))
        .peekable();
    (same.peek().is_none() || same.any(|done| meets(done, action))).then_some(wanted)
}

/// Every action of some steps.
pub(super) struct Actions(Vec<Action>);

impl Actions {
    pub(super) fn of(steps: &[Step]) -> Vec<Action> {
        let mut found = Self(Vec::new());
        walk(steps, &mut found);
        found.0
    }
}

impl Visit for Actions {
    fn action(&mut self, _: usize, action: &Action) {
        self.0.push(action.clone());
    }
}

type Resources = Vec<(&'static str, Expr)>;

fn resources(steps: &[Step]) -> Resources {
    let mut found = Found(Vec::new());
    walk(steps, &mut found);
    found.0
}

#[derive(Default)]
struct Found(Resources);

impl Visit for Found {
    fn action(&mut self, _: usize, action: &Action) {
        if let Some(resource) = resource(action)
            && !self.0.contains(&resource)
        {
            self.0.push(resource);
        }
    }
}

/// The ways through some steps.
struct Ways<'a> {
    /// What `up` does.
    done: &'a [Action],
    /// Does what only adds count?
    adds: bool,
    /// Functions of the script.
    functions: Vec<(&'a str, &'a [Step])>,
    /// What each of the ways that have ended touched; `None` if none has.
    ended: Option<Resources>,
}

/// How deep functions may call each other.
const DEPTH: usize = 16;

impl<'a> Ways<'a> {
    /// What is touched on each way through these steps.
    fn through(steps: &'a [Step], done: &'a [Action], adds: bool) -> Resources {
        fn collect<'a>(steps: &'a [Step], found: &mut Vec<(&'a str, &'a [Step])>) {
            for step in steps {
                match &step.what {
                    What::Function(name, _, body) => found.push((name, body)),
                    What::Script(_, body) | What::Block(body) => collect(body, found),
                    _ => {}
                }
            }
        }
        let mut functions = Vec::new();
        collect(steps, &mut functions);
        let mut ways = Self {
            done,
            adds,
            functions,
            ended: None,
        };
        let last = ways.go(steps, Some(Vec::new()), 0);
        both(ways.ended, last).unwrap_or_default()
    }

    /// Goes on from what was touched so far; `None` where no way leads beyond the steps.
    fn go(
        &mut self,
        steps: &'a [Step],
        so_far: Option<Resources>,
        depth: usize,
    ) -> Option<Resources> {
        let mut so_far = so_far?;
        for step in steps {
            match &step.what {
                What::If(arms, otherwise) => {
                    // The first question is always asked.
                    if let Some((cond, _)) = arms.first() {
                        self.asked(cond, &mut so_far, depth);
                    }
                    let bodies = arms.iter().map(|(_, body)| body).chain([otherwise]);
                    let mut beyond = None;
                    for body in bodies {
                        let way = self.go(body, Some(so_far.clone()), depth);
                        beyond = both(beyond, way);
                    }
                    so_far = beyond?;
                }
                What::For(_, _, body) | What::While(_, body) => {
                    // It is taken to run at least once; a way out of it leads on.
                    let inner = Actions::of(body);
                    so_far.extend(inner.iter().filter_map(|action| self.claimed(action)));
                }
                What::Block(body) | What::Script(_, body) => {
                    so_far = self.go(body, Some(so_far), depth)?;
                }
                What::Call(name, _) => self.call(name, &mut so_far, depth),
                What::Try(cond) | What::Must(cond) | What::Remember(cond) => {
                    self.asked(cond, &mut so_far, depth);
                }
                What::Do(action) => {
                    so_far.extend(self.claimed(action));
                }
                What::Return(_) | What::Fail(_) => {
                    self.ended = both(self.ended.take(), Some(so_far));
                    return None;
                }
                What::Assign(..)
                | What::Function(..)
                | What::Local(_)
                | What::Break
                | What::Continue
                | What::Todo { .. }
                | What::Comment(_) => {}
            }
        }
        Some(so_far)
    }

    fn claimed(&self, action: &Action) -> Option<(&'static str, Expr)> {
        claimed(action, self.done, self.adds)
    }

    /// What a question touches: its first part is always done.
    fn asked(&mut self, cond: &'a Cond, so_far: &mut Resources, depth: usize) {
        match cond {
            Cond::Did(actions) => {
                so_far.extend(actions.iter().filter_map(|action| self.claimed(action)));
            }
            Cond::Changed(action) => so_far.extend(self.claimed(action)),
            Cond::Function(name, _) => self.call(name, so_far, depth),
            Cond::Not(inner) => self.asked(inner, so_far, depth),
            Cond::And(first, _) | Cond::Or(first, _) => self.asked(first, so_far, depth),
            _ => {}
        }
    }

    /// What a function touches; where it returns, the script goes on.
    fn call(&mut self, name: &str, so_far: &mut Resources, depth: usize) {
        let body = self.functions.iter().find(|(n, _)| *n == name);
        let Some((_, body)) = body.copied().filter(|_| depth < DEPTH) else {
            return;
        };
        let outer = self.ended.take();
        let last = self.go(body, Some(so_far.clone()), depth + 1);
        if let Some(touched) = both(self.ended.take(), last) {
            *so_far = touched;
        }
        self.ended = outer;
    }
}

/// What both ways touch.
fn both(one: Option<Resources>, other: Option<Resources>) -> Option<Resources> {
    match (one, other) {
        (Some(one), Some(other)) => Some(
            one.into_iter()
                .filter(|resource| other.contains(resource))
                .collect(),
        ),
        (one, other) => one.or(other),
    }
}
