//! `COMMAND; if [ $? -eq 0 ]; then`: the command becomes the condition, where nothing else looks at
//! its status.

use super::ir::{Cond, Expr, Step, Visit, What, walk};

/// Joins them everywhere in these steps.
pub(super) fn join(steps: &mut Vec<Step>) {
    let mut joined: Vec<Step> = Vec::new();
    for mut step in std::mem::take(steps) {
        for body in step.what.bodies_mut() {
            join(body);
        }
        match joined.pop() {
            Some(Step {
                line,
                what: What::Remember(asked),
            }) if asks_once(&step) => {
                step.line = line;
                put(&mut step.what, asked);
            }
            Some(other) => joined.push(other),
            None => {}
        }
        joined.push(step);
    }
    *steps = joined;
}

/// Is it an `if` that begins with the status, and does nothing else in it look at that?
fn asks_once(step: &Step) -> bool {
    let What::If(arms, _) = &step.what else {
        return false;
    };
    let begins = match arms.first() {
        Some((Cond::Status, _)) => true,
        Some((Cond::Not(inner), _)) => **inner == Cond::Status,
        _ => false,
    };
    let mut looks = Looks(0);
    walk(std::slice::from_ref(step), &mut looks);
    begins && looks.0 == 1
}

/// How often something looks at a status.
struct Looks(usize);

impl Visit for Looks {
    fn cond(&mut self, _: usize, cond: &Cond) {
        self.0 += usize::from(*cond == Cond::Status);
    }

    fn expr(&mut self, _: usize, expr: &Expr) {
        self.0 += usize::from(*expr == Expr::Status);
    }
}

fn put(what: &mut What, asked: Cond) {
    let What::If(arms, _) = what else {
        return;
    };
    if let Some((cond, _)) = arms.first_mut() {
        *cond = if *cond == Cond::Status {
            asked
        } else {
            asked.not()
        };
    }
}
