//! Arguments: what a language hands over, checked against what a function takes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Function, Param, nearest};
use crate::effect::{Endpoint, RouteTarget, Url};
use crate::types::{IfName, MacAddr, VirtualAddress};

/// A value as a script gave it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// A number; whether it is whole is checked where it matters.
    Number(f64),
    /// Text or bytes.
    Text(Vec<u8>),
    /// A table with keys 1, 2, 3 and so on.
    List(Vec<Raw>),
    /// A table with text as keys.
    Map(Vec<(String, Raw)>),
    /// Something that cannot be passed, by the name of its type.
    Other(&'static str),
}

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An address with an optional prefix length: `192.168.32.22/24`.
    Cidr,
    /// `default`, a network or an address.
    Target,
    /// An address.
    Ip,
    /// An interface's name.
    Device,
    /// A hardware address.
    Mac,
    /// `http://...` or `https://...`.
    Url,
    /// A host and a port: `192.168.32.10:80`.
    Endpoint,
    /// Text (UTF-8).
    Text,
    /// Any bytes.
    Bytes,
    /// A whole number in a range, both ends included.
    Int(i64, i64),
    /// True or false.
    Bool,
    /// A table from text to text; numbers and booleans are written out.
    Words,
    /// Anything made of text, numbers, booleans and tables; nothing deletes.
    Any,
}

/// A checked argument.
#[derive(Debug, Clone, PartialEq)]
enum Arg {
    Address(VirtualAddress),
    Target(RouteTarget),
    Ip(IpAddr),
    Device(IfName),
    Mac(MacAddr),
    Url(Url),
    Endpoint(Endpoint),
    Text(String),
    Bytes(Vec<u8>),
    Int(i64),
    Bool(bool),
    Words(BTreeMap<String, String>),
    Any(serde_json::Value),
}

/// Checked arguments and options, by name.
#[derive(Debug)]
pub struct Args {
    given: Vec<(&'static str, Arg)>,
}

/// A number that a `f64` holds exactly: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Kind {
    /// What may stand there, in words, for messages.
    #[must_use]
    pub fn expects(self) -> String {
        match self {
            Self::Cidr => "an address such as \"192.168.32.22/24\"".into(),
            Self::Target => "\"default\" or a network such as \"10.0.0.0/8\"".into(),
            Self::Ip => "an address such as \"192.168.32.254\"".into(),
            Self::Device => "an interface's name".into(),
            Self::Mac => "a hardware address such as \"00:00:5e:00:01:28\"".into(),
            Self::Url => "a URL such as \"https://api.example.net/v1/\"".into(),
            Self::Endpoint => "a host and a port such as \"192.168.32.10:80\"".into(),
            Self::Text => "text".into(),
            Self::Bytes => "a string".into(),
            Self::Int(min, max) => format!("a whole number from {min} to {max}"),
            Self::Bool => "true or false".into(),
            Self::Words => "a table with text as keys".into(),
            Self::Any => "text, a number, true, false or a table of these".into(),
        }
    }

    /// Why this value cannot be such a one; `None` if it can.
    #[must_use]
    pub fn refuses(self, raw: Raw) -> Option<String> {
        self.check(raw).err()
    }

    fn check(self, raw: Raw) -> Result<Arg, String> {
        let wrong = |raw: &Raw| format!("must be {}, not {}", self.expects(), raw.what());
        let text = |raw: Raw| match raw {
            Raw::Text(bytes) => String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned()),
            Raw::Number(_)
            | Raw::Nil
            | Raw::Bool(_)
            | Raw::List(_)
            | Raw::Map(_)
            | Raw::Other(_) => Err(wrong(&raw)),
        };
        let parse_error =
            |err: &dyn std::fmt::Display| format!("must be {}: {err}", self.expects());
        Ok(match (self, raw) {
            (Self::Cidr, raw) => Arg::Address(text(raw)?.parse().map_err(|err| parse_error(&err))?),
            (Self::Target, raw) => {
                Arg::Target(text(raw)?.parse().map_err(|err| parse_error(&err))?)
            }
            (Self::Device, raw) => {
                Arg::Device(text(raw)?.parse().map_err(|err| parse_error(&err))?)
            }
            (Self::Mac, raw) => Arg::Mac(text(raw)?.parse().map_err(|err| parse_error(&err))?),
            (Self::Url, raw) => Arg::Url(text(raw)?.parse().map_err(|err| parse_error(&err))?),
            (Self::Endpoint, raw) => {
                Arg::Endpoint(text(raw)?.parse().map_err(|err| parse_error(&err))?)
            }
            (Self::Ip, raw) => {
                let text = text(raw)?;
                Arg::Ip(
                    text.parse()
                        .map_err(|_| parse_error(&format!("{text:?} is not one")))?,
                )
            }
            (Self::Text, raw) => Arg::Text(text(raw)?),
            (Self::Bytes, Raw::Text(bytes)) => Arg::Bytes(bytes),
            (Self::Int(min, max), Raw::Number(number)) => match whole(number) {
                Some(n) if (min..=max).contains(&n) => Arg::Int(n),
                _ => return Err(format!("must be {}, not {number}", self.expects())),
            },
            (Self::Bool, Raw::Bool(given)) => Arg::Bool(given),
            (Self::Words, Raw::Map(pairs)) => Arg::Words(words(pairs)?),
            (Self::Any, raw) => Arg::Any(raw.json()?),
            (Self::Bytes | Self::Int(..) | Self::Bool | Self::Words, raw) => {
                return Err(wrong(&raw));
            }
        })
    }
}

/// The number as an integer, if it is exactly one.
fn whole(number: f64) -> Option<i64> {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return Some(number as i64);
    }
    None
}

