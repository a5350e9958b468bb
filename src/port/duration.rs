//! How long a hook may take at most, as far as its scripts tell. A shell waits for as long as it
//! likes; a hook is ended at its `timeout`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::facts::{FactKind, Facts};
use super::ir::{Action, Cond, Expr, List, LuaPart, Run, Step, What};
use super::lower::Scope;
use super::{Half, Settings};

/// What a hook has where its configuration does not say otherwise.
const USUAL: Duration = Duration::from_secs(10);

/// What the work takes besides waiting.
const MARGIN: Duration = Duration::from_secs(10);

/// The most that a configuration can say.
const MOST: Duration = Duration::from_hours(1);

/// What is said of a loop whose end is not known.
const UNKNOWN: &str = "how long it waits here is known only when it runs: after 10 s the hook is ended, unless timeout in the configuration says otherwise";

/// The `timeout` that the hook needs; none if the usual one will do.
pub(super) fn needed(
    halves: &mut [(&'static str, &str, Half)],
    settings: &Settings,
) -> Option<Duration> {
    let mut most = Duration::ZERO;
    for (_, script, half) in halves {
        half.facts.turn_to(script);
        let mut watch = Watch::new(&half.scope, settings);
        // Functions call others that stand below them: their times are known the second time.
        watch.steps(&half.steps);
        let takes = watch.steps(&half.steps);
        for line in watch.unknown {
            half.facts.record(FactKind::Guessed, line, UNKNOWN);
        }
        if takes > USUAL / 2 {
            told(&mut half.facts, &watch.waits, takes);
        }
        most = most.max(takes);
    }
    (most > USUAL / 2).then(|| most.saturating_add(MARGIN).min(MOST))
}

fn told(facts: &mut Facts, lines: &BTreeSet<usize>, takes: Duration) {
    let (kind, but) = if takes.saturating_add(MARGIN) > MOST {
        (
            FactKind::Guessed,
            "longer than the hour that a hook can have",
        )
    } else {
        (
            FactKind::Different,
            "for which its timeout stands in the configuration; a hook has 10 s otherwise",
        )
    };
    let text = format!("this waits for up to {} s in all, {but}", takes.as_secs());
    for line in lines {
        facts.record(kind, *line, text.as_str());
    }
}

/// One after the other. What a script says may be any number.
fn total(all: impl IntoIterator<Item = Duration>) -> Duration {
    all.into_iter()
        .fold(Duration::ZERO, Duration::saturating_add)
}

struct Watch<'a> {
    scope: &'a Scope,
    settings: &'a Settings,
    /// The script's functions.
    functions: HashMap<String, Duration>,
    /// Lines that wait.
    waits: BTreeSet<usize>,
    /// Those of which it is not known how long.
    unknown: BTreeSet<usize>,
    line: usize,
}

impl<'a> Watch<'a> {
    fn new(scope: &'a Scope, settings: &'a Settings) -> Self {
        Self {
            scope,
            settings,
            functions: HashMap::new(),
            waits: BTreeSet::new(),
            unknown: BTreeSet::new(),
            line: 0,
        }
    }

    fn steps(&mut self, steps: &[Step]) -> Duration {
        let one = |(index, step): (usize, &Step)| {
            self.line = step.line;
            self.step(step, steps.get(..index).unwrap_or_default())
        };
        total(steps.iter().enumerate().map(one))
    }

    fn step(&mut self, step: &Step, before: &[Step]) -> Duration {
        match &step.what {
            What::Do(action) => self.action(action),
            What::Try(cond)
            | What::Must(cond)
            | What::Remember(cond)
            | What::Return(Some(cond)) => self.cond(cond),
            What::Assign(_, value) => self.expr(value),
            What::If(arms, otherwise) => {
                let mut questions = Duration::ZERO;
                let mut longest = Duration::ZERO;
                for (cond, body) in arms {
                    questions = questions.saturating_add(self.cond(cond));
                    longest = longest.max(self.steps(body));
                }
                questions.saturating_add(longest.max(self.steps(otherwise)))
            }
            What::For(_, list, body) => {
                let rounds = self.rounds(list);
                self.repeated(step.line, rounds, Duration::ZERO, body)
            }
            What::While(cond, body) => {
                let rounds = self
                    .counted(cond, body, before)
                    .or_else(|| self.left(body, before));
                let question = self.cond(cond);
                self.repeated(step.line, rounds, question, body)
            }
            What::Block(body) | What::Script(_, body) => self.steps(body),
            What::Function(name, _, body) => {
                let takes = self.steps(body);
                self.functions.insert(name.clone(), takes);
                Duration::ZERO
            }
            What::Call(name, _) => self.functions.get(name).copied().unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }

    fn repeated(
        &mut self,
        line: usize,
        rounds: Option<u32>,
        question: Duration,
        body: &[Step],
    ) -> Duration {
        let once = question.saturating_add(self.steps(body));
        match rounds {
            _ if once.is_zero() => once,
            Some(rounds) => once.saturating_mul(rounds),
            None => {
                self.unknown.insert(line);
                once
            }
        }
    }

    /// How often a loop over this is gone through.
    fn rounds(&self, list: &List) -> Option<u32> {
        let count = match list {
            List::Fixed(values) => values.len(),
            List::Words(values) => {
                let texts = values
                    .iter()
                    .map(|value| self.scope.values(value, self.settings));
                let mut count = 0;
                for values in texts {
                    let words = |text: &String| text.split_whitespace().count();
                    count += values
                        .known
                        .iter()
                        .map(words)
                        .max()
                        .filter(|_| values.complete)?;
                }
                count
            }
            List::Lines { .. } | List::Arguments => return None,
        };
        u32::try_from(count).ok()
    }

    /// `while [ $n -lt 30 ]`, where the body adds to `n` or takes from it.
    fn counted(&self, cond: &Cond, body: &[Step], before: &[Step]) -> Option<u32> {
        let (operator, left, right) = match cond {
            Cond::And(a, b) => {
                return self
                    .counted(a, body, before)
                    .or_else(|| self.counted(b, body, before));
            }
            Cond::Number(operator, left, right) => (*operator, left, right),
            _ => return None,
        };
        let name = variable(left)?;
        let steps = body.iter().find_map(|step| match &step.what {
            What::Assign(set, value) if set == name => stride(name, value),
            _ => None,
        })?;
        let begin = before.iter().rev().find_map(|step| match &step.what {
            What::Assign(set, value) if set == name => Some(self.number(value)),
            _ => None,
        })??;
        let end = self.number(right)?;
        let way = match operator {
            "<" if steps > 0 => end.saturating_sub(begin),
            "<=" if steps > 0 => end.saturating_sub(begin).saturating_add(1),
            ">" if steps < 0 => begin.saturating_sub(end),
            ">=" if steps < 0 => begin.saturating_sub(end).saturating_add(1),
            // It must come to it.
            "~=" => {
                let way = end.saturating_sub(begin);
                if way.checked_rem(steps) != Some(0) || way.signum() != steps.signum() {
                    return None;
                }
                way.saturating_abs()
            }
            _ => return None,
        };
        // The last round may be a short one.
        let rounds = way
            .max(0)
            .unsigned_abs()
            .div_ceil(steps.unsigned_abs().max(1));
        u32::try_from(rounds).ok()
    }

    /// `[ $n -ge 10 ] && break` in the body: it is left where that comes true.
    fn left(&self, body: &[Step], before: &[Step]) -> Option<u32> {
        let leaves = |body: &[Step]| {
            let last = body
                .iter()
                .rfind(|step| !matches!(step.what, What::Comment(_)));
            last.is_some_and(|step| {
                matches!(step.what, What::Break | What::Return(_) | What::Fail(_))
            })
        };
        let round = |step: &Step| match &step.what {
            What::If(arms, _) => arms.iter().find_map(|(cond, then)| {
                let Cond::Number(operator, left, right) = cond else {
                    return None;
                };
                let stays = match *operator {
                    ">=" => "<",
                    ">" => "<=",
                    "<=" => ">",
                    "<" => ">=",
                    "==" => "~=",
                    _ => return None,
                };
                let stays = Cond::Number(stays, left.clone(), right.clone());
                self.counted(&stays, body, before).filter(|_| leaves(then))
            }),
            _ => None,
        };
        let rounds = body.iter().find_map(round)?;
        Some(rounds.saturating_add(1))
    }

    fn number(&self, value: &Expr) -> Option<i64> {
        match value {
            Expr::Number(inner) => self.number(inner),
            Expr::Sum(parts) => match parts.as_slice() {
                [LuaPart::Code(code)] => code.trim().parse().ok(),
                [LuaPart::Value(value)] => self.number(value),
                _ => None,
            },
            value => self.scope.constant(value, self.settings)?.parse().ok(),
        }
    }

    fn action(&mut self, action: &Action) -> Duration {
        let waits = match action {
            Action::Sleep(Expr::Text(ms)) => {
                ms.parse().map_or(Duration::MAX, Duration::from_millis)
            }
            Action::Sleep(Expr::Sum(parts)) => self.product(parts).unwrap_or_else(|| {
                self.unknown.insert(self.line);
                Duration::ZERO
            }),
            Action::Run(run) => limit(run),
            Action::Http { timeout, .. } => timeout.map_or(Duration::ZERO, Duration::from_millis),
            _ => Duration::ZERO,
        };
        if !waits.is_zero() {
            self.waits.insert(self.line);
        }
        let values = action.values().into_iter().map(|value| self.expr(value));
        waits.saturating_add(total(values))
    }

    /// `N * 1000`, as a sleep of a variable's seconds is.
    fn product(&self, parts: &[LuaPart]) -> Option<Duration> {
        let [LuaPart::Value(value), LuaPart::Code(_)] = parts else {
            return None;
        };
        let value = match value {
            Expr::Number(inner) => inner,
            value => value,
        };
        let values = self.scope.values(value, self.settings);
        let longest = values
            .known
            .iter()
            .filter_map(|text| text.parse().ok())
            .max();
        longest.filter(|_| values.complete).map(Duration::from_secs)
    }

    fn cond(&mut self, cond: &Cond) -> Duration {
        match cond {
            Cond::Did(actions) => total(actions.iter().map(|action| self.action(action))),
            Cond::Changed(action) => self.action(action),
            Cond::Function(name, _) => self.functions.get(name).copied().unwrap_or_default(),
            Cond::Call(_, values) => total(values.iter().map(|value| self.expr(value))),
            Cond::Not(inner) => self.cond(inner),
            Cond::And(a, b) | Cond::Or(a, b) => total([self.cond(a), self.cond(b)]),
            Cond::Equal(a, b) | Cond::Number(_, a, b) => total([self.expr(a), self.expr(b)]),
            Cond::Empty(a) | Cond::Match(a, _) => self.expr(a),
            _ => Duration::ZERO,
        }
    }

    fn expr(&mut self, value: &Expr) -> Duration {
        match value {
            Expr::Output(run) | Expr::Raw(run, _) => {
                let takes = limit(run);
                if !takes.is_zero() {
                    self.waits.insert(self.line);
                }
                takes
            }
            Expr::Join(parts) | Expr::Call(_, parts) => {
                total(parts.iter().map(|part| self.expr(part)))
            }
            Expr::Trim(trim) => self.expr(&trim.value),
            Expr::Answer(action, _) => self.action(action),
            _ => Duration::ZERO,
        }
    }
}

/// The variable that is compared.
fn variable(value: &Expr) -> Option<&str> {
    match value {
        Expr::Var(name) => Some(name),
        Expr::Number(inner) => variable(inner),
        Expr::Sum(parts) => match parts.as_slice() {
            [LuaPart::Value(value)] => variable(value),
            _ => None,
        },
        _ => None,
    }
}

/// By how much `NAME + 1` goes on.
fn stride(name: &str, value: &Expr) -> Option<i64> {
    let Expr::Sum(parts) = value else {
        return None;
    };
    let mut code = String::new();
    for part in parts {
        match part {
            LuaPart::Code(text) => code += text,
            LuaPart::Value(value) if variable(value) == Some(name) => code += "#",
            LuaPart::Value(_) => return None,
        }
    }
    let code: String = code.split_whitespace().collect();
    code.strip_prefix('#')?.parse().ok()
}

/// How long a program waits that is told how long.
fn limit(run: &Run) -> Duration {
    let mut words = run.argv.iter().map(String::as_str);
    let base = words.next().unwrap_or_default().rsplit('/').next();
    let after = |flags: &[&str]| {
        let at = run
            .argv
            .iter()
            .position(|word| flags.contains(&word.as_str()))?;
        seconds(run.argv.get(at + 1)?)
    };
    let joined = |flag: &str| {
        run.argv
            .iter()
            .find_map(|word| seconds(word.strip_prefix(flag)?))
    };
    let seconds = match base.unwrap_or_default() {
        "timeout" => words.find_map(seconds),
        "ping" | "ping6" | "arping" => after(&["-w"])
            .or_else(|| joined("-w"))
            .or_else(|| after(&["-c"]))
            .or_else(|| joined("-c")),
        "curl" => after(&["-m", "--max-time"]),
        "flock" | "pg_isready" => after(&["-w", "-t", "--timeout"]),
        "pg_ctl" => after(&["-t", "--timeout"]),
        "nc" | "ncat" => after(&["-w"]).or_else(|| joined("-w")),
        _ => None,
    };
    seconds.unwrap_or_default()
}

/// `30`, `30s`, `2m`.
fn seconds(text: &str) -> Option<Duration> {
    let (number, factor) = match text.strip_suffix('m') {
        Some(number) => (number, 60.0),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let value: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(value * factor).ok()
}
