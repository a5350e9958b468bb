//! One entry point for several states of keepalived: what each of them has is said once.

use super::ir::{Step, What};

/// Takes out what all bodies have alike: the functions, and how they begin. Nothing of it looks at
/// the state, for then it would not be alike.
pub(super) fn common(bodies: &mut [Vec<Step>]) -> Vec<Step> {
    let mut common = Vec::new();
    let functions: Vec<Step> = bodies.first().map_or_else(Vec::new, |first| {
        let functions = first.iter().filter(|step| is_function(step));
        functions.cloned().collect()
    });
    for function in functions {
        let places: Option<Vec<usize>> = bodies.iter().map(|body| only(body, &function)).collect();
        let Some(places) = places else { continue };
        // With the comments that stand before it.
        let said = |body: &[Step], at: usize| -> Vec<Step> {
            let before = body.get(..at).unwrap_or_default();
            let comments = before.iter().rev();
            let mut comments: Vec<Step> = comments.take_while(|s| is_comment(s)).cloned().collect();
            comments.reverse();
            comments
        };
        let all: Vec<Vec<Step>> = bodies
            .iter()
            .zip(&places)
            .map(|(body, at)| said(body, *at))
            .collect();
        let alike = all.windows(2).all(|two| two.first() == two.last());
        let comments = all.into_iter().next().filter(|_| alike).unwrap_or_default();
        for (body, at) in bodies.iter_mut().zip(places) {
            body.drain(at - comments.len()..=at);
        }
        common.extend(comments);
        common.push(function);
    }
    while let Some(first) = bodies.first().and_then(|body| body.first()).cloned() {
        if !bodies.iter().all(|body| body.first() == Some(&first)) {
            break;
        }
        for body in bodies.iter_mut() {
            body.remove(0);
        }
        common.push(first);
    }
    common
}

const fn is_function(step: &Step) -> bool {
    matches!(step.what, What::Function(..))
}

const fn is_comment(step: &Step) -> bool {
    matches!(step.what, What::Comment(_))
}

/// Where the function is defined, if it is defined there once.
fn only(body: &[Step], function: &Step) -> Option<usize> {
    let What::Function(wanted, ..) = &function.what else {
        return None;
    };
    let mut named = body
        .iter()
        .enumerate()
        .filter(|(_, step)| matches!(&step.what, What::Function(name, ..) if name == wanted));
    let (at, step) = named.next()?;
    (named.next().is_none() && step == function).then_some(at)
}
