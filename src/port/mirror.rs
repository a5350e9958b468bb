//! Is one script the undo of the other?

use super::ir::{Action, Expr, RouteVerb, Step, Visit, What, walk};

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
        ) => x == y && (a == b || without_prefix(a) == without_prefix(b)),
        (
            Action::Route {
                verb: RouteVerb::Add,
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
        (Action::LinkUp { dev: a, up: true }, Action::LinkUp { dev: b, up: false })
        | (
            Action::Service {
                verb: "start",
                unit: a,
            },
            Action::Service {
                verb: "stop",
                unit: b,
            },
        )
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
        Action::Write { path, .. }
        | Action::Remove(path)
        | Action::Touch(path)
        | Action::Copy { to: path, .. } => ("file", path.clone()),
        Action::Service { .. }
        | Action::Announce { .. }
        | Action::Run(_)
        | Action::Log { .. }
        | Action::Sleep(_)
        | Action::Resign => return None,
    })
}

/// What `up` changes and `down` does not touch: the script left it so, and so does the hook. The
/// virtual host's own address is carpd's, and never kept.
pub(super) fn kept(up: &[Step], down: &[Step]) -> Vec<(&'static str, Expr)> {
    let touched = resources(down);
    let own = ("addr", Expr::Vip);
    resources(up)
        .into_iter()
        .filter(|resource| !touched.contains(resource) && *resource != own)
        .collect()
}

fn resources(steps: &[Step]) -> Vec<(&'static str, Expr)> {
    struct Found(Vec<(&'static str, Expr)>);
    impl Visit for Found {
        fn action(&mut self, _: usize, action: &Action) {
            if let Some(resource) = resource(action)
                && !self.0.contains(&resource)
            {
                self.0.push(resource);
            }
        }
    }
    let mut found = Found(Vec::new());
    walk(steps, &mut found);
    found.0
}
