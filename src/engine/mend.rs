//! A ledger that cannot be written is tried again, ever more seldom, whether or not anybody wants
//! to claim something.

use std::rc::Rc;
use std::time::Duration;

use super::clock;
use super::shared::Shared;
use crate::backoff::Backoff;
use crate::host::Host;

/// How often it is looked at: by the first pause while it is well.
const LOOKS: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));

/// As long as the engine lives.
pub(super) async fn mend<H: Host>(shared: Rc<Shared<H>>) {
    let mut looks = LOOKS;
    loop {
        clock::sleep(looks.pause()).await;
        if shared.executor.mend_ledger().await {
            looks = LOOKS;
        }
    }
}
