//! What a target gets: the event in the words that its configuration chooses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Mail, Target, Token, Way, Webhook};
use crate::effect::HttpRequest;
use crate::host::children::notifier::{Letter, PREFIX};
use crate::notification::{Escape, Event, Values};
use crate::types::Name;

/// Bytes of a subject in one encoded word (RFC 2047): 60 characters of base64.
const WORD_MAX: usize = 45;

/// A point in time, as RFC 3339 has it.
pub(super) fn rfc3339(ms: u64) -> String {
    in_utc(ms, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

fn in_utc(ms: u64, format: &str) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .unwrap_or_default();
    time.strftime(format).to_string()
}

/// The request of a webhook.
///
/// # Errors
/// Why there is none.
pub(super) fn request(
    webhook: &Webhook,
    target: &Target,
    event: &Event,
) -> Result<HttpRequest, String> {
    let values = Values::of(event, webhook.secret.as_ref().map(Token::text));
    let url = webhook.url.render(&values, Escape::Url);
    let url = url.map_err(|why| why.to_string())?.parse();
    let escape = if webhook.is_json {
        Escape::Json
    } else {
        Escape::Nothing
    };
    let body = webhook.body.render(&values, escape);
    let mut headers = Vec::new();
    for (name, value) in &webhook.headers {
        let value = value.render(&values, Escape::Header);
        headers.push((name.clone(), value.map_err(|why| why.to_string())?));
    }
    let request = HttpRequest {
        verb: webhook.verb,
        // Its own words could show a secret.
        url: url.map_err(|_| "the event makes no URL of `url`".to_owned())?,
        headers,
        body: body.map_err(|why| why.to_string())?.into_bytes(),
        timeout_ms: u32::try_from(target.timeout.as_millis()).unwrap_or(u32::MAX),
    };
    request.check()?;
    Ok(request)
}

/// What the program of this target gets to read.
///
/// # Errors
/// Why there is nothing.
pub(super) fn letter(name: &Name, target: &Target, event: &Event) -> Result<Letter, String> {
    let input = match &target.way {
        Way::Mail(mail) => post(mail, event)?,
        Way::Webhook(_) | Way::Command { .. } => event.json() + "\n",
    };
    let fields = event.fields().into_iter();
    let variables = fields
        .chain([("target", name.to_string())])
        .map(|(field, value)| (format!("{PREFIX}{}", field.to_ascii_uppercase()), value));
    Ok(Letter {
        target: name.clone(),
        input: input.into_bytes(),
        variables: variables.collect(),
    })
}

/// A mail with its headers.
fn post(mail: &Mail, event: &Event) -> Result<String, String> {
    let values = Values::of(event, None);
    let render = |template: &crate::notification::Template| {
        let text = template.render(&values, Escape::Nothing);
        text.map_err(|why| why.to_string())
    };
    let host = |c: char| {
        let plain = c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if plain { c } else { '-' }
    };
    let node: String = event.node.chars().map(host).collect();
    let sender = mail.sender.as_ref();
    let from = sender.map_or_else(String::new, |sender| format!("From: {sender}\n"));
    Ok(format!(
        "{from}To: {to}\nSubject: {subject}\nDate: {date}\nMessage-ID: <carpd-{id}@{node}>\n\
         Auto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 8bit\n\n{body}",
        to = mail.recipients.join(",\n "),
        subject = encoded(&render(&mail.subject)?),
        date = in_utc(event.time_ms, "%a, %d %b %Y %H:%M:%S +0000"),
        id = event.id,
        body = render(&mail.body)?,
    ))
}

/// A text as the value of a header: on lines short enough, and encoded if it is not plain.
fn encoded(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.is_ascii() && text.len() <= 200 && !text.contains("=?") {
        return text;
    }
    let (mut words, mut rest) = (Vec::new(), text.as_str());
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.floor_char_boundary(WORD_MAX));
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = behind;
    }
    words.join("\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::Template;

    #[test]
    fn a_subject_is_plain_or_encoded_and_never_ends_the_header() {
        for (text, wanted) in [
            ("web is down", "web is down"),
            ("a\r\nBcc: x@y", "a  Bcc: x@y"),
            ("ä", "=?utf-8?B?w6Q=?="),
            ("=?utf-8?", "=?utf-8?B?PT91dGYtOD8=?="),
        ] {
            assert_eq!(encoded(text), wanted, "{text}");
        }
        let long = encoded(&"ä".repeat(300));
        assert!(long.lines().all(|line| line.len() <= 76), "{long}");
        assert!(long.lines().skip(1).all(|line| line.starts_with(' ')));
    }

    #[test]
    fn a_mail_has_its_headers_then_its_body() {
        let mail = Mail {
            sendmail: "/usr/sbin/sendmail".to_owned(),
            recipients: vec!["a@x".to_owned(), "b@x".to_owned()],
            sender: Some("c@x".to_owned()),
            subject: Template::parse("${node} ${vhost}").unwrap(),
            body: Template::parse("${text}\n").unwrap(),
            user: "nobody".to_owned(),
        };
        let event = Event {
            text: "To: nobody".to_owned(),
            ..Event::sample()
        };
        let post = post(&mail, &event).unwrap();
        let (head, body) = post.split_once("\n\n").unwrap();
        assert_eq!(body, "To: nobody\n");
        assert!(
            head.starts_with("From: c@x\nTo: a@x,\n b@x\nSubject: node web\nDate: Thu, 01 Jan 2026 00:00:00 +0000\n"),
            "{head}"
        );
        assert!(head.contains("\nMessage-ID: <carpd-0-1@node>\n"), "{head}");
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(rfc3339(1_767_225_600_123), "2026-01-01T00:00:00.123Z");
    }
}
