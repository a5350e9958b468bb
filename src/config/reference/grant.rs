//! `[hook.NAME.grant]` and what is below it.

use super::{Defaulted, Section, defaulted};
use crate::config::form::{Boolean, ListOf, Named, SomeOf, TablesOf};
use crate::effect::{CarpVerb, Endpoint};

pub(in crate::config) static ADDR: Defaulted<TablesOf> = defaulted(
    "addr",
    TablesOf(&addr::SECTION),
    Vec::new,
    "Other addresses: add, delete, announce.",
);

pub(in crate::config) static ROUTE: Defaulted<TablesOf> = defaulted(
    "route",
    TablesOf(&route::SECTION),
    Vec::new,
    "Routes: replace, delete.",
);

pub(in crate::config) static RULE: Defaulted<TablesOf> = defaulted(
    "rule",
    TablesOf(&rule::SECTION),
    Vec::new,
    "Policy rules: replace, delete.",
);

pub(in crate::config) static LINK: Defaulted<TablesOf> = defaulted(
    "link",
    TablesOf(&link::SECTION),
    Vec::new,
    "Network devices: set up or down, set the hardware address.",
);

pub(in crate::config) static HOSTNAME: Defaulted<ListOf<String>> = defaulted(
    "hostname",
    ListOf::new("host names"),
    Vec::new,
    "Host names that may be set. Any entry also allows reading the host name.",
);

pub(in crate::config) static SERVICE: Defaulted<TablesOf> = defaulted(
    "service",
    TablesOf(&service::SECTION),
    Vec::new,
    "Services, and what may be done with them.",
);

pub(in crate::config) static SYSCTL: Defaulted<TablesOf> = defaulted(
    "sysctl",
    TablesOf(&sysctl::SECTION),
    Vec::new,
    "Kernel parameters: read and set.",
);

pub(in crate::config) static FILE: Defaulted<TablesOf> = defaulted(
    "file",
    TablesOf(&file::SECTION),
    Vec::new,
    "Files, and what may be done with them.",
);

pub(in crate::config) static COMMAND: Defaulted<Named> = defaulted(
    "command",
    Named {
        each: &command::SECTION,
        written: "command.NAME = { argv = [...] }",
    },
    Vec::new,
    "Command lines, by name; written as `command.NAME = { argv = [...] }`.",
);

pub(in crate::config) static HTTP: Defaulted<TablesOf> = defaulted(
    "http",
    TablesOf(&http::SECTION),
    Vec::new,
    "HTTP requests: their destinations and methods.",
);

pub(in crate::config) static TCP: Defaulted<ListOf<Endpoint>> = defaulted(
    "tcp",
    ListOf::new("`host:port`"),
    Vec::new,
    "TCP connections: their destinations. An IPv6 address is written in brackets: `[2001:db8::10]:80`.",
);

pub(in crate::config) static READ: Defaulted<Boolean> = defaulted(
    "read",
    Boolean,
    || false,
    "Read the links, addresses, routes and host name of this node.",
);

pub(in crate::config) static CARP: Defaulted<SomeOf<CarpVerb>> = defaulted(
    "carp",
    SomeOf::new(),
    Vec::new,
    "What the hook may do to its own virtual host. It may always query its state.",
);

/// `[hook.NAME.grant]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[hook.NAME.grant]",
    text: "What the hook may do. Only what is listed here is granted, apart from the addresses of its own virtual host on their own interface. If a hook is denied something, the error contains the line that would grant it.",
    keys: &[
        &ADDR, &ROUTE, &RULE, &LINK, &HOSTNAME, &SERVICE, &SYSCTL, &FILE, &COMMAND, &HTTP, &TCP,
        &READ, &CARP,
    ],
};

/// Entries of `addr`.
pub(in crate::config) mod addr {

    use super::super::{Key, Section, optional, required};
    use crate::config::form::Parsed;
    use crate::effect::AddressTarget;
    use crate::types::IfName;

    pub(in crate::config) static CIDR: Key<Parsed<AddressTarget>> = required(
        "cidr",
        Parsed::new("address or network"),
        "\"192.168.32.22/32\"",
        "One address, with this prefix length or a longer one; or a network, all of whose addresses are allowed.",
    );

    pub(in crate::config) static DEV: Key<Parsed<IfName>> = optional(
        "dev",
        Parsed::new("interface name"),
        "on any device",
        "\"eth0\"",
        "On this device only.",
    );

