//! Matches virtual hosts across a reload, and finds interfaces that a configuration cannot use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::config::{self, Config};
use crate::engine::vhost::id::VhostId;
use crate::host::kernel::netlink;
use crate::types::{IfName, Name};

/// One virtual host on the wire, before and after, whatever it is called: an interface, a vhid and
/// a group make it.
pub(in crate::engine) fn same_on_the_wire(a: &config::Vhost, b: &config::Vhost) -> bool {
    a.interface == b.interface && a.vhid == b.vhid && a.destination == b.destination
}

/// The interfaces of a configuration that do not exist now.
pub(in crate::engine) fn missing_interfaces(config: &Config) -> BTreeSet<IfName> {
    let all: BTreeSet<&IfName> = config.vhosts.iter().map(|vhost| &vhost.interface).collect();
    let missing =
        |dev: &&&IfName| netlink::index_of(dev).is_err_and(|error| error.is(libc::ENODEV));
    all.iter()
        .filter(missing)
        .map(|dev| (*dev).clone())
        .collect()
}

/// The interfaces of a configuration that exist but cannot be used for CARP by a virtual host, one
/// line each.
pub(in crate::engine) fn unfit_interfaces(config: &Config) -> Vec<String> {
    let Ok(netlink) = netlink::Netlink::open() else {
        return Vec::new();
    };
    let mut links = BTreeMap::new();
    let mut problem = |vhost: &config::Vhost| {
        let dev = &vhost.interface;
        let link = links
            .entry(dev.clone())
            .or_insert_with(|| netlink.link(dev).ok());
        let flaw = link.as_ref()?.flaw(vhost.reach())?;
        Some(format!("the interface {dev} {flaw}: {}", flaw.mend(dev)))
    };
    let problems: BTreeSet<String> = config.vhosts.iter().filter_map(&mut problem).collect();
    problems.into_iter().collect()
}

/// What two virtual hosts of a configuration must not share but share here, because two names
/// belong to one interface: their indexes, and one line each.
#[must_use]
pub fn shared_here(config: &Config) -> Vec<(usize, String)> {
    let mut names: BTreeMap<&IfName, IfName> = BTreeMap::new();
    for vhost in &config.vhosts {
        names.entry(&vhost.interface).or_insert_with(|| {
            netlink::own_name_of(&vhost.interface).unwrap_or_else(|| vhost.interface.clone())
        });
    }
    shared(config, &names)
}

pub(in crate::engine) fn shared(
    config: &Config,
    names: &BTreeMap<&IfName, IfName>,
) -> Vec<(usize, String)> {
    let (mut vhids, mut link_local) = (BTreeSet::new(), BTreeSet::new());
    let mut found = Vec::new();
    for (place, vhost) in config.vhosts.iter().enumerate() {
        let given = &vhost.interface;
        let own = names.get(given).unwrap_or(given);
        let mut tell = |what: String| {
            found.push((
                place,
                format!("{what} is used twice on {given}, which is {own} here"),
            ));
        };
        if !vhids.insert((own, vhost.vhid)) {
            tell(format!("vhid {}", vhost.vhid));
        }
        // All others are refused wherever they are.
        for ip in vhost.addresses.iter().map(|address| address.ip) {
            if is_link_local(ip) && !link_local.insert((own, ip)) {
                tell(ip.to_string());
            }
        }
    }
    found
}

pub(in crate::engine) const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// What a new configuration changes about the existing virtual hosts.
#[derive(Debug, Default)]
pub(in crate::engine) struct Moves {
    /// Those that are found again, with the place in the new list.
    pub(in crate::engine) kept: BTreeMap<VhostId, usize>,
    /// Those that get another name, from and to.
    pub(in crate::engine) renamed: BTreeMap<Name, Name>,
}

impl Moves {
    /// The name of a virtual host that is removed belongs to what its hooks still undo. A virtual
    /// host that is to get this name is therefore removed and added again, too.
    pub(in crate::engine) fn find<'a>(
        there: impl Iterator<Item = (VhostId, &'a config::Vhost)>,
        vhosts: &[config::Vhost],
    ) -> Self {
        let (mut kept, mut gone) = (Vec::new(), BTreeSet::new());
        for (index, spec) in there {
            match vhosts
                .iter()
                .position(|vhost| same_on_the_wire(vhost, spec))
            {
                Some(place) => kept.push((index, place, spec.name.clone())),
                None => _ = gone.insert(spec.name.clone()),
            }
        }
        loop {
            let fits = |(_, place, name): &(VhostId, usize, Name)| {
                vhosts
                    .get(*place)
                    .is_some_and(|vhost| vhost.name == *name || !gone.contains(&vhost.name))
            };
            let Some(unfit) = kept.iter().position(|one| !fits(one)) else {
                break;
            };
            gone.insert(kept.swap_remove(unfit).2);
        }
        let mut moves = Self::default();
        for (index, place, name) in kept {
            moves.kept.insert(index, place);
            if let Some(vhost) = vhosts.get(place).filter(|vhost| vhost.name != name) {
                moves.renamed.insert(name, vhost.name.clone());
            }
        }
        moves
    }

