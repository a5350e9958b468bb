//! Reading a history, once or again and again while it is written, whatever state its writer left it
//! in.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{EVENTS_FILE, MAGIC, Row, STATES_FILE};
use crate::journal::{EventRecord, older};
use crate::record::{MAGIC_LEN, Records};

/// A place in a history: after this event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which row of numbers.
    pub history: u64,
    /// The number of the event.
    pub number: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.history, self.number)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cursor = text.split_once('-').and_then(|(history, number)| {
            Some(Self {
                history: u64::from_str_radix(history, 16).ok()?,
                number: number.parse().ok()?,
            })
        });
        cursor.ok_or_else(|| {
            "a cursor looks like 1f0c5e6a7b8d9e10-42: `carpd events --json` prints one with each event"
                .to_owned()
        })
    }
}

/// What a reader finds next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An event.
    Event(Cursor, EventRecord),
    /// So many events before the next one are no longer there.
    Missing(u64),
    /// Another history has begun: the files of the one before are gone.
    Anew,
}

/// Reads a history from some event on, each event once and in order.
#[derive(Debug)]
pub struct Reader {
    tails: [Tail; 2],
    history: Option<u64>,
    /// The last number that was given.
    last: u64,
    /// Whether what is missing before the first event is to be told.
    from_start: bool,
    waiting: BTreeMap<u64, EventRecord>,
    /// Up to where a hole has been seen: its events may just be on their way to the other file.
    hole: Option<u64>,
    /// Why a part of it could not be read.
    left_out: Option<String>,
}

impl Reader {
    /// Reads the history in this directory, after the event at the cursor or from its beginning.
    #[must_use]
    pub fn new(directory: &Path, after: Option<Cursor>) -> Self {
        Self {
            tails: [EVENTS_FILE, STATES_FILE].map(|name| Tail {
                path: directory.join(name),
                place: None,
                left_out: None,
            }),
            history: after.map(|cursor| cursor.history),
            last: after.map_or(0, |cursor| cursor.number),
            from_start: after.is_none(),
            waiting: BTreeMap::new(),
            hole: None,
            left_out: None,
        }
    }

    /// Why a part of the history is not shown, if one is there that cannot be read; told once.
    pub fn take_left_out(&mut self) -> Option<String> {
        self.left_out.take()
    }

    /// All that is there.
    ///
    /// # Errors
    /// There is no history, or it cannot be read: another version of carpd wrote it.
    pub fn read(&mut self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        // A hole that is seen twice is one.
        for _ in 0..2 {
            found.extend(self.poll()?);
        }
        Ok(found)
    }

    /// What has been added since. Events after a hole are held back until the next time.
    ///
    /// # Errors
    /// As above.
    pub fn poll(&mut self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        let (mut rows, mut errors) = (Vec::new(), Vec::new());
        for tail in &mut self.tails {
            let read = tail.read();
            errors.extend(tail.left_out.take());
            match read {
                Ok(some) => rows.extend(some),
                Err(error) => errors.push(error),
            }
        }
        let present = self.tails.iter().find_map(|tail| tail.place.as_ref());
        let is_absence = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        errors.sort_by_key(is_absence);
        let mut errors = errors.into_iter();
        if present.is_none()
            && let Some(error) = errors.next()
        {
            return Err(error);
        }
        let told = errors.next().filter(|error| !is_absence(error));
        self.left_out = self.left_out.take().or(told.map(|error| error.to_string()));
        let present = present.map(|place| place.history);
        if let Some(history) = present
            && self.history != present
        {
            if self.history.is_some() {
                found.push(Found::Anew);
            }
            self.history = Some(history);
            (self.last, self.from_start) = (0, true);
            (self.waiting, self.hole) = (BTreeMap::new(), None);
        }
        // What an earlier history left is not of this one.
        let ours = rows
            .into_iter()
            .filter(|(history, _)| self.history == Some(*history));
        for record in ours.flat_map(|(_, records)| records) {
            if record.number > self.last {
                self.waiting.insert(record.number, record);
            }
        }
        self.give(&mut found);
        Ok(found)
    }