    /// One entry of `addr`.
    pub(in crate::config) static SECTION: Section = Section {
        header: "addr = [{ ... }]",
        text: "One entry of `addr` in `[hook.NAME.grant]`.",
        keys: &[&CIDR, &DEV],
    };
}

/// Entries of `route`.
pub(in crate::config) mod route {
    use std::net::IpAddr;

    use super::super::{Key, Section, optional, required};
    use crate::config::form::{Address, Integer, Parsed, Text};
    use crate::types::IfName;

    pub(in crate::config) static DST: Key<Text> = required(
        "dst",
        Text {
            what: "`default` or network",
        },
        "\"default\"",
        "The destination, exactly.",
    );

    pub(in crate::config) static VIA: Key<Address<IpAddr>> = optional(
        "via",
        Address::new("address", "an IPv4 or IPv6 address"),
        "any gateway",
        "\"192.168.32.254\"",
        "The gateway.",
    );

    pub(in crate::config) static DEV: Key<Parsed<IfName>> = optional(
        "dev",
        Parsed::new("interface name"),
        "any device",
        "\"eth0\"",
        "The device.",
    );

    pub(in crate::config) static TABLE: Key<Integer<u32>> = optional(
        "table",
        Integer {
            min: 1,
            max: u32::MAX,
        },
        "the main table",
        "100",
        "The routing table.",
    );

    /// One entry of `route`.
    pub(in crate::config) static SECTION: Section = Section {
        header: "route = [{ ... }]",
        text: "One entry of `route` in `[hook.NAME.grant]`. Keys that are not given match anything, except the table.",
        keys: &[&DST, &VIA, &DEV, &TABLE],
    };
}

/// Entries of `rule`.
pub(in crate::config) mod rule {

    use super::super::{Key, Section, optional, required};
    use crate::config::form::Integer;

    pub(in crate::config) static TABLE: Key<Integer<u32>> = required(
        "table",
        Integer {
            min: 1,
            max: u32::MAX,
        },
        "100",
        "The table that the rule looks up.",
    );

    pub(in crate::config) static PRIORITY: Key<Integer<u32>> = optional(
        "priority",
        Integer {
            min: 0,
            max: u32::MAX,
        },
        "any priority",
        "1000",
        "The priority.",
    );

    /// One entry of `rule`.
    pub(in crate::config) static SECTION: Section = Section {
        header: "rule = [{ ... }]",
        text: "One entry of `rule` in `[hook.NAME.grant]`.",
        keys: &[&TABLE, &PRIORITY],
    };
}

/// Entries of `link`.
pub(in crate::config) mod link {

    use super::super::{Key, Section, optional, required};
    use crate::config::form::{Parsed, SomeOf};
    use crate::effect::LinkVerb;
    use crate::types::IfName;

    pub(in crate::config) static DEV: Key<Parsed<IfName>> = required(
        "dev",
        Parsed::new("interface name"),
        "\"eth1\"",
        "The device.",
    );

    pub(in crate::config) static DO: Key<SomeOf<LinkVerb>> = optional(
        "do",
        SomeOf::new(),
        "all of it",
        "[\"set_up\"]",
        "What may be done.",
    );

    /// One entry of `link`.
    pub(in crate::config) static SECTION: Section = Section {
        header: "link = [{ ... }]",
        text: "One entry of `link` in `[hook.NAME.grant]`.",
        keys: &[&DEV, &DO],
    };
}

/// Entries of `service`.
pub(in crate::config) mod service {

    use super::super::{Key, Section, required};
    use crate::config::form::{SomeOf, Text};
    use crate::effect::ServiceVerb;

    pub(in crate::config) static UNIT: Key<Text> = required(
        "unit",
        Text {
            what: "service name",
        },
        "\"httpd\"",
        "The service; `httpd` and `httpd.service` are the same.",
    );

    pub(in crate::config) static DO: Key<SomeOf<ServiceVerb>> = required(
        "do",
        SomeOf::new(),
        "[\"start\", \"stop\"]",
        "What may be done. The status may always be queried.",
    );

    /// One entry of `service`.
    pub(in crate::config) static SECTION: Section = Section {
        header: "service = [{ ... }]",
        text: "One entry of `service` in `[hook.NAME.grant]`.",
        keys: &[&UNIT, &DO],
    };
}

/// Entries of `sysctl`.
pub(in crate::config) mod sysctl {

    use super::super::{Key, Section, optional, required};
    use crate::config::form::{ListOf, Text};

