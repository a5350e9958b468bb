//! What a test file may call, named once: the Lua tables, the definitions for editors and the
//! reference are made from it.

use crate::types::shown_within;

/// One function of a test file.
#[derive(Debug)]
pub struct TestFunction {
    /// The module `test`, or a host.
    pub on: On,
    /// Which one it is.
    pub call: Call,
    /// Its name.
    pub name: &'static str,
    /// Its arguments: name and Luau type; one that ends in `?` may be left out.
    pub params: &'static [(&'static str, &'static str)],
    /// What it gives back, as a Luau type.
    pub gives: &'static str,
    /// What it does, for the reference.
    pub doc: &'static str,
    /// A call as it would stand in a test file.
    pub example: &'static str,
}

/// Of what something is a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// `test.name(...)`
    Test,
    /// `h:name(...)`
    Host,
}

/// A field of a table that a test file hands over.
#[derive(Debug)]
pub struct TestField {
    /// Its key.
    pub name: &'static str,
    /// Its Luau type.
    pub kind: &'static str,
    /// What it means.
    pub doc: &'static str,
}

const fn field(name: &'static str, kind: &'static str, doc: &'static str) -> TestField {
    TestField { name, kind, doc }
}

/// Every type of a table that a test file hands over or gets, with its fields.
pub const TEST_TYPES: &[(&str, &[TestField])] = &[
    (
        "HostOptions",
        &[
            field(
                "interface",
                "string?",
                "The virtual host's interface; eth0 by default.",
            ),
            field(
                "addresses",
                "{ string }?",
                "Its addresses; 192.0.2.22/24 by default.",
            ),
            field("name", "string?", "Its name; test by default."),
            field("vhid", "number?", "Its vhid; 1 by default."),
            field("xparam", "string?", "ucarp's --xparam."),
            field(
                "hooks",
                "{ string }?",
                "Its hooks in their order, by the names that they have in the configuration of the tested one; that one alone by default.",
            ),
            field(
                "vhosts",
                "{ VhostOptions }?",
                "Virtual hosts beside this one: h:vhost.",
            ),
            field(
                "config",
                "{ [string]: any }?",
                "Of the tested hook, instead of [hook.NAME.config].",
            ),
            field(
                "grants",
                "{ [string]: any }?",
                "Of the tested hook, instead of [hook.NAME.grant], in the same words.",
            ),
            field(
                "health",
                "boolean?",
                "true: while time passes the daemon asks for the health by itself, as [hook.NAME.health] says.",
            ),
            field(
                "hostname",
                "string?",
                "The kernel's host name; node by default.",
            ),
            field(
                "links",
                "{ [string]: LinkOptions }?",
                "Devices, by name, beside the virtual host's interface.",
            ),
            field(
                "routes",
                "{ string }?",
                "Routes that are there, in the words of ip route: default via 192.0.2.254.",
            ),
            field(
                "units",
                "{ [string]: string | UnitOptions }?",
                "Services, by name: active, inactive, fails, hangs, missing, or a table.",
            ),
            field(
                "strict",
                "boolean?",
                "true: there are no other devices and services than those named, and a gateway must be in the network of an address.",
            ),
            field(
                "files",
                "{ [string]: string }?",
                "Files that are there: path and content.",
            ),
            field(
                "sysctls",
                "{ [string]: string }?",
                "Kernel parameters: name with dots, and value.",
            ),
            field(
                "commands",
                "{ [string]: CommandOptions }?",
                "What granted command lines leave behind, by name; success by default.",
            ),
            field(
                "http",
                "{ [string]: AnswerOptions }?",
                "What other hosts answer over HTTP, by the whole URL; 404 by default.",
            ),
            field(
                "listening",
                "{ string }?",
                "Where TCP connections are taken: address and port. Nowhere by default.",
            ),
        ],
    ),
    (
        "VhostOptions",
        &[
            field("name", "string", "Its name."),
            field("interface", "string?", "Its interface; eth0 by default."),
            field(
                "addresses",
                "{ string }?",
                "Its addresses; the next after 192.0.2.22/24 by default.",
            ),
            field("vhid", "number?", "Its vhid; the next after 1 by default."),
            field("xparam", "string?", "ucarp's --xparam."),
            field(
                "hooks",
                "{ string }?",
                "Its hooks, as of the first; the tested one alone by default.",
            ),
        ],
    ),
    (
        "AnswerOptions",
        &[
            field("status", "number?", "HTTP status; 200 by default."),
            field("headers", "{ [string]: string }?", "Headers."),
            field("body", "string?", "What is in it."),
        ],
    ),
    (
        "LinkOptions",
        &[
            field("up", "boolean?", "Administratively up; true by default."),
            field(
                "carrier",
                "boolean?",
                "The other end is there; true by default.",
            ),
            field("mac", "string?", "Hardware address."),
            field("mtu", "number?", "Bytes; 1500 by default."),
            field(
                "addresses",
                "{ string }?",
                "Its addresses, with prefix length.",
            ),
        ],
    ),
    (
        "UnitOptions",
        &[
            field(
                "state",
                "string?",
                "active or inactive; inactive by default.",
            ),
            field(
                "start",
                "string?",
                "What starting does: fails, hangs, or how long it takes, as in 3s.",
            ),
            field("stop", "string?", "What stopping does."),
        ],
    ),
    (
        "CommandOptions",
        &[
            field("status", "number?", "Exit status; 0 by default."),
            field("stdout", "string?", "What it writes."),
            field("stderr", "string?", "What it complains."),
        ],
    ),
    (
        "EventOptions",
        &[
            field(
                "cause",
                "string?",
                "Why: master-down, better-master, startup and so on.",
            ),
            field("peer", "string?", "Whose advertisement led to it."),
            field(
                "initial",
                "boolean?",
                "The first call after the daemon's start; true for a backup that was nothing before.",
            ),
            field(
                "missed",
                "number?",
                "Tells the hooks that so many more transitions were overtaken.",
            ),
            field(
                "wait",
                "boolean?",
                "false: return as soon as the hook waits for something; h:advance moves on.",
            ),
        ],
    ),
    (
        "FaultOptions",
        &[
            field("times", "number?", "How many calls; all by default."),
            field(
                "after",
                "number?",
                "How many calls go well before; 0 by default.",
            ),
        ],
    ),
    (
        "LogLine",
        &[
            field("hook", "string", "Whose."),
            field("level", "string", "debug, info, warn or error."),
            field("message", "string", "The sentence."),
            field("fields", "{ [string]: string }", "The values."),
        ],
    ),
    (
        "HookCall",
        &[
            field("hook", "string", "Its name."),
            field("entry", "string", "The entry point."),
            field("cause", "string", "event.cause."),
            field("missed", "number", "event.missed."),
            field(
                "outcome",
                "string",
                "running, done, failed, or overtaken by a newer state.",
            ),
        ],
    ),
];

