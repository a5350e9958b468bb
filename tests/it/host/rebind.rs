//! Names whose addresses change between two requests, as their name server likes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use carpd::effect::Reply;

use super::namespace::{block_on, dev, isolated};
use crate::http_workers::{LIMIT, connect, get, hear, http_workers};

/// Where the granted server is: another host, for all that an HTTP worker knows.
const GRANTED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PORT: u16 = 8080;

/// What the name server says of the name, one after the other; the last one again and again.
type Answers = Arc<Mutex<Vec<Ipv4Addr>>>;

/// An authoritative name server for every name there is.
fn name_server(answers: Answers) {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut buffer) {
            let question = &buffer[12..length];
            let end = question.iter().position(|byte| *byte == 0).unwrap() + 5;
            let of_type_a = question[end - 4..end - 2] == [0, 1];
            let mut answer = [
                &buffer[..2],
                &[0x85, 0x80, 0, 1, 0, u8::from(of_type_a), 0, 0, 0, 0],
                &question[..end],
            ]
            .concat();
            if of_type_a {
                let mut answers = answers.lock().unwrap();
                let address = if answers.len() > 1 {
                    answers.remove(0)
                } else {
                    answers[0]
                };
                // The name of the question, A, IN, valid for no time at all.
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                answer.extend(address.octets());
            }
            socket.send_to(&answer, asker).unwrap();
        }
    });
}

/// A server that says who it is, and how many came before.
fn web_server(address: Ipv4Addr, says: &'static str) {
    let listener = TcpListener::bind((address, PORT)).unwrap();
    thread::spawn(move || {
        for (before, mut stream) in listener.incoming().flatten().enumerate() {
            hear(&mut stream);
            let length = says.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nBefore: {before}\r\nContent-Length: {length}\r\n\r\n{says}"
            );
        }
    });
}

/// How many have come to the server. It takes them one after another: whoever was only connected
/// with is counted before this is answered.
fn came(address: Ipv4Addr) -> usize {
    let mut stream = TcpStream::connect((address, PORT)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let before = head.lines().find_map(|line| line.strip_prefix("Before: "));
    before.unwrap().parse().unwrap()
}

fn run(program: &str, arguments: &[&str]) {
    assert!(
        Command::new(program)
            .args(arguments)
            .status()
            .unwrap()
            .success(),
        "{program} {arguments:?}"
    );
}

#[test]
fn a_name_that_was_granted_cannot_be_pointed_at_this_machine() {
    isolated(
        "host::rebind::a_name_that_was_granted_cannot_be_pointed_at_this_machine",
        || {
            carpd::host::kernel::netlink::Netlink::open()
                .unwrap()
                .set_link_up(&dev("lo"), true)
                .unwrap();
            run("ip", &["address", "add", "10.0.0.1/32", "dev", "lo"]);
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(
                file.path(),
                "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
            )
            .unwrap();
            std::fs::set_permissions(
                file.path(),
                std::os::unix::fs::PermissionsExt::from_mode(0o644),
            )
            .unwrap();
            run(
                "mount",
                &["--bind", file.path().to_str().unwrap(), "/etc/resolv.conf"],
            );
            let answers: Answers = Arc::new(Mutex::new(vec![GRANTED]));
            name_server(Arc::clone(&answers));
            web_server(GRANTED, "granted");
            web_server(Ipv4Addr::LOCALHOST, "the machine's own");
            let url = format!("http://granted.example:{PORT}/");
            block_on(async {
                let (http_workers, _exits) = http_workers();
                let reply = http_workers.send(get(&url), LIMIT).await;
                assert!(
                    matches!(&reply, Ok(Reply::Http(answer)) if answer.body == b"granted"),
                    "{reply:?}"
                );
                // The grant is as it was; the name is not.
                for address in [
                    "127.0.0.1",
                    "0.0.0.0",
                    "169.254.169.254",
                    "127.1.2.3",
                    "224.0.0.18",
                ] {
                    *answers.lock().unwrap() = vec![address.parse().unwrap()];
                    let began = tokio::time::Instant::now();
                    for request in [get(&url), connect(&format!("granted.example:{PORT}"))] {
                        let refused = http_workers.send(request, LIMIT).await.unwrap_err().message;
                        assert!(
                            refused.contains(&format!("it resolves to {address}")),
                            "{refused}"
                        );
                    }
                    assert!(
                        began.elapsed() < Duration::from_secs(4),
                        "nobody was asked: {:?}",
                        began.elapsed()
                    );
                }
                // First the one, then the other: what is judged is what is used, and nothing is
                // looked up twice.
                for request in [get(&url), connect(&format!("granted.example:{PORT}"))] {
                    *answers.lock().unwrap() = vec![GRANTED, Ipv4Addr::LOCALHOST];
                    http_workers.send(request, LIMIT).await.unwrap();
                    assert_eq!(
                        *answers.lock().unwrap(),
                        [Ipv4Addr::LOCALHOST],
                        "looked up once"
                    );
                }
                // Other spellings of the same are names to the resolver.
                for host in ["127.1", "2130706433", "0x7f000001"] {
                    let Ok(url) = format!("http://{host}:{PORT}/").parse::<carpd::effect::Url>()
                    else {
                        continue;
                    };
                    let refused = http_workers
                        .send(get(&url.to_string()), LIMIT)
                        .await
                        .unwrap_err()
                        .message;
                    assert!(
                        refused.contains("it leads to 127.0.0.1"),
                        "{host}: {refused}"
                    );
                }
            });
            assert_eq!((came(GRANTED), came(Ipv4Addr::LOCALHOST)), (3, 0));
        },
    );
}
