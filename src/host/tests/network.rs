//! Sockets, announcements and events on a pair of virtual Ethernet devices.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use carpd::effect::{Effect, Granted, Medium, Outcome, Route};
use carpd::host::kernel::announce::{gratuitous_arp, neighbour_advertisement};
use carpd::host::kernel::netlink::{AddressOptions, HostEvent, Watch, index_of};
use carpd::host::kernel::privilege::{Privileges, confine_engine};
use carpd::host::kernel::readiness::Readiness;
use carpd::host::kernel::socket::{Membership, Outgoing, PacketSocket};
use carpd::host::{Host, Lifetimes, LinuxHost, Options, Renewal};
use carpd::proto::wire::multicast_mac;
use carpd::types::{PreferredLifetime, VirtualAddress};
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use super::namespace::{block_on, dev, isolated};
use super::veth::{delete_link, veth_pair};

const PATIENCE: Duration = Duration::from_secs(10);

/// Ethernet and enough of IP for the filter; `id` tells frames apart.
fn frame(header: &[u8], protocol_at: usize, protocol: u8, id: u8) -> Vec<u8> {
    let mut frame = vec![0; 90];
    frame[..6].copy_from_slice(&multicast_mac("224.0.0.18".parse().unwrap()).unwrap().0);
    frame[6..12].copy_from_slice(&[0, 0, 0x5e, 0, 1, 40]);
    frame[12..12 + header.len()].copy_from_slice(header);
    frame[protocol_at] = protocol;
    frame[80] = id;
    frame
}

/// As it is sent.
fn out(frame: Vec<u8>) -> Outgoing {
    Outgoing::Frame(frame)
}

/// Waits until there may be a frame.
async fn readable(socket: &PacketSocket) {
    let readiness = Readiness::new().unwrap();
    readiness.add(socket, 0).unwrap();
    readiness.wait().await.unwrap();
}

async fn next_id(socket: &PacketSocket) -> u8 {
    let mut buffer = [0; 2048];
    let got = timeout(PATIENCE, async {
        loop {
            if let Some(frame) = socket.receive(&mut buffer).unwrap() {
                return frame.get(80).copied().unwrap();
            }
            readable(socket).await;
        }
    });
    got.await.expect("a frame")
}

/// Waits until the devices pass frames on: for a moment after they are set up the kernel drops what
/// is sent.
async fn passing(sender: &PacketSocket, receiver: &PacketSocket) {
    let hello = frame(&[0x08, 0, 0x45], 23, 112, 255);
    let mut buffer = [0; 2048];
    let arrives = timeout(PATIENCE, async {
        loop {
            sender.send(&out(hello.clone())).unwrap();
            // By then it has arrived or is lost.
            if timeout(Duration::from_millis(10), readable(receiver))
                .await
                .is_ok()
                && receiver.receive(&mut buffer).unwrap().is_some()
            {
                return;
            }
        }
    });
    arrives.await.expect("the devices pass frames on");
    while receiver.receive(&mut buffer).unwrap().is_some() {}
}

