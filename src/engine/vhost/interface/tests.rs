use std::cell::RefCell;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_floating_address_is_never_a_source() {
    let there = ["192.168.32.22", "192.168.32.32", "2001:db8::2", "fe80::2"].map(ip);
    let sources = Sources::choose(there.into_iter(), &[ip("192.168.32.22")].into());
    assert_eq!(sources.of(Family::V4), Some(ip("192.168.32.32")));
    assert_eq!(
        sources.of(Family::V6),
        Some(ip("fe80::2")),
        "link-local comes first"
    );
}

/// A wire that works or does not, and knows what was listened to.
#[derive(Debug, Clone, Default)]
struct Shaky(Rc<RefCell<Listened>>);

#[derive(Debug, Default)]
struct Listened {
    works: bool,
    to: Vec<MacAddr>,
    joined: Vec<IpAddr>,
}

impl Wire for Shaky {
    type Socket = ();

    fn open(&self, _: InterfaceId, _: u32, groups: &[MacAddr]) -> Result<(), OpenError> {
        let mut inner = self.0.borrow_mut();
        inner.to = groups.to_vec();
        if inner.works {
            Ok(())
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

    fn send((): &(), _: &[u8]) -> std::io::Result<()> {
        Ok(())
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
        ethernet: true,
    }
}

#[test]
fn who_cannot_listen_does_not_take_part_until_he_can() {
    let wire = Shaky::default();
    let mut port = Interface::new(InterfaceId::FIRST, "eth0".parse().unwrap(), wire.clone());
    let (spec, stubborn) = (
        vhost("addresses = [\"10.0.0.1/24\"]"),
        vhost("addresses = [\"10.0.0.1/24\"]\nignore-link-state = true"),
    );
    port.add_member(VhostId::new(0), &spec);
    port.set_link(Some(link()));
    assert!(port.is_running() && port.is_deaf());
    assert!(!port.is_usable_by(&spec) && !port.is_usable_by(&stubborn));
    wire.0.borrow_mut().works = true;
    port.set_link(Some(link()));
    assert!(port.is_usable_by(&spec) && port.is_usable_by(&stubborn));
    port.set_link(Some(Link {
        carrier: false,
        ..link()
    }));
    assert!(!port.is_usable_by(&spec) && port.is_usable_by(&stubborn));
}

#[test]
fn without_ethernet_frames_nobody_takes_part_but_under_the_name_ucarp() {
    let wire = Shaky::default();
    wire.0.borrow_mut().works = true;
    let mut port = Interface::new(InterfaceId::FIRST, "eth0".parse().unwrap(), wire);
    let spec = vhost("addresses = [\"10.0.0.1/24\"]\nignore-link-state = true");
    let ucarp = config::Vhost {
        needs_ethernet: false,
        ..spec.clone()
    };
    port.set_link(Some(Link {
        ethernet: false,
        ..link()
    }));
    assert!(!port.is_usable_by(&spec) && port.is_usable_by(&ucarp));
    assert!(port.flaw_for(&spec).is_some() && port.flaw_for(&ucarp).is_none());
}

#[test]
fn groups_that_come_with_a_reload_are_listened_to_at_once() {
    let wire = Shaky::default();
    wire.0.borrow_mut().works = true;
    let mut port = Interface::new(InterfaceId::FIRST, "eth0".parse().unwrap(), wire.clone());
    port.add_member(VhostId::new(0), &vhost("addresses = [\"10.0.0.1/24\"]"));
    port.set_link(Some(link()));
    let heard = || {
        wire.0
            .borrow()
            .to
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(), ["01:00:5e:00:00:12"]);
    port.listen_to(&vhost("addresses = [\"10.0.0.1/24\", \"2001:db8::1/64\"]"));
    port.add_member(
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