    fn give(&mut self, found: &mut Vec<Found>) {
        let Some(history) = self.history else { return };
        while let Some((number, record)) = self.waiting.pop_first() {
            let missing = number.saturating_sub(self.last).saturating_sub(1);
            if missing > 0 && self.hole.is_none_or(|seen| number > seen) {
                let last = self
                    .waiting
                    .last_key_value()
                    .map_or(number, |(last, _)| *last);
                self.hole = Some(last);
                self.waiting.insert(number, record);
                return;
            }
            if missing > 0 && !self.from_start {
                found.push(Found::Missing(missing));
            }
            (self.last, self.from_start) = (number, false);
            found.push(Found::Event(Cursor { history, number }, record));
        }
        self.hole = None;
    }
}

/// The rows of a file, or of a part of one: which history they are of, and its events.
type Rows = (u64, Vec<EventRecord>);

/// How far one of the files has been read.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    place: Option<Place>,
    /// Why the file before it was not read.
    left_out: Option<io::Error>,
}

/// A place in a file: after this byte.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    offset: u64,
    history: u64,
    /// How the file begins, which no other does. The number of an inode may be used again.
    head: Vec<u8>,
}

impl Place {
    /// Whether it is a place in this file.
    fn is_in(&self, file: &File) -> io::Result<bool> {
        let mut head = vec![0; self.head.len()];
        match file.read_exact_at(&mut head, 0) {
            Ok(()) => Ok(head == self.head),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Tail {
    /// What has been added: to the file that was read last, and to those after it.
    fn read(&mut self) -> io::Result<Vec<Rows>> {
        let mut all = Vec::new();
        // It may be renamed between two looks; then the next time finds it.
        let newest = File::open(&self.path);
        let is_same = match (&newest, &self.place) {
            (Ok(file), Some(place)) => place.is_in(file)?,
            (Ok(_), None) | (Err(_), _) => false,
        };
        if !is_same {
            let path = older(&self.path);
            match File::open(&path).and_then(|file| self.go_on(file, &path)) {
                Ok(rows) => all.extend(rows),
                Err(error) => self.left_out = Some(error),
            }
        }
        match newest {
            Ok(file) => all.extend(self.go_on(file, &self.path.clone())?),
            // The next one is just being made.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.place.is_some() => {}
            Err(error) => return Err(error),
        }
        Ok(all)
    }

    /// What stands in this file after what has been read of it.
    fn go_on(&mut self, mut file: File, path: &Path) -> io::Result<Option<Rows>> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let place = match self.place.clone() {
            Some(place) if place.is_in(&file)? => Some(place),
            _ => None,
        };
        let mut bytes = Vec::new();
        if let Some(place) = &place {
            bytes.extend(MAGIC);
            file.seek(SeekFrom::Start(place.offset))?;
        }
        file.read_to_end(&mut bytes)?;
        // An empty one is just being made.
        if bytes.len() < MAGIC_LEN {
            return Ok(None);
        }
        let Some(mut records) = Records::new(&bytes, MAGIC) else {
            return Err(invalid(format!(
                "{} is not a history of this version of carpd",
                path.display()
            )));
        };
        let (mut place, mut events) = (place, Vec::new());
        while let Some(record) = records.next() {
            let row = postcard::from_bytes(record)
                .map_err(|err| invalid(format!("{}: {err}", path.display())))?;
            match row {
                Row::Head(head) => {
                    place.get_or_insert_with(|| Place {
                        offset: MAGIC_LEN as u64,
                        history: head.history,
                        head: bytes.get(..records.position()).unwrap_or_default().to_vec(),
                    });
                }
                Row::Event(record) => events.push(record),
            }
        }
        let Some(mut place) = place else {
            return Ok(None);
        };
        let read = records.position().saturating_sub(MAGIC_LEN);
        place.offset += u64::try_from(read).unwrap_or(u64::MAX);
        self.place = Some(place.clone());
        Ok(Some((place.history, events)))
    }
}
