//! The metrics of the engine, for `carpd metrics`: the only place that names them.

use std::time::Duration;

use crate::engine::command::{After, Part, Then};
use crate::engine::metrics::{BUCKETS_MS, Kind, Runs, Text, VhostCounters};
use crate::engine::report::NotifyStatus;
use crate::engine::state::Engine;
use crate::engine::vhost::lateness::{BOUNDS_US, Lateness, OfInterface};
use crate::engine::vhost::node::Node;
use crate::engine::vhost::tracks::Standing;
use crate::host::LinuxHost;
use crate::host::clock;
use crate::host::kernel::process;
use crate::types::{Name, State, Timestamp};

impl Engine {
    /// All metrics, as OpenMetrics text.
    pub(in crate::engine) fn metrics(&self) -> String {
        let nodes: Vec<_> = self.nodes.values().collect();
        let mut text = self.metrics_of_vhosts(&nodes);
        self.metrics_of_the_rest(&mut text);
        text.end()
    }

    /// The metrics of some virtual hosts, and of the rest if they are the last.
    pub(in crate::engine) fn metrics_part(&self, after: Option<After>) -> Part<Text, ()> {
        let (nodes, next) = self.some_nodes(after);
        let mut some = self.metrics_of_vhosts(&nodes);
        let then = if let Some(next) = next {
            Then::More(next)
        } else {
            self.metrics_of_the_rest(&mut some);
            Then::End(())
        };
        Part { some, then }
    }

    fn metrics_of_vhosts(&self, nodes: &[&Node<LinuxHost>]) -> Text {
        let mut text = Text::default();
        vhost_gauges(&mut text, nodes, clock::now());
        vhost_counters(&mut text, nodes);
        self.counted_vhosts(&mut text, nodes);
        text
    }

    fn metrics_of_the_rest(&self, text: &mut Text) {
        let now = clock::now();
        self.process_metrics(text);
        self.lateness_metrics(text);
        text.family(
            "carpd_group_whole",
            Kind::Gauge,
            "1 while every member of the group can take part.",
        );
        for group in self.group_status(now) {
            let whole = u8::from(group.flaw.is_none());
            text.sample(&[("group", group.name.as_str())], whole);
        }
        text.family(
            "carpd_unmatched_packets",
            Kind::Counter,
            "Packets that do not belong to any virtual host here.",
        );
        for (reason, count) in self.unmatched.rejects() {
            text.sample(&[("reason", reason)], count);
        }
        text.family(
            "carpd_unknown_vhid_advertisements",
            Kind::Counter,
            "Valid advertisements of vhids that no virtual host here uses.",
        );
        for interface in self.interfaces.iter() {
            let labels = [("interface", interface.name.as_str())];
            text.sample(&labels, interface.unknown_vhids.count());
        }
        self.track_metrics(text);
        notify_metrics(text, &self.shared.notices.status());
        self.hook_metrics(text);
        self.host_metrics(text);
    }

    fn process_metrics(&self, text: &mut Text) {
        text.family(
            "carpd_build_info",
            Kind::Gauge,
            "Always 1; the version is in the label.",
        )
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.family(
            "process_start_time_seconds",
            Kind::Gauge,
            "When the engine started, in seconds since 1970.",
        )
        .sample(&[], seconds_of(self.started_ms));
        if let Some(process::Usage {
            resident_bytes,
            descriptors,
        }) = process::usage()
        {
            text.family(
                "process_resident_memory_bytes",
                Kind::Gauge,
                "Resident memory of the engine.",
            )
            .sample(&[], resident_bytes);
            text.family(
                "process_open_fds",
                Kind::Gauge,
                "File descriptors that the engine has open.",
            )
            .sample(&[], descriptors);
        }
    }

    fn counted_vhosts(&self, text: &mut Text, nodes: &[&Node<LinuxHost>]) {
        let counters = self.shared.executor.counters();
        let counted = nodes.iter().filter_map(|node| {
            let name = &node.spec.name;
            Some((name, counters.vhosts.get(name)?))
        });
        let counted: Vec<_> = counted.collect();
        text.family(
            "carpd_transitions",
            Kind::Counter,
            "State changes, by new state and cause.",
        );
        for (vhost, counted) in &counted {
            for ((to, cause), count) in &counted.transitions {
                text.sample(
                    &[
                        ("vhost", vhost.as_str()),
                        ("to", to.as_str()),
                        ("cause", cause),
                    ],
                    count,
                );
            }
        }
        let results = |text: &mut Text, name, help, of: fn(&VhostCounters) -> [u64; 2]| {
            text.family(name, Kind::Counter, help);
            for (vhost, counted) in &counted {
                for (result, count) in ["done", "failed"].into_iter().zip(of(counted)) {
                    text.sample(&[("vhost", vhost.as_str()), ("result", result)], count);
                }
            }
        };
        results(
            text,
            "carpd_announcements",
            "Addresses that were announced to the neighbours.",
            |c| [c.announced, c.announce_failures],
        );
        results(
            text,
            "carpd_lease_renewals",
            "Renewals of address leases.",
            |c| [c.renewed, c.renew_failures],
        );
    }

