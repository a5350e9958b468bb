//! The events of an engine, in words.

use super::Notices;
use crate::config;
use crate::hooks::HookError;
use crate::notification::{EventKind, Subject};
use crate::proto::Transition;
use crate::types::{IfName, Name};

/// The part of an event that says which virtual host it is about.
pub(in crate::engine) fn of_vhost(spec: &config::Vhost) -> Subject {
    Subject {
        vhost: Some(spec.name.clone()),
        interface: Some(spec.interface.clone()),
        vhid: Some(spec.vhid),
        ..Subject::default()
    }
}

impl Notices {
    /// A virtual host changed its state.
    pub(in crate::engine) fn transition(&self, spec: &config::Vhost, transition: &Transition) {
        if self.is_nobody_told() {
            return;
        }
        let Transition {
            from,
            to,
            cause,
            peer,
            ..
        } = transition;
        let text = format!("{}: {from} -> {to}: {cause}", spec.name);
        let subject = Subject {
            from: Some(*from),
            to: Some(*to),
            cause: Some(cause.as_str().to_owned()),
            why: Some(cause.to_string()),
            peer: peer.map(|peer| peer.to_string()),
            ..of_vhost(spec)
        };
        self.tell(EventKind::Transition, &text, subject);
    }

    /// A run of a hook failed.
    pub(in crate::engine) fn hook_failed(
        &self,
        (vhost, interface): (&Name, &IfName),
        (hook, entry): (&Name, &str),
        error: &HookError,
    ) {
        let text = format!("{vhost}: hook {hook} failed in {entry}: {error}");
        let subject = Subject {
            vhost: Some(vhost.clone()),
            interface: Some(interface.clone()),
            hook: Some(hook.clone()),
            cause: Some(entry.to_owned()),
            why: Some(error.to_string()),
            ..Subject::default()
        };
        self.tell(EventKind::HookFailed, &text, subject);
    }

    /// A virtual host is degraded from now on.
    pub(in crate::engine) fn degraded(&self, spec: &config::Vhost, reason: &str) {
        let text = format!("{}: degraded: {reason}", spec.name);
        let subject = Subject {
            why: Some(reason.to_owned()),
            ..of_vhost(spec)
        };
        self.tell(EventKind::Degraded, &text, subject);
    }

    /// It is no longer.
    pub(in crate::engine) fn recovered(&self, spec: &config::Vhost) {
        let text = format!("{}: no longer degraded", spec.name);
        self.tell(EventKind::Recovered, &text, of_vhost(spec));
    }

    /// A hook's `health` failed, or is well again: no reason.
    pub(in crate::engine) fn health(&self, spec: &config::Vhost, hook: &Name, reason: &str) {
        let subject = Subject {
            hook: Some(hook.clone()),
            ..of_vhost(spec)
        };
        let vhost = &spec.name;
        if reason.is_empty() {
            let text = format!("{vhost}: hook {hook} says that it is healthy again");
            return self.tell(EventKind::Healthy, &text, subject);
        }
        let text = format!("{vhost}: unhealthy: hook {hook}: {reason}");
        let why = Some(reason.to_owned());
        self.tell(EventKind::Unhealthy, &text, Subject { why, ..subject });
    }

    /// A track is down, or up again: no reason.
    pub(in crate::engine) fn track(&self, track: &Name, reason: &str) {
        let subject = Subject {
            track: Some(track.clone()),
            ..Subject::default()
        };
        if reason.is_empty() {
            let text = format!("track {track} is up again");
            return self.tell(EventKind::TrackUp, &text, subject);
        }
        let text = format!("track {track} is down: {reason}");
        let why = Some(reason.to_owned());
        self.tell(EventKind::TrackDown, &text, Subject { why, ..subject });
    }

    /// Maintenance of a virtual host began, with these words, or ended.
    pub(in crate::engine) fn maintenance(&self, spec: &config::Vhost, begun: Option<&str>) {
        let vhost = &spec.name;
        let Some(words) = begun else {
            let text = format!("{vhost}: no longer in maintenance");
            return self.tell(EventKind::MaintenanceEnded, &text, of_vhost(spec));
        };
        let subject = Subject {
            why: Some(words.to_owned()),
            ..of_vhost(spec)
        };
        self.tell(
            EventKind::MaintenanceBegun,
            &format!("{vhost}: {words}"),
            subject,
        );
    }
}
