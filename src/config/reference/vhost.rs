//! `[[vhost]]`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{Defaulted, Key, Section, defaulted, optional, required};
use crate::config::choice::{
    FamilyTimers, InMaintenance, Ipv6Checksum, Leases, LinkLocal, OnConflict, Peers,
    PreferredLifetime, SourceMac, TieBreak,
};
use crate::config::form::{
    Address, Boolean, Integer, Items, ListOf, OneOf, Parsed, Period, TableOf, Text,
};
use crate::types::{IfName, MacAddr, Name, Netns, VirtualAddress};

pub(in crate::config) static NAME: Key<Parsed<Name>> = required(
    "name",
    Parsed::new("name"),
    "\"web\"",
    "The name used in logs, hooks and commands. It must be unique in the file.",
);

pub(in crate::config) static INTERFACE: Key<Parsed<IfName>> = required(
    "interface",
    Parsed::new("interface name"),
    "\"eth0\"",
    "The interface on which it advertises and holds its addresses, by its primary name or an alternative one (`ip link property`). Any device will do that leads to the other nodes; tunnels and point-to-point links need `unicast`.",
);

pub(in crate::config) static NETNS: Key<Parsed<Netns>> = optional(
    "netns",
    Parsed::new("name below `/run/netns`, or absolute path"),
    "the daemon's own",
    "\"blue\"",
    "The network namespace that its interface is in, and all that the daemon and the hooks do for it: addresses, routes, announcements, kernel parameters below `net`, commands and requests. Each namespace gets an engine of its own. It need not exist when the daemon starts, and may be deleted and made anew.",
);

pub(in crate::config) static VHID: Key<Integer<u8>> = required(
    "vhid",
    Integer { min: 1, max: 255 },
    "40",
    "The number of the virtual host on the interface's network; no other group there may use it.",
);

pub(in crate::config) static ADDRESSES: Key<Items> = required(
    "addresses",
    Items {
        what: "addresses with prefix length",
        max: VirtualAddress::MAX_OF_A_VHOST,
    },
    "[\"192.168.32.22/24\"]",
    "The addresses that move with mastership, IPv4 and IPv6. The default prefix length is /32 or /128. The order does not matter to the protocol.",
);

pub(in crate::config) static PASSWORD_FILE: Key<Text> = optional(
    "password-file",
    Text { what: "path" },
    "the password is in `credential`",
    "\"/etc/carpd/web.pass\"",
    "A file whose first line is the password: 1 to 19 bytes, used unchanged. It is refused if its group or others have any access to it. A relative path is relative to the directory of this file.",
);

pub(in crate::config) static OVERLAP: Defaulted<Period> = defaulted(
    "overlap",
    Period {
        min: Duration::ZERO,
        max: Duration::from_hours(24),
        also: "",
    },
    || Duration::from_hours(1),
    "After a reload that changed the password or the list of addresses, how long advertisements with the previous ones are still accepted, and sent as well, so that the nodes can be reloaded one after the other without two masters. A restart does not keep the previous ones. Use `0s` if the old password has become known to others, and reload all nodes at once.",
);

pub(in crate::config) static CREDENTIAL: Key<Text> = optional(
    "credential",
    Text { what: "string" },
    "the password is in `password-file`",
    "\"web\"",
    "The name of a systemd credential (`LoadCredential=web:/etc/carpd/web.pass`) whose first line is the password.",
);

pub(in crate::config) static ADVBASE: Defaulted<Integer<u8>> = defaulted(
    "advbase",
    Integer { min: 0, max: 254 },
    || 1,
    "Seconds between advertisements. 0 requires an `advskew` above 0 and is not supported by FreeBSD.",
);

pub(in crate::config) static ADVSKEW: Defaulted<Integer<u8>> = defaulted(
    "advskew",
    Integer { min: 0, max: 254 },
    || 0,
    "Added to `advbase`, in units of 1/256 s. The node with the lowest sum is the best master. A value above 240 is sent as 240, as FreeBSD does.",
);

pub(in crate::config) static PREEMPT: Defaulted<Boolean> = defaulted(
    "preempt",
    Boolean,
    || false,
    "Take over from a master that is alive but worse.",
);

/// What a delay can be.
const DELAY: Period = Period {
    min: Duration::ZERO,
    max: Duration::from_hours(1),
    also: "",
};

pub(in crate::config) static PREEMPT_DELAY: Defaulted<Period> = defaulted(
    "preempt-delay",
    DELAY,
    || Duration::ZERO,
    "With `preempt`, how long every advertisement must have shown a worse master before this node preempts it, so that what it needs can start after a boot. A master that leaves or falls silent is followed without delay, and one with an advskew of 240, which is demoted as far as possible, is preempted without delay.",
);

