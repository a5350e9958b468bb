//! Known answers of the real implementations: every file in `tests/vectors/` whose form we know,
//! every entry of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use carpd::host::kernel::announce::gratuitous_arp;
use carpd::proto::auth::{Authenticator, Key, message_prefix};
use carpd::proto::wire::{self, Advertisement, LEN, Received};
use carpd::proto::{Input, Kind, LinkLocal, Output, Peers, Preempt, Settings, TieBreak, Vhost};
use carpd::types::{
    AdvBase, AdvSkew, Demotion, Family, MacAddr, State, Timestamp, Vhid, VirtualAddress,
};
use serde_json::Value;

fn files() -> Vec<(String, Value)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let json = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "json"));
    json.map(|path| {
        (
            path.display().to_string(),
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap(),
        )
    })
    .collect()
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn byte(value: &Value) -> u8 {
    value.as_u64().unwrap().try_into().unwrap()
}

/// The addresses of a list. The kernels hash it without the broadcast address, which is no virtual
/// address of ours.
fn addresses(list: &Value) -> Vec<VirtualAddress> {
    let texts = list.as_array().unwrap().iter().map(|a| a.as_str().unwrap());
    texts
        .filter(|text| text.split('/').next() != Some("255.255.255.255"))
        .map(|text| text.parse().unwrap())
        .collect()
}

fn now() -> Timestamp {
    Timestamp::from_micros(1_000_000)
}

fn drain(vhost: &mut Vhost) -> (Vec<Output>, Option<Timestamp>) {
    let mut outputs = Vec::new();
    loop {
        let output = vhost.poll();
        if let Output::Idle(deadline) = output {
            return (outputs, deadline);
        }
        outputs.push(output);
    }
}

/// A virtual host that has just become backup.
fn backup(settings: Settings) -> Vhost {
    let mut vhost = Vhost::new(settings, 1);
    vhost.handle(Input::LinkUp, now());
    assert_eq!(drain(&mut vhost).0.len(), 1);
    vhost
}

/// The whole way of a packet; what comes out of it must be the advertisement.
fn is_heard(settings: Settings, packet: &Received<'_>, ad: &Advertisement, id: &str) {
    let mut vhost = backup(settings);
    vhost.handle(Input::Packet(*packet), now());
    let heard = vhost
        .heard()
        .unwrap_or_else(|| panic!("{id}: refused, {}", vhost.stats()));
    assert_eq!(
        (heard.advbase, heard.advskew, heard.counter),
        (ad.advbase, ad.advskew, ad.counter),
        "{id}"
    );
    assert_eq!(
        (vhost.stats().received, vhost.stats().rejected_total()),
        (1, 0),
        "{id}"
    );
}

#[test]
fn vectors_advertisements() {
    let mut checked = 0;
    for (file, json) in files() {
        let Some(vectors) = json.get("vectors").and_then(Value::as_array) else {
            continue;
        };
        for vector in vectors {
            advertisement(vector);
            checked += 1;
        }
        if let Some(count) = json.get("count").and_then(Value::as_u64) {
            assert_eq!(count, vectors.len() as u64, "{file} lost some");
        }
    }
    println!("{checked} advertisements");
    assert!(checked > 0, "tests/vectors holds no advertisements");
}

