use std::cell::RefCell;

use super::*;
use crate::effect::{Medium, Nature};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_floating_address_is_never_a_source() {
    let there = [
        "192.168.32.22",
        "192.168.32.32",
        "2001:db8::2",
        "fe80::2",
        "2001:db8::3",
    ]
    .map(ip);
    let floating = [ip("192.168.32.22"), ip("2001:db8::2")].into();
    let sources = Sources::choose(there.into_iter(), &floating);
    let of = |more: &str, family| sources.of_vhost(&vhost(more), family);
    let group = "addresses = [\"192.168.32.22/24\", \"2001:db8::2/64\"]";
    assert_eq!(of(group, Family::V4), Some(ip("192.168.32.32")));
    assert_eq!(
        of(group, Family::V6),
        Some(ip("fe80::2")),
        "link-local comes first"
    );
    let near = format!("{group}\nunicast = [\"192.168.32.33\", \"fe80::9\"]");
    assert_eq!(of(&near, Family::V6), Some(ip("fe80::2")));
    let far = format!("{group}\nunicast = [\"192.168.32.33\", \"2001:db8:9::9\"]");
    assert_eq!(
        of(&far, Family::V6),
        Some(ip("2001:db8::3")),
        "a link-local address does not reach beyond the link"
    );
}

/// Peers 1 to 3; the node itself is 2.
#[test]
fn unicast_goes_to_each_other_node_and_succeeds_if_one_can_be_reached() {
    let spec = vhost(
        "addresses = [\"10.0.0.22/24\"]\nunicast = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]",
    );
    let wire = Shaky::default();
    wire.0.borrow_mut().works = true;
    let mut interface = Interface::new(InterfaceId::FIRST, "eth0".parse().unwrap(), wire.clone());
    interface.add_member(VhostId::new(0), &spec);
    interface.set_link(Some(link()));
    assert_eq!(wire.0.borrow().unicast, [Family::V4].into());
    assert!(wire.0.borrow().joined.is_empty() && wire.0.borrow().to.is_empty());
    let transmit = Transmit {
        family: Family::V4,
        kind: Kind::Advertisement,
        payload: [7; wire::LEN],
    };
    assert!(
        interface.send(&spec, &transmit, |_, _| {}).is_err(),
        "no address to send from"
    );
    interface.set_sources(Sources::choose(
        [ip("10.0.0.2")].into_iter(),
        &HashSet::new(),
    ));
    let to = |outgoing: &Outgoing| match outgoing {
        Outgoing::Packet { to, bytes } => {
            let packet = wire::parse_packet(bytes).unwrap();
            assert_eq!((packet.src, packet.dst), (ip("10.0.0.2"), *to));
            assert_eq!((packet.ttl, packet.payload), (255, &[7; wire::LEN][..]));
            *to
        }
        Outgoing::Frame(frame) => panic!("{frame:?}"),
    };
    let sent: Vec<IpAddr> = interface
        .outgoing(&spec, &transmit)
        .unwrap()
        .iter()
        .map(to)
        .collect();
    assert_eq!(sent, [ip("10.0.0.1"), ip("10.0.0.3")]);
    let mut told = Vec::new();
    let all = interface.send(&spec, &transmit, |to, sent| told.push((to, sent.is_ok())));
    assert!(all.unwrap().is_none());
    wire.0.borrow_mut().unreachable.push(ip("10.0.0.1"));
    let partly = interface.send(&spec, &transmit, |to, sent| told.push((to, sent.is_ok())));
    let partly = partly.unwrap().unwrap();
    assert!(partly.to_string().starts_with("to 10.0.0.1: "), "{partly}");
    let (first, other) = (ip("10.0.0.1"), ip("10.0.0.3"));
    assert_eq!(
        told,
        [(first, true), (other, true), (first, false), (other, true)]
    );
    wire.0.borrow_mut().unreachable.push(ip("10.0.0.3"));
    assert!(interface.send(&spec, &transmit, |_, _| {}).is_err());
}

/// A wire that works or does not, and knows what was listened to.
#[derive(Debug, Clone, Default)]
struct Shaky(Rc<RefCell<Listened>>);

#[derive(Debug, Default)]
struct Listened {
    works: bool,
    to: Vec<MacAddr>,
    unicast: BTreeSet<Family>,
    unreachable: Vec<IpAddr>,
    joined: Vec<IpAddr>,
}

impl Wire for Shaky {
    type Socket = Self;