pub(in crate::config) static STARTUP_DELAY: Defaulted<Period> = defaulted(
    "startup-delay",
    DELAY,
    || Duration::ZERO,
    "How long the virtual host does not take part after the daemon has started (also again after a crash), whenever the link has come up, and whenever something else has ended that kept it from taking part; for switch ports that forward nothing at first (spanning tree). Afterwards it listens for a master as usual.",
);

pub(in crate::config) static HOLD_DOWN: Defaulted<Period> = defaulted(
    "hold-down",
    DELAY,
    || Duration::ZERO,
    "How long after it has lost or given up mastership this node takes over only from a silent master: it does not preempt, and does not follow a master that leaves until a master-down time is over.",
);

pub(in crate::config) static DAMPING: Key<TableOf> = optional(
    "damping",
    TableOf(&super::damping::SECTION),
    "the defaults of `[vhost.damping]`",
    "{ half-life = \"10s\" }",
    "See `[vhost.damping]`.",
);

pub(in crate::config) static DEAD_RATIO: Defaulted<Integer<u32>> = defaulted(
    "dead-ratio",
    Integer { min: 1, max: 255 },
    || 3,
    "A master is considered dead after `dead-ratio` × `advbase` + `advskew`/256 seconds without an advertisement. With `peers = \"openbsd\"` it is `dead-ratio` × (`advbase` + `advskew`/256); OpenBSD nodes use 3.",
);

pub(in crate::config) static NEUTRAL: Defaulted<Boolean> = defaulted(
    "neutral",
    Boolean,
    || false,
    "Do not call `on_backup` when the daemon starts.",
);

pub(in crate::config) static TIE_BREAK: Defaulted<OneOf<TieBreak>> = defaulted(
    "tie-break",
    OneOf::new(),
    || TieBreak::Address,
    "Which of two equally good masters stays master: the one with the lower address (`address`); neither (`yield`, as in the BSDs); or the one that ucarp's comparison favours (`ucarp`).",
);

pub(in crate::config) static PEERS: Defaulted<OneOf<Peers>> = defaulted(
    "peers",
    OneOf::new(),
    || Peers::Bsd,
    "Whose election rules apply. `bsd` is for FreeBSD, NetBSD, ucarp and carpd; with `openbsd` the demote byte is taken into account.",
);

pub(in crate::config) static FAMILY_TIMERS: Defaulted<OneOf<FamilyTimers>> = defaulted(
    "family-timers",
    OneOf::new(),
    || FamilyTimers::All,
    "With both IPv4 and IPv6 addresses: become master when both families are silent (`all`), or when either is, as the BSDs do.",
);

pub(in crate::config) static LINK_LOCAL: Defaulted<OneOf<LinkLocal>> = defaulted(
    "link-local",
    OneOf::new(),
    || LinkLocal::Include,
    "Whether link-local addresses are included in the hash that is sent. Use `exclude` if a peer runs OpenBSD. Both forms are accepted when received.",
);

pub(in crate::config) static IPV6_CHECKSUM: Defaulted<OneOf<Ipv6Checksum>> = defaulted(
    "ipv6-checksum",
    OneOf::new(),
    || Ipv6Checksum::Plain,
    "The checksum in IPv6 advertisements that are sent. Use `pseudo-header` if a peer runs NetBSD. Both forms are accepted when received.",
);

pub(in crate::config) static SEND_DEMOTE_BYTE: Defaulted<Boolean> = defaulted(
    "send-demote-byte",
    Boolean,
    || false,
    "In a mixed group, also tell OpenBSD nodes about this node's demotion, in the demote byte that they read. Always done with `peers = \"openbsd\"`.",
);

pub(in crate::config) static OPENBSD_LLADDR: Key<Address<MacAddr>> = optional(
    "openbsd-lladdr",
    Address::new(
        "hardware address",
        "a hardware address, as in 02:00:00:00:00:01",
    ),
    "it is not set on the OpenBSD nodes",
    "\"02:00:00:00:00:01\"",
    "The `lladdr` that was set manually on the carp interface of OpenBSD nodes: it is part of their hash.",
);

pub(in crate::config) static MANAGE_ADDRESSES: Defaulted<Boolean> = defaulted(
    "manage-addresses",
    Boolean,
    || true,
    "The daemon itself adds the addresses on becoming master, and removes them first when it stops being master. If false, the hooks have to do this.",
);

