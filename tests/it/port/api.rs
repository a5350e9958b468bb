//! A small HTTP server within a case's namespaces: it keeps what it was asked in
//! `/run/world/requests`.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// Serves on a port of the loopback address, as long as the process runs. A path with `maintenance`
/// in it is not found.
pub(super) fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let (mut kind, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-type" => value.trim().clone_into(&mut kind),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let status = if request.contains("maintenance") {
        "404 Not Found"
    } else {
        "200 OK"
    };
    let mut kept = OpenOptions::new()
        .append(true)
        .create(true)
        .open("/run/world/requests")
        .unwrap();
    let body = String::from_utf8_lossy(&body);
    writeln!(kept, "{} [{kind}] {body}", request.trim_end()).unwrap();
    // The client may have gone by then.
    let _gone = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
    );
}