fn words(pairs: Vec<(String, Raw)>) -> Result<BTreeMap<String, String>, String> {
    pairs
        .into_iter()
        .map(|(key, raw)| {
            raw.word()
                .map(|word| (key.clone(), word))
                .map_err(|err| format!("[{key:?}] {err}"))
        })
        .collect()
}

impl Raw {
    /// What it is, with its article.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Nil => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) | Self::Map(_) => "a table",
            Self::Other(kind) => kind,
        }
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// What JSON cannot hold: bytes that are no UTF-8, a function, a number that is none.
    pub fn json(self) -> Result<serde_json::Value, String> {
        use serde_json::Value;
        Ok(match self {
            Self::Nil => Value::Null,
            Self::Bool(given) => Value::Bool(given),
            Self::Number(number) => match whole(number) {
                Some(n) => n.into(),
                None => serde_json::Number::from_f64(number)
                    .map(Value::Number)
                    .ok_or_else(|| format!("{number} cannot be stored"))?,
            },
            Self::Text(bytes) => Value::String(
                String::from_utf8(bytes).map_err(|_| "stored text must be UTF-8".to_owned())?,
            ),
            Self::List(list) => {
                Value::Array(list.into_iter().map(Self::json).collect::<Result<_, _>>()?)
            }
            Self::Map(pairs) => {
                let pairs = pairs
                    .into_iter()
                    .map(|(key, raw)| raw.json().map(|value| (key, value)));
                Value::Object(pairs.collect::<Result<_, _>>()?)
            }
            Self::Other(kind) => return Err(format!("{kind} cannot be stored")),
        })
    }

    /// A text, number or boolean, written out.
    fn word(self) -> Result<String, String> {
        match self {
            Self::Text(bytes) => String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned()),
            Self::Number(number) => {
                Ok(whole(number).map_or_else(|| number.to_string(), |n| n.to_string()))
            }
            Self::Bool(given) => Ok(given.to_string()),
            Self::Nil | Self::List(_) | Self::Map(_) | Self::Other(_) => Err(format!(
                "must be text, a number or a boolean, not {}",
                self.what()
            )),
        }
    }
}

impl Args {
    /// Checks what was given against what the function takes.
    pub(super) fn read(function: &Function, raw: Vec<Raw>) -> Result<Self, String> {
        let positional = function.params.len();
        let most = positional + usize::from(!function.options.is_empty());
        if raw.len() > most {
            return Err(format!(
                "takes at most {most} argument{}, not {}",
                if most == 1 { "" } else { "s" },
                raw.len()
            ));
        }
        let mut args = Self {
            given: Vec::with_capacity(raw.len() + 2),
        };
        let mut raw = raw.into_iter();
        for (index, param) in function.params.iter().enumerate() {
            let label = format!("argument {} ({})", index + 1, param.name);
            args.take(param, raw.next().unwrap_or(Raw::Nil), &label)?;
        }
        let mut options = match raw.next() {
            None | Some(Raw::Nil) => Vec::new(),
            Some(Raw::Map(pairs)) => pairs,
            Some(other) => {
                return Err(format!(
                    "argument {} must be a table of options, not {}",
                    positional + 1,
                    other.what()
                ));
            }
        };
        for param in function.options {
            let given = options
                .iter()
                .position(|(key, _)| key == param.name)
                .map(|at| options.swap_remove(at).1);
            args.take(
                param,
                given.unwrap_or(Raw::Nil),
                &format!("option {}", param.name),
            )?;
        }
        match options.first() {
            None => Ok(args),
            Some((key, _)) => {
                let hint = nearest(key, function.options.iter().map(|o| o.name));
                Err(format!(
                    "has no option {key:?}{}",
                    hint.map(|h| format!("; did you mean {h}?"))
                        .unwrap_or_default()
                ))
            }
        }
    }

    fn take(&mut self, param: &Param, raw: Raw, label: &str) -> Result<(), String> {
        if raw == Raw::Nil {
            if param.required {
                return Err(format!("{label} is missing: {}", param.kind.expects()));
            }
            return Ok(());
        }
        let arg = param
            .kind
            .check(raw)
            .map_err(|err| format!("{label} {err}"))?;
        self.given.push((param.name, arg));
        Ok(())
    }

    fn pop(&mut self, name: &str) -> Option<Arg> {
        self.given
            .iter()
            .position(|(n, _)| *n == name)
            .map(|at| self.given.swap_remove(at).1)
    }
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $type:ty;)*) => {
        impl Args {
            $($(#[$doc])* pub(super) fn $name(&mut self, name: &str) -> Option<$type> {
                match self.pop(name) {
                    Some(Arg::$variant(value)) => Some(value),
                    _ => None,
                }
            })*
        }
    };
}

getters! {
    address: Address -> VirtualAddress;
    target: Target -> RouteTarget;
    ip: Ip -> IpAddr;
    device: Device -> IfName;
    mac: Mac -> MacAddr;
    url: Url -> Url;
    endpoint: Endpoint -> Endpoint;
    text: Text -> String;
    bytes: Bytes -> Vec<u8>;
    bool: Bool -> bool;
    words: Words -> BTreeMap<String, String>;
    any: Any -> serde_json::Value;
}

impl Args {
    /// An integer whose range was checked to fit.
    pub(super) fn int<T: TryFrom<i64>>(&mut self, name: &str) -> Option<T> {
        match self.pop(name) {
            Some(Arg::Int(value)) => T::try_from(value).ok(),
            _ => None,
        }
    }

    /// The value of a required argument; [`Args::read`] has seen to it that it is there.
    pub(super) fn must<T>(value: Option<T>) -> Result<T, String> {
        value.ok_or_else(|| "an argument is missing".to_owned())
    }
}
