//! Resolves the host that was granted to the addresses that will be contacted. This happens once:
//! the addresses that were checked are the addresses that are used.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use carpd::effect::Endpoint;
use carpd::host::HostError;
use carpd::host::children::http_worker::Trouble;

/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 8;

/// The addresses of an endpoint.
pub(crate) fn look_up(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, HostError> {
    let found = (endpoint.host(), endpoint.port()).to_socket_addrs();
    let found: Vec<_> = found
        .map_err(|err| Trouble::Name.error(endpoint, &err.to_string()))?
        .take(ADDRESSES_MAX)
        .collect();
    judged(endpoint, &found)
}

/// Drops addresses that a name may not lead to. A host that is granted by its address, or as
/// `localhost`, is deliberate.
fn judged(endpoint: &Endpoint, found: &[SocketAddr]) -> Result<Vec<SocketAddr>, HostError> {
    if endpoint.host().parse::<IpAddr>().is_ok() {
        return Ok(found.to_vec());
    }
    let local = is_localhost(endpoint.host());
    let barred = |ip: IpAddr| barred(ip).filter(|_| !(local && ip.is_loopback()));
    let good: Vec<_> = found
        .iter()
        .copied()
        .filter(|address| barred(address.ip()).is_none())
        .collect();
    if !good.is_empty() {
        return Ok(good);
    }
    let bad = found
        .iter()
        .find_map(|address| Some((address.ip(), barred(address.ip())?)));
    let why = bad.map_or_else(
        || "it has no address".to_owned(),
        |(ip, what)| {
            format!("it resolves to {ip}, which is {what}; if that is intended, grant the address itself")
        },
    );
    Err(Trouble::Name.error(endpoint, &why))
}

fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    // RFC 6761, section 6.3.
    host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

/// The operator of a name server can point a name anywhere, at any time. A grant for a name does
/// not include services that listen only on this machine's loopback or on the link (such as a
/// cloud's metadata service).
fn barred(ip: IpAddr) -> Option<&'static str> {
    let (this_machine, link, nobody) = ("this machine", "a link-local address", "no host");
    match plain(ip) {
        IpAddr::V4(ip) if ip.is_loopback() || ip.octets()[0] == 0 => Some(this_machine),
        IpAddr::V4(ip) if ip.is_link_local() => Some(link),
        IpAddr::V4(ip) if ip.is_multicast() || ip.is_broadcast() => Some(nobody),
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unspecified() => Some(this_machine),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(link),
        IpAddr::V6(ip) if ip.is_multicast() => Some(nobody),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// An IPv4 address written as an IPv6 one is the IPv4 address: mapped, or compatible (an obsolete
/// form).
fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    match (v6.to_ipv4_mapped(), v6.octets()) {
        (Some(v4), _) => v4.into(),
        (None, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]) if a != 0 => {
            Ipv4Addr::new(a, b, c, d).into()
        }
        (None, _) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(endpoint: &str, found: &[&str]) -> Result<Vec<String>, String> {
        let endpoint: Endpoint = endpoint.parse().unwrap();
        let found: Vec<SocketAddr> = found
            .iter()
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), endpoint.port()))
            .collect();
        let good = judged(&endpoint, &found).map_err(|err| err.message)?;
        Ok(good
            .iter()
            .map(|address| address.ip().to_string())
            .collect())
    }

    #[test]
    fn a_name_leads_to_other_hosts_alone() {
        for bad in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.18",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
        ] {
            let refused = judge("granted.example:80", &[bad]).unwrap_err();
            assert!(
                refused.starts_with("name: granted.example:80: it resolves to ")
                    && refused.contains("grant the address"),
                "{refused}"
            );
            assert_eq!(
                judge("granted.example:80", &[bad, "10.0.0.1"]),
                Ok(vec!["10.0.0.1".to_owned()])
            );
        }
        for good in [
            "10.0.0.1",
            "192.168.1.1",
            "203.0.113.5",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert_eq!(
                judge("granted.example:80", &[good]),
                Ok(vec![good.to_owned()])
            );
        }
        assert_eq!(
            judge("granted.example:80", &[]),
            Err("name: granted.example:80: it has no address".to_owned())
        );
    }

    #[test]
    fn what_is_named_as_this_machine_is_meant() {
        for host in ["localhost", "LocalHost", "web.localhost"] {
            assert_eq!(
                judge(&format!("{host}:80"), &["127.0.0.1", "::1"])
                    .unwrap()
                    .len(),
                2,
                "{host}"
            );
            assert!(
                judge(&format!("{host}:80"), &["169.254.169.254"]).is_err(),
                "{host}"
            );
        }
        assert_eq!(
            judge("127.0.0.1:80", &["127.0.0.1"]),
            Ok(vec!["127.0.0.1".to_owned()])
        );
        assert_eq!(
            judge("[fe80::1]:80", &["fe80::1"]),
            Ok(vec!["fe80::1".to_owned()])
        );
    }
}
