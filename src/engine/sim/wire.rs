//! A wire that is a list.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use crate::effect::Link;
use crate::engine::vhost::id::InterfaceId;
use crate::engine::vhost::interface::Wire;
use crate::host::kernel::socket::{Membership, OpenError, Outgoing};
use crate::proto::wire::ethernet_frame;
use crate::types::{Family, MacAddr};

/// A frame on its way.
#[derive(Debug, Clone)]
pub(in super::super) struct Frame {
    /// The sender's interface, by its index.
    pub(in super::super) link: u32,
    pub(in super::super) bytes: Vec<u8>,
}

/// What one node sent and nobody has carried on yet. Clones are the same wire.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct SimWire(Rc<RefCell<Vec<Frame>>>);

impl SimWire {
    /// The frames, in order.
    pub(in super::super) fn take(&self) -> Vec<Frame> {
        self.0.take()
    }
}

/// One interface's end of it.
#[derive(Debug)]
pub(in super::super) struct SimSocket {
    link: u32,
    wire: SimWire,
}

impl Wire for SimWire {
    type Socket = SimSocket;

    fn open(
        &self,
        _: InterfaceId,
        link: &Link,
        _: &[MacAddr],
        _: &BTreeSet<Family>,
    ) -> Result<SimSocket, OpenError> {
        Ok(SimSocket {
            link: link.index,
            wire: self.clone(),
        })
    }

    fn join(&self, _: u32, _: &[IpAddr]) -> Option<Membership> {
        None
    }

    /// Other hosts are not played.
    fn watch(_: &SimSocket, _: &[IpAddr]) -> io::Result<()> {
        Ok(())
    }

    fn probe(_: &SimSocket, _: IpAddr, _: MacAddr) -> io::Result<()> {
        Ok(())
    }

    fn send(socket: &SimSocket, outgoing: &Outgoing) -> io::Result<()> {
        socket.wire.0.borrow_mut().push(Frame {
            link: socket.link,
            bytes: framed(outgoing),
        });
        Ok(())
    }
}

/// What arrives. Hardware addresses of hosts are not played: whoever has the IP address takes it.
pub(in crate::engine) fn framed(outgoing: &Outgoing) -> Vec<u8> {
    match outgoing {
        Outgoing::Frame(frame) => frame.clone(),
        Outgoing::Packet { to, bytes } => {
            let unknown = MacAddr([0; 6]);
            ethernet_frame(unknown, unknown, Family::of(*to), bytes)
        }
    }
}
