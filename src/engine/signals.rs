//! The signals that the daemon obeys.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Signal {
    /// Stop in good order.
    Stop(&'static str),
    /// Read configuration and hooks again.
    Reload,
    /// Say how things are.
    Report,
    /// Hand over, and take no part for [`ASIDE`].
    StandAside,
}

/// From now on signals arrive here, and none of these kills the daemon.
pub(in crate::engine) fn signals(
    hangup_stops: bool,
) -> io::Result<(mpsc::Sender<Signal>, mpsc::Receiver<Signal>)> {
    let (sender, receiver) = mpsc::channel(4);
    let mut all = vec![
        (SignalKind::terminate(), Signal::Stop("TERM")),
        (SignalKind::interrupt(), Signal::Stop("INT")),
        (SignalKind::quit(), Signal::Stop("QUIT")),
        (SignalKind::user_defined1(), Signal::Report),
        (SignalKind::user_defined2(), Signal::StandAside),
    ];
    all.push((
        SignalKind::hangup(),
        if hangup_stops {
            Signal::Stop("HUP")
        } else {
            Signal::Reload
        },
    ));
    for (kind, meaning) in all {
        let mut arrivals = signal(kind)?;
        let sender = sender.clone();
        tokio::task::spawn_local(async move {
            while arrivals.recv().await.is_some() {
                if sender.send(meaning).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok((sender, receiver))
}
