//! Accepts clients and speaks HTTP with them. None can take more than its share: what they send and
//! how long they take is limited, and when there are too many, the oldest makes room.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use super::answers::answer;
use super::desk::Desk;

/// Clients at one time.
const CLIENTS_MAX: usize = 256;
/// The most bytes of a request line and its headers.
const HEAD_MAX: usize = 8 << 10;
/// The most headers.
const HEADERS_MAX: usize = 64;
/// How long a client may take for them, and be idle before them.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may last: then it is closed after the answer that is being sent, and a
/// client that has not read that by then does not get all of it.
const LIFE: Duration = Duration::from_secs(60);
/// How long that answer may take.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// How long it waits after it could not accept a client.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// A socket that listens.
pub(super) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// In the file system.
    Unix(UnixListener),
}

impl Listener {
    /// Must be called within the runtime.
    pub(super) fn new(socket: OwnedFd, unix: bool) -> io::Result<Self> {
        if unix {
            let socket = std::os::unix::net::UnixListener::from(socket);
            socket.set_nonblocking(true)?;
            return Ok(Self::Unix(UnixListener::from_std(socket)?));
        }
        let socket = std::net::TcpListener::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(socket)?))
    }

    /// Starts a conversation with the next client.
    async fn next(&self, desk: &Rc<Desk>) -> io::Result<JoinHandle<()>> {
        let desk = Rc::clone(desk);
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::task::spawn_local(converse(stream, desk))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::task::spawn_local(converse(stream, desk))
            }
        })
    }
}

/// Accepts clients for ever.
pub(super) async fn accept(listener: Listener, desk: Rc<Desk>) {
    let mut clients: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        match listener.next(&desk).await {
            Ok(client) => {
                clients.push_back(client);
                if clients.len() > CLIENTS_MAX {
                    clients.retain(|client| !client.is_finished());
                }
                if clients.len() > CLIENTS_MAX
                    && let Some(oldest) = clients.pop_front()
                {
                    oldest.abort();
                }
            }
            // A client that is gone already, or no room for one.
            Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
        }
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, desk: Rc<Desk>) {
    let service = service_fn(|request| {
        let desk = Rc::clone(&desk);
        async move { Ok::<_, Infallible>(answer(&desk, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // What is wrong with a connection concerns its client only.
    if tokio::time::timeout(LIFE, connection.as_mut())
        .await
        .is_err()
    {
        connection.as_mut().graceful_shutdown();
        _ = tokio::time::timeout(LAST_ANSWER, connection).await;
    }
}
