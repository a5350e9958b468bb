//! What a configuration meets on this machine: namespaces, interfaces, addresses, units.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Config, Problem, Severity, Vhost};
use crate::effect::{Link, Medium};
use crate::engine;
use crate::host::kernel::netlink::Reader;
use crate::host::kernel::netns;
use crate::types::Netns;

/// The time limit for listing the interfaces.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// What does not fit. With `strict`, a missing interface is an error.
pub(super) fn check(config: &Config, strict: bool) -> Vec<Problem> {
    let mut problems = check_namespaces(config, strict);
    problems.extend(check_realtime(config));
    problems
}

/// What is in the network namespace of each virtual host.
fn check_namespaces(config: &Config, strict: bool) -> Vec<Problem> {
    let look = |part: &Config| {
        [
            check_interfaces(part, strict),
            check_shared(part),
            check_addresses(part),
        ]
        .concat()
    };
    let mut problems = Vec::new();
    for share in &config.all_shares {
        let part = config.clone().only(share);
        let Some(namespace) = share.netns() else {
            problems.extend(look(&part));
            continue;
        };
        match netns::within(&namespace.path(), || look(&part)) {
            Ok(found) => problems.extend(found),
            Err(error) => problems.push(no_netns(&part, namespace, &error, strict)),
        }
    }
    problems
}

fn no_netns(part: &Config, netns: &Netns, error: &io::Error, strict: bool) -> Problem {
    let place = part.vhosts.first().map(|vhost| vhost.place.0.clone());
    let is_missing = error.kind() == io::ErrorKind::NotFound;
    let (message, hint) = if is_missing {
        (
            format!(
                "there is no network namespace {netns} here now; its virtual hosts would wait for it"
            ),
            format!("`ip netns add {netns}` makes it"),
        )
    } else {
        (
            format!("cannot look into the network namespace {netns}: {error}"),
            "run this as root".to_owned(),
        )
    };
    Problem {
        severity: if strict && is_missing {
            Severity::Error
        } else {
            Severity::Warning
        },
        hint: Some(hint),
        ..Problem::error(place, message)
    }
}

/// An interface may appear later, and the configuration may be for another host: a missing
/// interface is only a warning, unless the caller says that everything is already there.
fn check_interfaces(config: &Config, strict: bool) -> Vec<Problem> {
    let there = Reader::open(LOOK_LIMIT)
        .and_then(|reader| reader.links())
        .unwrap_or_default();
    let link_of = |vhost: &Vhost| there.iter().find(|link| link.is_called(&vhost.interface));
    let names: Vec<&str> = there.iter().map(|link| link.name.as_str()).collect();
    let missing = |vhost: &Vhost| {
        let Vhost {
            interface, name, ..
        } = vhost;
        let expected = interface_may_come(interface.as_str(), &names);
        let severity = if strict && !expected {
            Severity::Error
        } else {
            Severity::Warning
        };
        let now = if expected {
            "now"
        } else {
            "and nothing that could create it"
        };
        let message = format!(
            "there is no interface {interface} here {now}; virtual host {name} would wait for it"
        );
        let hint = Some(format!("there are {}", names.join(", ")));
        Problem {
            severity,
            hint,
            ..Problem::error(Some(vhost.place.0.clone()), message)
        }
    };
    let mut problems = Vec::new();
    for vhost in &config.vhosts {
        let link = link_of(vhost);
        if let Some(flaw) = link.and_then(|link| link.flaw(vhost.reach())) {
            let dev = &vhost.interface;
            let message = format!("the interface {dev} {flaw}");
            problems.push(Problem {
                hint: Some(flaw.mend(dev)),
                ..Problem::error(Some(vhost.place.0.clone()), message)
            });
        }
        let is_ethernet = |link: &Link| link.nature.medium == Medium::Ethernet;
        if vhost.virtual_mac && link.is_some_and(|link| !is_ethernet(link)) {
            let message = format!(
                "`virtual-mac` needs Ethernet, which {} does not carry",
                vhost.interface
            );
            problems.push(Problem::error(Some(vhost.place.0.clone()), message));
        }
        match link {
            None if there.is_empty() => {}
            None => problems.push(missing(vhost)),
            Some(_) => {}
        }
    }
    problems
}

/// Two names may belong to the same interface.
fn check_shared(config: &Config) -> Vec<Problem> {
    at_their_places(config, engine::shared_here(config))
}

