//! What a script is made of, with the line that each part begins on.

use std::collections::BTreeSet;
use std::ops::Range;

/// A whole script.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// Its commands, in order.
    pub(crate) items: Vec<Item>,
    /// Comments that have a line of their own: line and text without `#`.
    pub(crate) comments: Vec<(usize, String)>,
}

/// One entry of a list: pipelines joined by `&&` and `||`, ended by `;`, `&` or a new line.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Line, from 1.
    pub(crate) line: usize,
    /// The bytes it takes in the source.
    pub(crate) span: Range<usize>,
    /// The first pipeline.
    pub(crate) first: Pipeline,
    /// What follows it: `true` after `&&`, `false` after `||`.
    pub(crate) rest: Vec<(bool, Pipeline)>,
    /// Ended by `&`.
    pub(crate) background: bool,
}

/// Commands joined by `|`.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    /// Begins with `!`.
    pub(crate) negated: bool,
    /// At least one.
    pub(crate) commands: Vec<Command>,
}

/// One command with its redirections.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Line, from 1.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) kind: Kind,
    /// In order.
    pub(crate) redirects: Vec<Redirect>,
}

/// What a command is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `A=1 program arguments`.
    Simple {
        assigns: Vec<(String, Word)>,
        words: Vec<Word>,
    },
    /// `if`, with each `elif`.
    If {
        arms: Vec<(Vec<Item>, Vec<Item>)>,
        otherwise: Vec<Item>,
    },
    /// `for`; without `in` it goes over the arguments.
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: Vec<Item>,
    },
    /// `while` or `until`.
    While {
        until: bool,
        condition: Vec<Item>,
        body: Vec<Item>,
    },
    /// `case`.
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, Vec<Item>)>,
    },
    /// `{ ... }` or `( ... )`.
    Block { items: Vec<Item>, subshell: bool },
    /// A function's definition.
    Function { name: String, body: Vec<Item> },
    /// `[[ ... ]]`, by its words.
    Test(Vec<Word>),
    /// `(( ... ))`, its inside.
    Arithmetic(String),
    /// What this reader does not read, and why: an array, a loop that counts, a mistake.
    Unread(String),
    /// `. FILE`, with what is in the file.
    Sourced(Box<Sourced>),
}

/// A file that is read with `.`.
#[derive(Debug, Clone)]
pub(crate) struct Sourced {
    /// Its path, as the script has it.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// What it is made of.
    pub(crate) script: Script,
}

/// `2>file`, `>>file`, `<file`, a here-document.
#[derive(Debug, Clone)]
pub(crate) struct Redirect {
    /// The descriptor, if given.
    pub(crate) fd: Option<u8>,
    /// `<`, `>`, `>>`, `>&`, `&>`, `<<`, `<<<`, `<&`, `>|`.
    pub(crate) op: String,
    /// The file, or the here-document's text.
    pub(crate) target: Word,
}

/// A word: pieces that are put together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Word(pub(crate) Vec<Piece>);

/// A part of a word.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// As it stands.
    Text { text: String, quoted: bool },
    /// `$name`, `${name...}`.
    Param {
        name: String,
        op: Option<(String, Word)>,
        quoted: bool,
    },
    /// `$( ... )` or backticks.
    Command { items: Vec<Item>, quoted: bool },
    /// `$(( ... ))`.
    Arithmetic(String),
}

impl Script {
    /// The lines on which commands begin.
    pub(crate) fn lines(&self) -> BTreeSet<usize> {
        let mut lines = BTreeSet::new();
        lines_of(&self.items, &mut lines);
        lines
    }
}

fn lines_of(items: &[Item], lines: &mut BTreeSet<usize>) {
    for item in items {
        let rest = item.rest.iter().map(|(_, pipeline)| pipeline);
        for command in std::iter::once(&item.first)
            .chain(rest)
            .flat_map(|pipeline| &pipeline.commands)
        {
            lines.insert(command.line);
            for inner in command.kind.lists() {
                lines_of(inner, lines);
            }
        }
    }
}

impl Item {
    /// One command and nothing else.
    pub(crate) fn alone(line: usize, span: Range<usize>, kind: Kind) -> Self {
        let command = Command {
            line,
            kind,
            redirects: Vec::new(),
        };
        let first = Pipeline {
            negated: false,
            commands: vec![command],
        };
        Self {
            line,
            span,
            first,
            rest: Vec::new(),
            background: false,
        }
    }
}

impl Kind {
    /// The lists of commands in it, in order.
    pub(crate) fn lists(&self) -> Vec<&[Item]> {
        match self {
            Self::If { arms, otherwise } => arms
                .iter()
                .flat_map(|(condition, body)| [condition.as_slice(), body])
                .chain([otherwise.as_slice()])
                .collect(),
            Self::While {
                condition, body, ..
            } => vec![condition, body],
            Self::Case { arms, .. } => arms.iter().map(|(_, body)| body.as_slice()).collect(),
            Self::For { body, .. } | Self::Function { body, .. } => vec![body],
            Self::Block { items, .. } => vec![items],
            Self::Simple { .. }
            | Self::Test(_)
            | Self::Arithmetic(_)
            | Self::Unread(_)
            | Self::Sourced(_) => Vec::new(),
        }
    }
}

impl Kind {
    /// As [`Kind::lists`], to be changed.
    pub(crate) fn lists_mut(&mut self) -> Vec<&mut Vec<Item>> {
        match self {
            Self::If { arms, otherwise } => arms
                .iter_mut()
                .flat_map(|(condition, body)| [condition, body])
                .chain(std::iter::once(otherwise))
                .collect(),
            Self::While {
                condition, body, ..
            } => vec![condition, body],
            Self::Case { arms, .. } => arms.iter_mut().map(|(_, body)| body).collect(),
            Self::For { body, .. } | Self::Function { body, .. } => vec![body],
            Self::Block { items, .. } => vec![items],
            Self::Simple { .. }
            | Self::Test(_)
            | Self::Arithmetic(_)
            | Self::Unread(_)
            | Self::Sourced(_) => Vec::new(),
        }
    }
}

impl Word {
    /// The text, if there is nothing but text in it.
    pub(crate) fn literal(&self) -> Option<String> {
        let text = |piece: &Piece| {
            if let Piece::Text { text, .. } = piece {
                Some(text.clone())
            } else {
                None
            }
        };
        self.0.iter().map(text).collect()
    }

    /// Is it exactly this, with nothing quoted?
    pub(crate) fn is(&self, wanted: &str) -> bool {
        matches!(self.0.as_slice(), [Piece::Text { text, quoted: false }] if text == wanted)
    }
}
