//! `virtual_ipaddress` and `virtual_ipaddress_excluded`.

use super::lex::Statement;
use crate::import::Work;
use crate::types::VirtualAddress;

/// The addresses of an instance.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// On its own interface.
    pub(super) own: Vec<String>,
    /// On another: address and device.
    pub(super) elsewhere: Vec<(String, String)>,
    /// Of the first.
    family: Option<crate::types::Family>,
    /// May connections come from one of IPv6, as keepalived has it unless it is a /128?
    pub(super) preferred: bool,
}

pub(super) fn read(
    statement: &Statement,
    interface: &str,
    found: &mut Addresses,
    work: &mut Work<'_>,
) {
    work.account.translated(statement.id, "`addresses`");
    let own_family = statement.name() == "virtual_ipaddress";
    // `virtual_ipaddress { 192.0.2.1 192.0.2.2 }` on one line is one statement of two words.
    for inner in &statement.block {
        if inner
            .words
            .iter()
            .all(|word| word.parse::<VirtualAddress>().is_ok())
        {
            for word in &inner.words {
                found.push(word, None);
            }
            work.account.translated(inner.id, "`addresses`");
            if own_family {
                of_family(inner, found, work);
            }
            continue;
        }
        one(inner, interface, found, work);
        if own_family {
            of_family(inner, found, work);
        }
    }
}

/// Says so if it is none of the family of the first.
fn of_family(inner: &Statement, found: &mut Addresses, work: &mut Work<'_>) {
    let Ok(address) = inner.name().parse::<VirtualAddress>() else {
        return;
    };
    let first = *found.family.get_or_insert(address.family());
    if first != address.family() {
        work.account.different(inner.id, "`addresses`; keepalived ignores an address of another family than the first, carpd holds it");
    }
}

fn one(inner: &Statement, interface: &str, found: &mut Addresses, work: &mut Work<'_>) {
    let address = inner.name();
    if address.parse::<VirtualAddress>().is_err() {
        work.account
            .untranslated(inner.id, "it is no address that carpd could hold");
        return;
    }
    let (mut device, mut differs) = (None, Vec::new());
    let mut preferred = None;
    let mut words = inner.words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "dev" => device = words.next().cloned(),
            "label" => {
                words.next();
                differs.push("it has no label");
            }
            "scope" => {
                if words.next().is_some_and(|scope| scope != "global") {
                    differs.push("its scope is global");
                }
            }
            "brd" | "broadcast" => {
                words.next();
                differs.push("its broadcast address is not set");
            }
            "peer" => {
                work.account
                    .untranslated(inner.id, "carpd holds no address with a peer");
                return;
            }
            "home" | "mngtmpaddr" | "noprefixroute" | "autojoin" | "no_track" | "-nodad"
            | "nodad" | "use_vmac" => {}
            "preferred_lft" => preferred = words.next().map(|time| time != "0"),
            "track_group" => {
                words.next();
            }
            other => {
                work.account.untranslated(
                    inner.id,
                    format!("`{}` has no counterpart", crate::types::shown(other)),
                );
                return;
            }
        }
    }
    if let Some(device) = device.filter(|device| device != interface) {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let grant = format!(
            "{{ cidr = {}, dev = {} }}",
            quoted(address),
            quoted(&device)
        );
        if let Err(why) = super::routes::is_grant("addr", &grant) {
            work.account.untranslated(inner.id, why);
            return;
        }
        work.account.different(
            inner.id,
            format!(
                "`addr.add` in the hook, on {}",
                crate::types::shown(&device)
            ),
        );
        found.elsewhere.push((address.to_owned(), device));
    } else {
        found.push(address, preferred);
        if differs.is_empty() {
            work.account.translated(inner.id, "`addresses`");
        } else {
            work.account
                .different(inner.id, format!("`addresses`; {}", differs.join(", ")));
        }
    }
}

impl Addresses {
    /// Adds one of the virtual host's own.
    fn push(&mut self, address: &str, preferred: Option<bool>) {
        let ip = |text: &str| text.split('/').next().map(str::to_owned);
        if !self.own.iter().any(|there| ip(there) == ip(address)) {
            self.own.push(address.to_owned());
        }
        let v6 = address.parse::<VirtualAddress>().ok();
        let v6 = v6.filter(|address| address.ip.is_ipv6());
        self.preferred |= v6.is_some_and(|address| preferred.unwrap_or(address.prefix < 128));
    }
}
