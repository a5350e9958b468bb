//! A ledger that cannot be written is tried again, ever more seldom, whether or not anybody wants
//! to claim something.

use std::rc::Rc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::engine::runs::shared::Shared;
use crate::host::Host;
use crate::host::clock;

/// How often it is looked at: by the first pause while it is well.
const LOOKS: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));

/// As long as the engine lives.
pub(in crate::engine) async fn retry_ledger<H: Host>(shared: Rc<Shared<H>>) {
    let mut looks = LOOKS;
    loop {
        clock::sleep(looks.pause()).await;
        if shared.executor.mend_ledger().await {
            looks = LOOKS;
        }
    }
}