#[test]
fn only_advertisements_pass_the_filter() {
    isolated(
        "host::tests::network::only_advertisements_pass_the_filter",
        || {
            let netlink = veth_pair();
            block_on(async {
                let index = |name| index_of(&dev(name)).unwrap();
                let sender = PacketSocket::open(index("v0"), Medium::Ethernet).unwrap();
                let receiver = PacketSocket::open(index("v1"), Medium::Ethernet).unwrap();
                receiver
                    .accept(multicast_mac("224.0.0.18".parse().unwrap()).unwrap())
                    .unwrap();
                passing(&sender, &receiver).await;
                let (v4, v6) = ([0x08, 0, 0x45].as_slice(), [0x86, 0xdd, 0x60].as_slice());
                sender.send(&out(frame(v4, 23, 6, 1))).unwrap();
                sender.send(&out(frame(&[0x08, 0x06], 23, 112, 2))).unwrap();
                // VLAN 7.
                sender
                    .send(&out(frame(&[0x81, 0, 0, 7, 0x08, 0, 0x45], 27, 112, 3)))
                    .unwrap();
                sender.send(&out(frame(v6, 20, 58, 4))).unwrap();
                sender.send(&out(frame(v4, 23, 112, 5))).unwrap();
                sender.send(&out(frame(v6, 20, 112, 6))).unwrap();
                assert_eq!((next_id(&receiver).await, next_id(&receiver).await), (5, 6));
                let mut buffer = [0; 2048];
                assert_eq!(
                    receiver.receive(&mut buffer).unwrap(),
                    None,
                    "nothing else passed"
                );
                assert_eq!(
                    sender.receive(&mut buffer).unwrap(),
                    None,
                    "one's own frames are not received"
                );

                // For another host: a card in promiscuous mode shows it, and it must not even wake
                // us.
                let mut foreign = frame(v4, 23, 112, 12);
                foreign[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x99]);
                sender.send(&out(foreign)).unwrap();
                assert!(
                    timeout(Duration::from_millis(10), readable(&receiver))
                        .await
                        .is_err()
                );

                // Down, up, gone, made anew.
                netlink.set_link_up(&dev("v0"), false).unwrap();
                assert_eq!(
                    sender
                        .send(&out(frame(v4, 23, 112, 7)))
                        .unwrap_err()
                        .raw_os_error(),
                    Some(libc::ENETDOWN)
                );
                assert_eq!(
                    sender.receive(&mut buffer).unwrap(),
                    None,
                    "a link that is down is no error"
                );
                netlink.set_link_up(&dev("v0"), true).unwrap();
                passing(&sender, &receiver).await;
                delete_link(index("v0"));
                assert_eq!(
                    sender
                        .send(&out(frame(v4, 23, 112, 9)))
                        .unwrap_err()
                        .raw_os_error(),
                    Some(libc::ENXIO)
                );
                veth_pair();
                let sender = PacketSocket::open(index("v0"), Medium::Ethernet).unwrap();
                let receiver = PacketSocket::open(index("v1"), Medium::Ethernet).unwrap();
                passing(&sender, &receiver).await;
                sender.send(&out(frame(v4, 23, 6, 10))).unwrap();
                sender.send(&out(frame(v4, 23, 112, 11))).unwrap();
                assert_eq!(next_id(&receiver).await, 11);
                assert_eq!(
                    PacketSocket::open(4711, Medium::Ethernet)
                        .unwrap_err()
                        .source
                        .raw_os_error(),
                    Some(libc::ENODEV)
                );
            });
        },
    );
}

/// A peer with hundreds of virtual hosts that goes, or whose parent process lets go for it, says so
/// for all of them at once.
#[test]
fn a_frame_of_every_vhid_in_both_families_finds_room() {
    isolated(
        "host::tests::network::a_frame_of_every_vhid_in_both_families_finds_room",
        || {
            veth_pair();
            block_on(async {
                let index = |name| index_of(&dev(name)).unwrap();
                let (sender, receiver) = (
                    PacketSocket::open(index("v0"), Medium::Ethernet).unwrap(),
                    PacketSocket::open(index("v1"), Medium::Ethernet).unwrap(),
                );
                receiver
                    .accept(multicast_mac("224.0.0.18".parse().unwrap()).unwrap())
                    .unwrap();
                passing(&sender, &receiver).await;
                for vhid in 1..=255 {
                    sender
                        .send(&out(frame(&[0x08, 0, 0x45], 23, 112, vhid)))
                        .unwrap();
                    sender
                        .send(&out(frame(&[0x86, 0xdd, 0x60], 20, 112, vhid)))
                        .unwrap();
                }
                for vhid in 1..=255 {
                    assert_eq!(
                        (next_id(&receiver).await, next_id(&receiver).await),
                        (vhid, vhid)
                    );
                }
            });
        },
    );
}

