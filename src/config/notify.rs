//! Reads `[notify.NAME]`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;

use super::choice::{Choice as _, NotifyKind};
use super::grant::is_plain_path;
use super::model::{Place, Program};
use super::problem::Findings;
use super::read::{At, Table, nearest, parse};
use super::reference::{self, Entry, notify as key};
use super::secret::{BadToken, Token};
use super::target::{Mail, Target, Way, Webhook};
use super::track::{argv_of, environment, user_of};
use super::{Surroundings, Unusable, vhost as vhosts};
use crate::effect::{HttpRequest, Url};
use crate::notification::{
    Escape, Event, EventKind, ParseTemplateError, Template, TooLong, Values,
};
use crate::types::{Name, State};

/// More targets than these are refused: each has a queue, and may have a process.
const TARGETS_MAX: usize = 32;

/// The longest template, in bytes.
const TEMPLATE_MAX: usize = 16 << 10;

/// The usual body of a webhook.
const WHOLE: &str = "${json}";

/// The usual body of a mail.
const LETTER: &str = "${text}\n\n\
    event:     ${event}\nseverity:  ${severity}\ntime:      ${time}\nnode:      ${node}\n\
    vhost:     ${vhost}\ninterface: ${interface}\nvhid:      ${vhid}\nfrom:      ${from}\nto:        ${to}\n\
    cause:     ${cause}\nwhy:       ${why}\npeer:      ${peer}\nhook:      ${hook}\ntrack:     ${track}\n\
    held back: ${held_back}\nid:        ${id}\n";

