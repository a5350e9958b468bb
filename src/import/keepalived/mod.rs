//! `keepalived.conf`: its VRRP part.
//!
//! VRRP and CARP are elections of the same kind, so that most keys have a counterpart. The wire is
//! another: nodes with keepalived and nodes with carpd do not hear each other.

mod addresses;
mod announce;
mod expand;
mod global;
mod group;
mod instance;
mod lex;
mod mail;
mod notify;
mod routes;
mod tracks;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use super::{ImportError, Source, Work};
use announce::Announce;
use lex::Statement;
use mail::Mail;
use tracks::Track;

/// The most instances.
const INSTANCES_MAX: usize = 4096;

/// What the whole file says, for its instances.
#[derive(Default)]
struct Shared {
    /// `vrrp_script`, `vrrp_track_process` and `vrrp_track_file`, by name.
    tracks: BTreeMap<String, Track>,
    /// How addresses are announced.
    announce: Announce,
    /// Keys of all virtual hosts.
    vhost: BTreeMap<&'static str, toml::Value>,
    /// `default_interface`.
    interface: Option<String>,
    /// Whom alerts are sent to.
    mail: Mail,
    /// `script_user`.
    script_user: Option<String>,
    /// Names of routing tables.
    tables: std::collections::HashMap<String, u32>,
    /// `track_script` and its kin of `vrrp_sync_group`, by the instance that they hold for.
    of_groups: BTreeMap<String, Vec<Statement>>,
    /// The names of the virtual hosts, by those of the instances.
    names: BTreeMap<String, String>,
    /// The vhids that are taken, each with its interface, and by which instance.
    vhids: BTreeMap<(String, u8), String>,
    /// The virtual hosts that are in a group.
    grouped: std::collections::BTreeSet<String>,
}

/// What keepalived does besides VRRP, and has no place here.
const OTHERS: &[(&str, &str)] = &[
    (
        "virtual_server",
        "it balances load, which is no work of carpd: leave it to a keepalived without VRRP (`keepalived --check`), or to ipvsadm in a hook",
    ),
    (
        "virtual_server_group",
        "it balances load, which is no work of carpd: leave it to a keepalived without VRRP (`keepalived --check`)",
    ),
    (
        "bfd_instance",
        "carpd has no BFD: a track of the kind icmp is the nearest",
    ),
    (
        "static_ipaddress",
        "it is the host's own, and gone without keepalived: write it into the network configuration",
    ),
    (
        "static_routes",
        "they are the host's own, and gone without keepalived: write them into the network configuration",
    ),
    (
        "static_rules",
        "they are the host's own, and gone without keepalived: write them into the network configuration",
    ),
    (
        "interface_up_down_delays",
        "a link that is down counts at once; `hold-down` is how long a virtual host waits before it takes part again",
    ),
];

/// What needs no counterpart.
const UNNEEDED: &[(&str, &str)] = &[
    ("SSL", "it is about checks of load balancing"),
    ("track_group", "only static addresses and routes name it"),
    (
        "linkbeat_interfaces",
        "the kernel reports every change of a link",
    ),
];

/// Those that read the tables of routes have them.
const TABLES: [&str; 2] = ["/etc/iproute2/rt_tables", "/usr/share/iproute2/rt_tables"];

pub(super) fn read(sources: &[Source], work: &mut Work<'_>) -> Result<(), ImportError> {
    let mut statements = Vec::new();
    for source in sources {
        let of_file = (source.name.as_str(), source.text.as_str());
        statements.extend(lex::statements(
            &mut work.account,
            work.files,
            work.node,
            of_file,
        )?);
    }
    let instances = statements
        .iter()
        .filter(|statement| statement.name() == "vrrp_instance");
    if instances.count() > INSTANCES_MAX {
        return Err(ImportError {
            message: format!("there are more than {INSTANCES_MAX} instances"),
            place: None,
        });
    }
    let mut shared = Shared {
        tables: TABLES
            .iter()
            .find_map(|path| work.read(Path::new(path)).ok())
            .map(|text| crate::port::Settings::tables_of(&text))
            .unwrap_or_default(),
        ..Shared::default()
    };
    // What others refer to comes first, wherever it stands.
    for statement in &statements {
        if statement.name() == "global_defs" {
            global::read(statement, &mut shared, work);
        }
    }
    for statement in &statements {
        match statement.name() {
            "vrrp_script" | "vrrp_track_process" | "track_process" | "vrrp_track_file"
            | "track_file" => tracks::define(statement, &mut shared, work),
            "garp_group" => shared.announce.of_interfaces(statement, work),
            "vrrp_sync_group" => group::prepare(statement, &mut shared),
            _ => {}
        }
    }
    for statement in &statements {
        if statement.name() == "vrrp_instance" {
            instance::read(statement, &mut shared, work);
        } else {
            other(statement, work);
        }
    }
    for statement in &statements {
        if statement.name() == "vrrp_sync_group" {
            group::read(statement, &mut shared, work);
        }
    }
    shared.mail.add(work);
    work.remark("VRRP and CARP do not hear each other: stop keepalived on all nodes of these addresses before carpd starts on the first, or nodes of both kinds hold the addresses at once (docs/coming-from-keepalived.md)");
    let prefixes = work.target.vhosts.iter().any(|(_, vhost)| {
        let list = vhost.get("addresses").and_then(toml::Value::as_array);
        let mut list = list.into_iter().flatten().filter_map(toml::Value::as_str);
        list.any(|address| address.contains('/'))
    });
    if prefixes {
        work.remark("an address is put up as a host address (/32 or /128), and its network gets a route that comes last, so that connections of this host come from its own address (\"How an address is held\" in docs/operations.md)");
    }
    work.remark("a priority becomes advskew = 255 - priority, which delays a takeover exactly as VRRP's skew time does; the weights of tracks are subtracted in the same unit");
    Ok(())
}

/// A block that is none of VRRP's.
fn other(statement: &Statement, work: &mut Work<'_>) {
    let named = |list: &[(&str, &'static str)]| {
        list.iter()
            .find(|(name, _)| *name == statement.name())
            .map(|(_, why)| *why)
    };
    if let Some(why) = named(OTHERS) {
        work.account.untranslated(statement.id, why);
        parts(statement, work);
    } else if let Some(why) = named(UNNEEDED) {
        work.account.unneeded(statement.id, why);
        parts(statement, work);
    }
}

/// What is in a block of which all is said.
fn parts(statement: &Statement, work: &mut Work<'_>) {
    let name = crate::types::shown(statement.name());
    for inner in &statement.block {
        work.account.unneeded(inner.id, format!("part of {name}"));
        parts(inner, work);
    }
}
