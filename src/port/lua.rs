//! Steps as Luau.

mod helpers;
mod own;
mod scoped;
mod text;
mod tolerant;
mod used;
mod values;

use std::collections::BTreeSet;

use self::text::Names;
pub(super) use self::text::{key, quoted};
use self::used::{Declared, Used};
use super::ir::{Action, Cond, Expr, List, Step, What, walk};
use super::uncalled;
use super::{Half, Settings};
use crate::types::{is_treacherous, shown};

/// What `on_master` sets and nothing undoes.
type Keeps = [(&'static str, Expr)];

/// What is taken from the event, where it is used.
const EVENT: [(&str, &str); 4] = [
    ("dev", "local dev = event.instance.interface"),
    (
        "vip",
        "local vip = string.match(event.instance.addresses[1], \"^[^/]+\")",
    ),
    ("xparam", "local xparam = event.xparam or \"\""),
    ("became", "local became = keepalived_state(event)"),
];

/// Words of a script or of its file as they may stand in a comment: they do not end it, and no
/// terminal obeys them.
fn remark(words: &str) -> String {
    if words.contains(|c| c != '\t' && is_treacherous(c)) {
        shown(words)
    } else {
        words.to_owned()
    }
}

/// The whole hook. `mirror` is the name of the script that needs no counterpart.
pub(super) fn print(
    halves: &[(&'static str, &str, Half)],
    settings: &Settings,
    mirror: Option<&str>,
    keeps: &Keeps,
) -> String {
    let strict = tolerant::strict(halves);
    let mut tolerant = BTreeSet::new();
    let mut bodies = String::new();
    let mut used = BTreeSet::new();
    for (index, (entry, script, half)) in halves.iter().enumerate() {
        let keeps = if index == 0 { keeps } else { &[] };
        let mut printer = Printer {
            half,
            script: (*script).to_owned(),
            keeps,
            out: String::new(),
            indent: 1,
            names: Names::default(),
            declared: Declared::default(),
            begun: BTreeSet::new(),
            functions: BTreeSet::new(),
            fresh: BTreeSet::new(),
            numbered: false,
            used: BTreeSet::new(),
            strict: &strict,
            tolerant: BTreeSet::new(),
        };
        printer.entry();
        used.extend(printer.used.iter().copied());
        tolerant.extend(printer.tolerant.iter().cloned());
        let argument = if printer.used.contains("event") {
            "event"
        } else {
            ""
        };
        let doc = match *entry {
            "on_master" => "We are master: the addresses are up and announced.",
            _ => "We are not master, or no longer: the addresses are gone.",
        };
        bodies += &format!(
            "\n-- {doc}\nfunction {entry}({argument})\n{}end\n",
            printer.out
        );
    }
    let mut scripts: Vec<&str> = Vec::new();
    for script in halves.iter().map(|(_, script, _)| *script).chain(mirror) {
        if !scripts.contains(&script) {
            scripts.push(script);
        }
    }
    let mut head = format!(
        "-- {}: ported from {} by carpd {}.\n",
        settings.name,
        remark(&scripts.join(" and ")),
        env!("CARGO_PKG_VERSION")
    );
    head += "-- Its grants stand in the configuration under [hook.";
    head += &settings.name;
    head += "]. The virtual host's own addresses are carpd's work.\n";
    if let Some(script) = mirror {
        head += &format!(
            "-- {} undid what on_master does: carpd does that by itself when mastership ends.\n",
            remark(script)
        );
    }
    if !keeps.is_empty() {
        head += "-- keep = true: the scripts never took this back. Without it, carpd does when mastership ends.\n";
    }
    head + &helpers::text(&used) + &tolerant::text(&tolerant) + &bodies
}

/// Prints one entry point.
struct Printer<'a> {
    half: &'a Half,
    /// The name of the script whose lines are printed.
    script: String,
    keeps: &'a Keeps,
    out: String,
    indent: usize,
    names: Names,
    /// What must be declared.
    declared: Declared,
    /// Variables that have been given a value.
    begun: BTreeSet<String>,
    /// Functions that have been declared.
    functions: BTreeSet<String>,
    /// Variables of the function at hand that are declared where they are set.
    fresh: BTreeSet<String>,
    /// Is `$?` needed as a number?
    numbered: bool,
    /// Helpers, and `event`, that the text needs.
    used: BTreeSet<&'static str>,
    /// What must not go past failures.
    strict: &'a BTreeSet<&'static str>,
    /// What does: groups of the API, and helpers.
    tolerant: BTreeSet<String>,
}

impl Printer<'_> {
    fn line(&mut self, text: &str) {
        for line in text.lines() {
            self.out += &"  ".repeat(self.indent);
            self.out += line;
            self.out += "\n";
        }
    }

    fn entry(&mut self) {
        let half = self.half;
        let mut used = Used::default();
        walk(&half.steps, &mut used);
        self.numbered = used.number;
        if used.status {
            self.line(if used.number {
                "local status = 0"
            } else {
                "local ok = true"
            });
        }
        let mut declared = Declared::default();
        declared.steps(&half.steps, &[]);
        self.declared = declared;
        let early: Vec<String> = self
            .declared
            .assigned
            .iter()
            .filter(|name| !self.inline(name))
            .cloned()
            .collect();
        for name in early {
            let value = if half.scope.is_number(&name) {
                "0"
            } else {
                "\"\""
            };
            let name = self.names.of(&name);
            self.line(&format!("local {name} = {value}"));
        }
        for function in scoped::beyond_blocks(&half.steps) {
            let name = self.names.function(&function);
            self.line(&format!("local {name}"));
            self.functions.insert(function);
        }
        self.steps(&half.steps);
        let body = std::mem::take(&mut self.out);
        for (name, line) in EVENT {
            if self.used.contains(name) {
                self.used.insert("event");
                if name == "became" {
                    self.used.insert("keepalived_state");
                }
                self.line(line);
            }
        }
        self.out += &body;
    }

    /// Is the variable declared where it is set? Its first value must stand before all that reads
    /// it, and outside of every block.
    fn inline(&self, name: &str) -> bool {
        let sets = |step: &Step| matches!(&step.what, What::Assign(n, _) if n == name);
        let Some(at) = self.half.steps.iter().position(sets) else {
            return false;
        };
        let before = self.half.steps.get(..at).unwrap_or_default();
        if used::sets(before, name) {
            return false;
        }
        let mut earlier = Used::default();
        walk(before, &mut earlier);
        let value = self.half.steps.get(at).map(std::slice::from_ref);
        walk(value.unwrap_or_default(), &mut earlier);
        !earlier.names.iter().any(|n| n == name) && !self.declared.loops.iter().any(|n| n == name)
    }

    /// Is the variable of a loop read only there?
    fn is_only_of_loop(&self, name: &str) -> bool {
        !self.declared.outside.iter().any(|n| n == name)
    }

    fn steps(&mut self, steps: &[Step]) {
        for (index, step) in steps.iter().enumerate() {
            let last = index + 1 == steps.len();
            self.step(step, last);
        }
    }

    /// A block: what functions it declares end with it.
    fn body(&mut self, steps: &[Step]) {
        let outer = self.functions.clone();
        self.indent += 1;
        self.steps(steps);
        self.indent -= 1;
        self.functions = outer;
    }

    fn step(&mut self, step: &Step, last: bool) {
        let leave = |word: &str| {
            if last {
                word.to_owned()
            } else {
                format!("do {word} end")
            }
        };
        match &step.what {
            What::Do(action @ (Action::Log { .. } | Action::Sleep(_) | Action::Resign)) => {
                self.plain(action);
            }
            What::Do(action) => {
                let text = self.attempt(action);
                self.line(&text);
            }
            What::Must(Cond::Did(actions))
                if !actions.iter().any(|a| matches!(a, Action::Run(_))) =>
            {
                for action in actions {
                    self.plain(action);
                }
            }
            What::Try(cond) => {
                let text = match cond {
                    Cond::Did(actions) if actions.len() == 1 => {
                        actions.iter().map(|action| self.attempt(action)).collect()
                    }
                    cond => self.cond(cond),
                };
                let call = matches!(cond, Cond::Did(actions) if actions.len() == 1)
                    || matches!(cond, Cond::Function(..) | Cond::Changed(_));
                self.line(&if call {
                    text
                } else {
                    format!("local _ = {text}")
                });
            }
            What::Must(cond) => {
                let text = match cond {
                    Cond::Did(actions) => match actions.as_slice() {
                        [run @ Action::Run(_)] => format!("{}.status == 0", self.attempt(run)),
                        [action] => self.attempt(action),
                        _ => self.cond(cond),
                    },
                    cond => self.cond(cond),
                };
                self.line(&format!(
                    "assert({text}, {})",
                    quoted(&format!("{} line {}: failed", self.script, step.line))
                ));
            }
            What::Remember(cond) => self.remember(cond),
            What::Assign(name, value) => {
                let first = self.inline(name) && !self.begun.contains(name);
                let local = if self.fresh.remove(name) || (first && self.indent == 1) {
                    "local "
                } else {
                    ""
                };
                self.begun.insert(name.clone());
                let text = if self.half.scope.is_number(name) {
                    self.numeric(value)
                } else {
                    self.expr(value)
                };
                let name = self.names.of(name);
                let text = match value {
                    Expr::Outside(_) => text.trim_start_matches('(').trim_end_matches(')'),
                    Expr::Trim(_) => text
                        .strip_prefix('(')
                        .and_then(|text| text.strip_suffix(')'))
                        .unwrap_or(&text),
                    _ => &text,
                };
                self.line(&format!("{local}{name} = {text}"));
            }
            What::Local(names) => {
                let names: Vec<String> = names.iter().map(|name| self.names.of(name)).collect();
                let empty = vec!["\"\""; names.len()];
                self.line(&format!(
                    "local {} = {}",
                    names.join(", "),
                    empty.join(", ")
                ));
            }
            What::If(arms, otherwise) => self.if_step(arms, otherwise),
            What::For(name, values, body) => self.for_step(name, values, body),
            What::While(cond, body) => {
                let cond = self.cond(cond);
                self.line(&format!("while {cond} do"));
                self.body(body);
                self.line("end");
            }
            What::Block(body) => {
                self.line("do");
                self.body(body);
                self.line("end");
            }
            What::Script(name, body) => {
                let outer = std::mem::replace(&mut self.script, name.clone());
                self.steps(body);
                self.script = outer;
            }
            What::Function(name, params, body) => self.function(name, *params, body),
            What::Call(name, args) => {
                let text = self.call(name, args);
                self.line(&text);
            }
            What::Return(None) => self.line(&leave("return")),
            What::Return(Some(cond)) => {
                let cond = self.cond(cond);
                self.line(&leave(&format!("return {cond}")));
            }
            What::Fail(why) => self.line(&format!(
                "error({})",
                quoted(&format!("{} line {}: {why}", self.script, step.line))
            )),
            What::Break => self.line(&leave("break")),
            What::Continue => self.line(&leave("continue")),
            What::Todo { original, why } => self.todo(step.line, original, why),
            What::Comment(text) => self.line(&format!("-- {}", remark(&text.replace('\n', " ")))),
        }
    }

    /// A call whose failure is the hook's.
    fn plain(&mut self, action: &Action) {
        let (function, args) = self.action(action);
        self.line(&format!("{function}({})", args.join(", ")));
    }

    fn remember(&mut self, cond: &Cond) {
        let text = match (cond, self.numbered) {
            (Cond::Did(actions), true) if matches!(actions.as_slice(), [Action::Run(_)]) => {
                let run: String = actions.iter().map(|action| self.attempt(action)).collect();
                format!("status = {run}.status")
            }
            // What init scripts and systemctl say of a service that does not run.
            (Cond::Active(_), true) => format!("status = if {} then 0 else 3", self.cond(cond)),
            (cond, true) => format!("status = if {} then 0 else 1", self.cond(cond)),
            (cond, false) => format!("ok = {}", self.cond(cond)),
        };
        self.line(&text);
    }

    fn function(&mut self, name: &str, params: usize, body: &[Step]) {
        let all = self
            .half
            .scope
            .function(name)
            .is_some_and(|function| function.all);
        let mut body = body.to_vec();
        let own = if all {
            Vec::new()
        } else {
            own::parameters(&mut body, |name| self.half.scope.is_number(name))
        };
        self.fresh = own::take_fresh(&mut body);
        let given: Vec<String> = (1..=params)
            .map(|n| match own.iter().find(|(number, _)| *number == n) {
                Some((_, name)) => self.names.of(name),
                None => format!("a{n}"),
            })
            .collect();
        self.declare_callees(name, &body);
        let local = if self.functions.insert(name.to_owned()) {
            "local "
        } else {
            ""
        };
        let name = self.names.function(name);
        let list = if all {
            "...".to_owned()
        } else {
            given.join(", ")
        };
        self.line(&format!("{local}function {name}({list})"));
        self.indent += 1;
        if all && params > 0 {
            let values: Vec<String> = (1..=params)
                .map(|n| format!("select({n}, ...) or \"\""))
                .collect();
            self.line(&format!(
                "local {} = {}",
                given.join(", "),
                values.join(", ")
            ));
        }
        self.steps(&body);
        self.indent -= 1;
        self.line("end");
    }

    /// A function of the shell may call one that is defined later; a local one of Lua has to be
    /// declared before.
    fn declare_callees(&mut self, name: &str, body: &[Step]) {
        let half = self.half;
        let defined = uncalled::defined(&half.steps);
        let later: Vec<String> = uncalled::calls(body)
            .into_iter()
            .filter(|callee| callee != name && defined.contains(callee))
            .filter(|callee| self.functions.insert(callee.clone()))
            .collect();
        if !later.is_empty() {
            let names: Vec<String> = later
                .iter()
                .map(|callee| self.names.function(callee))
                .collect();
            self.line(&format!("local {}", names.join(", ")));
        }
    }

    fn todo(&mut self, line: usize, original: &str, why: &str) {
        self.line(&format!(
            "-- TODO {} line {line}: {}",
            remark(&self.script),
            remark(why)
        ));
        for text in original.lines() {
            self.line(&format!("--   {}", remark(text)));
        }
        let first = original.lines().next().unwrap_or_default().trim();
        self.line(&format!(
            "error({})",
            quoted(&format!("not ported: {} line {line}: {first}", self.script))
        ));
    }

    fn if_step(&mut self, arms: &[(Cond, Vec<Step>)], otherwise: &[Step]) {
        // `if A; then :; else B; fi`
        if let [(cond, body)] = arms
            && body.is_empty()
            && !otherwise.is_empty()
        {
            let arm = (cond.clone().not(), otherwise.to_vec());
            return self.if_step(&[arm], &[]);
        }
        for (index, (cond, body)) in arms.iter().enumerate() {
            let cond = self.cond(cond);
            self.line(&format!(
                "{} {cond} then",
                if index == 0 { "if" } else { "elseif" }
            ));
            self.body(body);
        }
        if !otherwise.is_empty() {
            self.line("else");
            self.body(otherwise);
        }
        self.line("end");
    }

    fn for_step(&mut self, name: &str, list: &List, body: &[Step]) {
        let values = match list {
            List::Fixed(values) => {
                let values: Vec<String> = values.iter().map(|value| self.expr(value)).collect();
                format!("{{ {} }}", values.join(", "))
            }
            List::Words(values) => {
                let values: Vec<String> = values.iter().map(|value| self.expr(value)).collect();
                self.used.insert("words");
                format!("words({})", values.join(" .. \" \" .. "))
            }
            List::Lines { text, rest, blanks } => {
                let mut args = vec![self.expr(text)];
                if *rest || *blanks {
                    args.push(rest.to_string());
                }
                if *blanks {
                    args.push("true".to_owned());
                }
                format!("{}({})", self.helper("read_lines"), args.join(", "))
            }
            List::Arguments => "{ ... }".to_owned(),
        };
        let alone = self.is_only_of_loop(name);
        let name = self.names.of(name);
        if alone {
            self.line(&format!("for _, {name} in {values} do"));
        } else {
            self.line(&format!("for _, value in {values} do\n  {name} = value"));
        }
        self.body(body);
        self.line("end");
    }
}
