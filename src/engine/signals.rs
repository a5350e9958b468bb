//! The signals that the daemon handles.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Signal {
    /// Stop cleanly.
    Stop(&'static str),
    /// Reload configuration and hooks.
    Reload,
    /// Log the state.
    Report,
    /// The loop computed for too long without waiting, at real-time priority.
    Overrun,
    /// Hand over, and do not take part for [`ASIDE`].
    StandAside,
}

/// Installs the handlers: from now on these signals arrive here, and no longer kill the daemon.
/// `realtime`: the kernel reports a loop that computes for too long.
pub(in crate::engine) fn signals(
    hangup_stops: bool,
    realtime: bool,
) -> io::Result<(mpsc::Sender<Signal>, mpsc::Receiver<Signal>)> {
    let (sender, receiver) = mpsc::channel(4);
    let mut all = vec![
        (SignalKind::terminate(), Signal::Stop("TERM")),
        (SignalKind::interrupt(), Signal::Stop("INT")),
        (SignalKind::quit(), Signal::Stop("QUIT")),
        (SignalKind::user_defined1(), Signal::Report),
        (SignalKind::user_defined2(), Signal::StandAside),
    ];
    if realtime {
        all.push((SignalKind::from_raw(libc::SIGXCPU), Signal::Overrun));
    }
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
