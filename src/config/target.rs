//! Who is told what happens: the targets of `[notify.NAME]`.

use std::time::Duration;

use super::model::{Place, Program};
use super::secret::Token;
use crate::effect::{Endpoint, HttpVerb};
use crate::notification::{Event, EventKind, Template};
use crate::types::{Name, State};

/// A target of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `kind`, with what belongs to it.
    pub way: Way,
    /// `events`.
    pub events: Vec<EventKind>,
    /// `vhosts`: events of these only; empty for all, and for what belongs to no virtual host.
    pub vhosts: Vec<Name>,
    /// `from`: transitions from these states only; empty for all.
    pub from: Vec<State>,
    /// `to`: transitions to these states only; empty for all.
    pub to: Vec<State>,
    /// `rate`: messages in a minute, 1..=600.
    pub rate: u16,
    /// `timeout`: of one attempt; 100 ms to 30 s.
    pub timeout: Duration,
    /// `retry-for`: after this time a message is given up; up to 24 h.
    pub retry_for: Duration,
    /// Its name in the file.
    pub place: Place,
}

/// How a target is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// `webhook`.
    Webhook(Box<Webhook>),
    /// `mail`.
    Mail(Box<Mail>),
    /// `command`: it gets the event on its standard input.
    Command {
        /// `argv` and `environment`.
        program: Program,
        /// `user`.
        user: String,
    },
}

/// A request to a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `url`; its scheme, host and port are written out.
    pub url: Template,
    /// Who is asked.
    pub endpoint: Endpoint,
    /// `method`.
    pub verb: HttpVerb,
    /// `headers`, by their names in small letters; always with a content type.
    pub headers: Vec<(String, Template)>,
    /// `body`.
    pub body: Template,
    /// Whether the body is JSON.
    pub is_json: bool,
    /// What `${secret}` stands for.
    pub secret: Option<Token>,
}

/// A message for a program like sendmail(8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// `sendmail`: its absolute path.
    pub sendmail: String,
    /// `recipients`: at least one.
    pub recipients: Vec<String>,
    /// `sender`.
    pub sender: Option<String>,
    /// `subject`.
    pub subject: Template,
    /// `body`.
    pub body: Template,
    /// `user`.
    pub user: String,
}

impl Mail {
    /// How the program is called.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        let sender = self.sender.iter();
        let sender = sender.flat_map(|sender| ["-f".to_owned(), sender.clone()]);
        [self.sendmail.clone(), "-i".to_owned()]
            .into_iter()
            .chain(sender)
            .chain(self.recipients.iter().cloned())
            .collect()
    }
}

impl Way {
    /// The word of its `kind`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mail(_) => "mail",
            Self::Command { .. } => "command",
        }
    }

    /// The program that it needs, and as whom that runs.
    #[must_use]
    pub fn program(&self) -> Option<(&str, &str)> {
        match self {
            Self::Webhook(_) => None,
            Self::Mail(mail) => Some((&mail.sendmail, &mail.user)),
            Self::Command { program, user } => Some((program.argv.first()?, user)),
        }
    }
}

/// Where it leads, without anything that may be secret.
impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Webhook(webhook) => write!(f, "webhook {}", webhook.endpoint),
            Self::Mail(mail) => write!(f, "mail {}", mail.recipients.join(" ")),
            Self::Command { program, .. } => {
                let path = program.argv.first().map_or("", String::as_str);
                write!(f, "command {path}")
            }
        }
    }
}

impl Target {
    /// Whether it is to be told this.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let subject = &event.subject;
        if event.event == EventKind::Test {
            return true;
        }
        let vhost = subject.vhost.as_ref();
        let of_vhost = self.vhosts.is_empty()
            || vhost.is_none_or(|vhost| self.vhosts.iter().any(|own| own == vhost));
        let is = |states: &[State], state: Option<State>| {
            states.is_empty() || state.is_none_or(|state| states.contains(&state))
        };
        self.events.contains(&event.event)
            && of_vhost
            && is(&self.from, subject.from)
            && is(&self.to, subject.to)
    }
}
