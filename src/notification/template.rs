//! Texts with variables in them: `${vhost} is ${to} on ${node}`.

use std::fmt::Write as _;

use super::Event;

/// The longest result, in bytes.
const RESULT_MAX: usize = 64 << 10;

/// Beside the fields of an event.
const JSON: &str = "json";
/// What the configuration keeps in a file.
const SECRET: &str = "secret";

/// A text in which `${name}` stands for something that is known only when it is sent, and `$$` for
/// a dollar sign.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// One of [`Template::variables`].
    Variable(&'static str),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTemplateError {
    /// No variable has this name.
    #[error("there is no variable ${{{0}}}")]
    Unknown(String),
    /// `${` without its end.
    #[error("`${{` without `}}`")]
    Open,
    /// A dollar sign with something else behind it.
    #[error("a dollar sign by itself: write $$, or ${{name}}")]
    Dollar,
}

/// The result would be longer than what may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message would be longer than {RESULT_MAX} bytes")]
pub struct TooLong;

/// Where values are put, which decides what in them has to be written otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// In a string of JSON.
    Json,
    /// In a URL.
    Url,
    /// In a header: one line of printable ASCII.
    Header,
    /// In a text.
    Nothing,
}

/// What variables stand for.
#[derive(Debug)]
pub struct Values {
    fields: [(&'static str, String); 18],
    json: String,
    secret: String,
}

impl Values {
    /// Those of this event, and this secret if there is one.
    #[must_use]
    pub fn of(event: &Event, secret: Option<&str>) -> Self {
        Self {
            fields: event.fields(),
            json: event.json(),
            secret: secret.unwrap_or_default().to_owned(),
        }
    }

    fn get(&self, name: &str) -> &str {
        match name {
            JSON => &self.json,
            SECRET => &self.secret,
            _ => {
                let found = self.fields.iter().find(|(field, _)| *field == name);
                found.map_or("", |(_, value)| value)
            }
        }
    }
}

impl Template {
    /// The names of all variables.
    #[must_use]
    pub fn variables() -> Vec<&'static str> {
        let fields = Event::sample().fields().map(|(name, _)| name);
        fields.into_iter().chain([JSON, SECRET]).collect()
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`ParseTemplateError`]
    pub fn parse(text: &str) -> Result<Self, ParseTemplateError> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, behind)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(behind) = behind.strip_prefix('$') {
                plain.push('$');
                rest = behind;
                continue;
            }
            let inside = behind.strip_prefix('{').ok_or(ParseTemplateError::Dollar)?;
            let (name, behind) = inside.split_once('}').ok_or(ParseTemplateError::Open)?;
            let mut known = Self::variables().into_iter();
            let known = known.find(|known| *known == name);
            let name = known.ok_or_else(|| ParseTemplateError::Unknown(name.to_owned()))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Variable(name));
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// Whether it needs the secret.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.0.contains(&Part::Variable(SECRET))
    }

    /// What stands before the first variable.
    #[must_use]
    pub fn beginning(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            Some(Part::Variable(_)) | None => "",
        }
    }

    /// The text with these values.
    ///
    /// # Errors
    /// [`TooLong`]
    pub fn render(&self, values: &Values, escape: Escape) -> Result<String, TooLong> {
        let mut result = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => result.push_str(text),
                // It is what it is, quotes and all; and the operator knows what a secret needs.
                Part::Variable(name @ (JSON | SECRET)) if escape != Escape::Header => {
                    result.push_str(values.get(name));
                }
                Part::Variable(name) => escape.put(values.get(name), &mut result),
            }
            if result.len() > RESULT_MAX {
                return Err(TooLong);
            }
        }
        Ok(result)
    }
}

impl Escape {
    fn put(self, value: &str, into: &mut String) {
        match self {
            Self::Nothing => into.push_str(value),
            Self::Header => {
                let plain = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
                into.extend(value.chars().map(plain));
            }
            Self::Json => {
                // A string is written with its quotes.
                let quoted = serde_json::to_string(value).unwrap_or_default();
                let inside = quoted
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'));
                into.push_str(inside.unwrap_or_default());
            }
            Self::Url => {
                for byte in value.bytes() {
                    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                        into.push(char::from(byte));
                    } else {
                        _ = write!(into, "%{byte:02X}");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        Event {
            text: text.to_owned(),
            ..Event::sample()
        }
    }

    fn rendered(template: &str, text: &str, escape: Escape) -> String {
        let values = Values::of(&event(text), Some("s3cr=t/x"));
        let template = Template::parse(template).unwrap();
        template.render(&values, escape).unwrap()
    }

    #[test]
    fn values_are_written_as_their_place_needs_it() {
        for (template, text, escape, wanted) in [
            ("a", "", Escape::Nothing, "a"),
            ("", "", Escape::Nothing, ""),
            ("$$5 ${vhost}$$", "", Escape::Nothing, "$5 web$"),
            ("${vhost}${to}", "", Escape::Nothing, "webmaster"),
            ("<${text}>", "\"\"\\", Escape::Nothing, "<\"\"\\>"),
            (
                "{\"t\":\"${text}\"}",
                "\"a\"\n\\",
                Escape::Json,
                "{\"t\":\"\\\"a\\\"\\n\\\\\"}",
            ),
            ("/${text}?", "a b/ä", Escape::Url, "/a%20b%2F%C3%A4?"),
            ("/${secret}", "", Escape::Url, "/s3cr=t/x"),
            ("x ${text}", "a\r\nb ä", Escape::Header, "x a??b ?"),
            ("Bearer ${secret}", "", Escape::Header, "Bearer s3cr=t/x"),
        ] {
            assert_eq!(rendered(template, text, escape), wanted, "{template}");
        }
        let json = rendered("[${json}]", "x", Escape::Json);
        let all: Vec<Event> = serde_json::from_str(&json).unwrap();
        assert_eq!(all, [event("x")]);
    }

    #[test]
    fn what_is_no_template_is_told() {
        for (text, why) in [
            ("${vhst}", "there is no variable ${vhst}"),
            ("${vhost", "`${` without `}`"),
            ("$vhost", "a dollar sign by itself: write $$, or ${name}"),
            ("5 $", "a dollar sign by itself: write $$, or ${name}"),
        ] {
            assert_eq!(
                Template::parse(text).unwrap_err().to_string(),
                why,
                "{text}"
            );
        }
    }

    #[test]
    fn a_result_is_bounded() {
        let template = Template::parse(&"${json}".repeat(1000)).unwrap();
        let values = Values::of(&event(&"x".repeat(1000)), None);
        assert_eq!(template.render(&values, Escape::Nothing), Err(TooLong));
    }

    proptest::proptest! {
        #[test]
        fn whatever_happened_json_stays_json_and_a_header_one_line(text in ".*") {
            let json = rendered("{\"t\":\"${text}\"}", &text, Escape::Json);
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read["t"], text);
            let header = rendered("${text}", &text, Escape::Header);
            assert!(header.bytes().all(|b| (b' '..=b'~').contains(&b)), "{header:?}");
        }

        #[test]
        fn any_text_is_a_template_or_is_refused(text in ".*") {
            if let Ok(template) = Template::parse(&text) {
                _ = template.render(&Values::of(&event(""), None), Escape::Nothing);
            }
        }
    }
}