    pub(in crate::config) static KEY: Key<Text> = required(
        "key",
        Text { what: "parameter" },
        "\"net.ipv4.ip_forward\"",
        "The parameter with dots, as in sysctl(8).",
    );

    pub(in crate::config) static VALUES: Key<ListOf<String>> = optional(
        "values",
        ListOf::new("strings"),
        "any value",
        "[\"0\", \"1\"]",
        "Values that may be set.",
    );

    /// One entry of `sysctl`.
    pub(in crate::config) static SECTION: Section = Section {
        header: "sysctl = [{ ... }]",
        text: "One entry of `sysctl` in `[hook.NAME.grant]`.",
        keys: &[&KEY, &VALUES],
    };
}

/// Entries of `file`.
pub(in crate::config) mod file {

    use super::super::{Key, Section, required};
    use crate::config::form::{SomeOf, Text};
    use crate::effect::FileVerb;

    pub(in crate::config) static PATH: Key<Text> = required(
        "path",
        Text {
            what: "absolute path",
        },
        "\"/run/failover.state\"",
        "The file, exactly.",
    );

    pub(in crate::config) static DO: Key<SomeOf<FileVerb>> = required(
        "do",
        SomeOf::new(),
        "[\"read\", \"write\"]",
        "What may be done.",
    );

    /// One entry of `file`.
    pub(in crate::config) static SECTION: Section = Section {
        header: "file = [{ ... }]",
        text: "One entry of `file` in `[hook.NAME.grant]`. Symbolic links in the path are followed only if root owns them and only root can write to their directory. The file itself must not be a symbolic link.",
        keys: &[&PATH, &DO],
    };
}

/// Entries of `http`.
pub(in crate::config) mod http {

    use super::super::{Defaulted, Key, Section, defaulted, required};
    use crate::config::form::{Boolean, Parsed, SomeOf};
    use crate::effect::{HttpVerb, Url};

    pub(in crate::config) static URL: Key<Parsed<Url>> = required(
        "url",
        Parsed::new("URL"),
        "\"https://api.example.net/v1/\"",
        "Where requests may go: this scheme, host and port, and this path or one below it. If it has a query (`?...`), only that query.",
    );

    pub(in crate::config) static DO: Key<SomeOf<HttpVerb>> = required(
        "do",
        SomeOf::new(),
        "[\"post\"]",
        "The methods that may be used.",
    );

    pub(in crate::config) static QUERY: Defaulted<Boolean> = defaulted(
        "query",
        Boolean,
        || false,
        "A POST there changes nothing, as with APIs that are asked in this way: `health` may send it.",
    );

    /// One entry of `http`.
    pub(in crate::config) static SECTION: Section = Section {
        header: "http = [{ ... }]",
        text: "One entry of `http` in `[hook.NAME.grant]`. Redirects are not followed: the hook sees them, and its next request is checked again. A name is resolved once for each request and must resolve to other hosts: a loopback or link-local address (127.0.0.1, 169.254.169.254) is refused unless it is granted as such, or as `localhost`.",
        keys: &[&URL, &DO, &QUERY],
    };
}

/// Entries of `command`.
pub(in crate::config) mod command {

    use super::super::{Defaulted, Key, Section, defaulted, required};
    use crate::config::form::{Boolean, ListOf};

    pub(in crate::config) static ARGV: Key<ListOf<String>> = required(
        "argv",
        ListOf::new("strings"),
        "[\"/sbin/drbdadm\", \"primary\", \"{resource:word}\"]",
        "The program by its absolute path, and its arguments. An argument `{NAME:TYPE}` is a hole that the hook fills in. TYPE is `word` (letters, digits and `_.-:@/`), `text` (any text, also none, up to 4096 bytes), `int`, `ip`, `cidr` or `dev`; values that do not fit are refused. An `int` must not be negative unless a range is given, as in `{nice:int:-20..19}`; no other value may begin with `-`.",
    );

    pub(in crate::config) static QUERY: Defaulted<Boolean> = defaulted(
        "query",
        Boolean,
        || false,
        "The program changes nothing: `health` may run it. carpd cannot check that.",
    );

    /// One entry of `command`.
    pub(in crate::config) static SECTION: Section = Section {
        header: "command.NAME = { ... }",
        text: "One entry of `command` in `[hook.NAME.grant]`: a whole command line, run without a shell.",
        keys: &[&ARGV, &QUERY],
    };
}
