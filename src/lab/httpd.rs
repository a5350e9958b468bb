//! The small HTTP server that the init script `httpd` starts: answers every request with the host's
//! current name.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::time::Duration;

use nix::unistd::{dup2_stdout, gethostname};

use super::node::NAME_FILE;
use super::role::{Step, StepError};

/// The header that names the host of the lab that serves the request: a client cannot infer it from
/// the host name, which moves.
pub(super) const HOST_HEADER: &str = "X-Lab-Host: ";

/// The most header lines of a request that are read.
const HEADERS_MAX: usize = 100;

/// Serves port 80 until killed; writes `ready` and closes its output as soon as it listens.
pub(super) fn run(_args: &[String]) -> Result<(), StepError> {
    // An IPv6 socket serves IPv4 too; a kernel without IPv6 gets an IPv4 one.
    let listener =
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)).or_else(|_| TcpListener::bind("0.0.0.0:80"));
    let listener = listener.step("listen on port 80")?;
    io::stdout()
        .write_all(b"ready\n")
        .and_then(|()| io::stdout().flush())
        .step("say that it listens")?;
    let null = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/null")
        .step("open /dev/null")?;
    dup2_stdout(&null).step("close the output")?;
    for stream in listener.incoming().flatten() {
        // A client that has gone away is no error.
        std::thread::spawn(move || drop(serve(stream)));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let reader = BufReader::new(stream.try_clone()?);
    for line in reader.lines().take(HEADERS_MAX) {
        if line?.is_empty() {
            break;
        }
    }
    let name = gethostname()?.to_string_lossy().into_owned();
    let host = std::fs::read_to_string(NAME_FILE).unwrap_or_default();
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n{HOST_HEADER}{host}\r\n\r\n{name}\n",
        name.len() + 1
    )
}
