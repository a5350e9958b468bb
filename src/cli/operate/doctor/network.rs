//! How the kernel treats the virtual addresses, and how it and bridges treat advertisements.

use std::net::{IpAddr, Ipv4Addr};

use super::devices::Device;
use super::{Found, Level, Subject};
use crate::config::Vhost;
use crate::effect::{Link, Reach};
use crate::types::{Family, VirtualAddress};

/// ARP for a virtual address that the kernel does not answer.
pub(super) fn arp(subject: &Subject<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (link, vhosts) in subject.interfaces() {
        let device = link.name.as_str();
        let Some(ignore) = subject.machine.of_device("ipv4", device, "arp_ignore") else {
            continue;
        };
        let is_silent = |address: &VirtualAddress| {
            address.family() == Family::V4
                && (ignore == 8 || ignore == 2 && address.prefix == Family::V4.host_prefix())
        };
        // With a hardware address of its own, the macvlan is a device of its own, and is new.
        let hit: Vec<&Vhost> = vhosts
            .into_iter()
            .filter(|vhost| !vhost.virtual_mac && vhost.addresses.iter().any(is_silent))
            .collect();
        if hit.is_empty() {
            continue;
        }
        found.push(
            Found::new(Level::Error, format!("{device} does not answer for the virtual addresses"))
                .about(hit)
                .seen(format!("net.ipv4.conf.{device}.arp_ignore = {ignore} (or that of all)"))
                .so(if ignore == 8 {
                    "nobody who asks by ARP gets an answer: the address is out of reach after a takeover"
                } else {
                    "an address with /32 has no network in which the asker could be: it gets no answer"
                })
                .mend(format!(
                    "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.{device}.arp_ignore=1, and the same in /etc/sysctl.d"
                )),
        );
    }
    found
}

/// Two interfaces of this host in one network: both answer for addresses of either.
pub(super) fn flux(subject: &Subject<'_>) -> Vec<Found> {
    let Ok(devices) = &subject.devices else {
        return Vec::new();
    };
    let is_virtual = |ip: IpAddr| {
        let mut all = subject
            .config
            .vhosts
            .iter()
            .flat_map(|vhost| &vhost.addresses);
        all.any(|address| address.ip == ip)
    };
    let networks = |device: &Device| -> Vec<(IpAddr, u8)> {
        device
            .addresses()
            .filter(|(ip, prefix)| ip.is_ipv4() && *prefix < 31 && !is_virtual(*ip))
            .collect()
    };
    let mut found = Vec::new();
    for (link, vhosts) in subject.interfaces() {
        let Some(own) = devices.iter().find(|device| device.index == link.index) else {
            continue;
        };
        let other = devices.iter().find(|other| {
            other.index != own.index
                && other.is_up()
                && networks(other).iter().any(|(ip, _)| {
                    networks(own)
                        .iter()
                        .any(|(own, prefix)| is_within(*ip, *own, *prefix))
                })
        });
        let Some(other) = other else { continue };
        let quiet = |key: &str| {
            subject
                .machine
                .of_device("ipv4", &other.name, key)
                .is_some_and(|value| value > 0)
        };
        if quiet("arp_ignore") || quiet("arp_filter") {
            continue;
        }
        found.push(
            Found::new(
                Level::Warning,
                format!("{} and {} are in the same network", own.name, other.name),
            )
            .about(vhosts)
            .seen(format!("net.ipv4.conf.{}.arp_ignore = 0, arp_filter = 0", other.name))
            .so(format!(
                "{} answers ARP for the virtual addresses as well, and neighbours learn the wrong hardware address",
                other.name
            ))
            .mend("sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2, and the same in /etc/sysctl.d"),
        );
    }
    found
}

