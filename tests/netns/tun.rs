//! A point-to-point link in user space: what passes a `tun0` goes to another host in UDP datagrams,
//! and back.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::thread;

/// `IFF_TUN | IFF_NO_PI` (linux/if_tun.h): IP packets, and nothing before them.
const PACKETS: libc::c_short = 0x0001 | 0x1000;
/// `TUNSETIFF` there.
const SET_NAME: libc::Ioctl = 0x4004_54ca;
const PORT: u16 = 4000;

/// Makes `tun0` and carries its packets to this host's carrier until it is killed.
pub(crate) fn carry(peer: &str) -> io::Result<()> {
    let mut device = open("tun0")?;
    let socket = UdpSocket::bind(("0.0.0.0", PORT))?;
    socket.connect((peer, PORT))?;
    println!("ready");
    let (mut into, from) = (device.try_clone()?, socket.try_clone()?);
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        loop {
            // A datagram to a host whose carrier does not run yet comes back as an error.
            if let Ok(length) = from.recv(&mut buffer)
                && let Some(packet) = buffer.get(..length)
            {
                _ = into.write(packet);
            }
        }
    });
    let mut buffer = [0; 2048];
    loop {
        let length = device.read(&mut buffer)?;
        if let Some(packet) = buffer.get(..length) {
            _ = socket.send(packet);
        }
    }
}

#[expect(unsafe_code, reason = "no library here makes such a device")]
fn open(name: &str) -> io::Result<File> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // `struct ifreq`: the name, and the flags behind it.
    let mut request = [0_u8; 40];
    for (to, from) in request.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    request[16..18].copy_from_slice(&PACKETS.to_ne_bytes());
    // SAFETY: the descriptor is open, and the kernel reads and writes one `ifreq`, which has 40
    // bytes at most.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), SET_NAME, request.as_mut_ptr()) };
    if done == 0 {
        Ok(device)
    } else {
        Err(io::Error::last_os_error())
    }
}
