//! `[notify.NAME]`.

use std::time::Duration;

use super::{Defaulted, Key, Section, defaulted, optional, required};
use crate::config::choice::NotifyKind;
use crate::config::form::{Integer, ListOf, OneOf, Period, SomeOf, Text};
use crate::effect::HttpVerb;
use crate::notification::EventKind;
use crate::types::{Name, State};

pub(in crate::config) static KIND: Key<OneOf<NotifyKind>> = required(
    "kind",
    OneOf::new(),
    "\"webhook\"",
    "How the target is told. `webhook`: by an HTTP request. `mail`: by mail, which a program like sendmail(8) sends. `command`: by a program, which gets the event as JSON on its standard input and the fields of the event in its environment (`CARPD_EVENT`, `CARPD_VHOST`, `CARPD_TEXT`, …).",
);

pub(in crate::config) static EVENTS: Defaulted<SomeOf<EventKind>> = defaulted(
    "events",
    SomeOf::new(),
    || EventKind::CHOICE.to_vec(),
    "What the target is told.",
);

pub(in crate::config) static VHOSTS: Key<ListOf<Name>> = optional(
    "vhosts",
    ListOf::new("names"),
    "all of them",
    "[\"web\"]",
    "Only events of these virtual hosts. Events that belong to no virtual host (`track-down`, `track-up`, `crashed`) are told all the same.",
);

pub(in crate::config) static FROM: Key<SomeOf<State>> = optional(
    "from",
    SomeOf::new(),
    "any state",
    "[\"master\"]",
    "Of transitions, only those from one of these states.",
);

pub(in crate::config) static TO: Key<SomeOf<State>> = optional(
    "to",
    SomeOf::new(),
    "any state",
    "[\"master\"]",
    "Of transitions, only those to one of these states.",
);

pub(in crate::config) static URL: Key<Text> = optional(
    "url",
    Text {
        what: "`http` or `https` URL, with variables",
    },
    "required for `webhook`",
    "\"https://ntfy.example.net/carp\"",
    "Where a `webhook` goes. Scheme, host and port are written out; variables may stand behind them. Redirects are not followed. A certificate must be one that the system or `ca-file` trusts. The URL appears in no log and no status, only its host and port.",
);

pub(in crate::config) static METHOD: Defaulted<OneOf<HttpVerb>> = defaulted(
    "method",
    OneOf::new(),
    || HttpVerb::Post,
    "The method of a `webhook`. With `get` and `delete` no body is sent.",
);

pub(in crate::config) static HEADERS: Key<ListOf<String>> = optional(
    "headers",
    ListOf::new("`Name: value`, with variables in the value"),
    "`Content-Type: application/json`",
    "[\"Authorization: Bearer ${secret}\"]",
    "Headers of a `webhook`. A content type that does not name JSON makes its body a plain text.",
);

pub(in crate::config) static BODY: Key<Text> = optional(
    "body",
    Text {
        what: "text with variables",
    },
    "`${json}` for `webhook`; all fields of the event, one in a line, for `mail`",
    "'{\"text\": \"${node}: ${text}\"}'",
    "The body of a `webhook` or `mail`. In a body of JSON, values are escaped as its strings need it; the result must be JSON.",
);

pub(in crate::config) static SECRET_FILE: Key<Text> = optional(
    "secret-file",
    Text { what: "path" },
    "no secret",
    "\"/etc/carpd/ntfy.token\"",
    "A file whose first line is what `${secret}` stands for in `url`, `headers` and `body` of a `webhook`, as it is. Only its owner may have access to it. Read at start and at each reload; in no log and no status.",
);

pub(in crate::config) static CREDENTIAL: Key<Text> = optional(
    "credential",
    Text {
        what: "name of a credential",
    },
    "no secret",
    "\"ntfy\"",
    "The same from a credential of systemd (`LoadCredential=`), instead of `secret-file`.",
);

pub(in crate::config) static RECIPIENTS: Key<ListOf<String>> = optional(
    "recipients",
    ListOf::new("mail addresses"),
    "required for `mail`",
    "[\"ops@example.net\"]",
    "To whom a `mail` goes.",
);