    fn lateness_metrics(&self, text: &mut Text) {
        let mut histogram = |name, help, of: fn(&OfInterface) -> &Lateness| {
            text.family(name, Kind::Histogram, help);
            for interface in self.interfaces.iter() {
                let lateness = of(&interface.lateness);
                let bounds = BOUNDS_US.map(|us| Duration::from_micros(us).as_secs_f64());
                let buckets = bounds.into_iter().zip(lateness.buckets);
                let labels = [("interface", interface.name.as_str())];
                let total = lateness.total.as_secs_f64();
                text.histogram(&labels, buckets, lateness.count, total);
            }
        };
        histogram(
            "carpd_advertisement_send_lateness_seconds",
            "How long after they were due our advertisements were sent.",
            |lateness| &lateness.sent,
        );
        histogram(
            "carpd_advertisement_receive_lateness_seconds",
            "How long after their senders had promised them valid advertisements of others arrived.",
            |lateness| &lateness.heard,
        );
    }

    fn track_metrics(&self, text: &mut Text) {
        text.family(
            "carpd_track_up",
            Kind::Gauge,
            "1 while the track is up; missing until it has a result.",
        );
        for (name, track) in self.tracks.iter() {
            if track.standing != Standing::Unknown {
                let up = u8::from(track.standing == Standing::Up);
                text.sample(&[("track", name.as_str())], up);
            }
        }
        text.family(
            "carpd_track_falls",
            Kind::Counter,
            "How often the track went down.",
        );
        for (name, track) in self.tracks.iter() {
            text.sample(&[("track", name.as_str())], track.falls);
        }
    }

    fn hook_metrics(&self, text: &mut Text) {
        let hooks = self.hooks.status();
        let counters = self.shared.executor.counters();
        text.family(
            "carpd_hook_runs",
            Kind::Counter,
            "Runs of hooks, by outcome.",
        );
        for ((hook, entry), runs) in &counters.runs {
            let Runs {
                done,
                failed,
                superseded,
                ..
            } = runs;
            for (outcome, count) in [
                ("done", done),
                ("failed", failed),
                ("superseded", superseded),
            ] {
                text.sample(
                    &[
                        ("hook", hook.as_str()),
                        ("entry", entry.as_str()),
                        ("outcome", outcome),
                    ],
                    count,
                );
            }
        }
        text.family(
            "carpd_hook_run_duration_seconds",
            Kind::Histogram,
            "Duration of hook runs.",
        );
        for ((hook, entry), runs) in &counters.runs {
            let buckets = BUCKETS_MS
                .iter()
                .zip(runs.buckets)
                .map(|(ms, count)| (seconds_of(*ms), count));
            let labels = [("hook", hook.as_str()), ("entry", entry.as_str())];
            text.histogram(&labels, buckets, runs.count(), runs.total.as_secs_f64());
        }
        text.family(
            "carpd_hook_generation",
            Kind::Gauge,
            "The active version of a hook, counted since the engine started.",
        );
        for hook in &hooks {
            text.sample(&[("hook", hook.name.as_str())], hook.generation);
        }
        text.family(
            "carpd_hook_fault",
            Kind::Gauge,
            "1 while the file of a hook has an error and an older version is active.",
        );
        for hook in &hooks {
            text.sample(
                &[("hook", hook.name.as_str())],
                u8::from(hook.fault.is_some()),
            );
        }
        text.family(
            "carpd_hook_idle_runners",
            Kind::Gauge,
            "Processes that are ready for the next run of a hook.",
        );
        for hook in &hooks {
            text.sample(&[("hook", hook.name.as_str())], hook.idle_runners);
        }
    }

