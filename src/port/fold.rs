//! One script that is called with a word for each state becomes the part of it that one entry point
//! needs: conditions on that word are decided here, as far as they can be.
//!
//! Only what depends on the words that the scripts are called with is touched. A script's own
//! switches (`DEBUG=0`) stay as they are.

use std::collections::{BTreeMap, BTreeSet};

use super::ir::{Cond, Expr, Step, Visit, What, walk};

/// Folds the steps of an entry point. Gives the lines of the script that it never runs.
pub(super) fn fold(steps: &mut Vec<Step>) -> BTreeSet<usize> {
    let before = lines_of(steps);
    let mut known = Known::of(steps);
    known.fold(steps);
    if steps
        .last()
        .is_some_and(|step| step.what == What::Return(None))
    {
        steps.pop();
    }
    let after = lines_of(steps);
    before.difference(&after).copied().collect()
}

/// The lines of the script that these steps come from.
pub(super) fn lines_of(steps: &[Step]) -> BTreeSet<usize> {
    struct Lines(BTreeSet<usize>);
    impl Visit for Lines {
        fn step(&mut self, step: &Step) {
            self.0.insert(step.line);
        }
    }
    let mut lines = Lines(BTreeSet::new());
    walk(steps, &mut lines);
    lines.0
}

/// What is known where a step stands.
#[derive(Debug, Clone)]
struct Known {
    /// The words that the state can be here.
    state: Vec<String>,
    /// Those that it can be anywhere.
    states: Vec<String>,
    /// Variables that have what the script was called with.
    variables: BTreeMap<String, Expr>,
    /// Those that are set once, before any function is called: functions see them.
    lasting: BTreeMap<String, Expr>,
    /// Variables that functions set.
    in_functions: BTreeSet<String>,
}

impl Known {
    fn of(steps: &[Step]) -> Self {
        let states = states(steps);
        let mut known = Self {
            state: states.clone(),
            states,
            variables: BTreeMap::new(),
            lasting: BTreeMap::new(),
            in_functions: BTreeSet::new(),
        };
        let all = assigned(steps);
        let once = |name: &str| all.iter().filter(|n| *n == name).count() == 1;
        let mut called = false;
        for step in steps {
            match &step.what {
                What::Assign(name, value) if !called && once(name) => {
                    if let Some(word) = known.given(value) {
                        known.lasting.insert(name.clone(), word.clone());
                        known.variables.insert(name.clone(), word);
                    }
                }
                What::Function(_, _, body) => known.in_functions.extend(assigned(body)),
                _ => called |= calls(std::slice::from_ref(step)),
            }
        }
        known.variables.clear();
        known
    }

    /// The value as the script was called with it, if it is nothing else.
    fn given(&self, value: &Expr) -> Option<Expr> {
        match value {
            Expr::Given(_) => Some(value.clone()),
            Expr::Var(name) => self.variables.get(name).cloned(),
            _ => None,
        }
    }

    /// Folds a list; true if its end is never reached.
    fn fold(&mut self, steps: &mut Vec<Step>) -> bool {
        let mut folded = Vec::new();
        let mut ended = false;
        for step in std::mem::take(steps) {
            if ended {
                // What follows an end is never reached.
                break;
            }
            ended = self.step(step, &mut folded);
        }
        *steps = folded;
        ended
    }

