//! `cd`: the programs after it run there, and the paths that follow begin there.

use super::super::commands::{self, Arg};
use super::super::ir::{Action, Cond, Expr, Step, What};
use super::super::shell::{Item, Kind, Pipeline, Word};
use super::{Lower, Lowered};

/// Runs what its further arguments are, in the directory that the first one names.
const THERE: [&str; 3] = ["/bin/sh", "-c", "cd \"$0\" && exec \"$@\""];

impl Lower<'_> {
    /// `cd DIR`.
    pub(super) fn change_directory(&mut self, args: &[Arg]) -> Lowered<Vec<Step>> {
        if let [to] = args
            && self.is_no_move(to)
        {
            self.directory = None;
            return Ok(Vec::new());
        }
        let there = self.goes_to(args)?;
        if self.errexit {
            return Ok(vec![self.step(What::Must(there))]);
        }
        self.differs("what follows runs in the directory of cd: where that is not there, it fails");
        Ok(Vec::new())
    }

    /// `cd DIR || exit`, `cd DIR && ...`.
    pub(super) fn moves_first(&mut self, item: &Item) -> Lowered<Option<Vec<Step>>> {
        let Some(words) =
            words_of(&item.first).filter(|words| words.first().is_some_and(|w| w.is("cd")))
        else {
            return Ok(None);
        };
        let [(and, last)] = item.rest.as_slice() else {
            return Ok(None);
        };
        let (_, args) = self.call(&words)?;
        if let [to] = args.as_slice()
            && self.is_no_move(to)
        {
            return Ok(None);
        }
        self.before = None;
        let there = self.goes_to(&args)?;
        let outer = self.directory.clone();
        if !and {
            // What is done where it is not there is done elsewhere.
            self.directory = None;
        }
        let body = self.pipeline(last)?;
        self.directory = outer;
        let cond = if *and { there } else { there.not() };
        Ok(Some(vec![
            self.step(What::If(vec![(cond, body)], Vec::new())),
        ]))
    }

    /// Remembers where `cd` goes; is there such a directory?
    fn goes_to(&mut self, args: &[Arg]) -> Lowered<Cond> {
        let [to] = args else {
            return Err("this cd".into());
        };
        if self.nesting > 0 || self.function.is_some() {
            return Err("cd in the middle of a block".into());
        }
        let path = to.text.clone().filter(|path| path.starts_with('/'));
        let path = path.ok_or("where cd goes is known only when it runs")?;
        self.directory = None;
        let words = ["-d".to_owned(), path.clone()].map(Arg::fixed);
        let test = commands::program(self, "/usr/bin/test", &words)?;
        self.directory = Some(path.trim_end_matches('/').to_owned());
        Ok(Cond::Did(vec![Action::Run(test)]))
    }

    /// The begin of a command line that runs where `cd` went.
    pub(crate) fn there(&self) -> Vec<String> {
        let Some(directory) = &self.directory else {
            return Vec::new();
        };
        let begin = THERE.iter().map(|word| (*word).to_owned());
        begin.chain([directory.clone()]).collect()
    }

    /// A path from where `cd` went.
    pub(crate) fn path_from_there(&self, path: Expr) -> Expr {
        let text = self.fixed(&path).filter(|path| !path.starts_with('/'));
        match (&self.directory, text) {
            (Some(directory), Some(text)) if !text.split('/').any(|part| part == "..") => {
                let text = text.trim_start_matches("./");
                Expr::Text(format!("{directory}/{text}"))
            }
            _ => path,
        }
    }

    /// Has `cd` gone anywhere?
    pub(crate) const fn has_moved(&self) -> bool {
        self.directory.is_some()
    }
}

fn words_of(pipeline: &Pipeline) -> Option<Vec<Word>> {
    match pipeline.commands.as_slice() {
        [command] if !pipeline.negated && command.redirects.is_empty() => match &command.kind {
            Kind::Simple { assigns, words } if assigns.is_empty() => Some(words.clone()),
            _ => None,
        },
        _ => None,
    }
}
