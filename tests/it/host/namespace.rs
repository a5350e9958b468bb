//! A fresh set of namespaces for one test, with a pair of virtual Ethernet devices.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use carpd::host::kernel::netlink::Netlink;
use carpd::types::IfName;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};

const INSIDE: &str = "CARPD_TEST_INSIDE";

/// Runs `body` in a process of its own, in fresh namespaces; `test` is the full name of the calling
/// test.
pub(super) fn isolated(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    crate::limit::begin();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--uts"]);
    if !nix::unistd::Uid::effective().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    // The time limit is far above what the tests need: it only keeps a bug from hanging the run.
    command
        .args(["timeout", "--signal=KILL", "60"])
        .arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1");
    let output = command.output().expect("unshare(1), of util-linux, runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} failed inside:\n{said}"
    );
    print!("{said}");
}

/// Runs async code on one thread, as the engine does.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    crate::limit::begin();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

pub(super) fn dev(name: &str) -> IfName {
    name.parse().unwrap()
}

/// `v0` and `v1`, joined and up.
pub(super) fn veth_pair() -> Netlink {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![LinkAttribute::IfName("v1".into())];
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName("v0".into()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    request(
        RouteNetlinkMessage::NewLink(link),
        NLM_F_CREATE | NLM_F_EXCL,
    );
    let netlink = Netlink::open().unwrap();
    netlink.set_link_up(&dev("v0"), true).unwrap();
    netlink.set_link_up(&dev("v1"), true).unwrap();
    netlink
}

pub(super) fn delete_link(index: u32) {
    let mut link = LinkMessage::default();
    link.header.index = index;
    request(RouteNetlinkMessage::DelLink(link), 0);
}

fn request(message: RouteNetlinkMessage, flags: u16) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let mut socket = Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    socket.send(&bytes, 0).unwrap();
    let mut answer = vec![0; 4096];
    socket.recv(&mut answer.as_mut_slice(), 0).unwrap();
    assert_eq!(answer[16..20], [0; 4], "the kernel refused {message:?}");
}

/// A helper process as the keeper starts it for an operator's command.
pub(super) fn helper() -> (UnixStream, Child) {
    helper_with(&[])
}

/// As [`helper`], with what the keeper tells one of a daemon's.
pub(super) fn helper_with(arguments: &[&std::ffi::OsStr]) -> (UnixStream, Child) {
    role_with("__helper", arguments)
}

/// A process as the keeper starts it: these signals blocked, its socket as stdin.
pub(super) fn role_with(role: &str, arguments: &[&std::ffi::OsStr]) -> (UnixStream, Child) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mask: SigSet = [SIGTERM, SIGINT, SIGHUP].into_iter().collect();
    mask.thread_block().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_carpd-daemon"))
        .arg(role)
        .args(arguments)
        // Not this machine's.
        .env(
            "DBUS_SYSTEM_BUS_ADDRESS",
            "unix:path=/nonexistent/carpd-test-bus",
        )
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    mask.thread_unblock().unwrap();
    (ours, child)
}
