//! Tracks that are asked again and again, beside the loop: each attempt in a process of its own.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::{Poll, Tracked};
use crate::effect::{Endpoint, OutgoingRequest};
use crate::engine::command::Command;
use crate::engine::runs::http_worker::http_workers;
use crate::engine::runs::pool::sandbox_policy;
use crate::engine::runs::prober::Tell;
use crate::engine::state::Engine;
use crate::host::children::http_worker::HttpWorkers;
use crate::host::children::prober::Finding;
use crate::host::clock;
use crate::types::Name;

/// What asks about one track.
struct Asking {
    track: Name,
    /// Results of one that was replaced do not count.
    number: u64,
    endpoint: Endpoint,
    poll: Poll,
    /// Its own, so that neither other tracks nor hooks take its place.
    workers: HttpWorkers,
    results: mpsc::Sender<Command>,
}

impl Engine {
    /// Begins to ask about all tracks that are to be asked about and are not yet.
    pub(in crate::engine) fn probe_tracks(&mut self) {
        let policy = sandbox_policy(&self.config);
        let (keeper, results) = (&self.keeper, &self.orders);
        self.tracks.probe(|track, endpoint, poll, number| {
            let asking = Asking {
                track: track.clone(),
                number,
                endpoint: endpoint.clone(),
                poll,
                workers: http_workers(keeper.clone(), policy, None),
                results: results.clone(),
            };
            tokio::task::spawn_local(asking.run()).abort_handle()
        });
        let orders = self.orders.clone();
        let tell: Tell = Rc::new(move |track, number, finding| {
            let orders = orders.clone();
            Box::pin(async move {
                let told = Command::Tracked(track, number, finding);
                orders.send(told).await.is_ok()
            })
        });
        self.ties.probers.replace(&self.config, &self.keeper, &tell);
    }

    /// Does a finding with this number come from who looks at this track now?
    pub(in crate::engine) fn is_probed_by(&mut self, name: &Name, number: u64) -> bool {
        let Some(track) = self.tracks.get_mut(name) else {
            return false;
        };
        match &track.probe {
            Some(probe) => probe.number == number,
            None => {
                matches!(track.spec.tracked, Tracked::Local(_)) && self.ties.probers.are(number)
            }
        }
    }
}

impl Asking {
    async fn run(self) {
        loop {
            let began = clock::now();
            let finding = match self.ask().await {
                Ok(()) => Finding::Well,
                Err(reason) => Finding::bad(reason),
            };
            let told = Command::Tracked(self.track.clone(), self.number, finding);
            if self.results.send(told).await.is_err() {
                return;
            }
            let next = began + self.poll.interval;
            clock::sleep(next.since(clock::now()).max(Duration::from_millis(1))).await;
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let request = OutgoingRequest::Connect {
            endpoint: self.endpoint.clone(),
            timeout_ms: u32::try_from(self.poll.timeout.as_millis()).unwrap_or(u32::MAX),
        };
        let answer = self.workers.send(request, self.poll.timeout).await;
        answer.map(drop).map_err(|error| error.message)
    }
}
