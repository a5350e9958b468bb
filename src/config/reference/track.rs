//! `[track.NAME]`.

use std::net::IpAddr;
use std::time::Duration;

use super::{Defaulted, Key, Section, defaulted, optional, required};
use crate::config::choice::TrackKind;
use crate::config::form::{Address, Boolean, Demote, Integer, ListOf, OneOf, Parsed, Period, Text};
use crate::config::model::{self, Host, StatusRange};
use crate::config::read::At;
use crate::effect::{Endpoint, Url};
use crate::types::{IfName, Name};

pub(in crate::config) static KIND: Key<OneOf<TrackKind>> = required(
    "kind",
    OneOf::new(),
    "\"link\"",
    "What is tracked. `link`: an interface, which is up while it exists, is set up and has a carrier; the kernel reports every change. `tcp`: a server, which is up while it takes connections. `http`: a web server, which is up while it answers a GET with a good status. `icmp`: a host, which is up while it answers echo requests (ping). `file`: the number in a file, which is up while that is 0. `command`: a program, which is up while it ends with status 0; never two at one time. `process`: a program, which is up while a process of its name is running; the end of the process counts at once. `service`: a service, which is up while the service manager calls it active. `route`: an address, which is up while the kernel has a route to it; a change counts at once. `hook`: the `health` of a hook, which is up while that returns `true` or 0.",
);

pub(in crate::config) static INTERFACE: Key<Parsed<IfName>> = optional(
    "interface",
    Parsed::new("interface name"),
    "required for `link`; any interface for `route`",
    "\"eth1\"",
    "The interface of a `link`, or the one that a `route` must lead through. It may be missing when the daemon starts: then the track is down.",
);

pub(in crate::config) static CONNECT: Key<Parsed<Endpoint>> = optional(
    "connect",
    Parsed::new("host and port"),
    "required for `tcp`",
    "\"192.0.2.10:5432\"",
    "The server of a `tcp`. A name is looked up each time.",
);

pub(in crate::config) static URL: Key<Parsed<Url>> = optional(
    "url",
    Parsed::new("URL, `http` or `https`"),
    "required for `http`",
    "\"http://192.0.2.10:8080/health\"",
    "What an `http` gets. Redirects are not followed. A certificate must be one that the system or `ca-file` trusts.",
);

pub(in crate::config) static STATUS: Defaulted<ListOf<StatusRange>> = defaulted(
    "status",
    ListOf::new("statuses and ranges of them, as strings"),
    || {
        vec![At {
            value: StatusRange {
                first: 200,
                last: 299,
            },
            span: 0..0,
        }]
    },
    "The statuses of an `http` that are good.",
);

pub(in crate::config) static HOST: Key<Parsed<Host>> = optional(
    "host",
    Parsed::new("name or address of a host"),
    "required for `icmp`",
    "\"192.0.2.1\"",
    "The host of an `icmp`. A name is looked up each time.",
);

pub(in crate::config) static PATH: Key<Text> = optional(
    "path",
    Text {
        what: "absolute path",
    },
    "required for `file`",
    "\"/run/carpd-maintenance\"",
    "The file of a `file`. It holds a whole number: 0 is up, and so is a file that is missing. Any other number is down: with a number as `demote`, that is multiplied by the one in the file. What is no such number, or cannot be read, is down and counts as 240.",
);

pub(in crate::config) static ARGV: Key<ListOf<String>> = optional(
    "argv",
    ListOf::new("strings"),
    "required for `command`",
    "[\"/usr/lib/nagios/plugins/check_http\", \"-H\", \"127.0.0.1\"]",
    "The program of a `command` by its absolute path, and its arguments. It is run without a shell, in `/`, without input, in a session of its own. At its end, and at its timeout, all of its processes are killed.",
);

pub(in crate::config) static PROCESS: Key<Text> = optional(
    "process",
    Text {
        what: "name of a program",
    },
    "required for `process`",
    "\"haproxy\"",
    "The program of a `process`, by the name that the kernel shows (`ps -o comm`). The kernel cuts names at 15 bytes, and so is this one.",
);

pub(in crate::config) static UNIT: Key<Text> = optional(
    "unit",
    Text {
        what: "name of a service",
    },
    "required for `service`",
    "\"nginx\"",
    "The service of a `service`. With systemd `.service` may be left out; which service manager is asked is `service-backend` of `[daemon]`.",
);