/// All targets by name. `None` only if something was reported.
pub(super) fn read_all(
    root: &Table<'_>,
    vhosts: &[vhosts::Draft],
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Option<BTreeMap<Name, Target>> {
    if !root.entries.contains_key(reference::NOTIFY.name) {
        return Some(BTreeMap::new());
    }
    let tables = root.read(&reference::NOTIFY, out)?;
    if tables.value.len() > TARGETS_MAX {
        let text = format!("more than {TARGETS_MAX} targets of notifications");
        out.error(tables.span.clone(), text);
    }
    let mut targets = BTreeMap::new();
    let mut complete = true;
    for (name, table) in tables.value {
        let span = name.span.clone();
        let name = parse::<Name>(name, out);
        let target = table.and_then(|table| read(&table, span, vhosts, around, out));
        match (name, target) {
            (Some(name), Some(target)) => _ = targets.insert(name.value, target),
            _ => complete = false,
        }
    }
    complete.then_some(targets)
}

fn read(
    table: &Table<'_>,
    span: std::ops::Range<usize>,
    vhosts: &[vhosts::Draft],
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Option<Target> {
    let kind = table.read(&key::KIND, out);
    let events = events(table, out);
    let (from, to) = (
        states(table, &key::FROM, &events, out),
        states(table, &key::TO, &events, out),
    );
    let named = of_vhosts(table, vhosts, out);
    let given = Given::read(table, around, out);
    let kind = kind?;
    belong(table, &kind, out);
    Some(Target {
        way: given?.way(kind.value, table, out)?,
        events,
        vhosts: named,
        from,
        to,
        rate: table.get(&key::RATE, out),
        timeout: table.get(&key::TIMEOUT, out),
        retry_for: table.get(&key::RETRY_FOR, out),
        place: Place(span),
    })
}

fn events(table: &Table<'_>, out: &mut Findings) -> Vec<EventKind> {
    let given = table.read(&key::EVENTS, out);
    if let Some(none) = given.as_ref().filter(|given| given.value.is_empty()) {
        let text = "`events` is empty: the target would never be told anything";
        out.error(none.span.clone(), text);
    }
    given.map_or_else(|| key::EVENTS.default(), |given| given.value)
}

fn states(
    table: &Table<'_>,
    key: &'static reference::Key<super::form::SomeOf<State>>,
    events: &[EventKind],
    out: &mut Findings,
) -> Vec<State> {
    let Some(given) = table.read(key, out) else {
        return Vec::new();
    };
    if !events.contains(&EventKind::Transition) {
        let text = format!(
            "`{}` has no effect: `events` does not contain \"transition\"",
            key.name
        );
        out.warn(given.span, text);
    }
    given.value
}

fn of_vhosts(table: &Table<'_>, vhosts: &[vhosts::Draft], out: &mut Findings) -> Vec<Name> {
    let given = table.read(&key::VHOSTS, out);
    let given = given.map(|given| given.value).unwrap_or_default();
    let known: Vec<&Name> = vhosts
        .iter()
        .filter_map(|vhost| Some(&vhost.name.as_ref()?.value))
        .collect();
    for name in &given {
        if known.contains(&&name.value) {
            continue;
        }
        let text = format!("no virtual host is called {:?}", name.value.as_str());
        let near = nearest(name.value.as_str(), known.iter().map(|name| name.as_str()));
        let near = near.map(|near| format!("did you mean {near:?}?"));
        out.error(name.span.clone(), text).hint(near);
    }
    given.into_iter().map(|name| name.value).collect()
}

/// What is written, whatever the kind is. What could not be read has been reported.
struct Given {
    url: Option<At<Template>>,
    headers: Vec<(String, Template)>,
    body: Option<At<Template>>,
    subject: Template,
    secret: Option<Token>,
    recipients: Option<Vec<String>>,
    sender: Option<String>,
    sendmail: String,
    program: Option<Program>,
    user: String,
}

impl Given {
    /// `None` if something that has a default could not be read.
    fn read(table: &Table<'_>, around: &dyn Surroundings, out: &mut Findings) -> Option<Self> {
        let argv = table.read(&key::ARGV, out);
        let argv = argv.and_then(|argv| argv_of(argv, out));
        let environment = environment(table.get(&key::ENVIRONMENT, out), out);
        let url = table.read(&key::URL, out).map(|url| template(url, out));
        let body = table.read(&key::BODY, out).map(|body| template(body, out));
        let subject = table.read(&key::SUBJECT, out);
        let subject = subject.unwrap_or(At {
            value: key::SUBJECT.default(),
            span: 0..0,
        });
        let subject = template(subject, out);
        let headers = headers(table, out);
        let secret = secret(table, around, out);
        let recipients = recipients(table, out);
        let sender = table.read(&key::SENDER, out);
        let sender = sender.map(|sender| {
            let text = At {
                value: sender.value.to_owned(),
                span: sender.span,
            };
            address(&text, out)
        });
        let sendmail = sendmail(table, out);
        let user = user_of(table.read(&key::USER, out), key::USER.default(), out);
        Some(Self {
            url: url.map_or(Some(None), |url| Some(Some(url?)))?,
            headers: headers?,
            body: body.map_or(Some(None), |body| Some(Some(body?)))?,
            subject: subject?.value,
            secret: secret.ok()?,
            recipients,
            sender: sender.map_or(Some(None), |sender| Some(Some(sender?)))?,
            sendmail: sendmail?,
            program: argv.map(|argv| Program { argv, environment }),
            user,
        })
    }

    fn way(self, kind: NotifyKind, table: &Table<'_>, out: &mut Findings) -> Option<Way> {
        match kind {
            NotifyKind::Webhook => self.webhook(table, out),
            NotifyKind::Mail => Some(Way::Mail(Box::new(Mail {
                sendmail: self.sendmail,
                recipients: self.recipients?,
                sender: self.sender,
                subject: self.subject,
                body: match self.body {
                    Some(body) => body.value,
                    None => Template::parse(LETTER).ok()?,
                },
                user: self.user,
            }))),
            NotifyKind::Command => Some(Way::Command {
                program: self.program?,
                user: self.user,
            }),
        }
    }

    fn webhook(self, table: &Table<'_>, out: &mut Findings) -> Option<Way> {
        let url = self.url?;
        let has_body = self.body.as_ref().map(|body| body.span.clone());
        let body = match self.body {
            Some(body) => body.value,
            None => Template::parse(WHOLE).ok()?,
        };
        let mut headers = self.headers;
        let content = headers.iter().find(|(name, _)| name == "content-type");
        let is_json = content
            .is_none_or(|(_, value)| value.beginning().to_ascii_lowercase().contains("json"));
        if content.is_none() {
            let json = Template::parse("application/json").ok()?;
            headers.push(("content-type".to_owned(), json));
        }
        let needs_secret = [&url.value, &body]
            .into_iter()
            .chain(headers.iter().map(|(_, value)| value))
            .any(Template::has_secret);
        if needs_secret && self.secret.is_none() {
            let text = "`${secret}` needs `secret-file` or `credential`";
            out.error(table.span.clone(), text);
            return None;
        }
        // As when it is sent, with an event that has everything.
        let sample = Url::from_event(&url, self.secret.as_ref(), out)?;
        let webhook = Webhook {
            endpoint: sample.endpoint(),
            url: url.value,
            verb: table.get(&key::METHOD, out),
            headers,
            body,
            is_json,
            secret: self.secret,
        };
        let span = has_body.unwrap_or_else(|| table.span.clone());
        let checked = check_request(&webhook, sample);
        if let Err(why) = checked {
            out.error(span, why);
            return None;
        }
        Some(Way::Webhook(Box::new(webhook)))
    }
}

/// A URL as it would be with an event.
trait FromEvent: Sized {
    fn from_event(url: &At<Template>, secret: Option<&Token>, out: &mut Findings) -> Option<Self>;
}

impl FromEvent for Url {
    fn from_event(url: &At<Template>, secret: Option<&Token>, out: &mut Findings) -> Option<Self> {
        // What it goes to must not depend on what happened, nor be a secret.
        let beginning = url.value.beginning();
        let behind = beginning.split_once("://").map(|(_, behind)| behind);
        let is_whole = url.value == Template::parse(beginning).unwrap_or_default();
        if !is_whole && !behind.is_some_and(|behind| behind.contains(['/', '?'])) {
            let text =
                "`url` must begin with scheme, host and a slash; variables may stand behind them";
            out.error(url.span.clone(), text);
            return None;
        }
        let given = |secret| {
            let values = Values::of(&Event::sample(), secret);
            url.value.render(&values, Escape::Url)
        };
        // Its own words may be shown.
        match given(Some("-")).map(|text| text.parse::<Self>()) {
            Err(TooLong) => _ = out.error(url.span.clone(), TooLong.to_string()),
            Ok(Err(why)) => _ = out.error(url.span.clone(), why.to_string()),
            Ok(Ok(plain)) => {
                let Some(secret) = secret else {
                    return Some(plain);
                };
                let whole = given(Some(secret.text())).ok();
                if let Some(url) = whole.and_then(|text| text.parse().ok()) {
                    return Some(url);
                }
                let text = "with the secret in it, `url` is not a URL: write its special characters as %XX";
                out.error(url.span.clone(), text);
            }
        }
        None
    }
}

/// Whether the request could be sent.
fn check_request(webhook: &Webhook, url: Url) -> Result<(), String> {
    let values = Values::of(&Event::sample(), webhook.secret.as_ref().map(Token::text));
    let render = |template: &Template, escape| template.render(&values, escape);
    let headers = webhook.headers.iter();
    let headers = headers
        .map(|(name, value)| Ok((name.clone(), render(value, Escape::Header)?)))
        .collect::<Result<_, TooLong>>()
        .map_err(|why| why.to_string())?;
    let escape = if webhook.is_json {
        Escape::Json
    } else {
        Escape::Nothing
    };
    let body = render(&webhook.body, escape).map_err(|why| why.to_string())?;
    if webhook.is_json
        && let Err(why) = serde_json::from_str::<Json>(&body)
    {
        return Err(format!(
            "`body` is not JSON: {why}; with another `Content-Type` in `headers` it may be any text"
        ));
    }
    HttpRequest {
        verb: webhook.verb,
        url,
        headers,
        body: body.into_bytes(),
        timeout_ms: 0,
    }
    .check()
}

fn template(text: At<&str>, out: &mut Findings) -> Option<At<Template>> {
    if text.value.len() > TEMPLATE_MAX {
        out.error(text.span, format!("longer than {TEMPLATE_MAX} bytes"));
        return None;
    }
    match Template::parse(text.value) {
        Ok(value) => Some(At {
            value,
            span: text.span,
        }),
        Err(why) => {
            let hint = match &why {
                ParseTemplateError::Unknown(name) => {
                    let known = Template::variables();
                    let near = nearest(name, known.iter().copied());
                    near.map_or_else(
                        || format!("there are: {}", known.join(", ")),
                        |near| format!("did you mean ${{{near}}}?"),
                    )
                }
                ParseTemplateError::Open | ParseTemplateError::Dollar => {
                    "`$$` is a dollar sign, and `${vhost}` a variable".to_owned()
                }
            };
            out.error(text.span, why.to_string()).hint(hint);
            None
        }
    }
}

fn headers(table: &Table<'_>, out: &mut Findings) -> Option<Vec<(String, Template)>> {
    let given = table.read(&key::HEADERS, out);
    let given = given.map(|given| given.value).unwrap_or_default();
    let mut headers: Vec<(String, Template)> = Vec::new();
    let mut good = true;
    for line in given {
        let Some((name, value)) = line.value.split_once(':') else {
            let text = format!("{:?} is not of the form \"Name: value\"", line.value);
            out.error(line.span, text);
            good = false;
            continue;
        };
        let name = name.to_ascii_lowercase();
        if headers.iter().any(|(other, _)| *other == name) {
            out.error(line.span, format!("`headers` has {name} twice"));
            good = false;
            continue;
        }
        let value = At {
            value: value.trim(),
            span: line.span.clone(),
        };
        match template(value, out) {
            Some(value) => headers.push((name, value.value)),
            None => good = false,
        }
    }
    good.then_some(headers)
}

/// It was reported.
struct Reported;

/// The secret, if there is one.
fn secret(
    table: &Table<'_>,
    around: &dyn Surroundings,
    out: &mut Findings,
) -> Result<Option<Token>, Reported> {
    let file = table.read(&key::SECRET_FILE, out);
    let credential = table.read(&key::CREDENTIAL, out);
    let (bytes, span) = match (file, credential) {
        (Some(file), None) => {
            let path = Path::new(file.value);
            let read = around.password_file(path).map_err(|why| Unusable {
                // That a password is the same on all nodes is not true of this.
                hint: why.hint.filter(|hint| !hint.starts_with("write it")),
                message: why.message,
            });
            (read, file.span)
        }
        (None, Some(name)) if vhosts::is_credential(name.value) => {
            (around.credential(name.value), name.span)
        }
        (None, Some(name)) => {
            let text = format!("{:?} is not the name of a credential", name.value);
            out.error(name.span, text);
            return Err(Reported);
        }
        (Some(file), Some(credential)) => {
            let text = "a target has one secret: `secret-file` or `credential`, not both";
            out.error(credential.span, text)
                .related(file.span, "the other one");
            return Err(Reported);
        }
        (None, None) => {
            let failed = table.tried(&key::SECRET_FILE) || table.tried(&key::CREDENTIAL);
            return if failed { Err(Reported) } else { Ok(None) };
        }
    };
    let token = match bytes {
        Ok(bytes) => Token::from_file(&zeroize::Zeroizing::new(bytes)),
        Err(why) => {
            out.error(span, why.message).hint(why.hint);
            return Err(Reported);
        }
    };
    match token {
        Ok(token) => Ok(Some(token)),
        Err(why @ (BadToken::Empty | BadToken::TooLong(_) | BadToken::Unprintable)) => {
            out.error(span, why.to_string());
            Err(Reported)
        }
    }
}

fn recipients(table: &Table<'_>, out: &mut Findings) -> Option<Vec<String>> {
    let given = table.read(&key::RECIPIENTS, out)?;
    if given.value.is_empty() {
        out.error(given.span, "`recipients` is empty");
        return None;
    }
    let all = given.value.iter().map(|one| address(one, out));
    // Each is looked at.
    all.collect::<Vec<_>>().into_iter().collect()
}

/// Plain enough to stand in an argument and in a header.
fn address(text: &At<String>, out: &mut Findings) -> Option<String> {
    let plain = |c: char| c.is_ascii_graphic() && !"<>()[],;:\\\"".contains(c);
    let good = (1..=254).contains(&text.value.len())
        && text.value.chars().all(plain)
        && !text.value.starts_with('-');
    if good {
        return Some(text.value.clone());
    }
    let message = format!(
        "{:?} is not a mail address, as in ops@example.net",
        text.value
    );
    out.error(text.span.clone(), message);
    None
}

fn sendmail(table: &Table<'_>, out: &mut Findings) -> Option<String> {
    let Some(given) = table.read(&key::SENDMAIL, out) else {
        return Some(key::SENDMAIL.default().to_owned());
    };
    if is_plain_path(given.value) {
        return Some(given.value.to_owned());
    }
    let text = format!("{:?} is not the absolute path of a program", given.value);
    out.error(given.span, text);
    None
}

/// Every key that belongs to some kinds only.
static OF_KINDS: &[(&dyn Entry, &[NotifyKind])] = {
    use NotifyKind::{Command, Mail, Webhook};
    &[
        (&key::URL, &[Webhook]),
        (&key::METHOD, &[Webhook]),
        (&key::HEADERS, &[Webhook]),
        (&key::BODY, &[Webhook, Mail]),
        (&key::SECRET_FILE, &[Webhook]),
        (&key::CREDENTIAL, &[Webhook]),
        (&key::RECIPIENTS, &[Mail]),
        (&key::SENDER, &[Mail]),
        (&key::SUBJECT, &[Mail]),
        (&key::SENDMAIL, &[Mail]),
        (&key::ARGV, &[Command]),
        (&key::ENVIRONMENT, &[Command]),
        (&key::USER, &[Mail, Command]),
    ]
};

/// Reports the keys that this kind lacks, and those that mean nothing for it.
fn belong(table: &Table<'_>, kind: &At<NotifyKind>, out: &mut Findings) {
    let word = kind.value.word();
    let needed: &dyn Entry = match kind.value {
        NotifyKind::Webhook => &key::URL,
        NotifyKind::Mail => &key::RECIPIENTS,
        NotifyKind::Command => &key::ARGV,
    };
    if !table.tried(needed) {
        let name = needed.name();
        let text = format!("`kind = \"{word}\"` needs `{name}`");
        out.error(kind.span.clone(), text).hint(format!(
            "add a line such as `{name} = {}`",
            needed.example()
        ));
    }
    for (key, kinds) in OF_KINDS {
        let written = table.entries.get_key_value(key.name());
        if let Some((name, _)) = written.filter(|_| !kinds.contains(&kind.value)) {
            let text = format!("`{}` means nothing for `kind = \"{word}\"`", key.name());
            out.error(name.span(), text);
        }
    }
}