    /// Folds one step into `out`; true if nothing after it is reached.
    fn step(&mut self, step: Step, out: &mut Vec<Step>) -> bool {
        if calls(std::slice::from_ref(&step)) {
            let touched: Vec<String> = self.in_functions.iter().cloned().collect();
            self.forget(&touched);
        }
        let Step { line, what } = step;
        let mut put = |what| out.push(Step { line, what });
        match what {
            What::If(arms, otherwise) => return self.if_step(line, arms, otherwise, out),
            What::Try(cond) => match self.simplify(cond) {
                Cond::Const(_) => {}
                cond => put(What::Try(cond)),
            },
            What::Must(cond) => match self.simplify(cond) {
                Cond::Const(true) => {}
                cond => put(What::Must(cond)),
            },
            What::Remember(cond) => put(What::Remember(self.simplify(cond))),
            What::Return(Some(cond)) => {
                put(What::Return(Some(self.simplify(cond))));
                return true;
            }
            What::Assign(name, value) => {
                match self.given(&value) {
                    Some(word) => _ = self.variables.insert(name.clone(), word),
                    None => _ = self.variables.remove(&name),
                }
                put(What::Assign(name, value));
            }
            What::For(name, list, mut body) => {
                self.inside(&mut body, Some(&name));
                put(What::For(name, list, body));
            }
            What::While(cond, mut body) => {
                self.forget(&assigned(&body));
                let cond = self.simplify(cond);
                self.inside(&mut body, None);
                put(What::While(cond, body));
            }
            What::Block(mut body) => {
                let ended = self.fold(&mut body);
                put(What::Block(body));
                return ended;
            }
            What::Script(name, mut body) => {
                self.fold(&mut body);
                put(What::Script(name, body));
            }
            What::Function(name, params, mut body) => {
                let mut inner = self.clone();
                inner.variables.clone_from(&self.lasting);
                inner.state.clone_from(&self.states);
                inner.fold(&mut body);
                put(What::Function(name, params, body));
            }
            What::Return(None) | What::Fail(_) | What::Break | What::Continue => {
                put(what);
                return true;
            }
            // What follows a TODO shall still be there when it has been ported by hand.
            What::Call(..)
            | What::Do(_)
            | What::Local(_)
            | What::Comment(_)
            | What::Todo { .. } => put(what),
        }
        false
    }

    /// The body of a loop: it runs any number of times.
    fn inside(&mut self, body: &mut Vec<Step>, name: Option<&String>) {
        let mut touched = assigned(body);
        touched.extend(name.cloned());
        self.forget(&touched);
        self.clone().fold(body);
    }

    fn forget(&mut self, names: &[String]) {
        for name in names {
            self.variables.remove(name);
        }
    }

    fn if_step(
        &mut self,
        line: usize,
        arms: Vec<(Cond, Vec<Step>)>,
        mut otherwise: Vec<Step>,
        out: &mut Vec<Step>,
    ) -> bool {
        let touched: Vec<String> = arms
            .iter()
            .flat_map(|(_, body)| assigned(body))
            .chain(assigned(&otherwise))
            .collect();
        let mut rest = self.clone();
        let mut kept = Vec::new();
        // The states in which the end of the whole is reached.
        let mut beyond: Vec<String> = Vec::new();
        let mut all = false;
        for (cond, mut body) in arms {
            let when = rest.when(&cond);
            let mut inner = rest.clone();
            if let Some(when) = &when {
                if when.is_empty() {
                    continue;
                }
                all = when.len() == rest.state.len();
                inner.state.clone_from(when);
            }
            if all {
                otherwise = body;
                break;
            }
            let cond = rest.simplify(cond);
            if !inner.fold(&mut body) {
                beyond.extend(inner.state.clone());
            }
            if let Some(when) = when {
                rest.state.retain(|word| !when.contains(word));
            }
            kept.push((cond, body));
        }
        if !rest.fold(&mut otherwise) {
            beyond.extend(rest.state.clone());
        }
        // States in which nothing is done.
        while otherwise.is_empty()
            && kept
                .last()
                .is_some_and(|(cond, body)| body.is_empty() && self.when(cond).is_some())
        {
            kept.pop();
        }
        if let [(cond, body)] = kept.as_mut_slice()
            && body.is_empty()
            && !otherwise.is_empty()
        {
            let not = std::mem::replace(cond, Cond::Const(true)).not();
            *cond = not;
            std::mem::swap(body, &mut otherwise);
        }
        self.forget(&touched);
        if kept.is_empty() {
            // Nothing is left to decide.
            self.variables = rest.variables;
            out.append(&mut otherwise);
        } else {
            out.push(Step {
                line,
                what: What::If(kept, otherwise),
            });
        }
        self.state.retain(|word| beyond.contains(word));
        beyond.is_empty()
    }

    /// The states in which the condition holds; `None` if it depends on something else as well.
    fn when(&self, cond: &Cond) -> Option<Vec<String>> {
        if !self.touches(cond) {
            return None;
        }
        let mut words = Vec::new();
        for word in &self.state {
            if self.truth(cond, word)? {
                words.push(word.clone());
            }
        }
        Some(words)
    }

