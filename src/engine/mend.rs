//! A ledger that cannot be written is tried again, ever more seldom, whether or not anybody wants
//! to claim something.

use std::rc::Rc;
use std::time::Duration;

use super::clock;
use super::shared::Shared;
use crate::host::Host;

/// How often it is looked at while it is well, and the first pause when it is not; doubled each
/// time.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// As long as the engine lives.
pub(super) async fn mend<H: Host>(shared: Rc<Shared<H>>) {
    let mut pause = RETRY_FIRST;
    loop {
        clock::sleep(pause).await;
        pause = if shared.executor.mend_ledger().await {
            RETRY_FIRST
        } else {
            (pause * 2).min(RETRY_MAX)
        };
    }
}
