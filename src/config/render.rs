//! Shows a report in the file it is about.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::problem::{Excerpt, Problem, Report, Severity};
use crate::types::{is_treacherous, shown};

/// How a report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours, for a terminal.
    pub colour: bool,
    /// Columns; longer lines are cut.
    pub width: usize,
}

impl Report {
    /// Every problem with the lines of the file that it is about.
    #[must_use]
    pub fn render(&self, look: Look) -> String {
        let renderer = if look.colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let renderer = renderer
            .decor_style(DecorStyle::Ascii)
            .term_width(look.width);
        let parts = self
            .problems
            .iter()
            .map(|problem| renderer.render(&[self.group(problem)]) + "\n");
        let text = parts.collect::<Vec<_>>().join("\n");
        // The renderer shows most of what a file must not do to a terminal by its picture, but not
        // all of it.
        let ours = |c: char| c == '\n' || (look.colour && c == '\u{1b}');
        text.chars()
            .map(|c| {
                if is_treacherous(c) && !ours(c) {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect()
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let hint = problem
            .hint
            .iter()
            .map(|hint| Level::HELP.with_name("hint").message(shown(hint)));
        if let Some(Excerpt { name, text, span }) = &problem.elsewhere {
            let snippet = Snippet::source(text.as_str())
                .path(shown(name))
                .annotation(AnnotationKind::Primary.span(span.clone()));
            return level
                .primary_title(shown(&problem.message))
                .element(snippet)
                .elements(hint);
        }
        let Some(span) = &problem.span else {
            return level
                .primary_title(format!(
                    "{}: {}",
                    shown(&self.name),
                    shown(&problem.message)
                ))
                .elements(hint);
        };
        let mut snippet = Snippet::source(self.text.as_str())
            .path(shown(&self.name))
            .annotation(AnnotationKind::Primary.span(self.visible(span)));
        if let Some((place, what)) = &problem.related {
            snippet = snippet.annotation(
                AnnotationKind::Context
                    .span(self.visible(place))
                    .label(shown(what)),
            );
        }
        level
            .primary_title(shown(&problem.message))
            .element(snippet)
            .elements(hint)
    }

    /// Within the file, whatever the parser said about its end.
    fn visible(&self, span: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let end = self.text.len();
        span.start.min(end)..span.end.clamp(span.start.min(end), end)
    }
}
