//! What a script does, in the words of the hook API: the steps between the shell's tree and the Lua
//! text.

/// A value: always text, as in a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    /// Fixed text.
    Text(String),
    /// The script's first argument: the interface.
    Dev,
    /// Its second argument: the address without a prefix length.
    Vip,
    /// The virtual host's address with its prefix length.
    Cidr,
    /// Its third argument.
    Xparam,
    /// One of the words that the script is called with: of several, the one for the state.
    Given(Vec<String>),
    /// A variable of the script.
    Var(String),
    /// An argument of a function of the script.
    Arg(String, usize),
    /// A variable that the script does not set: `[hook.NAME.config]`.
    Outside(String),
    /// The exit status that was remembered.
    Status,
    /// The number that a text is; 0 if it is none.
    Number(Box<Self>),
    /// A calculation.
    Sum(Vec<LuaPart>),
    /// One value if the condition holds, and the other otherwise.
    If(Box<Cond>, Box<Self>, Box<Self>),
    /// All that is in a file; nothing if there is none.
    Content(Box<Self>),
    /// What a granted command line writes, to the last byte; with what it complains.
    Raw(Run, bool),
    /// Put together.
    Join(Vec<Expr>),
    /// A call of a Lua function that gives text.
    Call(&'static str, Vec<Expr>),
    /// A value without its begin or its end, and all of it where there is none such.
    Trim(Box<Trim>),
    /// Lua as it stands, made of fixed text and variables.
    Lua(Vec<LuaPart>),
    /// What a granted command line writes.
    Output(Run),
    /// What another host answers to a request.
    Answer(Box<Action>, Answer),
}

/// A part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its content, without the end of its last line.
    Body,
    /// Its status, as three digits.
    Status,
}

/// `${X%word}` and its like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trim {
    /// What is taken from.
    pub(crate) value: Expr,
    /// `%`, `%%`, `#` or `##`.
    pub(crate) op: &'static str,
    /// What is taken away, as the shell has it.
    pub(crate) word: String,
    /// The Lua pattern that captures the rest.
    pub(crate) pattern: String,
}

/// A part of an expression that is written as Lua.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LuaPart {
    /// As it stands.
    Code(String),
    /// A value.
    Value(Expr),
}

/// A command line to be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Its name in the grants.
    pub(crate) name: String,
    /// What is granted, with holes.
    pub(crate) argv: Vec<String>,
    /// What goes into the holes.
    pub(crate) holes: Vec<(String, Expr)>,
    /// After `set -e`: it must work.
    pub(crate) must: bool,
}