fn advertisement(vector: &Value) {
    let id = vector["id"].as_str().unwrap();
    let inputs = &vector["inputs"];
    let vhid = Vhid::new(inputs["vhid"].as_i64().unwrap()).unwrap();
    let key = Key::from_raw(hex(&inputs["key_hex"]).try_into().unwrap());
    if let Some(password) = inputs["password"]
        .as_str()
        .filter(|p| (1..=19).contains(&p.len()))
    {
        assert_eq!(Key::new(password.as_bytes()).unwrap(), key, "{id}");
    }
    let counter = u64::from_str_radix(&inputs["counter"].as_str().unwrap()[2..], 16).unwrap();
    let lladdr = inputs["lladdr"]
        .as_str()
        .map(|_| MacAddr(hex(&inputs["lladdr"]).try_into().unwrap()));
    let source = vector["source"].as_str().unwrap();
    let form = if source.contains("nov6ll") {
        LinkLocal::Exclude
    } else {
        LinkLocal::Include
    };
    let vips = addresses(&inputs["vips"]);
    let ips: Vec<IpAddr> = vips.iter().map(|a| a.ip).collect();

    let message = [
        &message_prefix(vhid, &ips, lladdr, form)[..],
        &counter.to_be_bytes(),
    ]
    .concat();
    assert_eq!(
        message,
        hex(&vector["hmac_message_hex"]),
        "{id}: HMAC message"
    );
    let auth = Authenticator::new(&key, vhid, &ips, lladdr, form);
    let digest: [u8; 20] = hex(&vector["md_hex"]).try_into().unwrap();
    assert_eq!(auth.sign(counter), digest, "{id}: digest");
    assert!(auth.verify(counter, &digest), "{id}");
    // Whatever form one sends, one accepts both.
    let other = if form == LinkLocal::Include {
        LinkLocal::Exclude
    } else {
        LinkLocal::Include
    };
    assert!(
        Authenticator::new(&key, vhid, &ips, lladdr, other).verify(counter, &digest),
        "{id}"
    );

    if vector.get("carp_hex").is_none() {
        return;
    }
    let ad = Advertisement {
        vhid: vhid.get(),
        advbase: AdvBase(byte(&vector["sent_advbase"])),
        advskew: AdvSkew(byte(&vector["sent_advskew"])),
        demote: byte(&vector["sent_demote_or_pad"]),
        counter,
        digest,
    };
    let mut carp = ad.encode();
    if pseudo_header(vector) && carp[..] != hex(&vector["carp_hex"]) {
        carp = ad.encode_with_pseudo_header(
            inputs["src6"].as_str().unwrap().parse().unwrap(),
            Settings::IPV6_GROUP,
        );
    }
    assert_eq!(carp[..], hex(&vector["carp_hex"]), "{id}: CARP bytes");
    assert_eq!(carp[6..8], hex(&vector["carp_cksum"]), "{id}: checksum");
    assert_eq!(Advertisement::decode(&ad.encode()), Ok(ad), "{id}");
    assert_eq!(wire::peek_vhid(&carp), Some(vhid.get()), "{id}");
    assert_eq!(
        ad.is_bow_out(),
        inputs["bow_out"].as_bool().unwrap(),
        "{id}"
    );

    let mut settings = Settings::new(vhid, vips, key);
    settings.openbsd_lladdr = lladdr;
    settings.link_local = form;
    sent_advskew(settings.clone(), vector, &ad);
    packets(&settings, vector, &ad, id);
}

/// Does the sum of the advertisement over IPv6 cover the pseudo-header (NetBSD 8 and later)? The
/// key `ipv6_cksum` says so.
fn pseudo_header(vector: &Value) -> bool {
    match vector.get("ipv6_cksum").map(|word| word.as_str().unwrap()) {
        None | Some("plain") => false,
        Some("pseudo-header") => true,
        Some(other) => panic!("{}: what is ipv6_cksum = {other}?", vector["id"]),
    }
}

/// What goes out after demotion, by FreeBSD's rule and by OpenBSD's. NetBSD's switch is neither of
/// ours.
fn sent_advskew(mut settings: Settings, vector: &Value, ad: &Advertisement) {
    let inputs = &vector["inputs"];
    let Ok(demote) = u8::try_from(inputs["demote"].as_i64().unwrap()) else {
        return;
    };
    let source = vector["source"].as_str().unwrap();
    if source.starts_with("netbsd") && demote > 0 || ad.is_bow_out() {
        return;
    }
    settings.advbase = AdvBase(byte(&inputs["advbase"]));
    settings.advskew = AdvSkew(byte(&inputs["advskew"]));
    settings.clamp_advskew = !source.starts_with("netbsd");
    settings.peers = if source.starts_with("openbsd") {
        Peers::OpenBsd
    } else {
        Peers::Bsd
    };
    let mut vhost = Vhost::new(settings, 1);
    vhost.handle(Input::Demote(Demotion::new(demote)), now());
    assert_eq!(
        vhost.effective_advskew(),
        ad.advskew,
        "{}: sent advskew",
        vector["id"]
    );
}