    /// Does it look at what the script was called with?
    fn touches(&self, cond: &Cond) -> bool {
        struct Looks<'a>(&'a Known, bool);
        impl Visit for Looks<'_> {
            fn expr(&mut self, _: usize, expr: &Expr) {
                self.1 |= self.0.given(expr).is_some();
            }
        }
        let mut looks = Looks(self, false);
        let step = Step {
            line: 0,
            what: What::Try(cond.clone()),
        };
        walk(&[step], &mut looks);
        looks.1
    }

    /// Does the condition hold in this state, if that alone decides?
    fn truth(&self, cond: &Cond, state: &str) -> Option<bool> {
        let text = |value| self.text(value, state);
        match cond {
            Cond::Const(given) => Some(*given),
            Cond::Equal(a, b) => Some(text(a)? == text(b)?),
            Cond::Empty(a) => Some(text(a)?.is_empty()),
            Cond::Number(operator, a, b) => {
                let number = |value| text(value)?.parse::<i64>().ok();
                let (a, b) = (number(a)?, number(b)?);
                Some(match *operator {
                    "==" => a == b,
                    "~=" => a != b,
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    ">=" => a >= b,
                    _ => return None,
                })
            }
            Cond::Not(inner) => Some(!self.truth(inner, state)?),
            // What stands first may do something: it is never left out for what follows it.
            Cond::And(a, b) => Some(self.truth(a, state)? && self.truth(b, state)?),
            Cond::Or(a, b) => Some(self.truth(a, state)? || self.truth(b, state)?),
            _ => None,
        }
    }

    fn text(&self, value: &Expr, state: &str) -> Option<String> {
        match value {
            Expr::Text(text) => Some(text.clone()),
            Expr::Given(words) => match words.as_slice() {
                [one] => Some(one.clone()),
                _ => Some(state.to_owned()),
            },
            Expr::Var(name) => self.text(self.variables.get(name)?, state),
            Expr::Join(parts) => parts.iter().map(|part| self.text(part, state)).collect(),
            _ => None,
        }
    }

    /// The condition without those of its parts that are decided.
    fn simplify(&self, cond: Cond) -> Cond {
        match self.when(&cond) {
            Some(words) if words.is_empty() => return Cond::Const(false),
            Some(words) if words.len() == self.state.len() => return Cond::Const(true),
            _ => {}
        }
        match cond {
            Cond::Not(inner) => self.simplify(*inner).not(),
            Cond::And(a, b) => match (self.simplify(*a), self.simplify(*b)) {
                (Cond::Const(false), _) => Cond::Const(false),
                (Cond::Const(true), other) | (other, Cond::Const(true)) => other,
                (a, b) => Cond::And(Box::new(a), Box::new(b)),
            },
            Cond::Or(a, b) => match (self.simplify(*a), self.simplify(*b)) {
                (Cond::Const(true), _) => Cond::Const(true),
                (Cond::Const(false), other) | (other, Cond::Const(false)) => other,
                (a, b) => Cond::Or(Box::new(a), Box::new(b)),
            },
            other => other,
        }
    }
}

/// The words that the state can be, by how the steps speak of it.
fn states(steps: &[Step]) -> Vec<String> {
    struct Words(Vec<String>);
    impl Visit for Words {
        fn expr(&mut self, _: usize, expr: &Expr) {
            if let Expr::Given(words) = expr
                && words.len() > self.0.len()
            {
                self.0.clone_from(words);
            }
        }
    }
    let mut words = Words(vec![String::new()]);
    walk(steps, &mut words);
    words.0
}

/// The variables that are set there, once for each time.
fn assigned(steps: &[Step]) -> Vec<String> {
    struct Names(Vec<String>);
    impl Visit for Names {
        fn step(&mut self, step: &Step) {
            if let What::Assign(name, _) | What::For(name, ..) = &step.what {
                self.0.push(name.clone());
            }
        }
    }
    let mut names = Names(Vec::new());
    walk(steps, &mut names);
    names.0
}

/// Is a function of the script called there?
fn calls(steps: &[Step]) -> bool {
    struct Calls(bool);
    impl Visit for Calls {
        fn step(&mut self, step: &Step) {
            self.0 |= matches!(step.what, What::Call(..));
        }
        fn cond(&mut self, _: usize, cond: &Cond) {
            self.0 |= matches!(cond, Cond::Function(..));
        }
    }
    let mut calls = Calls(false);
    walk(steps, &mut calls);
    calls.0
}
