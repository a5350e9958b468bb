//! `vrrp_instance`.

use toml::Value;

use super::addresses::{self, Addresses};
use super::lex::Statement;
use super::notify::{self, Owner, Scripts};
use super::routes::{self, Calls};
use super::tracks::{self, Tracked};
use super::{Shared, announce, global, parts};
use crate::import::account::Id;
use crate::import::target::{File, Table, duration};
use crate::import::{Work, common};

/// keepalived's priority where none is written.
const PRIORITY: i32 = 100;
/// The most that an advskew counts.
const ADVSKEW_MAX: i32 = 240;

/// What has no counterpart and needs none.
const UNNEEDED: &[(&str, &str)] = &[
    ("version", "it is about VRRP"),
    ("native_ipv6", "it is about VRRP"),
    ("strict_mode", "it is about VRRP"),
    (
        "skip_check_adv_addr",
        "the addresses of an advertisement are part of what is signed",
    ),
    (
        "check_unicast_src",
        "advertisements of anybody but the peers are always refused",
    ),
    (
        "unicast_fault_no_peer",
        "a virtual host without peers is master alone",
    ),
    (
        "garp_lower_prio_delay",
        "a master announces its addresses again whenever another one was heard",
    ),
    (
        "garp_lower_prio_repeat",
        "a master announces its addresses again whenever another one was heard",
    ),
    ("lower_prio_no_advert", "a worse master is always answered"),
    (
        "higher_prio_send_advert",
        "a master that yields says so by itself",
    ),
    (
        "vmac_xmit_base",
        "advertisements always leave through the interface itself",
    ),
    (
        "vmac_addr_and_up",
        "the macvlan is made and removed by the daemon",
    ),
    ("debug", "the log's level is `[daemon.log] level`"),
    (
        "linkbeat_use_polling",
        "the kernel reports every change of a link",
    ),
    ("accept", "packets to the addresses are always accepted"),
    ("kernel_rx_buf_size", "carpd chooses it"),
    ("socket_receive_buffer", "carpd chooses it"),
    ("track_src_ip", "an address that is gone is noticed"),
    ("old_unicast_checksum", "it is about VRRP"),
    (
        "thread_timer_expired",
        "the status says how late timers were",
    ),
];

pub(super) fn read(statement: &Statement, shared: &mut Shared, work: &mut Work<'_>) {
    let own = statement.value().to_owned();
    let name = work.target.vhost_names.give(&own);
    shared.names.entry(own.clone()).or_insert(name.clone());
    work.account
        .translated(statement.id, format!("the virtual host {name}"));
    let mut instance = Instance::new(&name, statement, shared);
    for inner in &statement.block {
        instance.take(inner, shared, work);
    }
    for inner in shared.of_groups.get(&own).into_iter().flatten() {
        tracks::of_instance(inner, shared, &mut instance.tracked, work);
    }
    instance.set_vhid(&own, shared, work);
    instance.finish(shared, work);
}

struct Instance<'a> {
    name: String,
    statement: &'a Statement,
    vhost: Table,
    announce: announce::Keys,
    /// The vhid, and the statement that says it.
    vhid: Option<(Id, u8)>,
    priority: i32,
    /// The statement of the priority, or of the instance.
    priority_id: Id,
    preempt: bool,
    interface: String,
    addresses: Addresses,
    tracked: Tracked,
    calls: Calls,
    scripts: Scripts,
    /// The statement and the text of `auth_pass`.
    password: Option<(Id, String)>,
}

impl<'a> Instance<'a> {
    fn new(name: &str, statement: &'a Statement, shared: &Shared) -> Self {
        let mut vhost = Table::default();
        vhost.set("name", name);
        let interface = statement.part("interface").map(Statement::value);
        let interface = interface
            .or(shared.interface.as_deref())
            .unwrap_or_default()
            .to_owned();
        vhost.set("interface", interface.as_str());
        Self {
            name: name.to_owned(),
            statement,
            vhost,
            announce: announce::Keys::new(),
            vhid: None,
            priority: PRIORITY,
            priority_id: statement.id,
            preempt: true,
            interface,
            addresses: Addresses::default(),
            tracked: Tracked::default(),
            calls: Calls::default(),
            scripts: Scripts::default(),
            password: None,
        }
    }

