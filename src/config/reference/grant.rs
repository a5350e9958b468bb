//! `[hook.NAME.grant]` and what is below it.

use super::Kind::{Plain, SomeOf};
use super::{Section, defaults, optional, required};
use crate::config::choice::Choice;
use crate::effect::{CarpVerb, FileVerb, HttpVerb, LinkVerb, ServiceVerb};

/// `[hook.NAME.grant]`.
pub(crate) static GRANT: Section = Section {
    header: "[hook.NAME.grant]",
    text: "What the hook may do. Nothing is granted that does not stand here, except the addresses of its own virtual host on their own \
           interface. A hook that is denied something is told the line that would grant it.",
    keys: &[
        defaults(
            "addr",
            Plain("list of tables"),
            "[]",
            "Other addresses: add, delete, announce.",
        ),
        defaults(
            "route",
            Plain("list of tables"),
            "[]",
            "Routes: replace, delete.",
        ),
        defaults(
            "rule",
            Plain("list of tables"),
            "[]",
            "Policy rules: replace, delete.",
        ),
        defaults(
            "link",
            Plain("list of tables"),
            "[]",
            "Network devices: set up or down, set the hardware address.",
        ),
        defaults(
            "hostname",
            Plain("list of host names"),
            "[]",
            "Host names that may be set. Any entry also allows reading the host name.",
        ),
        defaults(
            "service",
            Plain("list of tables"),
            "[]",
            "Services, and what may be done with them.",
        ),
        defaults(
            "sysctl",
            Plain("list of tables"),
            "[]",
            "Kernel parameters: read and set.",
        ),
        defaults(
            "file",
            Plain("list of tables"),
            "[]",
            "Files, and what may be done with them.",
        ),
        defaults(
            "command",
            Plain("table of tables"),
            "{}",
            "Command lines by name; written as `command.NAME = { argv = [...] }`.",
        ),
        defaults(
            "http",
            Plain("list of tables"),
            "[]",
            "HTTP requests: where they may go, and which.",
        ),
        defaults(
            "tcp",
            Plain("list of `host:port`"),
            "[]",
            "TCP connections: to whom. An IPv6 address stands in brackets: `[2001:db8::10]:80`.",
        ),
        defaults(
            "read",
            Plain("boolean"),
            "false",
            "Read the links, addresses, routes and host name of this node.",
        ),
        defaults(
            "carp",
            SomeOf(CarpVerb::WORDS),
            "[]",
            "What it may do to its own virtual host. Its state it may always ask.",
        ),
    ],
};

/// One entry of `addr`.
pub(crate) static ADDR: Section = Section {
    header: "addr = [{ ... }]",
    text: "One entry of `addr` in `[hook.NAME.grant]`.",
    keys: &[
        required(
            "cidr",
            Plain("address or network"),
            "\"192.168.32.22/32\"",
            "One address, with this prefix length or a longer one; or a network all of whose addresses are allowed.",
        ),
        optional(
            "dev",
            Plain("interface name"),
            "on any device",
            "\"eth0\"",
            "On this device only.",
        ),
    ],
};

/// One entry of `route`.
pub(crate) static ROUTE: Section = Section {
    header: "route = [{ ... }]",
    text: "One entry of `route` in `[hook.NAME.grant]`. What is not given is free, except the table.",
    keys: &[
        required(
            "dst",
            Plain("`default` or network"),
            "\"default\"",
            "The destination, exactly.",
        ),
        optional(
            "via",
            Plain("address"),
            "any gateway",
            "\"192.168.32.254\"",
            "The gateway.",
        ),
        optional(
            "dev",
            Plain("interface name"),
            "any device",
            "\"eth0\"",
            "The device.",
        ),
        optional(
            "table",
            Plain("integer, 1 to 4294967295"),
            "the main table",
            "100",
            "The routing table.",
        ),
    ],
};

