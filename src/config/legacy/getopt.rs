//! A command line as `getopt_long` of the GNU C library reads it: options anywhere among other
//! words, unique prefixes of long ones, bundles of short ones, and its complaints word for word.

use super::Flag;

/// One option of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub(super) flag: Flag,
    pub(super) short: Option<char>,
    pub(super) long: &'static str,
    /// Does a value belong to it?
    pub(super) takes_value: bool,
}

/// Where a value stands: the word, and the byte in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) word: usize,
    pub(super) byte: usize,
}

/// One option that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) flag: Flag,
    /// Empty for an option without one.
    pub(super) value: &'a str,
    pub(super) place: Place,
}

/// Reads words one by one, so that whoever uses it can stop at the first that is bad.
#[derive(Debug)]
pub(super) struct Words<'a> {
    table: &'static [Spec],
    all: &'a [String],
    next: usize,
    /// Within a bundle of short options: its word, and the byte of the next one.
    bundle: Option<Place>,
}

impl<'a> Words<'a> {
    pub(super) const fn new(table: &'static [Spec], all: &'a [String]) -> Self {
        Self {
            table,
            all,
            next: 0,
            bundle: None,
        }
    }

    fn text(&self, place: Place) -> &'a str {
        self.all
            .get(place.word)
            .and_then(|word| word.get(place.byte..))
            .unwrap_or_default()
    }

    /// The next word is the value of an option, whatever it looks like.
    fn take(&mut self) -> Option<(&'a str, Place)> {
        let place = Place {
            word: self.next,
            byte: 0,
        };
        let value = self.all.get(self.next)?;
        self.next += 1;
        Some((value, place))
    }

    fn short(&mut self, at: Place) -> Option<Result<Found<'a>, String>> {
        let letter = self.text(at).chars().next()?;
        let rest = Place {
            byte: at.byte + letter.len_utf8(),
            ..at
        };
        let in_rest = !self.text(rest).is_empty();
        self.bundle = in_rest.then_some(rest);
        let Some(spec) = self.table.iter().find(|spec| spec.short == Some(letter)) else {
            return Some(Err(format!("invalid option -- '{letter}'")));
        };
        if !spec.takes_value {
            return Some(Ok(Found {
                flag: spec.flag,
                value: "",
                place: rest,
            }));
        }
        self.bundle = None;
        let value = if in_rest {
            Some((self.text(rest), rest))
        } else {
            self.take()
        };
        Some(match value {
            Some((value, place)) => Ok(Found {
                flag: spec.flag,
                value,
                place,
            }),
            None => Err(format!("option requires an argument -- '{letter}'")),
        })
    }

    fn long(&mut self, word: usize) -> Result<Found<'a>, String> {
        let text = self.text(Place { word, byte: 2 });
        let (name, value) = text
            .split_once('=')
            .map_or((text, None), |(name, value)| (name, Some(value)));
        let spec = self.named(name, text)?;
        let inside = Place {
            word,
            byte: 2 + name.len() + 1,
        };
        let (value, place) = match (spec.takes_value, value) {
            (false, None) => ("", inside),
            (false, Some(_)) => {
                return Err(format!(
                    "option '--{}' doesn't allow an argument",
                    spec.long
                ));
            }
            (true, Some(value)) => (value, inside),
            (true, None) => self
                .take()
                .ok_or_else(|| format!("option '--{}' requires an argument", spec.long))?,
        };
        Ok(Found {
            flag: spec.flag,
            value,
            place,
        })
    }

    /// By its whole name, or by a prefix that no other option shares.
    fn named(&self, name: &str, text: &str) -> Result<&'static Spec, String> {
        if let Some(spec) = self.table.iter().find(|spec| spec.long == name) {
            return Ok(spec);
        }
        let near: Vec<&'static Spec> = self
            .table
            .iter()
            .filter(|spec| spec.long.starts_with(name))
            .collect();
        match near.as_slice() {
            [] => Err(format!("unrecognized option '--{text}'")),
            [spec] => Ok(spec),
            several => {
                let names: String = several
                    .iter()
                    .map(|spec| format!(" '--{}'", spec.long))
                    .collect();
                Err(format!(
                    "option '--{text}' is ambiguous; possibilities:{names}"
                ))
            }
        }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Result<Found<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(place) = self.bundle.take() {
            return self.short(place);
        }
        loop {
            let word = self.next;
            let text = self.all.get(word)?;
            self.next += 1;
            match text.as_bytes() {
                b"--" => self.next = self.all.len(),
                [b'-', b'-', ..] => return Some(self.long(word)),
                [b'-', _, ..] => return self.short(Place { word, byte: 1 }),
                // No option: ucarp never looks at those.
                _ => {}
            }
        }
    }
}
