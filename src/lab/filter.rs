//! Frames that a port of the switch drops: filters of the kernel's traffic control, in classic BPF.
//!
//! Every kernel that can run a lab's switch has them, unlike `netem`. They are attached to the
//! port, so no host can see a frame that they drop.

use std::io;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};
use nix::errno::Errno;

use super::netlink::Netlink;

/// `ETH_P_ALL`, as it appears in a filter: in network byte order.
const ALL_PROTOCOLS: u32 = 0x0300;
/// `TC_ACT_SHOT` and `TC_ACT_UNSPEC`: drop the frame; let the next filter look at it.
const DROP: u32 = 2;
const PASS: u32 = u32::MAX;
/// Attributes of `cls_bpf` that the crate does not define.
const OPS_LEN: u16 = 4;
const OPS: u16 = 5;

/// One of the effects of a filter; each has its own position in the order of filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Everything that the host sends.
    All,
    /// This many of a hundred frames, in both directions.
    Percent(u8),
}

/// The direction of a frame, from the switch's point of view.
#[derive(Debug, Clone, Copy)]
enum Way {
    FromHost,
    ToHost,
}

/// One instruction of classic BPF: code, jumps, operand.
type Instruction = (u16, u8, u8, u32);

impl Netlink {
    /// Starts or stops dropping frames at a port.
    pub(super) fn set_loss(&mut self, port: &str, loss: Loss, on: bool) -> io::Result<()> {
        let ways = match loss {
            Loss::All => &[Way::FromHost][..],
            Loss::Percent(_) => &[Way::FromHost, Way::ToHost],
        };
        let index = i32::try_from(self.index(port)?).map_err(io::Error::other)?;
        if on {
            self.make_place(index)?;
        }
        for way in ways {
            let mut filter = filter(index, *way, loss);
            if on {
                filter
                    .attributes
                    .extend([TcAttribute::Kind("bpf".to_owned()), program(loss)]);
                self.change(
                    RouteNetlinkMessage::NewTrafficFilter(filter),
                    NLM_F_CREATE | NLM_F_EXCL,
                )?;
            } else {
                self.change(RouteNetlinkMessage::DelTrafficFilter(filter), 0)?;
            }
        }
        Ok(())
    }

    /// The queue of a port to which filters are attached.
    fn make_place(&mut self, index: i32) -> io::Result<()> {
        let mut place = TcMessage::default();
        place.header.index = index;
        place.header.parent = TcHandle::CLSACT;
        place.header.handle = TcHandle {
            major: u16::MAX,
            minor: 0,
        };
        place.attributes = vec![TcAttribute::Kind("clsact".to_owned())];
        match self.change(
            RouteNetlinkMessage::NewQueueDiscipline(place),
            NLM_F_CREATE | NLM_F_EXCL,
        ) {
            Err(err) if err.raw_os_error() == Some(Errno::EEXIST as i32) => Ok(()),
            done => done,
        }
    }
}

/// A filter by its position: interface, direction, priority.
fn filter(index: i32, way: Way, loss: Loss) -> TcMessage {
    let priority: u32 = match loss {
        Loss::All => 1,
        Loss::Percent(_) => 2,
    };
    let mut message = TcMessage::default();
    message.header.index = index;
    let minor = match way {
        Way::FromHost => TcHandle::MIN_INGRESS,
        Way::ToHost => TcHandle::MIN_EGRESS,
    };
    message.header.parent = TcHandle {
        minor,
        ..TcHandle::CLSACT
    };
    message.header.info = priority << 16 | ALL_PROTOCOLS;
    message
}

fn program(loss: Loss) -> TcAttribute {
    const RETURN: u16 = 0x06;
    const LOAD_ABSOLUTE: u16 = 0x20;
    const JUMP_IF_GREATER: u16 = 0x25;
    /// `SKF_AD_OFF + SKF_AD_RANDOM`.
    const RANDOM: u32 = 0xffff_f038;
    let instructions: Vec<Instruction> = match loss {
        Loss::All => vec![(RETURN, 0, 0, DROP)],
        Loss::Percent(percent) => {
            let below = u32::MAX / 100 * u32::from(percent.min(100));
            vec![
                (LOAD_ABSOLUTE, 0, 0, RANDOM),
                (JUMP_IF_GREATER, 0, 1, below),
                (RETURN, 0, 0, PASS),
                (RETURN, 0, 0, DROP),
            ]
        }
    };
    let length = u16::try_from(instructions.len()).unwrap_or(u16::MAX);
    let bytes: Vec<u8> = instructions
        .into_iter()
        .flat_map(|(code, yes, no, operand)| {
            [&code.to_ne_bytes()[..], &[yes, no], &operand.to_ne_bytes()].concat()
        })
        .collect();
    let other = |kind, value| TcOption::Bpf(TcFilterBpfOption::Other(DefaultNla::new(kind, value)));
    TcAttribute::Options(vec![
        other(OPS_LEN, length.to_ne_bytes().to_vec()),
        other(OPS, bytes),
        TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
    ])
}