/// Makes the list, and a type for each kind of function, so that one that is in the list and not
/// done does not compile.
macro_rules! functions {
    ($($(#[doc = $about:literal])* $on:ident $kind:ident($calls:ident) {
        $($call:ident = $name:ident($($param:literal: $type:literal),*) -> $gives:literal, $doc:literal, $example:literal;)*
    })*) => {
        $(
            $(#[doc = $about])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $calls {
                $(#[doc = $doc] $call,)*
            }
        )*

        /// Which function of a test file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Call {
            $($(#[doc = $about])* $kind($calls),)*
        }

        /// Every function of a test file. `case` and `equal` are done where the test file runs, the
        /// others by whoever runs it.
        pub const TEST_FUNCTIONS: &[TestFunction] = &[$($(TestFunction {
            on: On::$on,
            call: Call::$kind($calls::$call),
            name: stringify!($name),
            params: &[$(($param, $type)),*],
            gives: $gives,
            doc: $doc,
            example: $example,
        },)*)*];
    };
}

functions! {
    /// Functions of the module `test`.
    Test Module(ModuleCall) {
        Case = case("name": "string", "run": "() -> ()") -> "()",
            "A case. Each one has fresh globals: the whole file runs again for it.",
            "test.case(\"a master serves\", function() end)";
        Host = host("options": "HostOptions?") -> "TestHost",
            "A host in memory with the hook on it, and a virtual host that is nothing yet. What is not said is as the hook needs it: \
             a unit can be started, a device is there.",
            "local h = test.host({ hostname = \"node2\", units = { httpd = \"inactive\" } })";
        Equal = equal("actual": "any", "expected": "any", "note": "string?") -> "()",
            "Compares two values, tables by what is in them.", "test.equal(h:hostname(), \"node2\")";
        Faults = faults("name": "string", "options": "HostOptions?") -> "()",
            "A case of its own: on such a host every effect of becoming master and of becoming backup fails once, hangs once, and has the \
             runner killed under it once. A hook that ends well has done all; after one that does not, all is undone.",
            "test.faults(\"all or nothing\", { hostname = \"node2\" })";
        Histories = histories("name": "string", "options": "HostOptions?", "runs": "number?") -> "()",
            "A case of its own: so many random histories of changes of state, failures and other people's changes (20 by default). None \
             leaves an address on a backup, and at the end everything is undone.",
            "test.histories(\"whatever happens\", { hostname = \"node2\" })";
        Print = print("text": "string") -> "()",
            "Writes a line to the output of the test; plain print does the same.", "test.print(\"here\")";
    }

    /// What happens to a host.
    Host Event(HostEvent) {
        Become = become("role": "string", "options": "EventOptions?") -> "()",
            "Makes the virtual host master or backup, as the daemon would: addresses, entry points, and undoing in their order. Begins a new \
             plan. Time passes as the hook needs it.",
            "h:become(\"master\", { cause = \"master-down\" })";
        Advance = advance("time": "string | number") -> "()",
            "Lets time pass, as in \"30s\" or in seconds: what waits goes on, what is to be retried is.", "h:advance(\"30s\")";
        Stop = stop() -> "()",
            "Stops the daemon in good order: before_backup, addresses down, on_backup, undo, on_stop.", "h:stop()";
        PeerClaim = peer_claim("peer": "string?") -> "()",
            "A worse master is heard while we are master: on_peer_claim.", "h:peer_claim(\"192.0.2.3\")";
        Health = health() -> "{ demotion: number, reason: string }",
            "Asks the hooks' health: what they say together.", "test.equal(h:health().demotion, 0)";
    }

    /// What goes wrong from now on, or what somebody else changes.
    Host Arrange(Arrangement) {
        Fail = fail("effect": "string", "message": "string?", "options": "FaultOptions?") -> "()",
            "From now on an effect fails, named as in a plan or by its first words.", "h:fail(\"service.start httpd\", \"no memory\")";
        Hang = hang("effect": "string", "options": "FaultOptions?") -> "()",
            "From now on an effect does not end by itself.", "h:hang(\"service.start\")";
        Slow = slow("effect": "string", "time": "string | number", "options": "FaultOptions?") -> "()",
            "From now on an effect takes so long.", "h:slow(\"service.start\", \"3s\")";
        Kill = kill("effect": "string", "options": "FaultOptions?") -> "()",
            "From now on the hook's process is killed when it asks for this.", "h:kill(\"route.replace\", { times = 1 })";
        Heal = heal() -> "()", "Takes back what fail, hang, slow and kill have arranged.", "h:heal()";
        Change = change("options": "HostOptions") -> "()",
            "Somebody else changes the host: hostname, routes, units, files, sysctls. `false` removes a file.",
            "h:change({ hostname = \"renamed\" })";
    }

    /// What must be so.
    Host Expect(Expect) {
        ExpectPlan = expect_plan("plan": "string") -> "()",
            "What the hooks have asked to change since the last event or the last expect_plan, one effect a line, in order: the function, then \
             what it is about, as carpd plan prints it. What only looks (queries, carp.state), log, sleep and state are not in it. An effect \
             that failed ends in (failed), a refused one in (denied), one that was never answered in (interrupted). A route is its \
             destination with prefix length (or default), then via, dev, src, metric, and table unless it is main; the test may write them \
             in any order.",
            "h:expect_plan([[\nhostname.set nodevir2\nservice.start httpd\n]])";
        ExpectError = expect_error("text": "string?") -> "()",
            "A hook's last run failed, and its error has this text in it. A failure that nobody expects fails the case.",
            "h:expect_error(\"no memory\")";
        ExpectDenied = expect_denied("text": "string?") -> "()",
            "A hook asked for something that it may not do, since the last event. Says so even if the hook caught the error.",
            "h:expect_denied(\"service.start\")";
        ExpectUndone = expect_undone("plan": "string?") -> "()",
            "Nothing is left of the last mastership: every value is as before, or as on_backup has set it. With a plan: what was undone \
             since the last event, newest first, each line the effect that undid it, in the words of expect_plan.",
            "h:expect_undone()";
        ExpectLog = expect_log("text": "string") -> "()",
            "A line of the hooks' log has this text in it, as `level message key=value`.", "h:expect_log(\"Took over\")";
        ExpectState = expect_state("role": "string") -> "()", "What the virtual host is now.", "h:expect_state(\"backup\")";
    }

    /// How things are.
    Host Look(Look) {
        Vhost = vhost("name": "string") -> "TestHost",
            "Another virtual host of the same host, or the first: it has the same functions. What an event, a plan, a log, an expectation or an \
             answer is about is that virtual host; time, trouble and what is on the host are shared.",
            "h:vhost(\"db\"):become(\"master\")";
        State = state() -> "Role", "What the virtual host is now.", "h:state() == \"backup\"";
        Hostname = hostname() -> "string", "The kernel's host name.", "h:hostname()";
        Addresses = addresses("dev": "string?") -> "{ string }",
            "The addresses of a device, of the virtual host's interface by default. The daemon holds its own as host addresses.", "test.equal(h:addresses(), { \"192.0.2.22/32\" })";
        Routes = routes("table": "number?") -> "{ string }", "The routes of a table, main by default, each in the words of expect_plan and test.host: default via 192.0.2.254.",
            "h:routes()[1]";
        Rules = rules() -> "{ string }", "The policy rules, in the words of expect_plan: priority 1000 from 10.1.0.0/16 table 100.",
            "h:rules()";
        Link = link("dev": "string") -> "Link?", "A device.", "h:link(\"eth1\").up";
        Service = service("unit": "string") -> "UnitState", "What a service is doing.", "h:service(\"httpd\") == \"active\"";
        Sysctl = sysctl("key": "string") -> "string", "A kernel parameter.", "h:sysctl(\"net.ipv4.ip_forward\")";
        File = file("path": "string") -> "string?", "A file's content.", "h:file(\"/run/role\")";
        Log = log() -> "{ LogLine }", "What the hooks have logged.", "h:log()[1].message";
        Calls = calls() -> "{ HookCall }",
            "Every call of the virtual host's hooks, in order, but for their health. A state that no hook was told of, since a newer one came \
             before anybody had time for it, is not there: the next call has it in `missed`.",
            "h:calls()[1].entry == \"on_master\"";
        Plan = plan() -> "{ string }", "What expect_plan would compare.", "#h:plan() == 0";
        Undone = undone() -> "{ string }", "What expect_undone would compare with a plan.", "h:undone()";
        Trace = trace() -> "{ string }", "Everything that was done to the host, the daemon's work included.", "h:trace()";
        Demotion = demotion() -> "number", "How unfit the node says that it is: what the hook asked for by carp.demote, what its health and its failures are worth.", "h:demotion() == 0";
        Stored = stored("key": "string") -> "any", "A value of the tested hook's lasting state.", "h:stored(\"failures\")";
        Now = now() -> "number", "Seconds on the host's clock, which begins at 0.", "h:now()";
    }
}

/// Finds a function of a test file.
#[must_use]
pub fn find_test(on: On, name: &str) -> Option<(usize, &'static TestFunction)> {
    TEST_FUNCTIONS
        .iter()
        .enumerate()
        .find(|(_, f)| f.on == on && f.name == name)
}

/// `test.cas` or `h:becom` does not exist.
#[must_use]
pub fn unknown_test_function(on: On, name: &str) -> String {
    let here = TEST_FUNCTIONS.iter().filter(|f| f.on == on).map(|f| f.name);
    let prefix = if on == On::Test { "test." } else { "h:" };
    let hint = super::nearest(name, here)
        .map(|found| format!("; did you mean {prefix}{found}?"))
        .unwrap_or_default();
    format!("no function {prefix}{}{hint}", shown_within(name, 64))
}