pub(in crate::config) static TO: Key<Address<IpAddr>> = optional(
    "to",
    Address::new("address", "an address, as in 198.51.100.1"),
    "required for `route`",
    "\"198.51.100.1\"",
    "Where packets of a `route` go. The kernel is asked which way it would send them, as by `ip route get`.",
);

pub(in crate::config) static VIA: Key<Address<IpAddr>> = optional(
    "via",
    Address::new("address", "an address, as in 192.0.2.1"),
    "any gateway, or none",
    "\"192.0.2.1\"",
    "The gateway that a `route` must lead through.",
);

pub(in crate::config) static HOOK: Key<Parsed<Name>> = optional(
    "hook",
    Parsed::new("name of a hook"),
    "required for `hook`",
    "\"app\"",
    "The hook whose `health` a `hook` asks, on behalf of the first virtual host that has the track, whatever state that is in. It need not be one of the `hooks` of a virtual host, and `[hook.NAME.health]` does not matter.",
);

pub(in crate::config) static USER: Defaulted<Text> = defaulted(
    "user",
    Text {
        what: "name or number of a user",
    },
    || "nobody",
    "As whom a `command` runs, a `file` is read, and a `process` or `service` is looked for. The process that does it has become this user for good, with all of its groups. Unless the user is root it has no capabilities, and in no case do setuid programs give it any.",
);

pub(in crate::config) static ENVIRONMENT: Defaulted<ListOf<String>> = defaulted(
    "environment",
    ListOf::new("`NAME=VALUE`"),
    Vec::new,
    "What a `command` finds in its environment beside `PATH`.",
);

pub(in crate::config) static INTERVAL: Defaulted<Period> = defaulted(
    "interval",
    Period {
        min: Duration::from_millis(50),
        max: Duration::from_hours(1),
        also: "",
    },
    || Duration::from_secs(2),
    "From the start of one attempt to the start of the next, which waits for the end of the one before. A `file` is also read at once when the kernel reports that it was written or replaced, and a `process` or `route` is looked at again when the kernel reports its end or a change. Not for `link`.",
);

pub(in crate::config) static TIMEOUT: Defaulted<Period> = defaulted(
    "timeout",
    Period {
        min: Duration::from_millis(10),
        max: Duration::from_mins(1),
        also: "",
    },
    || Duration::from_secs(1),
    "The time limit for one attempt; one that takes longer has failed, and is killed. Not for `link`.",
);

pub(in crate::config) static RISE: Defaulted<Integer<u32>> = defaulted(
    "rise",
    Integer { min: 1, max: 100 },
    || 2,
    "After this many good attempts in a row the track is up again. Not for `link`, `file`, `process` and `route`.",
);

pub(in crate::config) static FALL: Defaulted<Integer<u32>> = defaulted(
    "fall",
    Integer { min: 1, max: 100 },
    || 3,
    "After this many failed attempts in a row the track is down. The first result at the start counts at once, unless a master has the track. Not for `link`, `file`, `process` and `route`.",
);

pub(in crate::config) static DEMOTE: Defaulted<Demote> = defaulted(
    "demote",
    Demote,
    || model::Demote::Fault,
    "What follows while the track is down. A number is added to the `advskew` that every virtual host with this track advertises, which is capped at 240: a peer with `preempt` that is better now takes over. `fault`: the virtual host does not take part, as if its own link were down; a master lets go at once, with a bow-out.",
);

pub(in crate::config) static ALL_VHOSTS: Defaulted<Boolean> = defaulted(
    "all-vhosts",
    Boolean,
    || false,
    "Every virtual host has this track, whether it names it or not.",
);

/// `[track.NAME]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[track.NAME]",
    text: "Something whose state the virtual hosts of this node depend on. It exists once, however many virtual hosts name it in their `tracks`.",
    keys: &[
        &KIND,
        &INTERFACE,
        &CONNECT,
        &URL,
        &STATUS,
        &HOST,
        &PATH,
        &ARGV,
        &PROCESS,
        &UNIT,
        &TO,
        &VIA,
        &HOOK,
        &USER,
        &ENVIRONMENT,
        &INTERVAL,
        &TIMEOUT,
        &RISE,
        &FALL,
        &DEMOTE,
        &ALL_VHOSTS,
    ],
};
