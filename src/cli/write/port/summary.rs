//! What became of the scripts: for people, and as JSON.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::port::{Fact, FactKind, Ported};
use crate::types::Page;

/// The key in JSON, and the heading for people.
const fn words(kind: FactKind) -> (&'static str, &'static str) {
    match kind {
        FactKind::Untranslated => ("todos", "Not translated; the hook fails there:"),
        FactKind::Guessed => ("guesses", "Guessed; see whether it is right:"),
        FactKind::Open => ("open", "Left open; fill it in:"),
        FactKind::Different => ("differences", "Behaves otherwise; nothing is to be done:"),
    }
}

/// What became of the scripts. `down` is the name of the second.
pub(super) fn told(ported: &Ported, down: Option<&str>, page: &mut Page) {
    if ported.mirrored {
        let name = down.unwrap_or("the other script");
        writeln!(
            page,
            "{name} undoes what the first script does. carpd does that by itself, so there is no on_backup (see --explicit)."
        );
    }
    let missing = untranslated(ported);
    let all = ported.lines;
    if ported.is_complete() {
        writeln!(page, "Everything was translated.");
    } else {
        let translated = all.saturating_sub(missing);
        writeln!(page, "{translated} of {all} lines were translated.");
    }
    for kind in FactKind::ALL {
        let mut facts = ported.of(kind).peekable();
        if facts.peek().is_none() {
            continue;
        }
        writeln!(page);
        writeln!(page, "{}", words(kind).1);
        for Fact {
            script,
            lines,
            text,
            ..
        } in facts
        {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            let place = match lines.as_slice() {
                [] => script.clone(),
                lines => format!("{script}:{}", lines.join(",")),
            };
            writeln!(page, "  {place}: {text}");
        }
    }
    let asks = ported.facts.iter().filter(|fact| fact.kind.asks()).count();
    match asks {
        0 => {}
        1 => {
            writeln!(page);
            writeln!(page, "1 thing is left for you to do.");
        }
        n => {
            writeln!(page);
            writeln!(page, "{n} things are left for you to do.");
        }
    }
}

/// How many lines were not translated.
fn untranslated(ported: &Ported) -> usize {
    let lines = ported
        .of(FactKind::Untranslated)
        .flat_map(|fact| fact.lines.iter().map(|line| (fact.script.as_str(), *line)));
    lines.collect::<BTreeSet<_>>().len()
}

/// Stable: `lua`, `toml`, `test` (null if it could not be made), `mirrored`; `complete`: is there
/// nothing left to do; `lines`, of which `translated`; and `todos`, `guesses`, `open`,
/// `differences`, each a list of `script`, `line` (the first), `lines`, `text`.
pub(super) fn as_json(ported: &Ported, test: Option<&str>) -> Value {
    let Ported {
        lua,
        toml,
        lines,
        mirrored,
        ..
    } = ported;
    let mut object = json!({
        "lua": lua, "toml": toml, "test": test, "mirrored": mirrored,
        "complete": ported.is_complete(),
        "lines": lines, "translated": lines.saturating_sub(untranslated(ported)),
    });
    for kind in FactKind::ALL {
        let facts = ported.of(kind).map(|fact| {
            json!({ "script": fact.script, "line": fact.line(), "lines": fact.lines, "text": fact.text })
        });
        let (key, _) = words(kind);
        if let Some(object) = object.as_object_mut() {
            object.insert(key.to_owned(), facts.collect());
        }
    }
    object
}
