//! One order for what several nodes did: near the times that are known of each, but nothing is told
//! before what led to it. Clocks are compared with a small error; an advertisement that was heard has
//! none.

use std::collections::VecDeque;

use super::Nanos;

/// What a node did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// It heard the advertisement with this number. What it did in the same moment followed from that.
    Heard(usize),
    /// It changed its state.
    Story(usize),
    /// It sent the advertisement with this number, as it had changed its state.
    Sent(usize),
}

/// The same, with the time that is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) at: Nanos,
    pub(super) what: What,
}

/// The stories of these nodes in one order, each with its node and its time, which never decreases.
/// `sent`: how many advertisements were sent by one of them.
pub(super) fn order(nodes: Vec<Vec<Step>>, sent: usize) -> Vec<(Nanos, usize, usize)> {
    let mut nodes: Vec<VecDeque<Step>> = nodes.into_iter().map(VecDeque::from).collect();
    let mut is_sent = vec![false; sent];
    let mut told = Vec::new();
    let mut now = Nanos::MIN;
    loop {
        let heads = || {
            let heads = nodes.iter().enumerate();
            heads.filter_map(|(node, steps)| Some((node, *steps.front()?)))
        };
        let earliest = |(_, step): &(usize, Step)| step.at;
        let may_be_next = |(_, step): &(usize, Step)| match step.what {
            What::Heard(number) => is_sent.get(number) != Some(&false),
            What::Story(_) | What::Sent(_) => true,
        };
        // Where each waits for another one, what they recorded is not true.
        let next = heads()
            .filter(may_be_next)
            .min_by_key(earliest)
            .or_else(|| heads().min_by_key(earliest));
        let Some((node, step)) = next else {
            return told;
        };
        if let Some(steps) = nodes.get_mut(node) {
            steps.pop_front();
        }
        now = now.max(step.at);
        match step.what {
            What::Heard(_) => {}
            What::Story(story) => told.push((now, node, story)),
            What::Sent(number) => {
                if let Some(sent) = is_sent.get_mut(number) {
                    *sent = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(steps: &[(Nanos, What)]) -> Vec<Step> {
        steps
            .iter()
            .map(|(at, what)| Step {
                at: *at,
                what: *what,
            })
            .collect()
    }

    #[test]
    fn what_led_to_it_comes_first() {
        use What::{Heard, Sent, Story};
        // The second's clock is thought to be 3 too early; the third has nothing to do with it.
        let one = steps(&[(10, Story(1)), (10, Sent(0)), (20, Story(2))]);
        let two = steps(&[(7, Heard(0)), (7, Story(3)), (8, Story(4))]);
        let three = steps(&[(9, Story(5)), (11, Story(6))]);
        let told = order(vec![one, two, three], 1);
        assert_eq!(
            told,
            [
                (9, 2, 5),
                (10, 0, 1),
                (10, 1, 3),
                (10, 1, 4),
                (11, 2, 6),
                (20, 0, 2)
            ]
        );
    }

    #[test]
    fn what_cannot_be_true_is_told_all_the_same() {
        use What::{Heard, Sent, Story};
        let one = steps(&[(1, Heard(0)), (2, Story(1)), (3, Sent(1))]);
        let two = steps(&[(2, Heard(1)), (3, Story(2)), (4, Sent(0)), (5, Heard(9))]);
        assert_eq!(order(vec![one, two], 2), [(2, 0, 1), (3, 1, 2)]);
        assert_eq!(order(Vec::new(), 0), []);
    }
}
