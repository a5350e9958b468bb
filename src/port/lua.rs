//! Steps as Luau.

mod helpers;
mod text;

use std::collections::BTreeSet;

use self::text::Names;
pub(super) use self::text::{key, quoted};
use super::ir::{Action, Cond, Expr, List, LuaPart, Step, Visit, What, walk};
use super::{Half, Settings, mirror};
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
            used: BTreeSet::new(),
        };
        printer.entry();
        used.extend(printer.used.iter().copied());
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
    head + &helpers::text(&used) + &bodies
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
    /// Helpers, and `event`, that the text needs.
    used: BTreeSet<&'static str>,
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
        if used.status {
            self.line("local ok = true");
        }
        let early: Vec<&String> = used
            .assigned
            .iter()
            .filter(|name| !self.inline(name))
            .collect();
        for name in early {
            let name = self.names.of(name);
            self.line(&format!("local {name} = \"\""));
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

    /// Is the variable declared where it is set?
    fn inline(&self, name: &str) -> bool {
        let top = |step: &&Step| matches!(&step.what, What::Assign(n, _) if n == name);
        self.half.scope.times_set(name) == 1
            && !self.half.scope.has_functions()
            && self.half.steps.iter().filter(top).count() == 1
    }

    fn steps(&mut self, steps: &[Step]) {
        for (index, step) in steps.iter().enumerate() {
            let last = index + 1 == steps.len();
            self.step(step, last);
        }
    }

    fn body(&mut self, steps: &[Step]) {
        self.indent += 1;
        self.steps(steps);
        self.indent -= 1;
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
            What::Do(action) => {
                let (function, args) = self.action(action);
                self.line(&format!("{function}({})", args.join(", ")));
            }
            What::Try(cond) => {
                let text = self.cond(cond);
                let call = matches!(cond, Cond::Did(actions) if actions.len() == 1)
                    || matches!(cond, Cond::Function(..));
                self.line(&if call {
                    text
                } else {
                    format!("local _ = {text}")
                });
            }
            What::Must(cond) => {
                let text = self.cond(cond);
                self.line(&format!(
                    "assert({text}, {})",
                    quoted(&format!("{} line {}: failed", self.script, step.line))
                ));
            }
            What::Remember(cond) => {
                let text = self.cond(cond);
                self.line(&format!("ok = {text}"));
            }
            What::Assign(name, value) => {
                let local = if self.inline(name) { "local " } else { "" };
                let text = self.expr(value);
                let name = self.names.of(name);
                self.line(&format!("{local}{name} = {text}"));
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
            What::Function(name, params, body) => {
                let params: Vec<String> = (1..=*params).map(|n| format!("a{n}")).collect();
                let name = self.names.of(name);
                self.line(&format!("local function {name}({})", params.join(", ")));
                self.body(body);
                self.line("end");
            }
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
        };
        let name = self.names.of(name);
        if self.half.scope.has_functions() {
            self.line(&format!("for _, value in {values} do\n  {name} = value"));
        } else {
            self.line(&format!("for _, {name} in {values} do"));
        }
        self.body(body);
        self.line("end");
    }

    fn call(&mut self, name: &str, args: &[Expr]) -> String {
        let params = self
            .half
            .scope
            .function(name)
            .map_or(args.len(), |function| function.params);
        let mut args: Vec<String> = args.iter().take(params).map(|arg| self.expr(arg)).collect();
        args.resize(params, "\"\"".to_owned());
        format!("{}({})", self.names.of(name), args.join(", "))
    }

    /// The function and its arguments.
    fn action(&mut self, action: &Action) -> (String, Vec<String>) {
        let mut options: Vec<String> = Vec::new();
        let (function, mut args) = match action {
            Action::Addr { add, cidr, dev } => {
                options.extend(self.device(dev.as_ref()));
                (
                    if *add { "addr.add" } else { "addr.delete" },
                    vec![self.expr(cidr)],
                )
            }
            Action::Announce { cidr, dev, count } => {
                options.extend(self.device(dev.as_ref()));
                options.extend((*count > 1).then(|| format!("count = {count}")));
                ("announce", vec![self.expr(cidr)])
            }
            Action::Route {
                verb,
                dst,
                options: given,
            } => {
                options.extend(given.iter().map(|(key, value)| self.option(key, value)));
                let function = if *verb == super::ir::RouteVerb::Delete {
                    "route.delete"
                } else {
                    "route.replace"
                };
                (function, vec![self.expr(dst)])
            }
            Action::Rule {
                add,
                options: given,
            } => {
                options.extend(given.iter().map(|(key, value)| self.option(key, value)));
                (
                    if *add { "rule.replace" } else { "rule.delete" },
                    Vec::new(),
                )
            }
            Action::LinkUp { dev, up } => {
                options.extend((!up).then(|| "up = false".to_owned()));
                ("link.set_up", vec![self.expr(dev)])
            }
            Action::LinkMac { dev, mac } => ("link.set_mac", vec![self.expr(dev), self.expr(mac)]),
            Action::Hostname(name) => ("hostname.set", vec![self.expr(name)]),
            Action::Service { verb, unit } => (text::service(verb), vec![self.expr(unit)]),
            Action::Sysctl { key, value } => ("sysctl.set", vec![self.expr(key), self.expr(value)]),
            Action::Write {
                path,
                content,
                append,
            } => (
                if *append {
                    self.helper("append")
                } else {
                    "file.write"
                },
                vec![self.expr(path), self.expr(content)],
            ),
            Action::Remove(path) => ("file.remove", vec![self.expr(path)]),
            Action::Touch(path) => (self.helper("touch"), vec![self.expr(path)]),
            Action::Copy { from, to } => {
                (self.helper("copy"), vec![self.expr(from), self.expr(to)])
            }
            Action::Run(run) => (self.helper("run"), self.command(run)),
            Action::Log { level, message } => (text::log(level), vec![self.expr(message)]),
            Action::Sleep(ms) => ("clock.sleep", vec![self.number(ms)]),
            Action::Resign => ("carp.resign", vec![quoted("asked for by the hook")]),
        };
        if mirror::resource(action).is_some_and(|resource| self.keeps.contains(&resource)) {
            options.push("keep = true".to_owned());
        }
        if !options.is_empty() {
            args.push(format!("{{ {} }}", options.join(", ")));
        }
        (function.to_owned(), args)
    }

    fn helper(&mut self, name: &'static str) -> &'static str {
        self.used.insert(name);
        name
    }

    /// The own interface is the default.
    fn device(&mut self, dev: Option<&Expr>) -> Option<String> {
        dev.filter(|dev| **dev != Expr::Dev)
            .map(|dev| format!("dev = {}", self.expr(dev)))
    }

    fn option(&mut self, key: &str, value: &Expr) -> String {
        let numeric = matches!(key, "metric" | "table" | "priority" | "fwmark");
        format!(
            "{key} = {}",
            if numeric {
                self.number(value)
            } else {
                self.expr(value)
            }
        )
    }

    fn number(&mut self, value: &Expr) -> String {
        match value {
            Expr::Text(text)
                if text.parse::<u64>().is_ok()
                    || text
                        .strip_prefix("0x")
                        .is_some_and(|t| u64::from_str_radix(t, 16).is_ok()) =>
            {
                text.clone()
            }
            Expr::Lua(_) => self.expr(value),
            value => format!("tonumber({})", self.expr(value)),
        }
    }

    fn command(&mut self, run: &super::ir::Run) -> Vec<String> {
        let mut args = vec![quoted(&run.name)];
        if !run.holes.is_empty() {
            let holes: Vec<String> = run
                .holes
                .iter()
                .map(|(name, value)| format!("{} = {}", text::key(name), self.expr(value)))
                .collect();
            args.push(format!("{{ {} }}", holes.join(", ")));
        }
        args
    }

    fn cond(&mut self, cond: &Cond) -> String {
        match cond {
            Cond::Const(given) => given.to_string(),
            Cond::Did(actions) => {
                let all: Vec<String> = actions.iter().map(|action| self.attempt(action)).collect();
                if all.is_empty() {
                    "true".to_owned()
                } else {
                    all.join(" and ")
                }
            }
            Cond::Function(name, args) => self.call(name, args),
            Cond::Equal(a, b) => format!("{} == {}", self.operand(a), self.operand(b)),
            Cond::Empty(a) => format!("{} == \"\"", self.operand(a)),
            Cond::Number(operator, a, b) => {
                format!("{} {operator} {}", self.compared(a), self.compared(b))
            }
            Cond::Match(a, pattern) => {
                format!("string.match({}, {}) ~= nil", self.expr(a), quoted(pattern))
            }
            Cond::File(path) => format!("file.read({}) ~= nil", self.expr(path)),
            Cond::HasAddress(dev, text) => {
                let mut args = vec![self.expr(text)];
                args.extend(dev.as_ref().map(|dev| self.expr(dev)));
                format!("{}({})", self.helper("has_address"), args.join(", "))
            }
            Cond::Active(unit) => format!("service.status({}) == \"active\"", self.expr(unit)),
            Cond::Status => "ok".to_owned(),
            Cond::Not(inner) => match &**inner {
                Cond::Equal(a, b) => format!("{} ~= {}", self.operand(a), self.operand(b)),
                Cond::Empty(a) => format!("{} ~= \"\"", self.operand(a)),
                Cond::Const(_) | Cond::Function(..) | Cond::HasAddress(..) | Cond::Status => {
                    format!("not {}", self.cond(inner))
                }
                Cond::Did(actions) if actions.len() == 1 => format!("not {}", self.cond(inner)),
                inner => format!("not ({})", self.cond(inner)),
            },
            Cond::And(a, b) => format!("{} and {}", self.part(a), self.part(b)),
            Cond::Or(a, b) => format!("{} or {}", self.part(a), self.part(b)),
        }
    }

    fn part(&mut self, cond: &Cond) -> String {
        let text = self.cond(cond);
        if matches!(cond, Cond::And(..) | Cond::Or(..)) {
            format!("({text})")
        } else {
            text
        }
    }

    /// A failure is an answer here.
    fn attempt(&mut self, action: &Action) -> String {
        let (function, mut args) = self.action(action);
        if matches!(action, Action::Run(_)) {
            return format!("{function}({})", args.join(", "));
        }
        self.used.insert("try");
        args.insert(0, function);
        format!("try({})", args.join(", "))
    }

    fn compared(&mut self, value: &Expr) -> String {
        match value {
            Expr::Text(text) if text.parse::<i64>().is_ok() => text.clone(),
            value => format!("(tonumber({}) or 0)", self.expr(value)),
        }
    }

    fn operand(&mut self, value: &Expr) -> String {
        let text = self.expr(value);
        if matches!(value, Expr::Join(_)) {
            format!("({text})")
        } else {
            text
        }
    }

    fn expr(&mut self, value: &Expr) -> String {
        match value {
            Expr::Text(text) => quoted(text),
            Expr::Dev => self.helper("dev").to_owned(),
            Expr::Vip => self.helper("vip").to_owned(),
            Expr::Xparam => self.helper("xparam").to_owned(),
            Expr::Given(words) => match words.as_slice() {
                [one] => quoted(one),
                _ => self.helper("became").to_owned(),
            },
            Expr::Cidr => {
                self.used.insert("event");
                "event.instance.addresses[1]".to_owned()
            }
            Expr::Var(name) => self.names.of(name),
            Expr::Arg(_, number) => format!("a{number}"),
            Expr::Outside(name) => format!("(config.{name} or \"\")"),
            Expr::Status => "(if ok then \"0\" else \"1\")".to_owned(),
            Expr::Join(parts) => parts
                .iter()
                .map(|part| self.expr(part))
                .collect::<Vec<_>>()
                .join(" .. "),
            Expr::Call(function, args) => {
                let plain = |printer: &mut Self, arg: &Expr| match (arg, *function) {
                    (Expr::Outside(name), "default") => format!("config.{name}"),
                    (arg, _) => printer.expr(arg),
                };
                let args: Vec<String> = args.iter().map(|arg| plain(self, arg)).collect();
                let text = format!("{function}({})", args.join(", "));
                match *function {
                    "default" | "read" | "assert_set" => _ = self.used.insert(function),
                    "string.gsub" => return format!("({text})"),
                    _ => {}
                }
                text
            }
            Expr::Or(a, b) => format!("({} or {})", self.expr(a), self.expr(b)),
            Expr::Lua(parts) => parts
                .iter()
                .map(|part| match part {
                    LuaPart::Code(code) => code.clone(),
                    LuaPart::Value(value) => self.expr(value),
                })
                .collect(),
            Expr::Output(run) => format!(
                "{}({})",
                self.helper("output"),
                self.command(run).join(", ")
            ),
        }
    }
}

/// What must be declared before the first step.
#[derive(Default)]
struct Used {
    status: bool,
    assigned: Vec<String>,
}

impl Visit for Used {
    fn step(&mut self, step: &Step) {
        match &step.what {
            What::Remember(_) => self.status = true,
            What::Assign(name, _) if !self.assigned.contains(name) => {
                self.assigned.push(name.clone());
            }
            _ => {}
        }
    }
}
