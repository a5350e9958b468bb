//! FreeBSD's `rc.conf`, with what `sysctl.conf` and `loader.conf` say of CARP:
//! `ifconfig_em0_alias0="inet vhid 1 pass secret alias 192.0.2.1/32"`, and the `carp0` of FreeBSD 9
//! and before, OpenBSD and NetBSD.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::account::Id;
use super::bsd::{self, Carp};
use super::{Source, Work, common};
use crate::types::{VirtualAddress, shown};

/// An assignment, or another line.
struct Line<'a> {
    id: Id,
    name: &'a str,
    value: String,
}

pub(super) fn read(sources: &[Source], work: &mut Work<'_>) {
    let mut preempt = None;
    let texts: Vec<Vec<(usize, String)>> = sources
        .iter()
        .map(|source| logical_lines(&source.text))
        .collect();
    let mut lines = Vec::new();
    for (source, text) in sources.iter().zip(&texts) {
        for (number, line) in text {
            let id = work.account.enter(&source.name, *number, hidden(line));
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            lines.push(Line {
                id,
                name: name.trim(),
                value: common::unquoted(value).to_owned(),
            });
        }
    }
    let networks = networks(&lines);
    let mut found = Found::default();
    for line in &lines {
        if !found.take(line, &networks, work) {
            other(line, &mut preempt, work);
        }
    }
    found.uses(&lines, work);
    for (id, carp) in found.vhosts.into_values() {
        bsd::add(work, id, &carp, preempt == Some(true));
    }
    if preempt.is_none() {
        work.remark("FreeBSD preempts only with net.inet.carp.preempt=1 in sysctl.conf: give that file as well, or set `preempt`");
    }
}

/// Lines without comments; one whose quote does not end goes on in the next.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = None;
    for (number, line) in (1..).zip(text.lines()) {
        if open.is_none() && (line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        let joined = open.is_some();
        for c in line.chars() {
            match (open, c) {
                (None, '#') => break,
                (None, '"' | '\'') => open = Some(c),
                (Some(quote), c) if c == quote => open = None,
                _ => {}
            }
        }
        let line = line.trim().trim_end_matches('\\');
        match found.last_mut() {
            Some((_, last)) if joined => {
                last.push(' ');
                last.push_str(line);
            }
            _ => found.push((number, line.to_owned())),
        }
    }
    found
}

