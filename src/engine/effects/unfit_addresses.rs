//! Addresses of the configuration that no host can have in the networks of this machine. What
//! follows from the configuration alone is refused when it is read.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config;
use crate::host::FoundAddress;
use crate::host::kernel::netlink::{Netlink, index_of};
use crate::types::VirtualAddress;

/// Every address that a virtual host names: its own, its peers', and those that it sends from.
pub(in crate::engine) fn named(spec: &config::Vhost) -> BTreeSet<IpAddr> {
    let own = spec.addresses.iter().map(|address| address.ip);
    let peers = spec.unicast.iter().copied();
    let sources = spec.source_address.map(IpAddr::V4);
    let sources6 = spec.source_address6.map(IpAddr::V6);
    own.chain(peers).chain(sources).chain(sources6).collect()
}

/// What is wrong with these addresses of a virtual host, one line each, if its interface has these.
pub(in crate::engine) fn complaints(
    ips: &BTreeSet<IpAddr>,
    spec: &config::Vhost,
    there: &[FoundAddress],
) -> Vec<String> {
    let networks = || there.iter().filter(|found| !found.ours);
    let complaint = |ip: &IpAddr| {
        let edge = |network: VirtualAddress| config::edge_of(*ip, network);
        let (network, edge) = networks().find_map(|f| Some((f.address, edge(f.address)?)))?;
        let interface = &spec.interface;
        Some(format!(
            "{ip} {edge}: {interface} has the address {network}"
        ))
    };
    ips.iter().filter_map(complaint).collect()
}

/// For `carpd check`: the virtual hosts, by index in the configuration, that name an address that no
/// host can have in the networks of their interfaces here, and which.
#[must_use]
pub fn check(config: &config::Config) -> Vec<(usize, String)> {
    let Ok(netlink) = Netlink::open() else {
        return Vec::new();
    };
    let of_vhost = |(number, spec): (usize, &config::Vhost)| {
        let there = index_of(&spec.interface)
            .and_then(|index| netlink.addresses(index))
            .unwrap_or_default();
        let there: Vec<_> = there.iter().map(FoundAddress::from).collect();
        complaints(&named(spec), spec, &there)
            .into_iter()
            .map(move |complaint| (number, complaint))
    };
    config
        .vhosts
        .iter()
        .enumerate()
        .flat_map(of_vhost)
        .collect()
}

/// For `carpd check`: the virtual hosts, by index in the configuration, of which an address is up
/// on another interface of this machine, and where.
#[must_use]
pub fn check_elsewhere(config: &config::Config) -> Vec<(usize, String)> {
    let Ok(netlink) = Netlink::open() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (number, spec) in config.vhosts.iter().enumerate() {
        // It may be called differently there.
        let own = index_of(&spec.interface).ok();
        for address in &spec.addresses {
            let Some(dev) = netlink.device_of(address.ip) else {
                continue;
            };
            if dev == spec.device()
                || dev == spec.interface
                || own.is_some_and(|own| index_of(&dev) == Ok(own))
            {
                continue;
            }
            found.push((
                number,
                format!(
                    "{} is up on {dev}: this host answers for it, master or not, unless `arp_ignore` keeps it from that",
                    address.ip
                ),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sim::bench::{Frames, engine, link, play};
    use crate::host::SimHost;

    #[test]
    fn an_address_at_the_edge_of_a_network_here_is_none_of_a_host() {
        play(async |_| {
            let engine = engine(SimHost::new().with_link(link()), &Frames::default(), "").await;
            let mut spec = engine.first().spec.clone();
            spec.addresses = vec!["10.0.0.255/32".parse().unwrap()];
            let peers = ["10.0.1.255", "10.0.2.255", "2001:db8::"];
            spec.unicast = peers.map(|ip| ip.parse().unwrap()).into();
            let found = |text: &str, ours| FoundAddress {
                address: text.parse().unwrap(),
                ours,
            };
            let there = [
                found("10.0.0.1/24", false),
                found("10.0.1.1/24", false),
                found("10.0.2.1/24", true),
                found("2001:db8::1/64", false),
            ];
            assert_eq!(
                complaints(&named(&spec), &spec, &there),
                [
                    "10.0.0.255 is the broadcast address of its network: eth0 has the address 10.0.0.1/24",
                    "10.0.1.255 is the broadcast address of its network: eth0 has the address 10.0.1.1/24",
                    "2001:db8:: is the subnet-router anycast address of its network, not of a host in it: eth0 has the address 2001:db8::1/64",
                ]
            );
        });
    }
}