    /// Is this one there before and after?
    pub(in crate::engine) fn keeps(&self, index: VhostId) -> bool {
        self.kept.contains_key(&index)
    }

    /// The number of the virtual host that becomes this one of the new list.
    pub(in crate::engine) fn of(&self, place: usize) -> Option<VhostId> {
        self.kept
            .iter()
            .find(|(_, kept)| **kept == place)
            .map(|(index, _)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Vhid;

    fn config(vhosts: &[(&str, &str, u8)]) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let (password, file) = (
            directory.path().join("web.pass"),
            directory.path().join("carpd.toml"),
        );
        std::fs::write(&password, "gw22\n").unwrap();
        std::fs::set_permissions(
            &password,
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
        let one = |(name, interface, vhid): &(&str, &str, u8)| {
            format!(
                "[[vhost]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvhid = {vhid}\naddresses = [\"10.0.0.{vhid}/24\"]\n\
                 password-file = \"web.pass\"\n"
            )
        };
        std::fs::write(&file, vhosts.iter().map(one).collect::<String>()).unwrap();
        Config::load(&file)
            .unwrap_or_else(|report| panic!("{report}"))
            .config
    }

    fn moves(
        before: &[(&str, &str, u8)],
        after: &[(&str, &str, u8)],
    ) -> (Vec<usize>, Vec<(String, String)>) {
        let (before, after) = (config(before), config(after));
        let moves = Moves::find(
            before
                .vhosts
                .iter()
                .enumerate()
                .map(|(place, vhost)| (VhostId::new(place), vhost)),
            &after.vhosts,
        );
        let renamed = moves
            .renamed
            .iter()
            .map(|(from, to)| (from.to_string(), to.to_string()))
            .collect();
        (
            moves.kept.into_keys().map(VhostId::number).collect(),
            renamed,
        )
    }

    fn pair(from: &str, to: &str) -> (String, String) {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn a_virtual_host_is_what_it_is_on_the_wire_whatever_it_is_called() {
        let before = [("web", "eth0", 1), ("db", "eth0", 2)];
        assert_eq!(moves(&before, &before), (vec![0, 1], vec![]));
        assert_eq!(
            moves(&before, &[("www", "eth0", 1), ("db", "eth0", 2)]),
            (vec![0, 1], vec![pair("web", "www")])
        );
        let swapped = moves(&before, &[("db", "eth0", 1), ("web", "eth0", 2)]);
        assert_eq!(
            swapped,
            (vec![0, 1], vec![pair("db", "web"), pair("web", "db")])
        );
        assert_eq!(
            moves(&before, &[("web", "eth1", 1), ("db", "eth0", 3)]),
            (vec![], vec![]),
            "elsewhere"
        );
        // The name is still in use by the hooks of the one that goes.
        assert_eq!(moves(&before, &[("db", "eth0", 1)]), (vec![], vec![]));
    }

    #[test]
    fn two_names_of_one_interface_have_each_vhid_once() {
        let mut config = config(&[("a", "eth0", 1), ("b", "enp3s0", 2), ("c", "eth1", 3)]);
        let one = config.vhosts[0].vhid;
        config.vhosts.iter_mut().for_each(|vhost| vhost.vhid = one);
        let names = |config: &Config, own: [&str; 3]| {
            let given = config.vhosts.iter().map(|vhost| &vhost.interface);
            let own = own.map(|name| name.parse().unwrap());
            shared(config, &given.zip(own).collect())
        };
        assert_eq!(names(&config, ["eth0", "enp3s0", "eth1"]), []);
        let twice = |what: &str| {
            (
                1,
                format!("{what} is used twice on enp3s0, which is eth0 here"),
            )
        };
        assert_eq!(names(&config, ["eth0", "eth0", "eth1"]), [twice("vhid 1")]);
        // Of addresses those that are one only on one link.
        for (place, vhost) in config.vhosts.iter_mut().enumerate() {
            vhost.vhid = Vhid::new(i64::try_from(place + 1).unwrap()).unwrap();
            vhost.addresses = vec!["fe80::1/64".parse().unwrap()];
        }
        assert_eq!(names(&config, ["eth0", "enp3s0", "eth1"]), []);
        assert_eq!(names(&config, ["eth0", "eth0", "eth1"]), [twice("fe80::1")]);
    }

    #[test]
    fn interfaces_that_do_not_exist_or_lead_nowhere_are_found() {
        let long = "carpd-none-with-a-longer-alternative-name";
        let config = config(&[("a", "lo", 1), ("b", "carpd-none", 2), ("c", long, 3)]);
        let missing = missing_interfaces(&config);
        assert_eq!(
            missing.iter().map(IfName::as_str).collect::<Vec<_>>(),
            ["carpd-none", long]
        );
        let [unfit] = &unfit_interfaces(&config)[..] else {
            panic!("lo alone")
        };
        assert!(
            unfit.starts_with("the interface lo leads to no other host: give"),
            "{unfit}"
        );
    }
}