/// The network that each interface has an address in, by the interface's name.
fn networks(lines: &[Line<'_>]) -> Vec<(String, VirtualAddress)> {
    let mut networks = Vec::new();
    for line in lines {
        let Some((interface, false)) = line.name.strip_prefix("ifconfig_").map(interface) else {
            continue;
        };
        let words: Vec<&str> = line.value.split_whitespace().collect();
        let is_shared = words.contains(&"vhid");
        if let (Ok(of_it), false) = (carp(&words), is_shared) {
            let addresses = of_it.addresses.iter().filter_map(|text| text.parse().ok());
            networks.extend(addresses.map(|address| (interface.clone(), address)));
        }
    }
    networks
}

/// The interface of a variable's name without `ifconfig_`, and whether it is one of the old kind,
/// which is a virtual host itself.
fn interface(name: &str) -> (String, bool) {
    let end = name.find("_alias").unwrap_or(name.len());
    let name = name.get(..end).unwrap_or(name);
    let name = name.strip_suffix("_ipv6").unwrap_or(name);
    let number = name.strip_prefix("carp");
    let is_old = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    (name.to_owned(), is_old)
}

/// The virtual hosts that are found.
#[derive(Default)]
struct Found {
    vhosts: BTreeMap<(String, u8), (Id, Carp)>,
    /// Which of them an interface of the old kind is.
    old: BTreeMap<String, (String, u8)>,
}

impl Found {
    /// Takes a line if it is about a virtual host.
    fn take(
        &mut self,
        line: &Line<'_>,
        networks: &[(String, VirtualAddress)],
        work: &mut Work<'_>,
    ) -> bool {
        let Some(name) = line
            .name
            .strip_prefix("ifconfig_")
            .or_else(|| line.name.strip_prefix("create_args_"))
        else {
            return false;
        };
        let (interface, is_old) = interface(name);
        let words: Vec<&str> = line.value.split_whitespace().collect();
        if !words.contains(&"vhid") && !is_old {
            return false;
        }
        for words in entries(&words) {
            match carp(words) {
                Ok(carp) => self.enter(line.id, &interface, is_old, carp, networks, work),
                Err(why) => work.account.untranslated(line.id, why),
            }
        }
        true
    }

    /// Several lines of one vhid are one virtual host: the password may stand in any of them.
    fn enter(
        &mut self,
        id: Id,
        interface: &str,
        is_old: bool,
        mut carp: Carp,
        networks: &[(String, VirtualAddress)],
        work: &mut Work<'_>,
    ) {
        let place = match self.old.get(interface).cloned() {
            Some((interface, vhid)) if carp.vhid == 0 || carp.vhid == vhid => (interface, vhid),
            _ if carp.vhid == 0 => {
                work.account.untranslated(id, "it has no vhid");
                return;
            }
            _ if is_old => {
                let device = carp.device.clone().or_else(|| network(&carp, networks));
                if device.is_none() {
                    work.account.open(id, format!("no interface of the file is in its network: replace {} by the one that is", shown(interface)));
                }
                let place = (device.unwrap_or_else(|| interface.to_owned()), carp.vhid);
                self.old.insert(interface.to_owned(), place.clone());
                place
            }
            _ => (interface.to_owned(), carp.vhid),
        };
        (carp.interface, carp.vhid) = place.clone();
        work.account
            .translated(id, format!("the virtual host {}-{}", place.0, place.1));
        match self.vhosts.get_mut(&place) {
            None => {
                self.vhosts.insert(place, (id, carp));
            }
            Some((_, first)) => first.merge(carp),
        }
    }

    /// Other lines that name a virtual address, such as those of jails.
    fn uses(&self, lines: &[Line<'_>], work: &mut Work<'_>) {
        let all = self.vhosts.values().flat_map(|(_, carp)| &carp.addresses);
        let addresses: std::collections::BTreeSet<&str> = all
            .filter_map(|address| address.split('/').next())
            .collect();
        for line in lines
            .iter()
            .filter(|line| !line.name.starts_with("ifconfig_"))
        {
            let parts = line
                .value
                .split(|c: char| !c.is_ascii_hexdigit() && !".:".contains(c));
            if let Some(address) = parts.into_iter().find(|part| addresses.contains(part)) {
                work.account.open(
                    line.id,
                    format!("it uses the virtual address {address}: whatever serves it must be moved by hand"),
                );
            }
        }
    }
}

/// The interface that an old virtual host's address is in the network of.
fn network(carp: &Carp, networks: &[(String, VirtualAddress)]) -> Option<String> {
    let address: VirtualAddress = carp.addresses.first()?.parse().ok()?;
    let (name, _) = networks
        .iter()
        .find(|(_, own)| is_within(own, address.ip))?;
    Some(name.clone())
}

/// Is the address in the network of this one?
fn is_within(own: &VirtualAddress, ip: IpAddr) -> bool {
    let first =
        |a: u128, b: u128, length: u32| (a ^ b) >> length.saturating_sub(own.prefix.into()) == 0;
    match (own.ip, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => first(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => own.prefix > 0 && first(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// `ifconfig_em0_aliases` has several, each of which begins with its family.
fn entries<'w>(words: &'w [&'w str]) -> Vec<&'w [&'w str]> {
    let mut found: Vec<&[&str]> = Vec::new();
    let mut start = 0;
    for (at, word) in words.iter().enumerate() {
        if at > start && ["inet", "inet6"].contains(word) {
            found.extend(words.get(start..at));
            start = at;
        }
    }
    found.extend(words.get(start..));
    // A family in the middle of a single entry: `vhid 1 inet 192.0.2.1`.
    let whole = found
        .iter()
        .all(|entry| entry.iter().any(|word| is_address(word)));
    if whole { found } else { vec![words] }
}

fn is_address(word: &str) -> bool {
    let ip = word.split('/').next().unwrap_or_default();
    ip.parse::<IpAddr>().is_ok()
}

/// What the arguments of `ifconfig` say of a virtual host.
fn carp(words: &[&str]) -> Result<Carp, String> {
    let mut carp = Carp::default();
    let (mut words, mut address) = (words.iter().copied(), None);
    let mut prefix: Option<String> = None;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("`{word}` has no value"));
        match word {
            "inet" | "inet6" | "alias" | "up" | "add" | "mcast" | "mcast6" | "no_dad"
            | "auto_linklocal" | "accept_rtadv" | "-ifdisabled" => {}
            "vhid" => {
                carp.vhid = number(value()?)?;
                if carp.vhid == 0 {
                    return Err("its vhid is 0".to_owned());
                }
            }
            "pass" => common::unquoted(value()?).clone_into(&mut carp.password),
            "advbase" => carp.advbase = Some(number(value()?)?),
            "advskew" => carp.advskew = Some(number(value()?)?),
            "carpdev" => carp.device = Some(value()?.to_owned()),
            "netmask" => prefix = Some(prefix_of(value()?)?),
            "prefixlen" => prefix = Some(value()?.to_owned()),
            "peer" | "peer6" => {
                let peer = value()?;
                let good = peer.parse::<IpAddr>().map(|ip| ip.to_string());
                carp.peers
                    .push(good.map_err(|_| format!("{} is no address", shown(peer)))?);
            }
            "carpver" if value()? == "2" => {}
            "carpver" | "vrrpprio" | "vrrpinterval" => {
                return Err(
                    "it is VRRP: carpd speaks CARP, which all nodes must speak then".to_owned(),
                );
            }
            "broadcast" | "state" | "mtu" | "media" | "fib" | "description" | "group" => {
                value()?;
            }
            _ if is_address(word) => address = Some(word),
            _ if word.contains(['.', ':', '/']) => {
                return Err(format!("{} is no address", shown(word)));
            }
            _ => return Err(format!("`{}` is not known", shown(word))),
        }
    }
    let address = address.ok_or("it has no address")?;
    let (ip, own_prefix) = address.split_once('/').unwrap_or((address, ""));
    let ip: IpAddr = ip
        .parse()
        .map_err(|_| format!("{} is no address", shown(ip)))?;
    let whole = if ip.is_ipv4() { "32" } else { "128" };
    let prefix = Some(own_prefix.to_owned())
        .filter(|own| !own.is_empty())
        .or(prefix);
    let address = format!("{ip}/{}", prefix.as_deref().unwrap_or(whole));
    address
        .parse::<VirtualAddress>()
        .map_err(|error| error.to_string())?;
    carp.addresses.push(address);
    Ok(carp)
}

/// A line that is not about the addresses of interfaces.
fn other(line: &Line<'_>, preempt: &mut Option<bool>, work: &mut Work<'_>) {
    let id = line.id;
    match line.name {
        "net.inet.carp.preempt" => {
            *preempt = Some(line.value != "0");
            work.account
                .translated(id, "`preempt` of the virtual hosts");
        }
        "net.inet.carp.log" => work
            .account
            .unneeded(id, "the log's level is `[daemon.log] level`"),
        name if name.ends_with("demotion_factor") => work.account.different(
            id,
            "a track's `demote` says by how much; a link that is down takes its virtual hosts out",
        ),
        name if name.starts_with("net.inet.carp.") => work.account.different(
            id,
            "it is about the kernel's CARP, which Linux does not have",
        ),
        "carp_load" | "if_carp_load" => work
            .account
            .unneeded(id, "carpd needs no module of the kernel"),
        "cloned_interfaces" => work
            .account
            .unneeded(id, "carpd needs no interfaces for its virtual hosts"),
        name if name.starts_with("pfsync") || name.starts_with("ifconfig_pfsync") => {
            work.account.different(id, "pf's states have no counterpart in carpd: conntrackd synchronises Linux's, started by a hook or by itself");
        }
        _ => work
            .account
            .unneeded(id, "stays where it is: it is no virtual address"),
    }
}

fn number(text: &str) -> Result<u8, String> {
    text.parse()
        .map_err(|_| format!("{} is no number from 0 to 255", shown(text)))
}

/// `255.255.255.0` or `0xffffff00`.
fn prefix_of(netmask: &str) -> Result<String, String> {
    let bits = match netmask.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => netmask.parse::<std::net::Ipv4Addr>().ok().map(u32::from),
    };
    let bits = bits.filter(|bits| bits.leading_ones() + bits.trailing_zeros() >= 32);
    bits.map(|bits| bits.leading_ones().to_string())
        .ok_or_else(|| format!("{} is no netmask", shown(netmask)))
}

/// The line without the password.
fn hidden(line: &str) -> String {
    let mut after_pass = false;
    let words = line.split_whitespace().map(|word| {
        let hide = after_pass;
        after_pass = word.trim_matches(['"', '\'']).ends_with("pass") && !word.contains('/');
        match hide {
            true if word.ends_with('"') => "****\"".to_owned(),
            true => "****".to_owned(),
            false => word.to_owned(),
        }
    });
    shown(words.collect::<Vec<_>>().join(" "))
}
