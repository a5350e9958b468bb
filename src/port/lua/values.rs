//! Actions, conditions and values as Luau.

use super::Printer;
use super::text::{self, quoted};
use crate::port::commands::join;
use crate::port::ir::{Action, Answer, Cond, Expr, LuaPart, RouteVerb, Run};
use crate::port::mirror;

impl Printer<'_> {
    pub(super) fn call(&mut self, name: &str, args: &[Expr]) -> String {
        let args: Vec<String> = args.iter().map(|arg| self.expr(arg)).collect();
        format!("{}({})", self.names.function(name), args.join(", "))
    }

    /// The function and its arguments.
    pub(super) fn action(&mut self, action: &Action) -> (String, Vec<String>) {
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
                let function = match verb {
                    RouteVerb::Delete => "route.delete",
                    RouteVerb::Replace => "route.replace",
                    RouteVerb::Add => self.helper("add_route"),
                    RouteVerb::Insert => self.helper("insert_route"),
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
                content: Expr::Raw(run, false),
                append: false,
            } => {
                let mut args = self.command(run);
                args.insert(0, self.expr(path));
                if run.holes.is_empty() {
                    args.push("{}".to_owned());
                }
                (self.helper("save"), args)
            }
            Action::Write {
                path,
                content: Expr::Content(from),
                append: false,
            } => (self.helper("copy"), vec![self.expr(from), self.expr(path)]),
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
            Action::Http {
                verb,
                url,
                body,
                headers,
                timeout,
                ..
            } => {
                let headers: Vec<String> = headers
                    .iter()
                    .map(|(name, value)| format!("{} = {}", text::key(name), self.expr(value)))
                    .collect();
                if !headers.is_empty() {
                    options.push(format!("headers = {{ {} }}", headers.join(", ")));
                }
                options.extend(timeout.map(|ms| format!("timeout_ms = {ms}")));
                let args = std::iter::once(url).chain(body);
                let args = args.map(|arg| self.expr(arg)).collect();
                (text::http(verb), args)
            }
            Action::Run(run) => ("command.run", self.command(run)),
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

    pub(super) fn helper(&mut self, name: &'static str) -> &'static str {
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

    /// A whole number for the API.
    fn number(&mut self, value: &Expr) -> String {
        match value {
            Expr::Sum(_) => self.numeric(value),
            Expr::Var(name) if self.half.scope.is_number(name) => self.names.of(name),
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

    /// A value that is a number in Lua.
    pub(super) fn numeric(&mut self, value: &Expr) -> String {
        match value {
            Expr::Text(text) if text.parse::<i64>().is_ok() => text.clone(),
            Expr::Var(name) if self.half.scope.is_number(name) => self.names.of(name),
            Expr::Status => "status".to_owned(),
            Expr::Number(inner) => match &**inner {
                Expr::Text(text) if text.parse::<i64>().is_ok() => text.clone(),
                Expr::Var(name) if self.half.scope.is_number(name) => self.names.of(name),
                Expr::Sum(_) | Expr::Status => self.numeric(inner),
                inner => format!("(tonumber({}) or 0)", self.expr(inner)),
            },
            Expr::Sum(parts) => {
                let text: String = parts
                    .iter()
                    .map(|part| match part {
                        LuaPart::Code(code) => code.clone(),
                        LuaPart::Value(value) => self.numeric(value),
                    })
                    .collect();
                text.trim().to_owned()
            }
            value => format!("(tonumber({}) or 0)", self.expr(value)),
        }
    }

    pub(super) fn command(&mut self, run: &Run) -> Vec<String> {
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

    pub(super) fn cond(&mut self, cond: &Cond) -> String {
        match cond {
            Cond::Const(given) => given.to_string(),
            Cond::Did(actions) => {
                let all: Vec<String> = actions.iter().map(|action| self.asked(action)).collect();
                if all.is_empty() {
                    "true".to_owned()
                } else {
                    all.join(" and ")
                }
            }
            Cond::Function(name, args) => self.call(name, args),
            Cond::Equal(a, b) => format!("{} == {}", self.operand(a), self.operand(b)),
            Cond::Changed(action) => {
                let (function, mut args) = self.action(action);
                args.insert(0, function);
                format!("{}({})", self.helper("changed"), args.join(", "))
            }
            Cond::Call(function, args) => {
                let args: Vec<String> = args.iter().map(|arg| self.expr(arg)).collect();
                format!("{}({})", self.helper(function), args.join(", "))
            }
            Cond::Given(name) => format!("config.{name} ~= nil"),
            Cond::Empty(a) => format!("{} == \"\"", self.operand(a)),
            Cond::Number(operator, a, b) => {
                let (a, b) = (self.compared(a), self.compared(b));
                // What is no number is not even unequal.
                if *operator == "~=" && (a.starts_with("number(") || b.starts_with("number(")) {
                    format!("({a} < {b} or {a} > {b})")
                } else {
                    format!("{a} {operator} {b}")
                }
            }
            Cond::Match(a, pattern) => {
                format!("string.match({}, {}) ~= nil", self.expr(a), quoted(pattern))
            }
            Cond::File(path) => format!("{}({})", self.helper("is_file"), self.expr(path)),
            Cond::HasAddress(dev, text) => {
                let mut args = vec![self.expr(text)];
                args.extend(dev.as_ref().map(|dev| self.expr(dev)));
                format!("{}({})", self.helper("has_address"), args.join(", "))
            }
            Cond::Active(unit) => format!("{}({})", self.helper("runs"), self.expr(unit)),
            Cond::Status if self.numbered => "status == 0".to_owned(),
            Cond::Status => "ok".to_owned(),
            Cond::Not(inner) => match &**inner {
                Cond::Equal(a, b) => format!("{} ~= {}", self.operand(a), self.operand(b)),
                Cond::Empty(a) => format!("{} ~= \"\"", self.operand(a)),
                // What is no number is not equal.
                Cond::Number("==", a, b) => {
                    format!("{} ~= {}", self.compared(a), self.compared(b))
                }
                Cond::Status if self.numbered => "status ~= 0".to_owned(),
                Cond::Given(name) => format!("config.{name} == nil"),
                Cond::Const(_)
                | Cond::Function(..)
                | Cond::HasAddress(..)
                | Cond::File(_)
                | Cond::Active(_)
                | Cond::Status
                | Cond::Changed(_)
                | Cond::Call(..) => {
                    format!("not {}", self.cond(inner))
                }
                Cond::Did(actions) if matches!(actions.as_slice(), [Action::Run(_)]) => {
                    self.cond(inner).trim_end_matches("== 0").to_owned() + "~= 0"
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

    /// A failure is an answer, and no failure.
    fn asked(&mut self, action: &Action) -> String {
        match action {
            Action::Run(run) => {
                let args = self.command(run).join(", ");
                format!("{}({args}).status == 0", self.helper("ask"))
            }
            action => self.attempt(action),
        }
    }

    /// A failure is gone past.
    pub(super) fn attempt(&mut self, action: &Action) -> String {
        let (function, mut args) = self.action(action);
        let owner = function.split('.').next().unwrap_or_default();
        if !self.strict.contains(owner) {
            self.tolerant.insert(owner.to_owned());
            return format!("{function}({})", args.join(", "));
        }
        let helper = match action {
            Action::Http { strict: true, .. } => "answered",
            _ => "try",
        };
        args.insert(0, function);
        format!("{}({})", self.helper(helper), args.join(", "))
    }

    /// A number to compare; what is none compares with nothing.
    fn compared(&mut self, value: &Expr) -> String {
        match value {
            Expr::Text(text) if text.parse::<i64>().is_ok() => text.clone(),
            Expr::Sum(parts) if parts.len() == 1 => self.numeric(value),
            Expr::Sum(_) => format!("({})", self.numeric(value)),
            Expr::Status => "status".to_owned(),
            Expr::Var(name) if self.half.scope.is_number(name) => self.names.of(name),
            value => format!("{}({})", self.helper("number"), self.expr(value)),
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

    pub(super) fn expr(&mut self, value: &Expr) -> String {
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
            Expr::Var(name) if self.half.scope.is_number(name) => {
                format!("tostring({})", self.names.of(name))
            }
            Expr::Var(name) => self.names.of(name),
            Expr::Number(_) | Expr::Sum(_) => format!("tostring({})", self.numeric(value)),
            Expr::If(cond, value, other) => {
                let cond = self.cond(cond);
                let (value, other) = (self.expr(value), self.expr(other));
                format!("(if {cond} then {value} else {other})")
            }
            Expr::Content(path) => format!("{}({})", self.helper("content"), self.expr(path)),
            Expr::Raw(run, both) => {
                let args = self.command(run).join(", ");
                if *both {
                    format!("{}({args})", self.helper("all_output"))
                } else {
                    format!("{}({args})", self.helper("raw_output"))
                }
            }
            Expr::Arg(_, number) => format!("a{number}"),
            Expr::Outside(name) => format!("(config.{name} or \"\")"),
            Expr::Status => "tostring(status)".to_owned(),
            Expr::Join(parts) => {
                // Words that are known by now.
                let text = |part: &Expr| match part {
                    Expr::Given(words) if words.len() == 1 => Expr::Text(words.concat()),
                    part => part.clone(),
                };
                let joined = join(parts.iter().map(text).collect());
                let Expr::Join(parts) = &joined else {
                    return self.expr(&joined);
                };
                let parts: Vec<String> = parts
                    .iter()
                    .map(|part| match part {
                        Expr::Var(name) if self.half.scope.is_number(name) => self.names.of(name),
                        Expr::Status => "status".to_owned(),
                        part => self.expr(part),
                    })
                    .collect();
                parts.join(" .. ")
            }
            Expr::Call(function, args) => {
                let plain = |printer: &mut Self, arg: &Expr| match (arg, *function) {
                    (Expr::Outside(name), "default") => format!("config.{name}"),
                    (Expr::Outside(name), _) => format!("config.{name} or \"\""),
                    (arg, _) => printer.expr(arg),
                };
                let args: Vec<String> = args.iter().map(|arg| plain(self, arg)).collect();
                let text = format!("{function}({})", args.join(", "));
                match *function {
                    "string.gsub" => return format!("({text})"),
                    function if !function.contains('.') => _ = self.used.insert(function),
                    _ => {}
                }
                text
            }
            Expr::Trim(trim) => {
                let value = self.expr(&trim.value);
                format!(
                    "(string.match({value}, {}) or {value})",
                    quoted(&trim.pattern)
                )
            }
            Expr::Lua(parts) => parts
                .iter()
                .map(|part| match part {
                    LuaPart::Code(code) => code.clone(),
                    LuaPart::Value(value) => self.expr(value),
                })
                .collect(),
            Expr::Answer(action, part) => {
                let (function, mut args) = self.action(action);
                args.insert(0, function);
                let strict = matches!(**action, Action::Http { strict: true, .. });
                let helper = match part {
                    Answer::Status => "http_status",
                    Answer::Body if strict => "good_body",
                    Answer::Body => "body",
                };
                format!("{}({})", self.helper(helper), args.join(", "))
            }
            Expr::Output(run) => format!(
                "{}({})",
                self.helper(if run.must { "must_output" } else { "output" }),
                self.command(run).join(", ")
            ),
        }
    }
}
