//! What an advertiser runs, as far as its frames tell (docs/protocol.md, sections 1 and 3).
//!
//! None of this is authenticated: it is for people, and nothing is decided by it.

use crate::engine::report::Implementation;
use crate::types::MacAddr;

/// The type of service of FreeBSD 13 and later, and its traffic class.
const TOS_FREEBSD: u8 = 0xe0;
/// Two IPv4 ids are successive if they are no further apart: there may be this many virtual hosts,
/// each of which sends some packets in an interval.
const APART_MAX: u16 = 1024;
/// As often must something be seen in a row before it is believed.
const BELIEVED: u8 = 2;

/// What a frame has around its advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) struct Wrapping {
    /// The type of service, or the traffic class.
    tos: u8,
    /// IPv4 only.
    id: Option<u16>,
}

impl Wrapping {
    /// Of an Ethernet frame.
    pub(in crate::engine) fn of(frame: &[u8]) -> Self {
        let byte = |at: usize| frame.get(at).copied().unwrap_or_default();
        if byte(14) >> 4 == 4 {
            let id = Some(u16::from_be_bytes([byte(18), byte(19)]));
            Self { tos: byte(15), id }
        } else {
            let tos = byte(14) << 4 | byte(15) >> 4;
            Self { tos, id: None }
        }
    }
}

/// How a number got from one packet to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Same,
    Onward,
    Elsewhere,
}

/// How a number changes from packet to packet.
#[derive(Debug, Clone, Copy)]
struct Course<T> {
    last: Option<T>,
    /// The last step, and how often it was the same in a row.
    step: Option<(Step, u8)>,
}

impl<T> Default for Course<T> {
    fn default() -> Self {
        let (last, step) = (None, None);
        Self { last, step }
    }
}

impl<T: PartialEq> Course<T> {
    fn note(&mut self, value: T, is_onward: impl Fn(&T, &T) -> bool) {
        let step = match &self.last {
            None => None,
            Some(last) if *last == value => Some(Step::Same),
            Some(last) if is_onward(last, &value) => Some(Step::Onward),
            Some(_) => Some(Step::Elsewhere),
        };
        self.last = Some(value);
        self.step = step.map(|step| match self.step {
            Some((before, count)) if before == step => (step, count.saturating_add(1)),
            Some(_) | None => (step, 1),
        });
    }

    /// How often this has been the last step.
    fn count(&self, step: Step) -> u8 {
        let last = self.step.filter(|(last, _)| *last == step);
        last.map_or(0, |(_, count)| count)
    }
}

/// What has been seen of an advertiser's frames.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct Traits {
    vrrp: Option<u8>,
    /// It called the roll, or answered such a call, which only carpd does.
    calls_roll: bool,
    wrapping: Wrapping,
    mac: Option<MacAddr>,
    ids: Course<u16>,
    counters: Course<u64>,
}

impl Traits {
    /// It sent a VRRP packet of this version.
    pub(in crate::engine) fn spoke_vrrp(&mut self, version: u8) {
        self.vrrp = Some(version);
    }

    /// It spoke as only carpd does.
    pub(in crate::engine) fn called_roll(&mut self) {
        self.calls_roll = true;
    }

    /// It sent an advertisement with this counter.
    pub(in crate::engine) fn advertised(
        &mut self,
        wrapping: Wrapping,
        mac: Option<MacAddr>,
        counter: u64,
    ) {
        (self.vrrp, self.wrapping, self.mac) = (None, wrapping, mac);
        if let Some(id) = wrapping.id {
            self.ids
                .note(id, |last, id| id > last && id - last <= APART_MAX);
        }
        self.counters
            .note(counter, |last, counter| *counter == last.wrapping_add(1));
    }

    /// Whether its counter goes up by one each time, so that a lower one is not its own.
    pub(in crate::engine) fn counts(&self) -> bool {
        self.counters.count(Step::Onward) >= BELIEVED
    }

    /// What it runs.
    pub(in crate::engine) fn implementation(&self) -> Implementation {
        match self.vrrp {
            Some(3) => return Implementation::Vrrp3,
            Some(_) => return Implementation::Vrrp2,
            None => {}
        }
        let is_of = |prefix: [u8; 5]| self.mac.is_some_and(|mac| mac.0.starts_with(&prefix));
        let (has_ucarps_mac, has_virtual_mac) =
            (is_of([0, 0, 0x5e, 0, 0]), is_of([0, 0, 0x5e, 0, 1]));
        if self.calls_roll {
            Implementation::Carpd
        } else if self.wrapping.tos == TOS_FREEBSD {
            Implementation::Freebsd
        } else if self.ids.count(Step::Onward) >= BELIEVED {
            Implementation::Carpd
        } else if self.counters.count(Step::Same) >= BELIEVED {
            Implementation::Openbsd
        } else if self.wrapping.id == Some(0) {
            if has_virtual_mac {
                Implementation::FreebsdOrNetbsd
            } else {
                Implementation::Netbsd
            }
        } else if has_ucarps_mac && self.ids.count(Step::Elsewhere) > 0 {
            Implementation::Ucarp
        } else {
            Implementation::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::proto::wire;
    use crate::types::Family;

    const VIRTUAL: MacAddr = MacAddr([0, 0, 0x5e, 0, 1, 7]);
    const UCARPS: MacAddr = MacAddr([0, 0, 0x5e, 0, 0, 7]);
    const REAL: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    fn seen(mac: MacAddr, tos: u8, packets: [(u16, u64); 4]) -> Implementation {
        let mut traits = Traits::default();
        for (id, counter) in packets {
            let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(224, 0, 0, 18));
            let packet = wire::ipv4_packet(from, to, tos, id, &[0; 36]);
            let frame = wire::ethernet_frame(MacAddr::BROADCAST, mac, Family::V4, &packet);
            traits.advertised(Wrapping::of(&frame), Some(mac), counter);
        }
        traits.implementation()
    }

    #[test]
    fn each_has_its_own_way() {
        let random = [(900, 7), (17, 8), (40_000, 9), (300, 10)];
        let successive = [(65_535, 7), (1, 8), (3, 9), (9, 10)];
        let none = [(0, 7), (0, 8), (0, 9), (0, 10)];
        let cookie = [(900, 7), (17, 7), (40_000, 7), (300, 7)];
        for (mac, tos, packets, expected) in [
            (VIRTUAL, 0x10, successive, Implementation::Carpd),
            (UCARPS, 0x10, successive, Implementation::Carpd),
            (REAL, 0x10, successive, Implementation::Carpd),
            (UCARPS, 0x10, random, Implementation::Ucarp),
            (VIRTUAL, 0x10, cookie, Implementation::Openbsd),
            (VIRTUAL, 0xe0, none, Implementation::Freebsd),
            (REAL, 0x10, none, Implementation::Netbsd),
            (VIRTUAL, 0x10, none, Implementation::FreebsdOrNetbsd),
            (VIRTUAL, 0x10, random, Implementation::Unknown),
        ] {
            assert_eq!(seen(mac, tos, packets), expected, "{mac} {tos} {packets:?}");
        }
        let mut traits = Traits::default();
        assert_eq!(traits.implementation(), Implementation::Unknown);
        traits.spoke_vrrp(3);
        assert_eq!(traits.implementation(), Implementation::Vrrp3);
    }
}