pub(in crate::config) static LEASE: Defaulted<OneOf<Leases>> = defaulted(
    "lease",
    OneOf::new(),
    || Leases::Kernel,
    "With `kernel` the addresses have a lifetime that every advertisement renews, so that a daemon that is frozen or killed loses them before a backup takes over; they are then shown as /32 or /128. With `off` they stay until they are removed.",
);

pub(in crate::config) static PREFERRED_LIFETIME: Defaulted<OneOf<PreferredLifetime>> = defaulted(
    "preferred-lifetime",
    OneOf::new(),
    || PreferredLifetime::Zero,
    "The preferred lifetime of the IPv6 addresses. With `0s` they are deprecated: the host's connections come from another address if it has one, or they would break at the next failover. With `forever` the kernel may choose them as source, by its usual rules. It makes no difference to connections to these addresses, to addresses that hooks add, nor to IPv4.",
);

pub(in crate::config) static NOMCAST: Defaulted<Boolean> = defaulted(
    "nomcast",
    Boolean,
    || false,
    "Send advertisements to the Ethernet broadcast address, for switches that drop multicast (ucarp's `-M`).",
);

pub(in crate::config) static MCAST_GROUP: Defaulted<Address<Ipv4Addr>> = defaulted(
    "mcast-group",
    Address::multicast("IPv4 multicast address", "an IPv4 multicast address"),
    || Ipv4Addr::new(224, 0, 0, 18),
    "The destination of IPv4 advertisements. It must be the same on every node.",
);

pub(in crate::config) static MCAST_GROUP6: Defaulted<Address<Ipv6Addr>> = defaulted(
    "mcast-group6",
    Address::multicast("IPv6 multicast address", "an IPv6 multicast address"),
    || Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12),
    "The destination of IPv6 advertisements. It must be the same on every node.",
);

pub(in crate::config) static UNICAST: Key<Items> = optional(
    "unicast",
    Items {
        what: "IP addresses",
        // More nodes than share a virtual host anywhere.
        max: 32,
    },
    "advertisements go to the multicast group",
    "[\"192.0.2.2\", \"192.0.2.3\"]",
    "The own addresses of the other nodes, for networks that do not carry multicast. Advertisements are sent to each of these instead of to a group, and those of anybody else are refused. All nodes need `unicast`; a node ignores its own address in the list, so it can be the same everywhere. As FreeBSD's `peer` and `peer6`.",
);

pub(in crate::config) static MIN_TTL: Defaulted<Integer<u8>> = defaulted(
    "min-ttl",
    Integer { min: 1, max: 255 },
    || 255,
    "With `unicast`, the lowest TTL or hop limit of an advertisement that is accepted. 255 means that peers are on the same link; subtract 1 for each router on the way.",
);

pub(in crate::config) static SOURCE_MAC: Defaulted<OneOf<SourceMac>> = defaulted(
    "source-mac",
    OneOf::new(),
    || SourceMac::Virtual,
    "The source hardware address of advertisements: `00:00:5e:00:01:VHID` (`virtual`), or the interface's own (`interface`) if switches or hypervisors refuse others.",
);

pub(in crate::config) static VIRTUAL_MAC: Defaulted<Boolean> = defaulted(
    "virtual-mac",
    Boolean,
    || false,
    "The addresses are not put on the interface but on a macvlan on it, `INTERFACE.cVHID`, with the hardware address `00:00:5e:00:01:VHID`, so that neighbours need not learn a new one when mastership moves. It exists only while this node is master. See [operations](operations.md#virtual-hardware-addresses).",
);

pub(in crate::config) static SOURCE_ADDRESS: Key<Address<Ipv4Addr>> = optional(
    "source-address",
    Address::new("IPv4 address", "an IPv4 address without a prefix length"),
    "the first address of the interface that is not a virtual one",
    "\"192.168.32.32\"",
    "The IPv4 source address of advertisements. It must not be one of the virtual addresses.",
);

pub(in crate::config) static SOURCE_ADDRESS6: Key<Address<Ipv6Addr>> = optional(
    "source-address6",
    Address::new("IPv6 address", "an IPv6 address without a prefix length"),
    "the link-local address of the interface",
    "\"fe80::32\"",
    "The IPv6 source address of advertisements. It must not be one of the virtual addresses.",
);

pub(in crate::config) static IGNORE_LINK_STATE: Defaulted<Boolean> = defaulted(
    "ignore-link-state",
    Boolean,
    || false,
    "Continue as if the link were up when it is down (ucarp's `-S`).",
);

