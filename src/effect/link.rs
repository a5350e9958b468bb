//! A network device, and what CARP can do with it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{IfName, MacAddr};

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: IfName,
    /// Its alternative names.
    pub altnames: Vec<IfName>,
    /// The kernel's number for it.
    pub index: u32,
    /// Administratively up.
    pub up: bool,
    /// The other end is there.
    pub carrier: bool,
    /// Hardware address; all zero if it has none.
    pub mac: MacAddr,
    /// Bytes.
    pub mtu: u32,
    /// What kind of device it is.
    pub nature: Nature,
}

/// What kind of device it is, as far as CARP depends on it. By default an Ethernet card that
/// belongs to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nature {
    /// What it carries.
    pub medium: Medium,
    /// It sends to multicast groups.
    pub multicast: bool,
    /// Neighbours ask and answer for hardware addresses there.
    pub arp: bool,
    /// It belongs to another device, which takes everything that arrives.
    pub port: Option<PortOf>,
    /// The routing table of its VRF, if it belongs to one.
    pub table: Option<u32>,
}

impl Default for Nature {
    fn default() -> Self {
        Self {
            medium: Medium::Ethernet,
            multicast: true,
            arp: true,
            port: None,
            table: None,
        }
    }
}

/// What a device carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Medium {
    /// Ethernet frames.
    Ethernet,
    /// IP packets, without hardware addresses: tunnels and point-to-point links.
    Packets,
    /// What this host sends to itself.
    Loopback,
    /// Nothing: what is sent there is dropped, as by `dummy` and `ifb`.
    Nothing,
    /// Something else, as a CAN bus does.
    Other,
}

/// What takes the frames that arrive on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortOf {
    /// A bridge.
    Bridge,
    /// A bond.
    Bond,
    /// A team.
    Team,
    /// Another device of that sort.
    Other,
}

/// To whom a virtual host sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// A multicast group.
    Group,
    /// Everyone, by broadcast frames.
    Broadcast,
    /// Single hosts, by IP packets.
    Hosts,
}

/// Why a virtual host cannot use a device for CARP. As text it follows the name of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It leads back to this host.
    Loopback,
    /// It leads nowhere.
    Nowhere,
    /// It is part of another device.
    Port(PortOf),
    /// It carries IP packets, and the virtual host sends frames.
    NoFrames,
    /// It carries neither.
    Strange,
    /// Multicast is off.
    NoMulticast,
    /// Nobody would find the addresses.
    NoArp,
}

impl Link {
    /// Why a virtual host that sends like this cannot use it; `None` if it can.
    #[must_use]
    pub const fn flaw(&self, reach: Reach) -> Option<Flaw> {
        let nature = self.nature;
        if let Some(port) = nature.port {
            return Some(Flaw::Port(port));
        }
        match (nature.medium, reach) {
            (Medium::Loopback, _) => Some(Flaw::Loopback),
            (Medium::Nothing, _) => Some(Flaw::Nowhere),
            (Medium::Other, _) => Some(Flaw::Strange),
            (Medium::Packets, Reach::Group | Reach::Broadcast) => Some(Flaw::NoFrames),
            (Medium::Ethernet, Reach::Group) if !nature.multicast => Some(Flaw::NoMulticast),
            (Medium::Ethernet, Reach::Group | Reach::Broadcast) if !nature.arp => Some(Flaw::NoArp),
            (Medium::Ethernet | Medium::Packets, _) => None,
        }
    }

    /// Do hosts on it have hardware addresses, for which they ask each other?
    #[must_use]
    pub const fn has_neighbours(&self) -> bool {
        matches!(self.nature.medium, Medium::Ethernet) && self.nature.arp
    }

    /// Is it known by this name, its own or an alternative one?
    #[must_use]
    pub fn is_called(&self, name: &IfName) -> bool {
        self.name == *name || self.altnames.contains(name)
    }
}

impl PortOf {
    /// What it is called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Bond => "bond",
            Self::Team => "team",
            Self::Other => "device above it",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("leads to no other host"),
            Self::Nowhere => f.write_str("drops what is sent there"),
            Self::Port(PortOf::Other) => {
                f.write_str("is part of another device, which takes all frames that arrive")
            }
            Self::Port(port) => write!(
                f,
                "is a port of a {}, which takes all frames that arrive",
                port.as_str()
            ),
            Self::NoFrames => f.write_str("carries IP packets, but no Ethernet frames"),
            Self::Strange => f.write_str("carries neither Ethernet frames nor IP packets"),
            Self::NoMulticast => f.write_str("has multicast switched off"),
            Self::NoArp => f.write_str("has ARP switched off, so that nobody finds the addresses"),
        }
    }
}

impl Flaw {
    /// What to do about it on this device.
    #[must_use]
    pub fn mend(self, dev: &IfName) -> String {
        let switch_on = |what| format!("`ip link set dev {dev} {what} on`, or use `unicast`");
        match self {
            Self::Loopback | Self::Nowhere | Self::Strange => {
                "give the interface that leads to the other nodes".to_owned()
            }
            Self::Port(port) => format!("give the interface of the {}", port.as_str()),
            Self::NoFrames => "use `unicast`".to_owned(),
            Self::NoMulticast => switch_on("multicast"),
            Self::NoArp => switch_on("arp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(nature: Nature) -> [Option<Flaw>; 3] {
        let link = Link {
            name: "x0".parse().unwrap(),
            altnames: Vec::new(),
            index: 7,
            up: true,
            carrier: true,
            mac: MacAddr::default(),
            mtu: 1500,
            nature,
        };
        [Reach::Group, Reach::Broadcast, Reach::Hosts].map(|reach| link.flaw(reach))
    }

    #[test]
    fn what_a_device_cannot_do_depends_on_whom_a_virtual_host_sends_to() {
        let usual = Nature::default();
        let of = |medium| Nature { medium, ..usual };
        let off = |multicast, arp| Nature {
            multicast,
            arp,
            ..usual
        };
        let port = |port| Nature {
            port: Some(port),
            ..usual
        };
        let all = |flaw| [Some(flaw); 3];
        for (nature, expected) in [
            (usual, [None; 3]),
            (of(Medium::Loopback), all(Flaw::Loopback)),
            (of(Medium::Nothing), all(Flaw::Nowhere)),
            (of(Medium::Other), all(Flaw::Strange)),
            (
                of(Medium::Packets),
                [Some(Flaw::NoFrames), Some(Flaw::NoFrames), None],
            ),
            (off(false, true), [Some(Flaw::NoMulticast), None, None]),
            (
                off(true, false),
                [Some(Flaw::NoArp), Some(Flaw::NoArp), None],
            ),
            (port(PortOf::Bridge), all(Flaw::Port(PortOf::Bridge))),
            (port(PortOf::Other), all(Flaw::Port(PortOf::Other))),
            // A VRF only changes where routes are looked up.
            (
                Nature {
                    table: Some(10),
                    ..usual
                },
                [None; 3],
            ),
        ] {
            assert_eq!(flaws(nature), expected, "{nature:?}");
        }
    }

    #[test]
    fn a_flaw_comes_with_what_to_do() {
        let name = "eth0".parse().unwrap();
        let line = |flaw: Flaw| format!("eth0 {flaw}: {}", flaw.mend(&name));
        assert_eq!(
            line(Flaw::Port(PortOf::Bond)),
            "eth0 is a port of a bond, which takes all frames that arrive: give the interface of the bond"
        );
        assert_eq!(
            line(Flaw::NoMulticast),
            "eth0 has multicast switched off: `ip link set dev eth0 multicast on`, or use `unicast`"
        );
    }
}