    fn take(&mut self, inner: &Statement, shared: &mut Shared, work: &mut Work<'_>) {
        let (value, id) = (inner.value(), inner.id);
        let name = inner.name();
        match name {
            "interface" => work.account.translated(id, "`interface`"),
            "state" => work.account.unneeded(id, "the election decides: the best `advskew` with `preempt` becomes master"),
            "virtual_router_id" => match value.parse::<u8>() {
                Ok(vhid) if vhid > 0 => {
                    self.vhid = Some((id, vhid));
                    work.account.translated(id, "`vhid`");
                }
                _ => work.account.untranslated(id, format!("{value:?} is no number from 1 to 255")),
            },
            "priority" => match value.parse::<u8>() {
                Ok(priority) if priority > 0 => {
                    self.priority = i32::from(priority);
                    self.priority_id = id;
                    work.account.translated(id, format!("`advskew = {}`", skew(self.priority)));
                }
                _ => work.account.untranslated(id, format!("{value:?} is no number from 1 to 255")),
            },
            "advert_int" => self.interval(inner, work),
            "nopreempt" => {
                self.preempt = false;
                work.account.translated(id, "`preempt = false`");
            }
            "preempt" => work.account.translated(id, "`preempt`"),
            "preempt_delay" | "start_delay" => match duration(value, 0..=3_600_000) {
                Ok(delay) => {
                    let key = if name == "start_delay" { "startup-delay" } else { "preempt-delay" };
                    self.vhost.set(key, delay);
                    work.account.translated(id, format!("`{key}`"));
                }
                Err(why) => work.account.untranslated(id, why),
            },
            "down_timer_adverts" => match value.parse::<u8>() {
                Ok(ratio) if ratio > 0 => {
                    self.vhost.set("dead-ratio", i64::from(ratio));
                    work.account.translated(id, "`dead-ratio`");
                }
                _ => work.account.untranslated(id, format!("{value:?} is no number from 1 to 100")),
            },
            "mcast_dst_ip" => {
                let mut keys = std::collections::BTreeMap::new();
                global::group(inner, &mut keys, work);
                for (key, value) in keys {
                    self.vhost.set(key, value);
                }
            }
            "authentication" => self.authentication(inner, work),
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
                addresses::read(inner, &self.interface, &mut self.addresses, work);
            }
            "virtual_routes" => routes::routes(inner, &shared.tables, &mut self.calls, work),
            "virtual_rules" => routes::rules(inner, &shared.tables, &mut self.calls, work),
            "track_interface" | "track_script" | "track_process" | "track_file" => {
                tracks::of_instance(inner, shared, &mut self.tracked, work);
            }
            "unicast_peer" => self.peers(inner, work),
            "unicast_src_ip" | "mcast_src_ip" => self.source(inner, work),
            "unicast_ttl" | "ttl" => work.account.unneeded(id, "advertisements leave with a TTL of 255"),
            "dont_track_primary" => {
                self.vhost.set("ignore-link-state", true);
                work.account.translated(id, "`ignore-link-state`");
            }
            "use_vmac" => {
                self.vhost.set("virtual-mac", true);
                match self.macvlan() {
                    Some(device) => work
                        .account
                        .different(id, format!("`virtual-mac`; the device is called {device}")),
                    None => work.account.translated(id, "`virtual-mac`"),
                }
            }
            "use_vmac_addr" => work.account.different(id, "only addresses of the virtual host's own interface get its virtual hardware address"),
            "use_ipvlan" => work.account.untranslated(id, "carpd makes no ipvlan: a macvlan (`virtual-mac = true`) is the nearest"),
            "vrf" => work.account.untranslated(id, "carpd sends from an interface: name it in `interface`"),
            _ if announce::set(&mut self.announce, inner, work) => {}
            "smtp_alert" => shared.mail.about(inner, std::slice::from_ref(&self.name), work),
            "notify_master_rx_lower_pri" | "notify_deleted" | "notify_priority_changes" => {
                work.account.untranslated(id, "no hook runs then; `carpd events --follow --json` says when it happens");
            }
            "promote_secondaries" => work.account.untranslated(
                id,
                "it is a kernel parameter: set net.ipv4.conf.all.promote_secondaries in /etc/sysctl.d",
            ),
            "no_accept" => work.account.untranslated(id, "carpd has no firewall rules: a hook or the host's firewall must drop packets to the addresses"),
            "track_bfd" => {
                work.account.untranslated(id, "carpd has no BFD: a track of the kind icmp is the nearest");
                parts(inner, work);
            }
            "lvs_sync_daemon_interface" | "lvs_sync_daemon" => {
                work.account.unneeded(id, "it is about load balancing, which is no work of carpd");
                parts(inner, work);
            }
            _ if self.scripts.take(inner) => {}
            _ => {
                if let Some((_, why)) = UNNEEDED.iter().find(|(key, _)| *key == name) {
                    work.account.unneeded(id, *why);
                }
            }
        }
    }

    /// Whole seconds are an advbase; VRRP's parts of a second are no advskew.
    fn interval(&mut self, inner: &Statement, work: &mut Work<'_>) {
        match inner.value().parse::<f64>() {
            Ok(seconds) if (1.0..=254.0).contains(&seconds) && seconds.fract() == 0.0 => {
                let whole = format!("{seconds:.0}");
                self.vhost.set("advbase", whole.parse::<i64>().unwrap_or(1));
                work.account.translated(inner.id, "`advbase`");
            }
            Ok(seconds) if (0.0..=254.0).contains(&seconds) => {
                let whole = format!("{:.0}", seconds.ceil().max(1.0))
                    .parse::<i64>()
                    .unwrap_or(1);
                self.vhost.set("advbase", whole);
                work.account.open(
                    inner.id,
                    format!("CARP's intervals are whole seconds: {whole} s; with `advbase = 0` it is advskew/256 s (see \"Fast takeovers\" in docs/operations.md)"),
                );
            }
            _ => work.account.untranslated(
                inner.id,
                format!("{:?} is no number of seconds", inner.value()),
            ),
        }
    }

    fn authentication(&mut self, inner: &Statement, work: &mut Work<'_>) {
        work.account.translated(inner.id, "`password-file`");
        for part in &inner.block {
            match part.name() {
                "auth_type" if part.value() == "AH" => {
                    work.account
                        .different(part.id, "advertisements are signed, but not as IPsec's AH");
                }
                "auth_type" => work.account.unneeded(
                    part.id,
                    "the password signs advertisements, and is never sent",
                ),
                "auth_pass" => self.password = Some((part.id, part.value().to_owned())),
                _ => {}
            }
        }
    }

    fn peers(&mut self, inner: &Statement, work: &mut Work<'_>) {
        work.account.translated(inner.id, "`unicast`");
        for peer in &inner.block {
            // The options behind an address are bounds of its TTL.
            let (addresses, options): (Vec<&String>, Vec<&String>) = peer
                .words
                .iter()
                .partition(|word| word.parse::<std::net::IpAddr>().is_ok());
            for address in &addresses {
                self.vhost.push("unicast", address.as_str());
            }
            if addresses.is_empty() {
                work.account.untranslated(peer.id, "it is no address");
            } else if options.is_empty() {
                work.account.translated(peer.id, "`unicast`");
            } else {
                work.account
                    .open(peer.id, "`unicast`; for the least TTL see `min-ttl`");
            }
        }
    }

    fn source(&mut self, inner: &Statement, work: &mut Work<'_>) {
        let key = match inner.value().parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => "source-address",
            Ok(std::net::IpAddr::V6(_)) => "source-address6",
            Err(_) => {
                work.account.untranslated(inner.id, "it is no address");
                return;
            }
        };
        self.vhost.set(key, inner.value());
        work.account.translated(inner.id, format!("`{key}`"));
    }

    /// The device that `virtual-mac` makes.
    fn macvlan(&self) -> Option<String> {
        let vhid = self.statement.part("virtual_router_id")?.value();
        let interface: crate::types::IfName = self.interface.parse().ok()?;
        let vhid = crate::types::Vhid::new(vhid.parse().ok()?).ok()?;
        Some(interface.macvlan(vhid).to_string())
    }

    /// VRRP tells instances of one id apart by their address family, CARP does not.
    fn set_vhid(&mut self, own: &str, shared: &mut Shared, work: &mut Work<'_>) {
        let Some((id, vhid)) = self.vhid else {
            work.account.open(
                self.statement.id,
                "it has no virtual_router_id: fill in `vhid`, the same on all nodes",
            );
            self.vhost.set("vhid", 1);
            return;
        };
        let place = |vhid| (self.interface.clone(), vhid);
        let Some(other) = shared.vhids.get(&place(vhid)).cloned() else {
            shared.vhids.insert(place(vhid), own.to_owned());
            self.vhost.set("vhid", i64::from(vhid));
            return;
        };
        let others = (1..=255_u8).map(|n| vhid.wrapping_add(127).wrapping_add(n));
        let free = others
            .into_iter()
            .find(|n| *n != 0 && !shared.vhids.contains_key(&place(*n)));
        let other = crate::types::shown(&other);
        if let Some(free) = free {
            shared.vhids.insert(place(free), own.to_owned());
            self.vhost.set("vhid", i64::from(free));
            work.account.open(id, format!("`vhid = {free}`: {other} has {vhid} on this interface, and CARP does not tell IPv4 and IPv6 apart by it; make sure that it is the same on all nodes, or move the addresses to {other}"));
        } else {
            self.vhost.set("vhid", i64::from(vhid));
            work.account.open(
                id,
                format!("{other} has {vhid} on this interface, and no vhid is free there"),
            );
        }
    }

    fn finish(mut self, shared: &Shared, work: &mut Work<'_>) {
        if self.interface.parse::<crate::types::IfName>().is_err() {
            let id = self
                .statement
                .part("interface")
                .map_or(self.statement.id, |part| part.id);
            work.account
                .open(id, "no interface has such a name: fill in `interface`");
            self.vhost.set("interface", "eth0");
        }
        if self.addresses.own.is_empty() {
            work.account.open(self.statement.id, "it has no address on its interface: CARP needs one, the same on all nodes; fill in `addresses`");
        }
        self.vhost.set("addresses", self.addresses.own.clone());
        if self.addresses.preferred {
            self.vhost.set("preferred-lifetime", "forever");
        }
        let (id, password) = self
            .password
            .clone()
            .unwrap_or((self.statement.id, String::new()));
        common::password(work, id, &mut self.vhost, &self.name, &password);
        if self.password.is_none() {
            work.account.open(
                id,
                format!(
                    "it has no auth_pass: write a password into {}.pass, the same on all nodes",
                    self.name
                ),
            );
        }
        self.set_priority(work);
        if self.preempt {
            self.vhost.set("preempt", true);
        }
        for (key, value) in &shared.vhost {
            if self.vhost.get(key).is_none() {
                self.vhost.set(key, value.clone());
            }
        }
        let announce = std::mem::take(&mut self.announce);
        if let Some(announce) = shared.announce.keys(&self.interface, announce) {
            self.vhost.set("announce", announce);
        }
        if !self.tracked.names.is_empty() {
            self.vhost.set("tracks", self.tracked.names.clone());
        }
        self.set_hooks(work);
        work.target.vhosts.push((Vec::new(), self.vhost));
    }

    /// What good results add to the priority is there from the beginning, and taken away by bad
    /// ones.
    fn set_priority(&mut self, work: &mut Work<'_>) {
        let best = self.priority + self.tracked.raised;
        let advskew = skew(best);
        self.vhost.set("advskew", i64::from(advskew));
        if self.tracked.raised > 0 {
            work.account.translated(
                self.priority_id,
                format!(
                    "`advskew = {advskew}`: {} and the {} that its tracks add while they are up",
                    self.priority, self.tracked.raised
                ),
            );
        }
        if 255 - best > ADVSKEW_MAX || best > 255 {
            work.account.different(
                self.priority_id,
                format!(
                    "`advskew = {advskew}`: beyond the ends of the range all priorities are equal"
                ),
            );
        }
    }

    fn set_hooks(&mut self, work: &mut Work<'_>) {
        for (address, device) in &self.addresses.elsewhere {
            let (address, device) = (Value::from(address.as_str()), Value::from(device.as_str()));
            self.calls
                .lua
                .insert(0, format!("addr.add({address}, {{ dev = {device} }})"));
            self.calls
                .grants
                .push(("addr", format!("{{ cidr = {address}, dev = {device} }}")));
        }
        if !self.calls.lua.is_empty() {
            let hook = work.target.hook_name(&format!("{}-network", self.name));
            let (lua, toml) = routes::hook(&hook, &self.name, &self.calls);
            work.target.hooks.insert(hook.clone(), toml);
            work.target.files.push(File {
                path: format!("hooks/{hook}.lua"),
                text: lua,
                secret: false,
            });
            self.vhost.push("hooks", hook);
        }
        let owner = Owner {
            name: &self.name,
            group: false,
            priority: u8::try_from(self.priority).ok(),
            interface: &self.interface,
            address: self.addresses.own.first().map(String::as_str),
        };
        notify::add(&self.scripts, &owner, &mut self.vhost, work);
    }
}

/// VRRP's skew time is (256 - priority)/256 s, which this is but for 1/256 s.
fn skew(priority: i32) -> i32 {
    (255 - priority).clamp(0, ADVSKEW_MAX)
}