    fn open(
        &self,
        _: InterfaceId,
        _: &Link,
        groups: &[MacAddr],
        unicast: &BTreeSet<Family>,
    ) -> Result<Self, OpenError> {
        let mut inner = self.0.borrow_mut();
        (inner.to, inner.unicast) = (groups.to_vec(), unicast.clone());
        if inner.works {
            Ok(self.clone())
        } else {
            Err(OpenError {
                step: "open",
                source: std::io::ErrorKind::OutOfMemory.into(),
            })
        }
    }

    fn join(&self, _: u32, groups: &[IpAddr]) -> Option<Membership> {
        self.0.borrow_mut().joined = groups.to_vec();
        None
    }

    fn watch(_: &Self, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    fn probe(_: &Self, _: IpAddr, _: MacAddr) -> io::Result<()> {
        Ok(())
    }

    fn send(socket: &Self, outgoing: &Outgoing) -> io::Result<()> {
        let unreachable = &socket.0.borrow().unreachable;
        match outgoing {
            Outgoing::Packet { to, .. } if unreachable.contains(to) => {
                Err(io::ErrorKind::NetworkUnreachable.into())
            }
            Outgoing::Packet { .. } | Outgoing::Frame(_) => Ok(()),
        }
    }
}

fn vhost(more: &str) -> config::Vhost {
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
    let head = "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\npassword-file = \"web.pass\"\n";
    std::fs::write(&file, format!("{head}{more}\n")).unwrap();
    config::Config::load(&file)
        .unwrap_or_else(|report| panic!("{report}"))
        .config
        .vhosts
        .remove(0)
}

fn link() -> Link {
    Link {
        name: "eth0".parse().unwrap(),
        altnames: Vec::new(),
        index: 2,
        up: true,
        carrier: true,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        nature: Nature::default(),
    }
}

#[test]
fn who_cannot_listen_does_not_take_part_until_he_can() {
    let wire = Shaky::default();
    let mut interface = Interface::new(InterfaceId::FIRST, "eth0".parse().unwrap(), wire.clone());
    let (spec, stubborn) = (
        vhost("addresses = [\"10.0.0.1/24\"]"),
        vhost("addresses = [\"10.0.0.1/24\"]\nignore-link-state = true"),
    );
    interface.add_member(VhostId::new(0), &spec);
    interface.set_link(Some(link()));
    assert!(interface.is_running() && interface.is_deaf());
    assert!(!interface.is_usable_by(&spec) && !interface.is_usable_by(&stubborn));
    wire.0.borrow_mut().works = true;
    interface.set_link(Some(link()));
    assert!(interface.is_usable_by(&spec) && interface.is_usable_by(&stubborn));
    interface.set_link(Some(Link {
        carrier: false,
        ..link()
    }));
    assert!(!interface.is_usable_by(&spec) && interface.is_usable_by(&stubborn));
}

#[test]
fn on_an_unfit_interface_nobody_takes_part_but_under_the_name_ucarp() {
    let wire = Shaky::default();
    wire.0.borrow_mut().works = true;
    let mut interface = Interface::new(InterfaceId::FIRST, "eth0".parse().unwrap(), wire);
    let spec = vhost("addresses = [\"10.0.0.1/24\"]\nignore-link-state = true");
    let ucarp = config::Vhost {
        needs_fit_interface: false,
        ..spec.clone()
    };
    interface.set_link(Some(Link {
        nature: Nature {
            medium: Medium::Packets,
            ..Nature::default()
        },
        ..link()
    }));
    assert!(!interface.is_usable_by(&spec) && interface.is_usable_by(&ucarp));
    assert!(interface.flaw_for(&spec).is_some() && interface.flaw_for(&ucarp).is_none());
}

#[test]
fn groups_that_come_with_a_reload_are_listened_to_at_once() {
    let wire = Shaky::default();
    wire.0.borrow_mut().works = true;
    let mut interface = Interface::new(InterfaceId::FIRST, "eth0".parse().unwrap(), wire.clone());
    interface.add_member(VhostId::new(0), &vhost("addresses = [\"10.0.0.1/24\"]"));
    interface.set_link(Some(link()));
    let heard = || {
        wire.0
            .borrow()
            .to
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(), ["01:00:5e:00:00:12"]);
    interface.listen_to(&vhost("addresses = [\"10.0.0.1/24\", \"2001:db8::1/64\"]"));
    interface.add_member(
        VhostId::new(1),
        &vhost("addresses = [\"10.0.0.2/24\"]\nmcast-group = \"224.0.0.81\""),
    );
    assert_eq!(
        heard(),
        [
            "01:00:5e:00:00:12",
            "33:33:00:00:00:12",
            "01:00:5e:00:00:51"
        ]
    );
    assert_eq!(wire.0.borrow().joined.len(), 3, "switches were told");
}
