//! What a person should know of a port, line by line of the scripts.
//!
//! Whoever translates records it where it comes up; the kind says whether there is something to do.

use std::collections::BTreeSet;

/// What a fact asks of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKind {
    /// Not translated. It stands in the hook as a TODO that fails when it is reached.
    Untranslated,
    /// Translated on an assumption that the scripts do not confirm.
    Guessed,
    /// Translated, but something is to be filled in: a grant, or a value of the configuration.
    Open,
    /// Translated, and it behaves otherwise than the script. There is nothing to do.
    Different,
}

impl FactKind {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [
        Self::Untranslated,
        Self::Guessed,
        Self::Open,
        Self::Different,
    ];

    /// The word for it in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untranslated => "untranslated",
            Self::Guessed => "guessed",
            Self::Open => "open",
            Self::Different => "different",
        }
    }

    /// Is there something to do?
    #[must_use]
    pub const fn asks(self) -> bool {
        !matches!(self, Self::Different)
    }
}

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it asks of the reader.
    pub kind: FactKind,
    /// The script's file name.
    pub script: String,
    /// The lines of the script that it is about, from 1, ascending.
    pub lines: Vec<usize>,
    /// A sentence, without the full stop.
    pub text: String,
}

impl Fact {
    /// The first of its lines; 0 if it is about none.
    #[must_use]
    pub fn line(&self) -> usize {
        self.lines.first().copied().unwrap_or_default()
    }
}

/// The facts of an entry point, while it is translated.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The script that is looked at.
    script: String,
    all: Vec<Fact>,
}

impl Facts {
    /// Of a script with this file name.
    pub(crate) fn of(script: &str) -> Self {
        Self {
            script: script.to_owned(),
            all: Vec::new(),
        }
    }

    /// The script that is looked at.
    pub(crate) fn script(&self) -> &str {
        &self.script
    }

    /// From now on another script is looked at.
    pub(crate) fn turn_to(&mut self, script: &str) {
        script.clone_into(&mut self.script);
    }

    /// Records a fact about a line of the script that is looked at.
    pub(crate) fn record(&mut self, kind: FactKind, line: usize, text: impl Into<String>) {
        let fact = Fact {
            kind,
            script: self.script.clone(),
            lines: vec![line],
            text: text.into(),
        };
        add(&mut self.all, fact);
    }

    /// Forgets what was said about these lines of the script: they never run.
    pub(crate) fn forget(&mut self, lines: &BTreeSet<usize>) {
        for fact in &mut self.all {
            fact.lines.retain(|line| !lines.contains(line));
        }
        self.all.retain(|fact| !fact.lines.is_empty());
    }

    /// Takes over those of another script.
    pub(crate) fn join(&mut self, other: Self) {
        self.all.extend(other.all);
    }

    /// All of them, in the order of their lines.
    pub(crate) fn into_all(mut self) -> Vec<Fact> {
        self.all.sort_by_key(Fact::line);
        for fact in &mut self.all {
            // About the script as a whole.
            fact.lines.retain(|line| *line > 0);
        }
        self.all
    }
}

/// Adds a fact; the same words about the same script are one fact with several lines.
pub(crate) fn add(facts: &mut Vec<Fact>, new: Fact) {
    let same = |fact: &&mut Fact| {
        fact.kind == new.kind && fact.script == new.script && fact.text == new.text
    };
    match facts.iter_mut().find(same) {
        Some(fact) => {
            fact.lines.extend(new.lines);
            fact.lines.sort_unstable();
            fact.lines.dedup();
        }
        None => facts.push(new),
    }
}
