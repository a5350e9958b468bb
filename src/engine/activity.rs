//! Records what the engine's thread is doing, where the keeper can read it: if the thread hangs,
//! the log says where.

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::pin;

use crate::keeper::failsafe::ActivityWriter;

/// Where the activity is recorded, if anywhere.
#[derive(Debug, Default)]
pub(super) struct Activity(Option<ActivityWriter>);

impl Activity {
    /// Records the activity with this writer.
    pub(super) const fn noted(steps: ActivityWriter) -> Self {
        Self(Some(steps))
    }

    /// Sets the current activity, until the next call.
    pub(super) fn at(&self, what: &str) {
        if let Some(steps) = &self.0 {
            steps.note(what);
        }
    }

    /// Records `what` whenever this future is polled; while it waits, the thread does something
    /// else.
    pub(super) async fn during<F: Future>(&self, what: impl Display, future: F) -> F::Output {
        let what = if self.0.is_some() {
            what.to_string()
        } else {
            String::new()
        };
        let mut future = pin!(future);
        poll_fn(|context| {
            self.at(&what);
            let polled = future.as_mut().poll(context);
            self.at("");
            polled
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::keeper::failsafe::{Reader, Writer};

    #[test]
    fn a_future_is_named_while_it_works_and_only_then() {
        let (writer, theirs) = Writer::create().unwrap();
        let (activity, reader) = (
            Activity::noted(writer.activity().unwrap()),
            Reader::new(theirs),
        );
        activity.at("the timers");
        assert_eq!(reader.activity().as_deref(), Some("the timers"));
        let mut polls = 0;
        let mut work = Box::pin(activity.during(
            "route.replace",
            poll_fn(|_| {
                polls += 1;
                assert_eq!(reader.activity().as_deref(), Some("route.replace"));
                if polls == 2 {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            }),
        ));
        assert!((&mut work).now_or_never().is_none());
        assert_eq!(reader.activity(), None, "it waits");
        activity.at("packets");
        assert!((&mut work).now_or_never().is_some());
        assert_eq!(reader.activity(), None);
    }
}