/// Where packets for an address leave, or come from, by another interface than the virtual host's.
pub(super) fn reverse_path(subject: &Subject<'_>) -> Vec<Found> {
    // Not below /proc/net: that is the first thread's network namespace.
    let table = subject
        .machine
        .read("/proc/thread-self/net/route")
        .unwrap_or_default();
    let routes = routes(&table);
    let mut found = Vec::new();
    for (link, vhosts) in subject.interfaces() {
        let device = link.name.as_str();
        let is_strict = subject.machine.of_device("ipv4", device, "rp_filter") == Some(1);
        for vhost in vhosts {
            let addresses = vhost.addresses.iter().map(|address| address.ip);
            let wrong = addresses
                .filter(|_| is_strict)
                .find_map(|ip| elsewhere(&routes, ip, link));
            if let Some((ip, other)) = wrong {
                found.push(
                    Found::new(
                        Level::Warning,
                        format!("the network of {ip} is reached by {other}, and {device} drops what comes from there"),
                    )
                    .about([vhost])
                    .seen(format!("net.ipv4.conf.{device}.rp_filter = 1 (or that of all); the route to {ip} is by {other}"))
                    .so("requests of that network to the virtual address are dropped on arrival")
                    .mend(format!("sysctl -w net.ipv4.conf.{device}.rp_filter=2, or a route to that network by {device}")),
                );
            }
            let peers = vhost.unicast.iter().copied();
            if let Some((peer, other)) = peers
                .into_iter()
                .find_map(|ip| elsewhere(&routes, ip, link))
            {
                found.push(
                    Found::new(
                        Level::Warning,
                        format!("the peer {peer} is reached by {other}, not by {device}"),
                    )
                    .about([vhost])
                    .seen(format!("the route to {peer} is by {other}"))
                    .so(format!("advertisements leave by {other}; what the peer sends is only heard if it arrives on {device}"))
                    .mend(format!("ip route replace {peer} dev {device}, or another `interface`")),
                );
            }
        }
    }
    found
}

/// The interface by which an IPv4 address is reached, if it is another one.
fn elsewhere(routes: &[Route], ip: IpAddr, link: &Link) -> Option<(IpAddr, String)> {
    let IpAddr::V4(v4) = ip else { return None };
    let best = routes
        .iter()
        .filter(|route| u32::from(v4) & route.mask == route.network)
        .max_by_key(|route| (route.mask, std::cmp::Reverse(route.metric)))?;
    let is_own = link.is_called(&best.device.parse().ok()?) || best.device == link.name.as_str();
    (!is_own).then(|| (ip, best.device.clone()))
}

struct Route {
    device: String,
    network: u32,
    mask: u32,
    metric: u32,
}