/// One thing done to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// `addr.add`, `addr.delete`.
    Addr {
        add: bool,
        cidr: Expr,
        dev: Option<Expr>,
    },
    /// `announce`.
    Announce {
        cidr: Expr,
        dev: Option<Expr>,
        count: u8,
    },
    /// `route.replace` and `route.delete`.
    Route {
        verb: RouteVerb,
        dst: Expr,
        options: Vec<(&'static str, Expr)>,
    },
    /// `rule.replace`, `rule.delete`.
    Rule {
        add: bool,
        options: Vec<(&'static str, Expr)>,
    },
    /// `link.set_up`.
    LinkUp { dev: Expr, up: bool },
    /// `link.set_mac`.
    LinkMac { dev: Expr, mac: Expr },
    /// `hostname.set`.
    Hostname(Expr),
    /// `service.start` and so on.
    Service { verb: &'static str, unit: Expr },
    /// `sysctl.set`.
    Sysctl { key: Expr, value: Expr },
    /// `file.write`; appending reads first.
    Write {
        path: Expr,
        content: Expr,
        append: bool,
    },
    /// `file.remove`.
    Remove(Expr),
    /// An empty file, if there is none.
    Touch(Expr),
    /// `command.run`.
    Run(Run),
    /// `http.get` and so on.
    Http {
        /// Which of them.
        verb: &'static str,
        /// Where to.
        url: Expr,
        /// What is sent.
        body: Option<Expr>,
        /// Headers by name.
        headers: Vec<(String, Expr)>,
        /// In ms.
        timeout: Option<u64>,
        /// Is a status of 400 and above a failure?
        strict: bool,
    },
    /// `log.info` and so on.
    Log { level: &'static str, message: Expr },
    /// `clock.sleep`.
    Sleep(Expr),
    /// `carp.resign`.
    Resign,
}

/// How a route is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteVerb {
    /// Fails in the shell if there is one.
    Add,
    /// As `route add` of net-tools: it comes before one that is there.
    Insert,
    /// Takes the place of another.
    Replace,
    /// Removes it.
    Delete,
}

/// Something true or false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cond {
    /// Always or never.
    Const(bool),
    /// Did it work? A failure is no error here.
    Did(Vec<Action>),
    /// Did it work, and was it not so before?
    Changed(Action),
    /// What a helper says.
    Call(&'static str, Vec<Expr>),
    /// Is there such a key in the hook's configuration?
    Given(String),
    /// A function of the script that ends with `return`.
    Function(String, Vec<Expr>),
    /// Equal as text.
    Equal(Expr, Expr),
    /// Empty text.
    Empty(Expr),
    /// Compared as numbers, by Lua's operator.
    Number(&'static str, Expr, Expr),
    /// Matches a Lua pattern.
    Match(Expr, String),
    /// There is such a file.
    File(Expr),
    /// The device, or any, has this address.
    HasAddress(Option<Expr>, Expr),
    /// The service runs.
    Active(Expr),
    /// The command before this one worked.
    Status,
    /// The other way round.
    Not(Box<Cond>),
    /// Both.
    And(Box<Cond>, Box<Cond>),
    /// One of them.
    Or(Box<Cond>, Box<Cond>),
}

impl Cond {
    /// The other way round, without doubling.
    pub(crate) fn not(self) -> Self {
        match self {
            Self::Const(given) => Self::Const(!given),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }
}

/// Values to go over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum List {
    /// These.
    Fixed(Vec<Expr>),
    /// The words of these texts.
    Words(Vec<Expr>),
    /// The lines of a text, as `read` has them.
    Lines {
        /// The text.
        text: Expr,
        /// Is what follows its last end of line one, too?
        rest: bool,
        /// Do the blanks around them stay?
        blanks: bool,
    },
    /// All arguments of the function.
    Arguments,
}

/// One step, with the line of the script that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Line, from 1; 0 if it comes from none.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) what: What,
}

/// What a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Must work.
    Do(Action),
    /// May fail.
    Try(Cond),
    /// Must be true, or the hook fails: `set -e`.
    Must(Cond),
    /// Remembers whether it worked, for `$?`.
    Remember(Cond),
    /// Sets a variable.
    Assign(String, Expr),
    /// `if`, `elseif`, `else`.
    If(Vec<(Cond, Vec<Step>)>, Vec<Step>),
    /// `for`.
    For(String, List, Vec<Step>),
    /// `while`.
    While(Cond, Vec<Step>),
    /// Steps of their own.
    Block(Vec<Step>),
    /// A whole script of this name.
    Script(String, Vec<Step>),
    /// A function of the script and how many arguments it uses.
    Function(String, usize, Vec<Step>),
    /// Variables of the function at hand.
    Local(Vec<String>),
    /// Calls it.
    Call(String, Vec<Expr>),
    /// Ends the function or the hook.
    Return(Option<Cond>),
    /// The script gave up here.
    Fail(String),
    /// Leaves the loop.
    Break,
    /// Goes on with the next value.
    Continue,
    /// Not translated: the original, and why.
    Todo { original: String, why: String },
    /// A remark.
    Comment(String),
}

impl What {
    /// The lists of steps in it.
    pub(crate) fn bodies_mut(&mut self) -> Vec<&mut Vec<Step>> {
        match self {
            Self::If(arms, otherwise) => arms
                .iter_mut()
                .map(|(_, body)| body)
                .chain(std::iter::once(otherwise))
                .collect(),
            Self::For(_, _, body)
            | Self::While(_, body)
            | Self::Block(body)
            | Self::Script(_, body)
            | Self::Function(_, _, body) => vec![body],
            _ => Vec::new(),
        }
    }
}

/// A look at every part of the steps.
pub(crate) trait Visit {
    /// An action, with its line.
    fn action(&mut self, _line: usize, _action: &Action) {}
    /// A condition, with its line; its parts follow by themselves.
    fn cond(&mut self, _line: usize, _cond: &Cond) {}
    /// A value; its parts follow by themselves.
    fn expr(&mut self, _line: usize, _expr: &Expr) {}
    /// A step; its parts follow by themselves.
    fn step(&mut self, _step: &Step) {}
}

/// Shows every part of these steps.
pub(crate) fn walk(steps: &[Step], visit: &mut impl Visit) {
    for step in steps {
        visit.step(step);
        let line = step.line;
        match &step.what {
            What::Do(action) => walk_action(line, action, visit),
            What::Try(cond)
            | What::Must(cond)
            | What::Remember(cond)
            | What::Return(Some(cond)) => walk_cond(line, cond, visit),
            What::Assign(_, value) => walk_expr(line, value, visit),
            What::If(arms, otherwise) => {
                for (cond, body) in arms {
                    walk_cond(line, cond, visit);
                    walk(body, visit);
                }
                walk(otherwise, visit);
            }
            What::For(_, list, body) => {
                match list {
                    List::Fixed(list) | List::Words(list) => {
                        for value in list {
                            walk_expr(line, value, visit);
                        }
                    }
                    List::Lines { text, .. } => walk_expr(line, text, visit),
                    List::Arguments => {}
                }
                walk(body, visit);
            }
            What::While(cond, body) => {
                walk_cond(line, cond, visit);
                walk(body, visit);
            }
            What::Block(body) | What::Script(_, body) | What::Function(_, _, body) => {
                walk(body, visit);
            }
            What::Call(_, args) => args.iter().for_each(|value| walk_expr(line, value, visit)),
            What::Return(None)
            | What::Fail(_)
            | What::Break
            | What::Continue
            | What::Local(_)
            | What::Todo { .. }
            | What::Comment(_) => {}
        }
    }
}

fn walk_cond(line: usize, cond: &Cond, visit: &mut impl Visit) {
    visit.cond(line, cond);
    match cond {
        Cond::Const(_) | Cond::Status | Cond::Given(_) => {}
        Cond::Changed(action) => walk_action(line, action, visit),
        Cond::Did(actions) => actions
            .iter()
            .for_each(|action| walk_action(line, action, visit)),
        Cond::Function(_, args) | Cond::Call(_, args) => {
            for value in args {
                walk_expr(line, value, visit);
            }
        }
        Cond::Equal(a, b) | Cond::Number(_, a, b) | Cond::HasAddress(Some(a), b) => {
            walk_expr(line, a, visit);
            walk_expr(line, b, visit);
        }
        Cond::Empty(a)
        | Cond::Match(a, _)
        | Cond::File(a)
        | Cond::HasAddress(None, a)
        | Cond::Active(a) => {
            walk_expr(line, a, visit);
        }
        Cond::Not(inner) => walk_cond(line, inner, visit),
        Cond::And(a, b) | Cond::Or(a, b) => {
            walk_cond(line, a, visit);
            walk_cond(line, b, visit);
        }
    }
}

fn walk_action(line: usize, action: &Action, visit: &mut impl Visit) {
    visit.action(line, action);
    for value in action.values() {
        walk_expr(line, value, visit);
    }
}

fn walk_expr(line: usize, expr: &Expr, visit: &mut impl Visit) {
    visit.expr(line, expr);
    match expr {
        Expr::Join(parts) | Expr::Call(_, parts) => {
            for part in parts {
                walk_expr(line, part, visit);
            }
        }
        Expr::Trim(trim) => walk_expr(line, &trim.value, visit),
        Expr::Answer(action, _) => walk_action(line, action, visit),
        Expr::Number(inner) | Expr::Content(inner) => walk_expr(line, inner, visit),
        Expr::If(cond, value, other) => {
            walk_cond(line, cond, visit);
            walk_expr(line, value, visit);
            walk_expr(line, other, visit);
        }
        Expr::Lua(parts) | Expr::Sum(parts) => {
            for part in parts {
                if let LuaPart::Value(value) = part {
                    walk_expr(line, value, visit);
                }
            }
        }
        Expr::Output(run) | Expr::Raw(run, _) => run
            .holes
            .iter()
            .for_each(|(_, value)| walk_expr(line, value, visit)),
        Expr::Text(_)
        | Expr::Dev
        | Expr::Vip
        | Expr::Cidr
        | Expr::Xparam
        | Expr::Given(_)
        | Expr::Var(_)
        | Expr::Arg(..)
        | Expr::Outside(_)
        | Expr::Status => {}
    }
}

impl Action {
    /// Every value in it.
    pub(crate) fn values(&self) -> Vec<&Expr> {
        match self {
            Self::Addr { cidr, dev, .. } | Self::Announce { cidr, dev, .. } => {
                std::iter::once(cidr).chain(dev).collect()
            }
            Self::Route { dst, options, .. } => std::iter::once(dst)
                .chain(options.iter().map(|(_, value)| value))
                .collect(),
            Self::Rule { options, .. } => options.iter().map(|(_, value)| value).collect(),
            Self::LinkUp { dev, .. } => vec![dev],
            Self::LinkMac { dev, mac } => vec![dev, mac],
            Self::Service { unit, .. } => vec![unit],
            Self::Sysctl { key, value } => vec![key, value],
            Self::Write { path, content, .. } => vec![path, content],
            Self::Run(run) => run.holes.iter().map(|(_, value)| value).collect(),
            Self::Http {
                url, body, headers, ..
            } => std::iter::once(url)
                .chain(body)
                .chain(headers.iter().map(|(_, value)| value))
                .collect(),
            Self::Log { message: value, .. }
            | Self::Hostname(value)
            | Self::Remove(value)
            | Self::Touch(value)
            | Self::Sleep(value) => vec![value],
            Self::Resign => Vec::new(),
        }
    }
}