fn packets(settings: &Settings, vector: &Value, ad: &Advertisement, id: &str) {
    let inputs = &vector["inputs"];
    if let Some(packet) = vector.get("ipv4_packet_hex") {
        let expected = hex(packet);
        let src: Ipv4Addr = inputs["src4"].as_str().unwrap().parse().unwrap();
        let ip_id = u16::from_be_bytes([expected[4], expected[5]]);
        let built = wire::ipv4_packet(
            src,
            Ipv4Addr::new(224, 0, 0, 18),
            expected[1],
            ip_id,
            &ad.encode(),
        );
        assert_eq!(built, expected, "{id}: IPv4 packet");
        let received = wire::parse_packet(&built).unwrap();
        assert_eq!(received.src, IpAddr::V4(src), "{id}");
        is_heard(settings.clone(), &received, ad, id);
    }
    for (name, pseudo) in [
        ("ipv6_packet_hex", pseudo_header(vector)),
        ("ipv6_packet_hex_netbsd_ge_8_pseudo_header_sum", true),
    ] {
        let Some(packet) = vector.get(name).filter(|packet| packet.is_string()) else {
            continue;
        };
        let expected = hex(packet);
        let src: Ipv6Addr = inputs["src6"].as_str().unwrap().parse().unwrap();
        let dst = Settings::IPV6_GROUP;
        let carp: [u8; LEN] = if pseudo {
            ad.encode_with_pseudo_header(src, dst)
        } else {
            ad.encode()
        };
        let traffic_class = expected[0] << 4 | expected[1] >> 4;
        let built = wire::ipv6_packet(src, dst, traffic_class, &carp);
        assert_eq!(built, expected, "{id}: {name}");
        is_heard(
            settings.clone(),
            &wire::parse_packet(&built).unwrap(),
            ad,
            id,
        );
    }
}

/// One row of a decision table, columns by name.
struct Row<'a> {
    columns: &'a [String],
    cells: &'a [Value],
}

impl Row<'_> {
    fn cell(&self, name: &str) -> &Value {
        let at = self.columns.iter().position(|column| column == name);
        &self.cells[at.unwrap_or_else(|| panic!("no column {name}"))]
    }

    fn byte(&self, name: &str) -> u8 {
        byte(self.cell(name))
    }

    fn number(&self, name: &str) -> i64 {
        self.cell(name).as_i64().unwrap()
    }
}

#[test]
fn vectors_decisions() {
    let mut checked = 0;
    for (file, json) in files() {
        let (Some(columns), Some(rows)) = (
            json.get("columns"),
            json.get("rows").and_then(Value::as_array),
        ) else {
            continue;
        };
        let columns: Vec<String> = serde_json::from_value(columns.clone()).unwrap();
        for cells in rows {
            let cells = cells.as_array().unwrap();
            assert_eq!(cells.len(), columns.len(), "{file}: {cells:?}");
            decision(&Row {
                columns: &columns,
                cells,
            });
            checked += 1;
        }
    }
    println!("{checked} decisions");
    assert!(checked > 0, "tests/vectors holds no decisions");
}

/// Brings a whole virtual host into the row's state, lets it hear the row's advertisement, and
/// looks at state, timers and packets afterwards.
fn decision(row: &Row<'_>) {
    let at = format!("{:?}", row.cells);
    let os = row.cell("os").as_str().unwrap();
    let addresses = vec!["10.99.0.100/24".parse().unwrap()];
    let mut settings = Settings::new(
        Vhid::new(40).unwrap(),
        addresses,
        Key::new(b"secret").unwrap(),
    );
    settings.advbase = AdvBase(row.byte("advbase"));
    settings.advskew = AdvSkew(row.byte("advskew"));
    settings.preempt = if row.number("preempt") == 1 {
        Preempt::On
    } else {
        Preempt::Off
    };
    settings.tie_break = TieBreak::Yield;
    settings.peers = if os.starts_with("openbsd") {
        Peers::OpenBsd
    } else {
        Peers::Bsd
    };
    assert!(
        os.starts_with("openbsd") || os.starts_with("freebsd"),
        "{at}: whose rules?"
    );

    let auth = Authenticator::new(
        &settings.key,
        settings.vhid,
        &[settings.addresses[0].ip],
        None,
        LinkLocal::Include,
    );
    let mut vhost = backup(settings);
    let mut now = now();
    if row.number("state") == 2 {
        now = drain(&mut vhost).1.unwrap();
        vhost.handle(Input::Timer, now);
        assert_eq!(vhost.state(), State::Master, "{at}");
    }
    vhost.handle(Input::Demote(Demotion::new(row.byte("own_demote"))), now);
    let _ = drain(&mut vhost);

    let counter = 0x0123_4567_89ab_cdef;
    let ad = Advertisement {
        vhid: 40,
        advbase: AdvBase(row.byte("rx_advbase")),
        advskew: AdvSkew(row.byte("rx_advskew")),
        demote: row.byte("rx_demote"),
        counter,
        digest: auth.sign(counter),
    };
    let (src, dst) = (
        IpAddr::V4(Ipv4Addr::new(10, 99, 0, 9)),
        IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
    );
    vhost.handle(
        Input::Packet(Received {
            src,
            dst,
            mac: None,
            ttl: 255,
            payload: &ad.encode(),
        }),
        now,
    );
    let (outputs, deadline) = drain(&mut vhost);

    let state = match vhost.state() {
        State::Init => 0,
        State::Backup => 1,
        State::Master => 2,
    };
    assert_eq!(state, row.number("new_state"), "{at}: state");
    let ads = outputs
        .iter()
        .filter(|o| matches!(o, Output::Transmit(t) if t.kind == Kind::Advertisement))
        .count();
    assert_eq!(
        Some(ads as u64),
        row.cell("ads_sent").as_u64(),
        "{at}: advertisements"
    );
    let armed = if state == 2 { "ad_ms" } else { "md_ms" };
    if row.number(armed) >= 0 {
        let expected = Duration::from_millis(row.number(armed).unsigned_abs());
        let wait = deadline.unwrap() - now;
        assert!(
            wait.abs_diff(expected) <= Duration::from_millis(2),
            "{at}: {armed} is {wait:?}"
        );
    }
}