    fn host_metrics(&self, text: &mut Text) {
        let counters = self.shared.executor.counters();
        text.family(
            "carpd_effects",
            Kind::Counter,
            "Effects that hooks asked for, by outcome.",
        );
        for (outcome, count) in &counters.effects {
            text.sample(&[("outcome", outcome)], count);
        }
        text.family(
            "carpd_effects_undone",
            Kind::Counter,
            "Effects that had to be undone, by result.",
        )
        .sample(&[("result", "done")], counters.undone)
        .sample(&[("result", "failed")], counters.undo_failures);
        text.family(
            "carpd_reloads",
            Kind::Counter,
            "Reloads of configuration and hooks.",
        )
        .sample(&[("result", "done")], counters.reloads)
        .sample(&[("result", "refused")], counters.reloads_refused);
        text.family(
            "carpd_reload_problems",
            Kind::Gauge,
            "Problems found by the last reload; 0 if it succeeded.",
        )
        .sample(&[], self.reload_problems.len());
        let ledger = self.shared.executor.ledger();
        text.family(
            "carpd_ledger_entries",
            Kind::Gauge,
            "Entries of the ledger: what is held on this host.",
        )
        .sample(&[], ledger.iter().count());
        text.family(
            "carpd_ledger_records",
            Kind::Counter,
            "Records written to the ledger.",
        )
        .sample(&[("result", "written")], ledger.written())
        .sample(&[("result", "failed")], ledger.failures());
        text.family(
            "carpd_ledger_writable",
            Kind::Gauge,
            "0 while the ledger cannot be written, and only virtual addresses are taken.",
        )
        .sample(&[], u8::from(ledger.health().is_none()));
        text.family(
            "carpd_lasting_write_failures",
            Kind::Counter,
            "Failed writes of persistent state.",
        )
        .sample(&[], self.shared.persist.failures());
        text.family(
            "carpd_journal_lost_records",
            Kind::Counter,
            "Records that the flight recorder lost.",
        )
        .sample(&[], self.shared.journal.borrow().lost());
        if let Some(helper) = self.ties.helper.status() {
            text.family(
                "carpd_helper_up",
                Kind::Gauge,
                "1 while the helper process is running.",
            )
            .sample(&[], u8::from(helper.alive));
            text.family(
                "carpd_helper_deaths",
                Kind::Counter,
                "Deaths of the helper process.",
            )
            .sample(&[], helper.deaths);
        }
    }
}

fn notify_metrics(text: &mut Text, targets: &[NotifyStatus]) {
    text.family(
        "carpd_notifications",
        Kind::Counter,
        "Notifications by what became of them: sent, given up, or held back because too many waited.",
    );
    for target in targets {
        for (outcome, count) in [
            ("sent", target.sent),
            ("failed", target.failed),
            ("held-back", target.held_back),
        ] {
            let labels = [("target", target.name.as_str()), ("outcome", outcome)];
            text.sample(&labels, count);
        }
    }
    text.family(
        "carpd_notifications_waiting",
        Kind::Gauge,
        "Events that wait to be told to the target.",
    );
    for target in targets {
        text.sample(&[("target", target.name.as_str())], target.waiting);
    }
    text.family(
        "carpd_notify_failing",
        Kind::Gauge,
        "1 while the last attempt to tell the target something failed.",
    );
    for target in targets {
        text.sample(
            &[("target", target.name.as_str())],
            u8::from(target.failing),
        );
    }
}

