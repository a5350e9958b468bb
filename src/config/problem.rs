//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably does not say what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence that makes sense without the file.
    pub message: String,
    /// The bytes of the file it is about; `None` if it is about the file as a whole.
    pub span: Option<Range<usize>>,
    /// Another place that belongs to it, with what is there.
    pub related: Option<(Range<usize>, String)>,
    /// The place in another file, which is then shown instead: a hook's.
    pub elsewhere: Option<Excerpt>,
    /// What to write instead, or what to do.
    pub hint: Option<String>,
}

/// A place in a file that the configuration refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// How messages call the file.
    pub name: String,
    /// What stands in it.
    pub text: String,
    /// The bytes that are meant.
    pub span: Range<usize>,
}

impl Excerpt {
    /// A line, counted from 1, without its indentation. `None` if there is no such line.
    #[must_use]
    pub fn line(name: &str, text: String, line: usize) -> Option<Self> {
        let all = text.split_inclusive('\n').nth(line.checked_sub(1)?)?;
        let start: usize = text
            .split_inclusive('\n')
            .take(line - 1)
            .map(str::len)
            .sum();
        let indent = all.len() - all.trim_start().len();
        let span = start + indent..start + all.trim_end().len().max(indent);
        Some(Self {
            name: name.to_owned(),
            text,
            span,
        })
    }
}

impl Problem {
    /// An error at a place.
    #[must_use]
    pub fn error(span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span,
            related: None,
            elsewhere: None,
            hint: None,
        }
    }
}

/// Collects problems while a file is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
}

impl Findings {
    /// Notes an error; what comes back takes a hint and a related place.
    pub(super) fn error(
        &mut self,
        span: impl Into<Option<Range<usize>>>,
        message: impl Into<String>,
    ) -> Note<'_> {
        self.note(Problem::error(span.into(), message))
    }

    /// Notes a warning.
    pub(super) fn warn(
        &mut self,
        span: impl Into<Option<Range<usize>>>,
        message: impl Into<String>,
    ) -> Note<'_> {
        self.note(Problem {
            severity: Severity::Warning,
            ..Problem::error(span.into(), message)
        })
    }

    fn note(&mut self, problem: Problem) -> Note<'_> {
        self.problems.push(problem);
        Note(self.problems.last_mut().expect("just pushed"))
    }
}

/// A problem that was just noted.
pub(super) struct Note<'a>(&'a mut Problem);

impl Note<'_> {
    pub(super) fn hint(self, hint: impl Into<Option<String>>) -> Self {
        self.0.hint = hint.into();
        self
    }

    pub(super) fn related(self, span: Range<usize>, what: impl Into<String>) -> Self {
        self.0.related = Some((span, what.into()));
        self
    }
}

/// All problems of one file, with the file itself, so that they can be shown in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How messages call the file.
    pub name: String,
    /// What stands in it.
    pub text: String,
    /// In the order of the file; at most [`Report::PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more there were.
    pub omitted: usize,
}

impl Report {
    /// Nobody would read more than this, and a file that consists only of errors would take minutes
    /// to show.
    pub const PROBLEMS_MAX: usize = 100;

    pub(super) fn new(name: &str, text: &str, findings: Findings) -> Self {
        let mut problems = findings.problems;
        let found = problems.len();
        if found > Self::PROBLEMS_MAX {
            // Errors must not be crowded out: without one the configuration would count as good.
            problems.sort_by_key(|p| p.severity == Severity::Warning);
            problems.truncate(Self::PROBLEMS_MAX);
        }
        problems.sort_by_key(|p| p.span.as_ref().map(|s| s.start));
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            omitted: found - problems.len(),
            problems,
        }
    }

    #[cfg(feature = "daemon")]
    /// A report about a file that could not even be read.
    pub(super) fn unreadable(name: &str, message: String, hint: Option<String>) -> Self {
        let problem = Problem {
            hint,
            ..Problem::error(None, message)
        };
        Self {
            name: name.to_owned(),
            text: String::new(),
            problems: vec![problem],
            omitted: 0,
        }
    }

    /// A report of one problem that is about no configuration.
    #[must_use]
    pub fn about(problem: Problem) -> Self {
        Self {
            name: String::new(),
            text: String::new(),
            problems: vec![problem],
            omitted: 0,
        }
    }

    /// Is there anything beside warnings?
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many problems of one severity there are.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.problems
            .iter()
            .filter(|p| p.severity == severity)
            .count()
    }

    /// A line for each problem, as in `carpd.toml:12:1: error: unknown key ...: did you mean ...?`
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |problem: &Problem| match &problem.hint {
            Some(hint) => format!("{}: {hint}", self.headline(problem)),
            None => self.headline(problem),
        };
        self.problems.iter().map(line).collect()
    }

    fn headline(&self, problem: &Problem) -> String {
        let place = problem.span.as_ref().map(|span| self.position(span.start));
        let place = place.map_or_else(String::new, |(line, column)| format!("{line}:{column}:"));
        format!(
            "{}:{place} {}: {}",
            self.name, problem.severity, problem.message
        )
    }

    /// Line and column of a byte, both from 1; columns count characters.
    #[must_use]
    pub fn position(&self, byte: usize) -> (usize, usize) {
        position(&self.text, byte)
    }
}

impl Excerpt {
    /// Line and column of a byte, both from 1; columns count characters.
    #[must_use]
    pub fn position(&self, byte: usize) -> (usize, usize) {
        position(&self.text, byte)
    }
}

fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before.get(line_start..).unwrap_or_default().chars().count() + 1,
    )
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Report {
    /// One line for each problem: `FILE:LINE:COLUMN: error: MESSAGE`, and its hint on a line of its
    /// own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{}", self.headline(problem))?;
            if let Some(hint) = &problem.hint {
                writeln!(f, "hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Report {}