pub(in crate::config) static SENDER: Key<Text> = optional(
    "sender",
    Text {
        what: "mail address",
    },
    "what the mail program chooses",
    "\"carpd@example.net\"",
    "From whom a `mail` is.",
);

pub(in crate::config) static SUBJECT: Defaulted<Text> = defaulted(
    "subject",
    Text {
        what: "text with variables",
    },
    || "[carpd] ${node}: ${text}",
    "The subject of a `mail`.",
);

pub(in crate::config) static SENDMAIL: Defaulted<Text> = defaulted(
    "sendmail",
    Text {
        what: "absolute path",
    },
    || "/usr/sbin/sendmail",
    "The program that sends a `mail`. It is called as sendmail(8): `-i`, `-f SENDER` if there is one, the recipients; the message is its standard input.",
);

pub(in crate::config) static ARGV: Key<ListOf<String>> = optional(
    "argv",
    ListOf::new("strings"),
    "required for `command`",
    "[\"/usr/local/bin/page\", \"--team\", \"net\"]",
    "The program of a `command` by its absolute path, and its arguments. It is run without a shell, in `/`, in a session of its own. The target was told if it ends with status 0. At its end, and at its timeout, all of its processes are killed.",
);

pub(in crate::config) static USER: Defaulted<Text> = defaulted(
    "user",
    Text {
        what: "name or number of a user",
    },
    || "nobody",
    "As whom a `command` or the program of a `mail` runs. As with tracks, setuid and setgid programs give it no rights: see \"Notifications\" in the operations manual for Postfix and Exim.",
);

pub(in crate::config) static ENVIRONMENT: Defaulted<ListOf<String>> = defaulted(
    "environment",
    ListOf::new("`NAME=VALUE`"),
    Vec::new,
    "What a `command` finds in its environment beside `PATH` and the fields of the event.",
);

pub(in crate::config) static RATE: Defaulted<Integer<u16>> = defaulted(
    "rate",
    Integer { min: 1, max: 600 },
    || 10,
    "How many messages the target gets in a minute at most. More events wait; when more than 32 wait, the oldest are held back, and the next message says how many (`held_back`).",
);

pub(in crate::config) static TIMEOUT: Defaulted<Period> = defaulted(
    "timeout",
    Period {
        min: Duration::from_millis(100),
        max: Duration::from_secs(30),
        also: "",
    },
    || Duration::from_secs(10),
    "The time limit for one attempt.",
);

pub(in crate::config) static RETRY_FOR: Defaulted<Period> = defaulted(
    "retry-for",
    Period {
        min: Duration::ZERO,
        max: Duration::from_hours(24),
        also: "",
    },
    || Duration::from_mins(10),
    "For how long a message that could not be sent is tried again, with pauses of 1 s, 2 s, 4 s, … up to 1 min. `0s`: not at all. A server that refuses a message (a status of 300 to 499 other than 408 and 429) is not asked again.",
);

/// `[notify.NAME]`.
pub(in crate::config) static SECTION: Section = Section {
    header: "[notify.NAME]",
    text: "A target of notifications: who is told what happens on this node. Templates (`url`, `headers`, `body`, `subject`) may have these variables: `${event}`, `${severity}` (`info` or `warning`), `${id}`, `${time}`, `${time_ms}`, `${node}`, `${text}` (all of it in one line), `${vhost}`, `${interface}`, `${vhid}`, `${from}`, `${to}`, `${cause}`, `${why}`, `${peer}`, `${hook}`, `${track}`, `${held_back}`, and `${json}`: all of them as a JSON object. One that an event does not have is empty. `$$` is a dollar sign. `carpd notify test` tries the targets out.",
    keys: &[
        &KIND,
        &EVENTS,
        &VHOSTS,
        &FROM,
        &TO,
        &URL,
        &METHOD,
        &HEADERS,
        &BODY,
        &SECRET_FILE,
        &CREDENTIAL,
        &RECIPIENTS,
        &SENDER,
        &SUBJECT,
        &SENDMAIL,
        &ARGV,
        &USER,
        &ENVIRONMENT,
        &RATE,
        &TIMEOUT,
        &RETRY_FOR,
    ],
};
