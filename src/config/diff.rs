//! What a reload changes.

use super::reference::{daemon, vhost};
use super::{Daemon, Destination, Vhost};

/// The keys in which two values of a type differ. Each field is named, so that a new one does not
/// compile until it stands here: with the key that sets it, or among those that are not compared.
macro_rules! differing {
    (
        $type:ident, $old:expr, $new:expr;
        { $($field:ident: $key:expr,)+ }
        $({ in $outer:ident: $outer_type:ident; $($inner:ident: $inner_key:expr,)+ })*
        not compared: $($other:ident)*
    ) => {{
        let $type { $($field: _,)+ $($outer: _,)* $($other: _,)* } = $old;
        $(let $outer_type { $($inner: _,)+ } = $old.$outer;)*
        let all = [
            $(($key.name, $old.$field != $new.$field),)+
            $($(($inner_key.name, $old.$outer.$inner != $new.$outer.$inner),)+)*
        ];
        all.into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(key, _)| key)
            .collect()
    }};
}

/// The keys in which two versions of a virtual host differ, in the words of the configuration.
/// What makes it the same virtual host (name, interface, vhid) is not among them.
#[must_use]
pub fn differences(old: &Vhost, new: &Vhost) -> Vec<&'static str> {
    differing!(Vhost, old, new; {
        addresses: vhost::ADDRESSES,
        key: vhost::PASSWORD_FILE,
        startup_delay: vhost::STARTUP_DELAY,
        preempt_delay: vhost::PREEMPT_DELAY,
        hold_down: vhost::HOLD_DOWN,
        damping: vhost::DAMPING,
        overlap: vhost::OVERLAP,
        advbase: vhost::ADVBASE,
        advskew: vhost::ADVSKEW,
        preempt: vhost::PREEMPT,
        dead_ratio: vhost::DEAD_RATIO,
        neutral: vhost::NEUTRAL,
        tie_break: vhost::TIE_BREAK,
        peers: vhost::PEERS,
        family_timers: vhost::FAMILY_TIMERS,
        link_local: vhost::LINK_LOCAL,
        ipv6_checksum: vhost::IPV6_CHECKSUM,
        send_demote_byte: vhost::SEND_DEMOTE_BYTE,
        openbsd_lladdr: vhost::OPENBSD_LLADDR,
        manage_addresses: vhost::MANAGE_ADDRESSES,
        lease: vhost::LEASE,
        preferred_lifetime: vhost::PREFERRED_LIFETIME,
        unicast: vhost::UNICAST,
        min_ttl: vhost::MIN_TTL,
        source_mac: vhost::SOURCE_MAC,
        virtual_mac: vhost::VIRTUAL_MAC,
        source_address: vhost::SOURCE_ADDRESS,
        source_address6: vhost::SOURCE_ADDRESS6,
        ignore_link_state: vhost::IGNORE_LINK_STATE,
        announce: vhost::ANNOUNCE,
        in_maintenance: vhost::IN_MAINTENANCE,
        on_conflict: vhost::ON_CONFLICT,
        probe_interval: vhost::PROBE_INTERVAL,
        xparam: vhost::XPARAM,
        hooks: vhost::HOOKS,
        tracks: vhost::TRACKS,
        adopt: vhost::ADOPT,
        keep_degraded: vhost::KEEP_DEGRADED,
        } { in destination: Destination;
            ethernet_broadcast: vhost::NOMCAST,
            group: vhost::MCAST_GROUP,
            group6: vhost::MCAST_GROUP6,
        }
        not compared: name interface netns vhid place at_stop clamp_advskew needs_fit_interface
    )
}

/// The keys of `[daemon]` that a reload would change and only a restart can.
#[must_use]
pub fn needs_restart(old: &Daemon, new: &Daemon) -> Vec<&'static str> {
    differing!(Daemon, old, new; {
        run_dir: daemon::RUN_DIR,
        state_dir: daemon::STATE_DIR,
        sandbox: daemon::SANDBOX,
        service_backend: daemon::SERVICE_BACKEND,
        node_name: daemon::NODE_NAME,
        log: daemon::LOG,
        ca_file: daemon::CA_FILE,
        listen: daemon::LISTEN,
        read_group: daemon::READ_GROUP,
        order_group: daemon::ORDER_GROUP,
        realtime: daemon::REALTIME,
        }
        not compared: shutdown_timeout file_owners hangup_stops
    )
}
