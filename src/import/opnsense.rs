//! `config.xml` of OPNsense and pfSense: the virtual addresses of the mode `carp`, and the aliases
//! that belong to them.

use std::collections::BTreeMap;

use roxmltree::{Document, Node, ParsingOptions};

use super::account::Id;
use super::bsd::{self, Carp};
use super::{ImportError, Source, Work};
use crate::types::shown;

/// The most elements and texts of a file.
const NODES_MAX: u32 = 1 << 20;

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(starts).collect())
    }

    fn line(&self, node: Node<'_, '_>) -> usize {
        self.0.partition_point(|start| *start <= node.range().start)
    }
}

/// The virtual hosts that are found.
#[derive(Default)]
struct Found {
    vhosts: BTreeMap<(String, u8), (Id, Carp)>,
    /// By pfSense's names of them, which its aliases have as their interface.
    by_name: BTreeMap<String, (String, u8)>,
}

pub(super) fn read(source: &Source, work: &mut Work<'_>) -> Result<(), ImportError> {
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_MAX,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(&source.text, options).map_err(|error| {
        let pos = error.pos();
        let place = |n: u32| usize::try_from(n).unwrap_or(1);
        ImportError::at(
            &source.name,
            place(pos.row),
            Some(place(pos.col)),
            format!(
                "it is no XML that carpd reads: {}",
                without_place(&error.to_string())
            ),
        )
    })?;
    let root = document.root_element();
    let lines = Lines::of(&source.text);
    let devices = devices(root);
    let mut found = Found::default();
    let mut aliases = Vec::new();
    for vip in vips(root) {
        let mode = child(vip, "mode");
        let text = format!("vip {mode} {} on {}", address(vip), child(vip, "interface"));
        let id = work
            .account
            .enter(&source.name, lines.line(vip), shown(&text));
        match mode {
            "carp" => match carp(vip, &devices) {
                Ok(carp) => found.enter(vip, id, carp, work),
                Err(why) => work.account.untranslated(id, why),
            },
            "ipalias" => aliases.push((id, vip)),
            _ => work.account.unneeded(id, "it is not shared by CARP"),
        }
    }
    for (id, vip) in aliases {
        found.alias(vip, id, &devices, work);
    }
    if found.vhosts.is_empty() {
        return Ok(());
    }
    for (id, carp) in found.vhosts.into_values() {
        bsd::add(work, id, &carp, true);
    }
    settings(root, &lines, source, work);
    work.remark("only the virtual addresses and what belongs to them are translated: rules, NAT and services that name them are yours to move");
    Ok(())
}

/// The elements of virtual addresses.
fn vips<'a, 'i>(root: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    root.descendants().filter(|node| {
        node.has_tag_name("vip")
            && node
                .parent_element()
                .is_some_and(|up| up.has_tag_name("virtualip"))
    })
}

impl Found {
    fn enter(&mut self, vip: Node<'_, '_>, id: Id, carp: Carp, work: &mut Work<'_>) {
        let place = (carp.interface.clone(), carp.vhid);
        work.account
            .translated(id, format!("the virtual host {}-{}", place.0, place.1));
        let name = child(vip, "uniqid");
        if !name.is_empty() {
            self.by_name.insert(format!("_vip{name}"), place.clone());
        }
        let old = format!("{}_vip{}", child(vip, "interface"), carp.vhid);
        self.by_name.entry(old).or_insert_with(|| place.clone());
        match self.vhosts.get_mut(&place) {
            None => {
                self.vhosts.insert(place, (id, carp));
            }
            // IPv4 and IPv6 of one vhid.
            Some((_, first)) => first.merge(carp),
        }
    }

    /// An address that goes with a virtual host: OPNsense names its vhid, pfSense the virtual host.
    fn alias(
        &mut self,
        vip: Node<'_, '_>,
        id: Id,
        devices: &BTreeMap<String, String>,
        work: &mut Work<'_>,
    ) {
        let interface = child(vip, "interface");
        let vhid = child(vip, "vhid");
        let place = match self.by_name.get(interface) {
            Some(place) => place.clone(),
            None if vhid.is_empty() && !interface.contains("_vip") => {
                work.account.unneeded(id, "it is not shared by CARP");
                return;
            }
            None => (device(vip, devices), vhid.parse().unwrap_or_default()),
        };
        match self.vhosts.get_mut(&place) {
            Some((_, carp)) => {
                let address = address(vip);
                if address.parse::<crate::types::VirtualAddress>().is_err() {
                    work.account
                        .untranslated(id, "it is no address that carpd could hold");
                    return;
                }
                if !carp.addresses.contains(&address) {
                    carp.addresses.push(address);
                }
                work.account
                    .translated(id, "`addresses` of the virtual host");
            }
            None if vhid.is_empty() => work.account.untranslated(
                id,
                format!(
                    "no virtual address of the mode carp is {}",
                    shown(interface)
                ),
            ),
            None => work.account.untranslated(
                id,
                format!(
                    "no virtual address of the mode carp has the vhid {} there",
                    shown(vhid)
                ),
            ),
        }
    }
}