pub(in crate::config) static ANNOUNCE: Key<TableOf> = optional(
    "announce",
    TableOf(&super::announce::SECTION),
    "the defaults of `[vhost.announce]`",
    "{ count = 3, interval = \"500ms\" }",
    "See `[vhost.announce]`.",
);

pub(in crate::config) static IN_MAINTENANCE: Defaulted<OneOf<InMaintenance>> = defaulted(
    "in-maintenance",
    OneOf::new(),
    || InMaintenance::LastResort,
    "When this node takes over while it is in maintenance (`carpd maintenance on`): `last-resort` when no other node does, `never` not at all, as with `--never`. If one member of a group has `never`, that holds for the group.",
);

pub(in crate::config) static ON_CONFLICT: Defaulted<OneOf<OnConflict>> = defaulted(
    "on-conflict",
    OneOf::new(),
    || OnConflict::Defend,
    "What a master does when a host that is no peer has one of its addresses, besides saying so in log, `status` and metrics: `defend` announces the addresses again, at most every ten seconds; `resign` hands over to a peer; `report` does nothing more.",
);

pub(in crate::config) static PROBE_INTERVAL: Defaulted<Period> = defaulted(
    "probe-interval",
    DELAY,
    || Duration::from_secs(30),
    "How often the network is asked whether another host has the addresses (ARP probes, neighbour solicitations; eight addresses at a time). `0s`: never; claims that are not asked for are seen all the same.",
);

pub(in crate::config) static XPARAM: Key<Text> = optional(
    "xparam",
    Text { what: "string" },
    "hooks receive none",
    "\"blue\"",
    "A text that is passed to the hooks (ucarp's `-x`).",
);

pub(in crate::config) static HOOKS: Defaulted<ListOf<Name>> = defaulted(
    "hooks",
    ListOf::new("names"),
    Vec::new,
    "The hooks of this virtual host, each defined in a `[hook.NAME]`. They run in this order on becoming master, and in reverse order on becoming backup.",
);

pub(in crate::config) static TRACKS: Defaulted<ListOf<Name>> = defaulted(
    "tracks",
    ListOf::new("names"),
    Vec::new,
    "What this virtual host depends on, besides its own interface; each is defined in a `[track.NAME]`.",
);

pub(in crate::config) static ADOPT: Defaulted<Boolean> = defaulted(
    "adopt",
    Boolean,
    || false,
    "Treat an address from the list that is up on the interface, but was not set by carpd, as left behind by another daemon, and remove it. Otherwise it is taken to be this machine's own: `carpd check` refuses it, and the virtual host does not take part.",
);

pub(in crate::config) static KEEP_DEGRADED: Defaulted<Boolean> = defaulted(
    "keep-degraded",
    Boolean,
    || true,
    "If a hook fails here and no peer takes over, hold the addresses anyway, fully demoted, and retry the hook.",
);

/// `[[vhost]]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[[vhost]]",
    text: "One virtual host: addresses that are held by one of several nodes. `vhid`, the password and the set of `addresses` must be the same on every node of a virtual host, or the nodes refuse each other's advertisements.",
    keys: &[
        &NAME,
        &INTERFACE,
        &NETNS,
        &VHID,
        &ADDRESSES,
        &PASSWORD_FILE,
        &CREDENTIAL,
        &OVERLAP,
        &ADVBASE,
        &ADVSKEW,
        &PREEMPT,
        &PREEMPT_DELAY,
        &HOLD_DOWN,
        &DAMPING,
        &STARTUP_DELAY,
        &DEAD_RATIO,
        &NEUTRAL,
        &TIE_BREAK,
        &PEERS,
        &FAMILY_TIMERS,
        &LINK_LOCAL,
        &IPV6_CHECKSUM,
        &SEND_DEMOTE_BYTE,
        &OPENBSD_LLADDR,
        &MANAGE_ADDRESSES,
        &LEASE,
        &PREFERRED_LIFETIME,
        &NOMCAST,
        &MCAST_GROUP,
        &MCAST_GROUP6,
        &UNICAST,
        &MIN_TTL,
        &SOURCE_MAC,
        &VIRTUAL_MAC,
        &SOURCE_ADDRESS,
        &SOURCE_ADDRESS6,
        &IGNORE_LINK_STATE,
        &ANNOUNCE,
        &IN_MAINTENANCE,
        &ON_CONFLICT,
        &PROBE_INTERVAL,
        &XPARAM,
        &HOOKS,
        &TRACKS,
        &ADOPT,
        &KEEP_DEGRADED,
    ],
};
