//! A connection with traffic on it: what a client notices of what goes on at a virtual address.
//!
//! Two roles of this program: a server that sends back what it gets, and a client that sends a
//! little all the time and says at the end what it saw.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use carpd::lab::clock::{Ticker, now};
use carpd::lab::{Lab, PROGRAM, Process};

use crate::rig::{ADDRESS, Failed, SOON};

/// The roles, as first arguments; the client's second one says how often it sends.
pub(crate) const SERVER: &str = "--echo";
pub(crate) const CLIENT: &str = "--steady";
const PORT: u16 = 7777;
/// Between two messages.
const PERIOD: Duration = Duration::from_millis(2);
/// Bytes of one.
const MESSAGE: usize = 4096;

/// What a client saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Saw {
    /// Messages that came back whole.
    pub(crate) echoed: u64,
    /// TCP segments that its host sent again.
    pub(crate) retransmitted: u64,
}

/// Starts the server on a host and waits until it listens.
pub(crate) fn serve(lab: &Lab, host: &str) -> Result<Process, Failed> {
    let mut server = lab.host(host).spawn(&[PROGRAM, SERVER])?;
    server.wait_line("its start", SOON, |line| line == "listens")?;
    Ok(server)
}

/// Opens a connection from the client to the virtual address and sends so many messages, one at a
/// time.
pub(crate) fn begin(lab: &Lab, messages: u32) -> Result<Process, Failed> {
    let mut client = lab
        .host("client")
        .spawn(&[PROGRAM, CLIENT, &messages.to_string()])?;
    client.wait_line("the connection", SOON, |line| line == "connected")?;
    Ok(client)
}

/// Waits for the client's end and what it says.
pub(crate) fn end(client: &mut Process, timeout: Duration) -> Result<Saw, Failed> {
    let line = client.wait_line("its account", timeout, |line| line.starts_with("echoed "));
    let line = line
        .map_err(|err| format!("{err}: {:?}", client.lines()))?
        .text;
    let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
    let mut next = || {
        numbers
            .next()
            .ok_or_else(|| format!("not an account: {line}"))
    };
    Ok(Saw {
        echoed: next()?,
        retransmitted: next()?,
    })
}

/// The server's role.
pub(crate) fn run_server() -> ExitCode {
    finish(
        TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, PORT)).and_then(|listener| {
            println!("listens");
            loop {
                let (stream, _) = listener.accept()?;
                // The end of one connection is no reason to end.
                let _ = echo(stream);
            }
        }),
    )
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; MESSAGE];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}

/// The client's role.
pub(crate) fn run_client() -> ExitCode {
    let messages = std::env::args()
        .nth(2)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(0);
    finish(converse(messages))
}

fn converse(messages: u64) -> io::Result<()> {
    let address = SocketAddr::new(ADDRESS.parse().map_err(io::Error::other)?, PORT);
    let mut stream = TcpStream::connect_timeout(&address, SOON)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SOON))?;
    println!("connected");
    let (before, began) = (retransmitted()?, now());
    let ticker = Ticker::new(PERIOD)?;
    let (mut sent, mut back) = ([0; MESSAGE], [0; MESSAGE]);
    let mut echoed = 0_u64;
    // By the clock, not by the count: on a busy machine it shall not take longer, only send less.
    while now() < began + PERIOD * u32::try_from(messages).unwrap_or(u32::MAX) {
        ticker.wait()?;
        sent[..8].copy_from_slice(&echoed.to_be_bytes());
        stream.write_all(&sent)?;
        stream.read_exact(&mut back)?;
        if sent != back {
            return Err(io::ErrorKind::InvalidData.into());
        }
        echoed += 1;
    }
    println!(
        "echoed {echoed} retransmitted {}",
        retransmitted()? - before
    );
    Ok(())
}

/// TCP segments that this host sent again, of all connections.
fn retransmitted() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/snmp")?;
    let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (
        tcp.next().unwrap_or_default(),
        tcp.next().unwrap_or_default(),
    );
    let found = names
        .split(' ')
        .zip(values.split(' '))
        .find(|(name, _)| *name == "RetransSegs");
    found
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn finish(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}
