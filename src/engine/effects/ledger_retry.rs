//! Retries an unwritable ledger, at growing intervals, whether or not anything is to be claimed.

use std::rc::Rc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::engine::runs::shared::Shared;
use crate::host::Host;
use crate::host::clock;

/// How often it is checked: at the first interval while it is writable.
const LOOKS: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));

/// Runs as long as the engine.
pub(in crate::engine) async fn retry_ledger<H: Host>(shared: Rc<Shared<H>>) {
    let mut looks = LOOKS;
    loop {
        clock::sleep(looks.pause()).await;
        if shared.executor.mend_ledger().await {
            looks = LOOKS;
        }
    }
}