/// State synchronisation and what else is set for high availability.
fn settings(root: Node<'_, '_>, lines: &Lines, source: &Source, work: &mut Work<'_>) {
    let hasync = root.descendants().find(|node| node.has_tag_name("hasync"));
    for setting in hasync
        .iter()
        .flat_map(Node::children)
        .filter(Node::is_element)
    {
        let name = setting.tag_name().name();
        let value = setting.text().unwrap_or_default().trim();
        if value.is_empty() {
            continue;
        }
        let secret = name.contains("pass");
        let text = format!("hasync {name} {}", if secret { "****" } else { value });
        let id = work
            .account
            .enter(&source.name, lines.line(setting), shown(&text));
        match name {
            "disablepreempt" => {
                for (_, vhost) in &mut work.target.vhosts {
                    vhost.set("preempt", false);
                }
                work.account
                    .translated(id, "`preempt` of the virtual hosts");
            }
            _ if name.starts_with("pfsync") => {
                work.account.different(id, "pf's states have no counterpart in carpd: conntrackd synchronises Linux's, started by a hook or by itself");
            }
            _ if value == "0" => work.account.unneeded(id, "it is off"),
            "disconnectppps" => work
                .account
                .untranslated(id, "a hook can stop PPP on a backup (`service.stop`)"),
            _ => work.account.unneeded(
                id,
                "it copies the configuration to the other firewall, which carpd does not do",
            ),
        }
    }
}

/// The devices behind `wan`, `lan`, `opt1`.
fn devices(root: Node<'_, '_>) -> BTreeMap<String, String> {
    let interfaces = root.children().find(|node| node.has_tag_name("interfaces"));
    let all = interfaces
        .iter()
        .flat_map(Node::children)
        .filter(Node::is_element);
    all.filter_map(|interface| {
        let device = child(interface, "if");
        (!device.is_empty()).then(|| (interface.tag_name().name().to_owned(), device.to_owned()))
    })
    .collect()
}

fn device(vip: Node<'_, '_>, devices: &BTreeMap<String, String>) -> String {
    let name = child(vip, "interface");
    devices.get(name).map_or(name, String::as_str).to_owned()
}

fn address(vip: Node<'_, '_>) -> String {
    let (ip, bits) = (child(vip, "subnet"), child(vip, "subnet_bits"));
    if bits.is_empty() {
        ip.to_owned()
    } else {
        format!("{ip}/{bits}")
    }
}

fn carp(vip: Node<'_, '_>, devices: &BTreeMap<String, String>) -> Result<Carp, String> {
    let number = |name: &str| -> Result<u8, String> {
        let text = child(vip, name);
        text.parse().map_err(|_| {
            format!(
                "<{name}>{}</{name}> is no number from 0 to 255",
                shown(text)
            )
        })
    };
    let optional = |name: &str| {
        if child(vip, name).is_empty() {
            Ok(None)
        } else {
            number(name).map(Some)
        }
    };
    let address = address(vip);
    address
        .parse::<crate::types::VirtualAddress>()
        .map_err(|error| error.to_string())?;
    Ok(Carp {
        interface: device(vip, devices),
        vhid: number("vhid")?,
        password: child(vip, "password").to_owned(),
        advbase: optional("advbase")?,
        advskew: optional("advskew")?,
        addresses: vec![address],
        peers: ["peer", "peer6"]
            .map(|name| child(vip, name))
            .iter()
            .filter(|peer| {
                // OPNsense has the multicast group here unless nodes are named.
                let ip = peer.parse::<std::net::IpAddr>();
                ip.is_ok_and(|ip| !ip.is_multicast())
            })
            .map(|peer| (*peer).to_owned())
            .collect(),
        device: None,
        comment: child(vip, "descr").to_owned(),
    })
}

/// Without the place at its end, which is shown otherwise.
fn without_place(text: &str) -> &str {
    match text.rsplit_once(" at ") {
        Some((words, place)) if place.bytes().all(|b| b.is_ascii_digit() || b == b':') => words,
        _ => text,
    }
}

/// The text of a child; empty if there is none.
fn child<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    node.children()
        .find(|child| child.has_tag_name(name))
        .and_then(|child| child.text())
        .unwrap_or_default()
        .trim()
}
