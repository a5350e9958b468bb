//! The IP addresses that rehearsed nodes have of their own: advertisements come from there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::NodeConfig;
use crate::config::Vhost;
use crate::types::{Family, IfName, VirtualAddress};

/// Each node's addresses, in the order of the nodes.
pub(super) fn addresses(nodes: &[NodeConfig]) -> Vec<Vec<(IfName, VirtualAddress)>> {
    let of_node = |(number, node): (usize, &NodeConfig)| {
        let vhosts = node.config.vhosts.iter();
        let each = vhosts.flat_map(|vhost| {
            let own = if vhost.unicast.is_empty() {
                in_the_networks(vhost, &node.config.vhosts, number)
            } else {
                as_peers_call_it(vhost, nodes, number)
            };
            own.into_iter().map(|own| (vhost.interface.clone(), own))
        });
        each.collect()
    };
    nodes.iter().enumerate().map(of_node).collect()
}

/// One in each network of a virtual host.
fn in_the_networks(vhost: &Vhost, vhosts: &[Vhost], number: usize) -> Vec<VirtualAddress> {
    let octet = u8::try_from(number + 1).unwrap_or(u8::MAX);
    let mut all: Vec<VirtualAddress> = Vec::new();
    for address in &vhost.addresses {
        let ip = match address.ip {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                let own = |d: u8| IpAddr::V4([a, b, c, d].into());
                let virtual_too = vhosts
                    .iter()
                    .flat_map(|vhost| &vhost.addresses)
                    .any(|address| address.ip == own(octet));
                own(if virtual_too {
                    octet.wrapping_add(100)
                } else {
                    octet
                })
            }
            // As every interface has one.
            IpAddr::V6(_) => IpAddr::V6([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(octet)].into()),
        };
        let source = VirtualAddress {
            ip,
            prefix: if ip.is_ipv4() { address.prefix } else { 64 },
        };
        let taken = |other: &VirtualAddress| other.ip == ip || other.family() == source.family();
        if !all.iter().any(taken) && !vhost.addresses.iter().any(|own| own.ip == ip) {
            all.push(source);
        }
    }
    all
}

/// With unicast, the addresses that the other nodes send to. Where each node lists only the others,
/// that is the one that is missing in its own list; where all have the same list, one after the
/// other.
fn as_peers_call_it(vhost: &Vhost, nodes: &[NodeConfig], number: usize) -> Vec<VirtualAddress> {
    let group: Vec<(usize, &Vhost)> = members(vhost, nodes).collect();
    let all: BTreeSet<IpAddr> = group.iter().flat_map(|(_, v)| v.unicast.clone()).collect();
    let mut own = Vec::new();
    for family in Family::ALL {
        let mut free: Vec<IpAddr> = all
            .iter()
            .copied()
            .filter(|ip| Family::of(*ip) == family)
            .collect();
        for (node, vhost) in &group {
            let is_given = |ip: &IpAddr| given(vhost, family) == Some(*ip);
            let is_missing = |ip: &IpAddr| !vhost.unicast.contains(ip);
            let place = free
                .iter()
                .position(is_given)
                .or_else(|| free.iter().position(is_missing));
            let place = place.unwrap_or(0);
            if place >= free.len() {
                break;
            }
            let ip = free.remove(place);
            if *node == number {
                own.extend(VirtualAddress::new(ip, family.host_prefix()));
            }
        }
    }
    own
}

fn given(vhost: &Vhost, family: Family) -> Option<IpAddr> {
    match family {
        Family::V4 => vhost.source_address.map(IpAddr::V4),
        Family::V6 => vhost.source_address6.map(IpAddr::V6),
    }
}

/// The same virtual host on all nodes: the one with the same vhid and addresses.
fn members<'a>(
    vhost: &'a Vhost,
    nodes: &'a [NodeConfig],
) -> impl Iterator<Item = (usize, &'a Vhost)> {
    let key = |vhost: &Vhost| {
        let addresses: BTreeSet<IpAddr> = vhost.addresses.iter().map(|a| a.ip).collect();
        (vhost.vhid, addresses)
    };
    let own = key(vhost);
    nodes.iter().enumerate().filter_map(move |(number, node)| {
        let same = node.config.vhosts.iter().find(|other| key(other) == own);
        Some((number, same?))
    })
}