/// The main table, as the kernel lists it: hexadecimal, in network byte order as this machine reads
/// it.
fn routes(table: &str) -> Vec<Route> {
    let hex = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [
            device,
            network,
            _gateway,
            _flags,
            _count,
            _use,
            metric,
            mask,
            ..,
        ] = words.as_slice()
        else {
            return None;
        };
        Some(Route {
            device: (*device).to_owned(),
            network: hex(network)?,
            mask: hex(mask)?,
            metric: metric.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(route).collect()
}

pub(super) fn ipv6(subject: &Subject<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (link, vhosts) in subject.interfaces() {
        let device = link.name.as_str();
        let hit: Vec<&Vhost> = vhosts
            .into_iter()
            .filter(|vhost| {
                vhost
                    .addresses
                    .iter()
                    .any(|address| address.family() == Family::V6)
            })
            .collect();
        if hit.is_empty() || subject.machine.of_device("ipv6", device, "disable_ipv6") != Some(1) {
            continue;
        }
        found.push(
            Found::new(Level::Error, format!("IPv6 is switched off on {device}"))
                .about(hit)
                .seen(format!("net.ipv6.conf.{device}.disable_ipv6 = 1 (or that of all)"))
                .so("the IPv6 virtual addresses cannot be set")
                .mend(format!("sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.{device}.disable_ipv6=0, and the same in /etc/sysctl.d")),
        );
    }
    found
}

/// carpd itself keeps the other addresses of a network when it takes one away. What hooks or other
/// programs remove takes them along.
pub(super) fn secondaries(subject: &Subject<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (link, vhosts) in subject.interfaces() {
        let device = link.name.as_str();
        let hit: Vec<&Vhost> = vhosts
            .into_iter()
            .filter(|vhost| {
                let is_network = |a: &VirtualAddress| a.family() == Family::V4 && a.prefix < 32;
                !vhost.manage_addresses && vhost.addresses.iter().any(is_network)
            })
            .collect();
        if hit.is_empty()
            || subject
                .machine
                .of_device("ipv4", device, "promote_secondaries")
                != Some(0)
        {
            continue;
        }
        found.push(
            Found::new(Level::Warning, format!("who removes an address of {device} removes more than that"))
                .about(hit)
                .seen(format!("net.ipv4.conf.{device}.promote_secondaries = 0, and `manage-addresses = false`"))
                .so("if the virtual address is the first of its network there, the host's own address goes with it")
                .mend(format!("sysctl -w net.ipv4.conf.{device}.promote_secondaries=1, and the same in /etc/sysctl.d")),
        );
    }
    found
}

/// Bridges of this host that may keep multicast from the nodes. What switches beyond it do is not
/// seen from here.
pub(super) fn snooping(subject: &Subject<'_>) -> Vec<Found> {
    let devices = match &subject.devices {
        Ok(devices) => devices,
        Err(reason) => {
            return vec![
                Found::new(
                    Level::Note,
                    "bridges and other interfaces were not looked at",
                )
                .seen(reason)
                .mend("apt-get install iproute2"),
            ];
        }
    };
    let mut found = Vec::new();
    for (link, vhosts) in subject.interfaces() {
        let multicast: Vec<&Vhost> = vhosts
            .into_iter()
            .filter(|vhost| vhost.reach() == Reach::Group)
            .collect();
        let own = devices.iter().find(|device| device.index == link.index);
        let Some(bridge) = own.filter(|device| device.kind.name == "bridge") else {
            continue;
        };
        // Linux always floods what is for groups of the link.
        let beyond = |vhost: &&&Vhost| {
            let is_of_link = |group: Ipv4Addr| matches!(group.octets(), [224, 0, 0, _]);
            vhost.families().any(|family| family == Family::V4)
                && !is_of_link(vhost.destination.group)
        };
        let hit: Vec<&Vhost> = multicast.iter().filter(beyond).copied().collect();
        if bridge.kind.data.snoops == 1 && bridge.kind.data.queries == 0 && !hit.is_empty() {
            found.push(
                Found::new(Level::Warning, format!("{} snoops on multicast without a querier", bridge.name))
                    .about(hit)
                    .seen(format!("{}: mcast_snooping 1, mcast_querier 0", bridge.name))
                    .so("when a querier of the network falls silent, advertisements stop after some minutes, and both nodes are master")
                    .mend(format!("ip link set {} type bridge mcast_querier 1, or mcast_snooping 0", bridge.name)),
            );
        }
        let closed = devices.iter().find(|port| {
            port.master.as_ref() == Some(&bridge.name)
                && port.kind.port.floods_multicast == Some(false)
        });
        if let Some(port) = closed.filter(|_| !multicast.is_empty()) {
            found.push(
                Found::new(
                    Level::Error,
                    format!("{} does not pass multicast to {}", bridge.name, port.name),
                )
                .about(multicast)
                .seen(format!("{}: mcast_flood off", port.name))
                .so("nodes behind that port do not hear this one, and take over")
                .mend(format!("bridge link set dev {} mcast_flood on", port.name)),
            );
        }
    }
    found
}

fn is_within(ip: IpAddr, network: IpAddr, prefix: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(prefix.min(32)))
                .unwrap_or(0);
            u32::from(ip) & mask == u32::from(network) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_of_routes_is_read() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                     eth1\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n\
                     odd\n";
        let routes = routes(table);
        let of = |ip: &str| {
            let ip: Ipv4Addr = ip.parse().unwrap();
            routes
                .iter()
                .filter(|route| u32::from(ip) & route.mask == route.network)
                .max_by_key(|route| route.mask)
                .map(|route| route.device.as_str())
        };
        // As this machine reads it, so only on one of this byte order.
        if cfg!(target_endian = "little") {
            assert_eq!(of("10.1.2.3"), Some("eth1"));
            assert_eq!(of("192.0.2.1"), Some("eth0"));
        }
    }

    #[test]
    fn networks_are_told_apart() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(is_within(ip("10.0.0.2"), ip("10.0.0.1"), 24));
        assert!(!is_within(ip("10.0.1.2"), ip("10.0.0.1"), 24));
        assert!(is_within(ip("10.9.9.9"), ip("192.0.2.1"), 0));
        assert!(!is_within(ip("2001:db8::1"), ip("10.0.0.1"), 0));
    }
}
