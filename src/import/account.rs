//! What became of each statement of the configuration that is imported.

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It stands in the result, as this.
    Translated(String),
    /// Nothing stands for it, and nothing need: why.
    Unneeded(String),
    /// It is translated, or left out, and what follows differs in this.
    Different(String),
    /// It is translated, but this is to be filled in or decided.
    Open(String),
    /// It is not translated: why, and what to do instead.
    Untranslated(String),
}

impl Outcome {
    /// The word for it in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Translated(_) => "translated",
            Self::Unneeded(_) => "unneeded",
            Self::Different(_) => "different",
            Self::Open(_) => "open",
            Self::Untranslated(_) => "untranslated",
        }
    }

    /// What is said about it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Translated(text)
            | Self::Unneeded(text)
            | Self::Different(text)
            | Self::Open(text)
            | Self::Untranslated(text) => text,
        }
    }

    /// Is there something to do?
    #[must_use]
    pub const fn asks(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Untranslated(_))
    }
}

/// A statement, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The file, as it was named.
    pub file: String,
    /// Its line there, from 1.
    pub line: usize,
    /// Its text, without secrets.
    pub text: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// A statement of an [`Account`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(usize);

/// All statements, in the order in which they were read. One of which nothing is said in the end
/// is not translated.
#[derive(Debug, Default)]
pub(super) struct Account {
    statements: Vec<(String, usize, String, Option<Outcome>)>,
}

impl Account {
    /// Enters a statement.
    pub(super) fn enter(&mut self, file: &str, line: usize, text: impl Into<String>) -> Id {
        let id = Id(self.statements.len());
        self.statements
            .push((file.to_owned(), line, text.into(), None));
        id
    }

    /// Says what became of it. What asks for something is not taken back: the first reason is the
    /// nearest.
    pub(super) fn say(&mut self, id: Id, outcome: Outcome) {
        let Some((.., said)) = self.statements.get_mut(id.0) else {
            return;
        };
        if !said.as_ref().is_some_and(Outcome::asks) {
            *said = Some(outcome);
        }
    }

    pub(super) fn translated(&mut self, id: Id, to: impl Into<String>) {
        self.say(id, Outcome::Translated(to.into()));
    }

    pub(super) fn unneeded(&mut self, id: Id, why: impl Into<String>) {
        self.say(id, Outcome::Unneeded(why.into()));
    }

    pub(super) fn different(&mut self, id: Id, how: impl Into<String>) {
        self.say(id, Outcome::Different(how.into()));
    }

    pub(super) fn open(&mut self, id: Id, what: impl Into<String>) {
        self.say(id, Outcome::Open(what.into()));
    }

    pub(super) fn untranslated(&mut self, id: Id, why: impl Into<String>) {
        self.say(id, Outcome::Untranslated(why.into()));
    }

    /// All of them.
    pub(super) fn finish(self) -> Vec<Statement> {
        let statements = self.statements.into_iter();
        statements
            .map(|(file, line, text, outcome)| Statement {
                file,
                line,
                text,
                outcome: outcome.unwrap_or_else(|| {
                    Outcome::Untranslated("it is not known to carpd import".to_owned())
                }),
            })
            .collect()
    }
}
