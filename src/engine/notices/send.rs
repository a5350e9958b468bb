//! Sending one message once.

use std::time::Duration;

use tokio::time::timeout;

use super::message;
use crate::config::{Target, Way, Webhook};
use crate::effect::{HttpResponse, OutgoingRequest, Reply};
use crate::host::children::http_worker::HttpWorkers;
use crate::host::children::notifier;
use crate::keeper::{Client, Role};
use crate::notification::Event;
use crate::types::{Name, shown_within};

/// The time that a notifier process gets in addition to that of its program: to read the
/// configuration, and to say what came of it.
const STARTING: Duration = Duration::from_secs(10);
/// How long one gets to end when all is said.
const GRACE: Duration = Duration::from_secs(1);
/// What is shown of an answer, in characters.
const ANSWER_MAX: usize = 200;

/// What is needed to send something.
#[derive(Debug)]
pub(in crate::engine) struct Office {
    /// This node's name.
    pub(in crate::engine) node: String,
    /// Milliseconds since 1970 when the engine started.
    pub(in crate::engine) since_ms: u64,
    /// Starts notifiers.
    pub(in crate::engine) keeper: Client,
    /// Makes the requests of webhooks.
    pub(in crate::engine) http_workers: HttpWorkers,
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// In a line, without secrets.
    pub(super) why: String,
    /// Whether another attempt may help.
    pub(super) again: bool,
}

impl Failed {
    const fn now(why: String) -> Self {
        Self { why, again: true }
    }

    const fn for_good(why: String) -> Self {
        Self { why, again: false }
    }
}

impl Office {
    /// Sends it: what came back.
    pub(super) async fn send(
        &self,
        (name, part): (&Name, u16),
        target: &Target,
        event: &Event,
    ) -> Result<String, Failed> {
        match &target.way {
            Way::Webhook(webhook) => self
                .request(webhook, target, event)
                .await
                .map(|answer| without_secret(webhook, &answer))
                .map_err(|failed| Failed {
                    why: without_secret(webhook, &failed.why),
                    ..failed
                }),
            Way::Mail(_) | Way::Command { .. } => {
                let letter = message::letter(name, target, event).map_err(Failed::for_good)?;
                let limit = target.timeout + STARTING;
                self.errand(part, &letter, limit).await.map_err(Failed::now)
            }
        }
    }

    async fn request(
        &self,
        webhook: &Webhook,
        target: &Target,
        event: &Event,
    ) -> Result<String, Failed> {
        let request = message::request(webhook, target, event).map_err(Failed::for_good)?;
        let request = OutgoingRequest::Tell(request);
        match self.http_workers.send(request, target.timeout).await {
            Ok(Reply::Http(answer)) => judged(&answer),
            Ok(other) => Err(Failed::now(format!("{other:?}"))),
            Err(error) => Err(Failed::now(error.message)),
        }
    }

    async fn errand(
        &self,
        part: u16,
        letter: &notifier::Letter,
        limit: Duration,
    ) -> Result<String, String> {
        let started = self.keeper.spawn_watched(Role::Notifier { part }).await;
        let (id, stream, mut end) =
            started.map_err(|error| format!("the notifier process cannot be started: {error}"))?;
        let told = timeout(limit, notifier::deliver(stream, letter)).await;
        // Its socket is closed: it ends, and what it has started with it.
        if timeout(GRACE, &mut end).await.is_err() {
            self.keeper.kill(id);
        }
        match told {
            Ok(outcome) => outcome.map(|()| "exit status 0".to_owned()),
            Err(_) => Err(format!(
                "the notifier process did not answer within {} s",
                limit.as_secs()
            )),
        }
    }
}

/// What an answer means.
fn judged(answer: &HttpResponse) -> Result<String, Failed> {
    let status = answer.status;
    let body = String::from_utf8_lossy(&answer.body);
    let body = body.trim();
    let said = if body.is_empty() {
        format!("status {status}")
    } else {
        format!("status {status}: {}", shown_within(body, ANSWER_MAX))
    };
    match status {
        200..=299 => Ok(said),
        300..=399 => Err(Failed::for_good(format!(
            "status {status}: redirects are not followed"
        ))),
        408 | 429 | 500.. => Err(Failed::now(said)),
        _ => Err(Failed::for_good(said)),
    }
}

/// A server may say the secret back.
fn without_secret(webhook: &Webhook, text: &str) -> String {
    let secret = webhook.secret.as_ref().map_or("", |secret| secret.text());
    let text = if secret.is_empty() {
        text.to_owned()
    } else {
        text.replace(secret, "***")
    };
    shown_within(text, 2 * ANSWER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_by_their_status() {
        let answer = |status, body: &str| {
            judged(&HttpResponse {
                status,
                headers: Vec::new(),
                body: body.as_bytes().to_vec(),
            })
        };
        assert_eq!(answer(204, ""), Ok("status 204".to_owned()));
        assert_eq!(answer(200, " ok\n"), Ok("status 200: ok".to_owned()));
        for (status, again) in [
            (301, false),
            (302, false),
            (400, false),
            (401, false),
            (404, false),
            (408, true),
            (429, true),
            (500, true),
            (503, true),
            (599, true),
        ] {
            let failed = answer(status, "\u{1b}[2J").unwrap_err();
            assert_eq!(failed.again, again, "{status}");
            assert!(!failed.why.contains('\u{1b}'), "{failed:?}");
            assert!(failed.why.contains(&status.to_string()), "{failed:?}");
        }
    }
}