/// Everything that any interface sees.
fn tap() -> Socket {
    let all = Protocol::from(i32::from(u16::try_from(libc::ETH_P_ALL).unwrap().to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(all)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The next frame that arrives at `index` and pleases.
fn arriving(tap: &Socket, index: u32, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut buffer = [0; 2048];
    loop {
        let (length, from) =
            recvfrom::<LinkAddr>(tap.as_raw_fd(), &mut buffer).expect("a frame in time");
        let from = from.unwrap();
        let here = from.ifindex() == usize::try_from(index).unwrap()
            && from.pkttype() != libc::PACKET_OUTGOING;
        if here && wanted(&buffer[..length]) {
            return buffer[..length].to_vec();
        }
    }
}

#[test]
fn announcements_and_memberships_reach_the_wire() {
    isolated(
        "host::tests::network::announcements_and_memberships_reach_the_wire",
        || {
            let netlink = veth_pair();
            let tap = tap();
            block_on(async {
                let host = LinuxHost::new(Options::default()).unwrap();
                let (v0, v1) = (
                    netlink.link(&dev("v0")).unwrap(),
                    netlink.link(&dev("v1")).unwrap(),
                );
                passing(
                    &PacketSocket::open(v0.index, Medium::Ethernet).unwrap(),
                    &PacketSocket::open(v1.index, Medium::Ethernet).unwrap(),
                )
                .await;
                let announce = |text: &str| {
                    let address: VirtualAddress = text.parse().unwrap();
                    Granted::by_daemon(Effect::Announce {
                        address,
                        dev: dev("v0"),
                        count: 2,
                        interval_ms: 1,
                    })
                };
                let arp = gratuitous_arp("192.168.32.22".parse().unwrap(), v0.mac);
                let advertisement = |router| {
                    neighbour_advertisement("2001:db8::22".parse().unwrap(), v0.mac, router)
                };
                host.perform_now(&announce("192.168.32.22/24")).unwrap();
                arriving(&tap, v1.index, |frame| frame == arp);
                host.perform(&announce("2001:db8::22/64"), PATIENCE)
                    .await
                    .unwrap();
                arriving(&tap, v1.index, |frame| frame == advertisement(false));
                arriving(&tap, v1.index, |frame| frame == advertisement(false));
                // The kernel's own advertisements say by the same setting whether a router speaks.
                std::fs::write("/proc/sys/net/ipv6/conf/v0/forwarding", "1").unwrap();
                host.perform_now(&announce("2001:db8::22/64")).unwrap();
                arriving(&tap, v1.index, |frame| frame == advertisement(true));

                let mut groups = Membership::new(v0.index);
                let (v4, v6) = ("224.0.0.18".parse().unwrap(), "ff02::12".parse().unwrap());
                let igmp = |frame: &[u8]| {
                    frame[12..14] == [0x08, 0] && frame[23] == 2 && find(frame, &[224, 0, 0, 18])
                };
                let mld = |frame: &[u8]| {
                    frame[12..14] == [0x86, 0xdd] && frame[20] == 0 && find(frame, &[0, 0, 0, 0x12])
                };
                groups.join(v4).unwrap();
                groups.join(v4).unwrap();
                groups.join("10.0.0.1".parse().unwrap()).unwrap();
                arriving(&tap, v1.index, igmp);
                groups.join(v6).unwrap();
                arriving(&tap, v1.index, mld);
                // As when the link comes back: the switch at its other end may be another one.
                drop(groups);
                let mut groups = Membership::new(v0.index);
                groups.join(v4).unwrap();
                arriving(&tap, v1.index, igmp);
            });
        },
    );
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

async fn until(watch: &mut Watch, wanted: impl Fn(&HostEvent) -> bool) -> HostEvent {
    let search = timeout(PATIENCE, async {
        loop {
            let event = watch.next().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    });
    search.await.expect("the event comes")
}

#[test]
fn the_watch_tells_what_happens_and_survives_floods() {
    isolated(
        "host::tests::network::the_watch_tells_what_happens_and_survives_floods",
        || {
            let netlink = veth_pair();
            block_on(async {
                let mut watch = Watch::open().unwrap();
                let index = index_of(&dev("v0")).unwrap();
                for text in ["192.168.32.22/24", "2001:db8::22/64"] {
                    let address: VirtualAddress = text.parse().unwrap();
                    netlink
                        .add_address(address, &dev("v0"), AddressOptions::default())
                        .unwrap();
                    until(&mut watch, |event| {
                        *event == HostEvent::AddressAdded { index, address }
                    })
                    .await;
                    netlink.delete_address(address, &dev("v0")).unwrap();
                    until(&mut watch, |event| matches!(event, HostEvent::AddressRemoved { address: gone, .. } if *gone == address))
                    .await;
                }
                // The other end goes down: still up, no carrier.
                netlink.set_link_up(&dev("v1"), false).unwrap();
                until(&mut watch, |event| matches!(event, HostEvent::Link(l) if l.index == index && l.up && !l.carrier)).await;
                netlink.set_link_up(&dev("v1"), true).unwrap();
                until(&mut watch, |event| matches!(event, HostEvent::Link(l) if l.index == index && l.up && l.carrier)).await;

                let address = "10.0.0.1/32".parse().unwrap();
                for _ in 0..5000 {
                    netlink
                        .add_address(address, &dev("v0"), AddressOptions::default())
                        .unwrap();
                    netlink.delete_address(address, &dev("v0")).unwrap();
                }
                until(&mut watch, |event| *event == HostEvent::Overrun).await;
                while watch.try_next().unwrap().is_some() {}
                netlink
                    .add_address(address, &dev("v0"), AddressOptions::default())
                    .unwrap();
                until(&mut watch, |event| {
                    *event == HostEvent::AddressAdded { index, address }
                })
                .await;

                delete_link(index);
                until(
                    &mut watch,
                    |event| matches!(event, HostEvent::LinkGone { link, .. } if link.index == index),
                )
                .await;
            });
        },
    );
}

#[test]
fn an_address_can_expire_and_is_marked() {
    isolated(
        "host::tests::network::an_address_can_expire_and_is_marked",
        || {
            let netlink = veth_pair();
            block_on(async {
                let mut watch = Watch::open().unwrap();
                let index = index_of(&dev("v0")).unwrap();
                let address: VirtualAddress = "10.0.0.9/32".parse().unwrap();
                let options = AddressOptions {
                    lifetime: Some(Duration::from_secs(1)),
                    no_prefix_route: true,
                    deprecated: false,
                };
                assert_eq!(
                    netlink.add_address(address, &dev("v0"), options).unwrap(),
                    Outcome::Changed
                );
                assert!(netlink.address(address.ip, index).unwrap().unwrap().ours);
                assert_eq!(
                    netlink.add_address(address, &dev("v0"), options).unwrap(),
                    Outcome::Unchanged,
                    "renewed"
                );
                until(&mut watch, |event| matches!(event, HostEvent::AddressRemoved { address: gone, .. } if *gone == address)).await;
                assert_eq!(netlink.address(address.ip, index).unwrap(), None);
            });
        },
    );
}

/// Where many virtual hosts share an interface, all of them would have to look at each.
#[test]
fn letting_go_of_a_host_address_is_no_news_of_its_link() {
    isolated(
        "host::tests::network::letting_go_of_a_host_address_is_no_news_of_its_link",
        || {
            let netlink = veth_pair();
            block_on(async {
                let v0 = dev("v0");
                let (address, wide): (VirtualAddress, VirtualAddress) = (
                    "10.0.0.9/32".parse().unwrap(),
                    "10.0.0.9/24".parse().unwrap(),
                );
                // That the link came up may be told as late as this, once for each of its ends.
                let mut told = Vec::new();
                for _ in 0..4 {
                    netlink
                        .add_address(address, &v0, AddressOptions::default())
                        .unwrap();
                    let mut watch = Watch::open().unwrap();
                    assert_eq!(
                        netlink.delete_address(wide, &v0).unwrap(),
                        Outcome::Changed,
                        "whatever its prefix"
                    );
                    told = vec![until(&mut watch, |_| true).await];
                    while let Some(event) = watch.try_next().unwrap() {
                        told.push(event);
                    }
                    if told.len() == 1 {
                        break;
                    }
                }
                assert!(
                    matches!(&*told, [HostEvent::AddressRemoved { address: gone, .. }] if *gone == address),
                    "{told:?}"
                );
                assert_eq!(
                    netlink.delete_address(address, &v0).unwrap(),
                    Outcome::Unchanged
                );
            });
        },
    );
}

/// More than fit into one exchange. What depends on them stays, and nobody wakes for it.
#[test]
fn leases_are_moved_behind_other_addresses() {
    isolated(
        "host::tests::network::leases_are_moved_behind_other_addresses",
        || {
            let host = LinuxHost::new(Options::default()).unwrap();
            let netlink = veth_pair();
            block_on(async {
                let (v0, link) = (dev("v0"), index_of(&dev("v0")).unwrap());
                let lifetimes = Lifetimes {
                    valid: Some(Duration::from_secs(100)),
                    preferred: PreferredLifetime::Zero,
                };
                let ours: Vec<VirtualAddress> = (1..=50)
                    .map(|n| format!("10.0.1.{n}/24").parse().unwrap())
                    .collect();
                for address in &ours {
                    host.lease(*address, &v0, lifetimes).unwrap();
                }
                let own: VirtualAddress = "10.9.9.9/24".parse().unwrap();
                netlink
                    .add_address(own, &v0, AddressOptions::default())
                    .unwrap();
                let route = Route {
                    dst: "10.77.0.0/16".parse().unwrap(),
                    via: None,
                    dev: Some(v0.clone()),
                    src: Some(ours[40].ip),
                    metric: None,
                    table: None,
                };
                netlink.add_route(&route).unwrap();
                let mut watch = Watch::open().unwrap();
                watch.ignore_changes_by(host.lease_port()).unwrap();
                let mut moves: Vec<_> = ours
                    .iter()
                    .map(|address| Renewal {
                        address: *address,
                        link,
                        lifetimes,
                    })
                    .collect();
                assert_eq!(host.move_last(&moves), []);
                let of_v4 = || {
                    let mut there = netlink.addresses(link).unwrap();
                    there.retain(|found| found.address.ip.is_ipv4());
                    there
                };
                let there = of_v4();
                assert_eq!(there.len(), 51, "each once");
                assert_eq!(there[0].address, own);
                assert!(
                    there[1..].iter().all(|found| {
                        found.ours && !found.permanent && found.address.prefix == 32
                    })
                );
                assert_eq!(
                    netlink.delete_route(&route).unwrap(),
                    Outcome::Changed,
                    "it was there"
                );
                moves[20].link = 9999;
                let refused = host.move_last(&moves);
                assert_eq!(refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [20]);
                assert_eq!(of_v4().len(), 51);
                assert_eq!(watch.try_next().unwrap(), None);
            });
        },
    );
}

/// Many in one exchange; those that cannot be are named, and do not hinder the others. Who watches
/// does not wake for it.
#[test]
fn leases_are_renewed_together() {
    isolated("host::tests::network::leases_are_renewed_together", || {
        let host = LinuxHost::new(Options::default()).unwrap();
        let netlink = veth_pair();
        block_on(async {
            let (v0, link) = (dev("v0"), index_of(&dev("v0")).unwrap());
            let addresses: Vec<VirtualAddress> = (1..=200)
                .map(|n| format!("10.0.1.{n}/32").parse().unwrap())
                .collect();
            let mut watch = Watch::open().unwrap();
            watch.ignore_changes_by(host.lease_port()).unwrap();
            let valid = |valid| Lifetimes {
                valid,
                preferred: PreferredLifetime::Zero,
            };
            let long = valid(Some(Duration::from_secs(100)));
            for address in &addresses {
                host.lease(*address, &v0, long).unwrap();
            }
            let mut renewals: Vec<_> = addresses
                .iter()
                .map(|address| Renewal {
                    address: *address,
                    link,
                    lifetimes: long,
                })
                .collect();
            assert_eq!(host.renew(&renewals), []);
            for lost in [3, 70, 199] {
                renewals[lost].link = 9999;
            }
            for renewal in &mut renewals {
                renewal.lifetimes = valid(Some(Duration::from_secs(1)));
            }
            renewals[5].lifetimes = valid(None);
            let refused = host.renew(&renewals);
            assert_eq!(
                refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
                [3, 70, 199]
            );
            assert!(
                refused.iter().all(|(_, error)| error.is(libc::ENODEV)),
                "{refused:?}"
            );
            // Renewed to a second they end by themselves, and that is heard; nothing before it was.
            let mut stay: Vec<VirtualAddress> = [3, 5, 70, 199].map(|at| addresses[at]).to_vec();
            let mut gone = 0;
            while gone < addresses.len() - stay.len() {
                match watch.next().await.unwrap() {
                    HostEvent::AddressRemoved { address, .. } if !stay.contains(&address) => {
                        gone += 1;
                    }
                    HostEvent::AddressAdded { address, .. } if address.ip.is_ipv6() => {}
                    HostEvent::Link(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            let mut left: Vec<VirtualAddress> = netlink
                .addresses(link)
                .unwrap()
                .iter()
                .map(|a| a.address)
                .collect();
            left.retain(|address| address.ip.is_ipv4());
            left.sort();
            stay.sort();
            assert_eq!(left, stay);
        });
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn adding_and_deleting_take_microseconds() {
    isolated(
        "host::tests::network::adding_and_deleting_take_microseconds",
        || {
            let netlink = veth_pair();
            let address: VirtualAddress = "192.168.32.22/24".parse().unwrap();
            let v0 = dev("v0");
            let (mut adds, mut deletes) = (Vec::new(), Vec::new());
            for _ in 0..1000 {
                let start = std::time::Instant::now();
                netlink
                    .add_address(address, &v0, AddressOptions::default())
                    .unwrap();
                let added = std::time::Instant::now();
                netlink.delete_address(address, &v0).unwrap();
                adds.push(added - start);
                deletes.push(added.elapsed());
            }
            for (what, times) in [("add", &mut adds), ("delete", &mut deletes)] {
                times.sort_unstable();
                println!(
                    "address {what}: median {:?}, p99 {:?}",
                    times[500], times[990]
                );
                // Far above what was measured, far below what a takeover may take.
                assert!(
                    times[500] < Duration::from_millis(1),
                    "{what} takes {:?}",
                    times[500]
                );
            }
        },
    );
}

#[test]
fn the_engine_needs_two_capabilities_only() {
    isolated(
        "host::tests::network::the_engine_needs_two_capabilities_only",
        || {
            let netlink = veth_pair();
            confine_engine(false).unwrap();
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                let line = format!("{set}:\t0000000000003000");
                assert!(status.contains(&line), "{line} is not in\n{status}");
            }
            assert!(status.contains("NoNewPrivs:\t1"));
            Privileges::current().unwrap().require().unwrap();
            netlink
                .add_address(
                    "10.0.0.1/24".parse().unwrap(),
                    &dev("v0"),
                    AddressOptions::default(),
                )
                .unwrap();
            block_on(async {
                PacketSocket::open(index_of(&dev("v0")).unwrap(), Medium::Ethernet).map(drop)
            })
            .unwrap();
            assert_eq!(
                nix::unistd::sethostname("x").unwrap_err(),
                nix::errno::Errno::EPERM
            );
            caps::clear(None, caps::CapSet::Effective).unwrap();
            let err = Privileges::current().unwrap().require().unwrap_err();
            assert!(
                err.message.contains("CAP_NET_ADMIN and CAP_NET_RAW"),
                "{err}"
            );
            let refused = block_on(async {
                PacketSocket::open(index_of(&dev("v0")).unwrap(), Medium::Ethernet)
            })
            .unwrap_err();
            assert_eq!(refused.source.kind(), io::ErrorKind::PermissionDenied);
        },
    );
}

#[test]
fn an_address_that_went_with_the_whole_family_counts_as_gone() {
    isolated(
        "host::tests::network::an_address_that_went_with_the_whole_family_counts_as_gone",
        || {
            let netlink = veth_pair();
            let address: VirtualAddress = "2001:db8::22/64".parse().unwrap();
            netlink
                .add_address(address, &dev("v0"), AddressOptions::default())
                .unwrap();
            let ipv6 = "/proc/sys/net/ipv6/conf/v0/disable_ipv6";
            std::fs::write(ipv6, "1").unwrap();
            assert_eq!(
                netlink.delete_address(address, &dev("v0")).unwrap(),
                Outcome::Unchanged,
                "the kernel took it away"
            );
            let refused = netlink
                .add_address(address, &dev("v0"), AddressOptions::default())
                .unwrap_err();
            assert!(refused.message.contains("2001:db8::22/64"), "{refused}");
            std::fs::write(ipv6, "0").unwrap();
            netlink
                .add_address(address, &dev("v0"), AddressOptions::default())
                .unwrap();
        },
    );
}
