//! Targets of notifications, for people.

use super::at;
use crate::engine::report::NotifyStatus;
use crate::types::Page;

/// A line for each target, and one about its last error.
pub(super) fn text<'t>(targets: impl Iterator<Item = &'t NotifyStatus>, page: &mut Page) {
    for target in targets {
        let NotifyStatus {
            name,
            to,
            sent,
            failed,
            held_back,
            waiting,
            failing,
            last_sent_ms: _,
            last_error,
            last_error_ms,
        } = target;
        let now = if *failing { ", failing" } else { "" };
        writeln!(
            page,
            "notify {name} ({to}): {sent} sent, {failed} failed, {held_back} held back, {waiting} waiting{now}"
        );
        if let Some(error) = last_error {
            let when = at(last_error_ms.unwrap_or_default());
            writeln!(page, "  last error, {when}: {error}");
        }
    }
}