fn vhost_gauges(text: &mut Text, nodes: &[&Node<LinuxHost>], now: Timestamp) {
    let wall_ms = clock::wall_ms();
    text.family(
        "carpd_vhost_state",
        Kind::Gauge,
        "1 for the current state of the virtual host, 0 for the others.",
    );
    for node in nodes {
        for state in [State::Init, State::Backup, State::Master] {
            let labels = [
                ("vhost", node.spec.name.as_str()),
                ("state", state.as_str()),
            ];
            text.sample(&labels, u8::from(node.machine.state() == state));
        }
    }
    let mut gauge = |name, help, of: &dyn Fn(&Node<LinuxHost>) -> Option<f64>| {
        text.family(name, Kind::Gauge, help);
        for node in nodes {
            if let Some(value) = of(node) {
                text.sample(&[("vhost", node.spec.name.as_str())], value);
            }
        }
    };
    let truth = |is: bool| Some(f64::from(u8::from(is)));
    gauge(
        "carpd_vhost_maintenance",
        "1 while the virtual host is in maintenance.",
        &|node| truth(node.upkeep.maintenance.is_some()),
    );
    gauge(
        "carpd_vhost_holding",
        "1 while the addresses are up here.",
        &|node| truth(node.holding),
    );
    gauge(
        "carpd_vhost_degraded",
        "1 while a hook that failed here has not succeeded since.",
        &|node| truth(node.degraded.is_some()),
    );
    gauge(
        "carpd_vhost_refused_addresses",
        "Addresses that the kernel refuses to this master, which holds the others.",
        &|node| {
            let refused = node
                .refused_addresses
                .as_ref()
                .map_or(0, |refused_addresses| refused_addresses.refused.len());
            Some(f64::from(u32::try_from(refused).unwrap_or(u32::MAX)))
        },
    );
    gauge(
        "carpd_vhost_demotion",
        "The demotion that it advertises, 0 to 240.",
        &|node| Some(f64::from(node.machine.demotion().get())),
    );
    gauge(
        "carpd_vhost_split",
        "1 while this node is master and hears another one that is master as well.",
        &|node| truth(node.split(now).is_some()),
    );
    gauge(
        "carpd_vhost_conflicts",
        "Hosts that are no peers and have one of its addresses.",
        &|node| {
            let present = node.conflicts.present(now).len();
            Some(f64::from(u32::try_from(present).unwrap_or(u32::MAX)))
        },
    );
    gauge(
        "carpd_vhost_link_penalty",
        "The penalty for a link that flaps: 1000 for each flap, less with time.",
        &|node| Some(f64::from(node.machine.link_penalty(now))),
    );
    gauge(
        "carpd_vhost_changed_timestamp_seconds",
        "When its state last changed, in seconds since 1970.",
        &|node| Some(seconds_of(node.since_ms)),
    );
    gauge(
        "carpd_vhost_heard_timestamp_seconds",
        "When it last heard another master, in seconds since 1970; missing if it never did.",
        &|node| {
            let heard = node.machine.heard()?;
            let ago_ms = u64::try_from(now.since(heard.at).as_millis()).unwrap_or(u64::MAX);
            Some(seconds_of(wall_ms.saturating_sub(ago_ms)))
        },
    );
    gauge(
        "carpd_vhost_interval_seconds",
        "Interval between its advertisements.",
        &|node| Some(node.machine.interval().as_secs_f64()),
    );
}

fn vhost_counters(text: &mut Text, nodes: &[&Node<LinuxHost>]) {
    let name = |node: &Node<LinuxHost>| -> Name { node.spec.name.clone() };
    text.family(
        "carpd_advertisements_sent",
        Kind::Counter,
        "Advertisements sent, counted for each address family.",
    );
    for node in nodes {
        let (name, stats) = (name(node), node.machine.stats());
        text.sample(
            &[("vhost", name.as_str()), ("kind", "advertisement")],
            stats.sent,
        );
        text.sample(
            &[("vhost", name.as_str()), ("kind", "bow-out")],
            stats.bow_outs_sent,
        );
    }
    text.family(
        "carpd_send_failures",
        Kind::Counter,
        "Packets that could not be sent.",
    );
    for node in nodes {
        text.sample(
            &[("vhost", name(node).as_str())],
            node.machine.stats().send_failures,
        );
    }
    text.family(
        "carpd_advertisements_received",
        Kind::Counter,
        "Valid advertisements received from others.",
    );
    for node in nodes {
        let (name, stats) = (name(node), node.machine.stats());
        let bow_outs = stats.bow_outs_received;
        text.sample(
            &[("vhost", name.as_str()), ("kind", "advertisement")],
            stats.received.saturating_sub(bow_outs),
        );
        text.sample(&[("vhost", name.as_str()), ("kind", "bow-out")], bow_outs);
    }
    text.family(
        "carpd_advertisements_refused",
        Kind::Counter,
        "Packets that were refused, by reason.",
    );
    for node in nodes {
        for (reason, count) in node.machine.stats().rejects() {
            text.sample(&[("vhost", name(node).as_str()), ("reason", reason)], count);
        }
    }
    text.family(
        "carpd_advertisers_evicted",
        Kind::Counter,
        "Senders of advertisements that were forgotten because there were too many.",
    );
    for node in nodes {
        text.sample(
            &[("vhost", name(node).as_str())],
            node.advertisers.evicted_count(),
        );
    }
    text.family(
        "carpd_peer_claims",
        Kind::Counter,
        "Worse masters heard while being master, as when a split heals.",
    );
    for node in nodes {
        text.sample(
            &[("vhost", name(node).as_str())],
            node.machine.stats().peer_claims,
        );
    }
    text.family(
        "carpd_late_wakes",
        Kind::Counter,
        "Wakeups that were too late to trust its view of the network.",
    );
    for node in nodes {
        text.sample(&[("vhost", name(node).as_str())], node.machine.stats().late);
    }
}

/// Converts milliseconds to seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 have 41 bits, and a float 52"
)]
fn seconds_of(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