/// An address that this machine already has cannot move with mastership, and one at the edge of a
/// network is none of a host. Where an address on another interface does not answer, it is there on
/// purpose.
fn check_addresses(config: &Config) -> Vec<Problem> {
    let wrong = [
        engine::check_own_addresses(config),
        engine::check_networks(config),
    ];
    let doubtful = at_their_places(config, engine::check_elsewhere(config));
    let warning = |problem| Problem {
        severity: Severity::Warning,
        ..problem
    };
    let mut problems = at_their_places(config, wrong.concat());
    problems.extend(doubtful.into_iter().map(warning));
    problems
}

/// Where systemd keeps what administrators install.
const UNITS: &str = "/etc/systemd/system";

/// A unit of ours that does not allow real-time priority would not start.
fn check_realtime(config: &Config) -> Option<Problem> {
    if !config.daemon.realtime {
        return None;
    }
    let unit = forbids_realtime(Path::new(UNITS))?;
    let message = format!(
        "`realtime = true` needs more than {} allows",
        unit.display()
    );
    let hint = "copy docs/packaging/realtime.conf to a directory of its name with `.d`, then `systemctl daemon-reload`";
    Some(Problem {
        severity: Severity::Warning,
        hint: Some(hint.to_owned()),
        ..Problem::error(None, message)
    })
}

/// The first unit of carpd there whose files do not mention what real-time priority needs.
fn forbids_realtime(units: &Path) -> Option<PathBuf> {
    let below = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let allows = |file: &PathBuf| {
        fs::read_to_string(file).is_ok_and(|text| {
            text.lines()
                .any(|line| line.trim_start().starts_with("LimitRTPRIO="))
        })
    };
    let is_ours = |unit: &PathBuf| {
        let name = unit.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("carpd") && name.ends_with(".service")
    };
    below(units).into_iter().filter(is_ours).find(|unit| {
        let mut drop_ins = unit.clone().into_os_string();
        drop_ins.push(".d");
        let mut files = below(Path::new(&drop_ins));
        files.push(unit.clone());
        !files.iter().any(allows)
    })
}

/// Turns problems of virtual hosts, given by index, into problems at their place in the file.
fn at_their_places(config: &Config, found: Vec<(usize, String)>) -> Vec<Problem> {
    let place = |number: usize| config.vhosts.get(number).map(|vhost| vhost.place.0.clone());
    found
        .into_iter()
        .map(|(number, message)| Problem::error(place(number), message))
        .collect()
}

/// The usual name prefixes of interfaces that a driver creates on request, and the driver.
const MADE: [(&str, &str); 14] = [
    ("bond", "bonding"),
    ("br", "bridge"),
    ("dummy", "dummy"),
    ("gre", "ip_gre"),
    ("ipvlan", "ipvlan"),
    ("macvlan", "macvlan"),
    ("ppp", "ppp_generic"),
    ("tap", "tun"),
    ("team", "team"),
    ("tun", "tun"),
    ("veth", "veth"),
    ("vlan", "8021q"),
    ("vxlan", "vxlan"),
    ("wg", "wireguard"),
];

/// Whether something suggests that an interface of this name may appear: the interface it is based
/// on (`eth0` for `eth0.100` and `eth0@x`), or a loaded driver that creates such interfaces.
fn interface_may_come(name: &str, there: &[&str]) -> bool {
    let below = name
        .rsplit_once('.')
        .is_some_and(|(below, _)| there.contains(&below));
    let made = |(prefix, driver): &(&str, &str)| {
        let number = name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '-'));
        number && Path::new("/sys/module").join(driver).exists()
    };
    below || MADE.iter().any(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_ours_without_the_drop_in_forbids_realtime() {
        let units = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = units.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(forbids_realtime(units.path()), None);
        write("other.service", "[Service]\nExecStart=/bin/true\n");
        write(
            "carpd.service",
            include_str!("../../../../docs/packaging/carpd.service"),
        );
        let ours = units.path().join("carpd.service");
        assert_eq!(forbids_realtime(units.path()), Some(ours));
        write(
            "carpd.service.d/realtime.conf",
            include_str!("../../../../docs/packaging/realtime.conf"),
        );
        assert_eq!(forbids_realtime(units.path()), None);
    }
}
