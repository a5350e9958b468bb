//! What must be declared before the first step.

use crate::port::ir::{Cond, Expr, Step, Visit, What, walk};

/// What is read, and how `$?` is.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// Is a status remembered?
    pub(super) status: bool,
    /// Is it read as a number?
    pub(super) number: bool,
    /// Variables that are read.
    pub(super) names: Vec<String>,
}

impl Visit for Used {
    fn step(&mut self, step: &Step) {
        self.status |= matches!(&step.what, What::Remember(_));
    }

    fn expr(&mut self, _: usize, expr: &Expr) {
        match expr {
            Expr::Status => self.number = true,
            Expr::Var(name) if !self.names.contains(name) => self.names.push(name.clone()),
            _ => {}
        }
    }
}

/// Do these steps give the variable a value, in whatever is within them?
pub(super) fn sets(steps: &[Step], name: &str) -> bool {
    struct Sets<'a>(&'a str, bool);
    impl Visit for Sets<'_> {
        fn step(&mut self, step: &Step) {
            self.1 |= matches!(&step.what, What::Assign(n, _) | What::For(n, ..) if n == self.0);
        }
    }
    let mut sets = Sets(name, false);
    walk(steps, &mut sets);
    sets.1
}

/// The variables that a function has as its own.
fn locals(body: &[Step]) -> Vec<String> {
    let names = body.iter().find_map(|step| match &step.what {
        What::Local(names) => Some(names.clone()),
        _ => None,
    });
    names.unwrap_or_default()
}

/// Variables of the whole entry point.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// Given a value outside of the functions that have them as their own.
    pub(super) assigned: Vec<String>,
    /// Variables of loops.
    pub(super) loops: Vec<String>,
    /// Variables of loops that are read or set outside of them, or by a function.
    pub(super) outside: Vec<String>,
}

impl Declared {
    /// Goes over these steps; `own` are names that are local here.
    pub(super) fn steps(&mut self, steps: &[Step], own: &[String]) {
        self.collect(steps, own);
        let mut inside = Vec::new();
        self.reads(steps, &mut inside);
        self.unset(steps, own);
        for name in self.loops.clone() {
            let set = self.assigned.contains(&name);
            if (set || self.outside.contains(&name)) && !self.assigned.contains(&name) {
                self.assigned.push(name.clone());
            }
            if set && !self.outside.contains(&name) {
                self.outside.push(name);
            }
        }
    }

    fn collect(&mut self, steps: &[Step], own: &[String]) {
        for step in steps {
            match &step.what {
                What::Assign(name, _) if !own.contains(name) && !self.assigned.contains(name) => {
                    self.assigned.push(name.clone());
                }
                What::For(name, _, body) => {
                    if !self.loops.contains(name) {
                        self.loops.push(name.clone());
                    }
                    self.collect(body, own);
                }
                What::Function(_, _, body) => {
                    self.collect(body, &locals(body));
                }
                What::If(arms, otherwise) => {
                    for (_, body) in arms {
                        self.collect(body, own);
                    }
                    self.collect(otherwise, own);
                }
                What::While(_, body) | What::Block(body) | What::Script(_, body) => {
                    self.collect(body, own);
                }
                _ => {}
            }
        }
    }

    /// What only lines that were not translated set is declared too: what follows them reads it.
    fn unset(&mut self, steps: &[Step], own: &[String]) {
        for step in steps {
            let mut used = Used::default();
            match &step.what {
                What::Function(_, _, body) => self.unset(body, &locals(body)),
                What::Script(_, body) | What::Block(body) => self.unset(body, own),
                What::If(arms, otherwise) => {
                    for (cond, body) in arms {
                        let line = step.line;
                        let what = What::Try(cond.clone());
                        self.unset(&[Step { line, what }], own);
                        self.unset(body, own);
                    }
                    self.unset(otherwise, own);
                }
                _ => walk(std::slice::from_ref(step), &mut used),
            }
            for name in used.names {
                if ![own, &self.assigned, &self.loops]
                    .iter()
                    .any(|list| list.contains(&name))
                {
                    self.assigned.push(name);
                }
            }
        }
    }

    /// Which variables of loops are read where their loop is not around.
    fn reads(&mut self, steps: &[Step], inside: &mut Vec<String>) {
        for step in steps {
            match &step.what {
                What::For(name, list, body) => {
                    let alone = Step {
                        line: step.line,
                        what: What::For(name.clone(), list.clone(), Vec::new()),
                    };
                    self.look(&alone, inside);
                    inside.push(name.clone());
                    self.reads(body, inside);
                    inside.pop();
                }
                What::Function(_, _, body) => self.reads(body, &mut Vec::new()),
                What::If(arms, otherwise) => {
                    for (cond, body) in arms {
                        self.condition(step.line, cond, inside);
                        self.reads(body, inside);
                    }
                    self.reads(otherwise, inside);
                }
                What::While(cond, body) => {
                    self.condition(step.line, cond, inside);
                    self.reads(body, inside);
                }
                What::Block(body) | What::Script(_, body) => self.reads(body, inside),
                _ => self.look(step, inside),
            }
        }
    }

    fn condition(&mut self, line: usize, cond: &Cond, inside: &[String]) {
        let step = Step {
            line,
            what: What::Try(cond.clone()),
        };
        self.look(&step, inside);
    }

    fn look(&mut self, step: &Step, inside: &[String]) {
        let mut used = Used::default();
        walk(std::slice::from_ref(step), &mut used);
        for name in used.names {
            if self.loops.contains(&name)
                && !inside.contains(&name)
                && !self.outside.contains(&name)
            {
                self.outside.push(name);
            }
        }
    }
}