#[test]
fn vectors_ucarp() {
    let (mut adverts, mut garps) = (0, 0);
    for (_, json) in files() {
        for vector in json.as_array().into_iter().flatten() {
            match vector["kind"].as_str().unwrap() {
                "advert" => {
                    ucarp(vector);
                    adverts += 1;
                }
                "garp" => {
                    announcement(vector);
                    garps += 1;
                }
                other => panic!("{}: what is a {other}?", vector["name"]),
            }
        }
    }
    println!("{adverts} advertisements and {garps} announcements of ucarp");
    assert!(
        adverts > 0 && garps > 0,
        "tests/vectors holds no frames of ucarp"
    );
}

/// The announcement of an address is ucarp's, bit by bit.
fn announcement(vector: &Value) {
    let (ip, mac) = (
        vector["vip"].as_str().unwrap().parse().unwrap(),
        vector["hwaddr"].as_str().unwrap().parse().unwrap(),
    );
    assert_eq!(
        gratuitous_arp(ip, mac)[..],
        hex(&vector["frame"]),
        "{}",
        vector["name"]
    );
}

/// The frame must be heard, and be rebuilt bit by bit.
fn ucarp(vector: &Value) {
    let id = vector["name"].as_str().unwrap();
    let frame = hex(&vector["frame"]);
    let vhid = Vhid::new(vector["vhid"].as_i64().unwrap()).unwrap();
    let vip: VirtualAddress = vector["vip"].as_str().unwrap().parse().unwrap();
    let key = Key::new(vector["password"].as_str().unwrap().as_bytes()).unwrap();
    let counter = u64::from_str_radix(vector["counter"].as_str().unwrap(), 16).unwrap();

    let digest = Authenticator::new(&key, vhid, &[vip.ip], None, LinkLocal::Include).sign(counter);
    assert_eq!(digest[..], hex(&vector["hmac"]), "{id}: digest");
    let (advbase, advskew) = (
        AdvBase(byte(&vector["advbase"])),
        AdvSkew(byte(&vector["advskew"])),
    );
    let ad = Advertisement {
        vhid: vhid.get(),
        advbase,
        advskew,
        demote: 0,
        counter,
        digest,
    };
    let carp = ad.encode();
    assert_eq!(carp[6..8], hex(&vector["carp_cksum"]), "{id}: checksum");

    let src: Ipv4Addr = vector["src"].as_str().unwrap().parse().unwrap();
    let group: Ipv4Addr = vector["mcast"].as_str().unwrap().parse().unwrap();
    let packet = wire::ipv4_packet(
        src,
        group,
        0x10,
        vector["ip_id"].as_u64().unwrap().try_into().unwrap(),
        &carp,
    );
    let broadcast = vector["nomcast"].as_bool().unwrap();
    let dst = if broadcast {
        MacAddr::BROADCAST
    } else {
        wire::multicast_mac(group.into()).unwrap()
    };
    let ucarps = MacAddr([0, 0, 0x5e, 0, 0, vhid.get()]);
    assert_eq!(
        wire::ethernet_frame(dst, ucarps, Family::V4, &packet),
        frame,
        "{id}: frame"
    );

    let mut settings = Settings::new(vhid, vec![vip], key);
    settings.tie_break = TieBreak::Ucarp;
    is_heard(settings, &wire::parse_frame(&frame).unwrap(), &ad, id);
}