/// One entry of `rule`.
pub(crate) static RULE: Section = Section {
    header: "rule = [{ ... }]",
    text: "One entry of `rule` in `[hook.NAME.grant]`.",
    keys: &[
        required(
            "table",
            Plain("integer, 1 to 4294967295"),
            "100",
            "The table that the rule looks up.",
        ),
        optional(
            "priority",
            Plain("integer, 0 to 4294967295"),
            "any priority",
            "1000",
            "The priority.",
        ),
    ],
};

/// One entry of `link`.
pub(crate) static LINK: Section = Section {
    header: "link = [{ ... }]",
    text: "One entry of `link` in `[hook.NAME.grant]`.",
    keys: &[
        required("dev", Plain("interface name"), "\"eth1\"", "The device."),
        optional(
            "do",
            SomeOf(LinkVerb::WORDS),
            "all of it",
            "[\"set_up\"]",
            "What may be done.",
        ),
    ],
};

/// One entry of `service`.
pub(crate) static SERVICE: Section = Section {
    header: "service = [{ ... }]",
    text: "One entry of `service` in `[hook.NAME.grant]`.",
    keys: &[
        required(
            "unit",
            Plain("service name"),
            "\"httpd\"",
            "The service; `httpd` and `httpd.service` are the same.",
        ),
        required(
            "do",
            SomeOf(ServiceVerb::WORDS),
            "[\"start\", \"stop\"]",
            "What may be done. Its status may always be asked.",
        ),
    ],
};

/// One entry of `sysctl`.
pub(crate) static SYSCTL: Section = Section {
    header: "sysctl = [{ ... }]",
    text: "One entry of `sysctl` in `[hook.NAME.grant]`.",
    keys: &[
        required(
            "key",
            Plain("parameter"),
            "\"net.ipv4.ip_forward\"",
            "The parameter, with dots, as sysctl(8) writes it.",
        ),
        optional(
            "values",
            Plain("list of strings"),
            "any value",
            "[\"0\", \"1\"]",
            "Values that may be set.",
        ),
    ],
};

/// One entry of `file`.
pub(crate) static FILE: Section = Section {
    header: "file = [{ ... }]",
    text: "One entry of `file` in `[hook.NAME.grant]`. Of symbolic links in the path only those are followed that root owns, in \
           directories that only root can write to; the file itself may not be one.",
    keys: &[
        required(
            "path",
            Plain("absolute path"),
            "\"/run/failover.state\"",
            "The file, exactly.",
        ),
        required(
            "do",
            SomeOf(FileVerb::WORDS),
            "[\"read\", \"write\"]",
            "What may be done.",
        ),
    ],
};

/// One entry of `http`.
pub(crate) static HTTP: Section = Section {
    header: "http = [{ ... }]",
    text: "One entry of `http` in `[hook.NAME.grant]`. Redirects are not followed: the hook sees them, and what it asks next is \
           compared again. A name is looked up once for each request and must lead to other hosts: an address of this machine or of the \
           link alone (127.0.0.1, 169.254.169.254) is refused unless it is granted as such, or as `localhost`.",
    keys: &[
        required(
            "url",
            Plain("URL"),
            "\"https://api.example.net/v1/\"",
            "Where requests may go: this scheme, host and port, and this path or one below it. With a query (`?...`) this query \
             alone.",
        ),
        required(
            "do",
            SomeOf(HttpVerb::WORDS),
            "[\"post\"]",
            "What may be asked there.",
        ),
    ],
};

/// One entry of `command`.
pub(crate) static COMMAND: Section = Section {
    header: "command.NAME = { ... }",
    text: "One entry of `command` in `[hook.NAME.grant]`: a whole command line, run without a shell.",
    keys: &[required(
        "argv",
        Plain("list of strings"),
        "[\"/sbin/drbdadm\", \"primary\", \"{resource:word}\"]",
        "The program by its absolute path, and its arguments. An argument `{NAME:TYPE}` is a hole that the hook fills; TYPE is \
         `word`, `int`, `ip`, `cidr` or `dev`, and what does not fit is refused. An `int` is not negative unless its range is written, as in \
         `{nice:int:-20..19}`; nothing else that fills a hole begins with `-`.",
    )],
};
