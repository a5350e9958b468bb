//! The functions that a test file may call, listed once: the Lua tables, the definitions for
//! editors and the reference are made from this list.

use crate::types::shown_within;

/// One function of a test file.
#[derive(Debug)]
pub struct TestFunction {
    /// The module `test`, or a host.
    pub on: On,
    /// Which function it is.
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

/// What a function belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// `test.name(...)`
    Test,
    /// `h:name(...)`
    Host,
}

/// A field of a table that a test file passes.
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

/// Every type of table that a test file passes or receives, with its fields.
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
                "Further virtual hosts on the same host: h:vhost.",
            ),
            field(
                "config",
                "{ [string]: any }?",
                "The configuration of the tested hook, instead of [hook.NAME.config].",
            ),
            field(
                "grants",
                "{ [string]: any }?",
                "What is granted to the tested hook, instead of [hook.NAME.grant], in the same words.",
            ),
            field(
                "health",
                "boolean?",
                "true: while time passes, the daemon runs the health check by itself, as [hook.NAME.health] says.",
            ),
            field(
                "hostname",
                "string?",
                "The kernel's host name; node by default.",
            ),
            field(
                "links",
                "{ [string]: LinkOptions }?",
                "Other devices than the virtual host's interface, by name.",
            ),
            field(
                "routes",
                "{ string }?",
                "Routes that exist, written as for ip route: default via 192.0.2.254.",
            ),
            field(
                "units",
                "{ [string]: string | UnitOptions }?",
                "Services, by name: active, inactive, fails, hangs, missing, or a table.",
            ),
            field(
                "strict",
                "boolean?",
                "true: no devices and services exist but those named here, and a gateway must be in the network of an address.",
            ),
            field(
                "files",
                "{ [string]: string }?",
                "Files that exist: path and content.",
            ),
            field(
                "sysctls",
                "{ [string]: string }?",
                "Kernel parameters: name with dots, and value.",
            ),
            field(
                "commands",
                "{ [string]: CommandOptions }?",
                "The results of granted command lines, by name; success by default.",
            ),
            field(
                "http",
                "{ [string]: AnswerOptions }?",
                "What other hosts answer over HTTP, by the whole URL; 404 by default.",
            ),
            field(
                "listening",
                "{ string }?",
                "Where TCP connections are accepted: address and port. Nowhere by default.",
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
                "Its hooks, as for the first; the tested one alone by default.",
            ),
        ],
    ),
    (
        "AnswerOptions",
        &[
            field("status", "number?", "HTTP status; 200 by default."),
            field("headers", "{ [string]: string }?", "Headers."),
            field("body", "string?", "The body."),
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
            field("stdout", "string?", "What it writes to standard output."),
            field("stderr", "string?", "What it writes to standard error."),
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
                "Makes event.missed larger by this: so many transitions were overtaken.",
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
                "How many calls succeed first; 0 by default.",
            ),
        ],
    ),
    (
        "LogLine",
        &[
            field("hook", "string", "The name of the hook."),
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

/// Makes the list, and a type for each kind of function, so that a function in the list does not
/// compile until it is implemented.
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

        /// Every function of a test file. `case` and `equal` are implemented where the test
        /// file runs, the others by the program that runs it.
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
            "A host in memory with the hook on it, and a virtual host that is nothing yet. Anything you do not specify is as the \
             hook needs it: a unit can be started, a device exists.",
            "local h = test.host({ hostname = \"node2\", units = { httpd = \"inactive\" } })";
        Equal = equal("actual": "any", "expected": "any", "note": "string?") -> "()",
            "Compares two values, tables by their contents.", "test.equal(h:hostname(), \"node2\")";
        Faults = faults("name": "string", "options": "HostOptions?") -> "()",
            "A case of its own: on such a host every effect of becoming master and of becoming backup fails once, hangs once, and has the \
             runner killed under it once. After a hook that succeeds, everything is done; after one that fails, everything is undone.",
            "test.faults(\"all or nothing\", { hostname = \"node2\" })";
        Histories = histories("name": "string", "options": "HostOptions?", "runs": "number?") -> "()",
            "A case of its own: so many random histories of state changes, failures and changes by other programs (20 by default). None may \
             leave an address on a backup, and at the end everything must be undone.",
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
            "Lets time pass, as in \"30s\" or in seconds: what waits continues, and retries that are due happen.", "h:advance(\"30s\")";
        Stop = stop() -> "()",
            "Stops the daemon in an orderly way: before_backup, addresses down, on_backup, undo, on_stop.", "h:stop()";
        PeerClaim = peer_claim("peer": "string?") -> "()",
            "A worse master is heard while we are master: on_peer_claim.", "h:peer_claim(\"192.0.2.3\")";
        Health = health() -> "{ demotion: number, reason: string }",
            "Runs the hooks' health checks, and gives back their combined result.", "test.equal(h:health().demotion, 0)";
    }

    /// What goes wrong from now on, or what another program changes.
    Host Arrange(Arrangement) {
        Fail = fail("effect": "string", "message": "string?", "options": "FaultOptions?") -> "()",
            "From now on an effect fails, named as in a plan or by its first words.", "h:fail(\"service.start httpd\", \"no memory\")";
        Hang = hang("effect": "string", "options": "FaultOptions?") -> "()",
            "From now on an effect does not end by itself.", "h:hang(\"service.start\")";
        Slow = slow("effect": "string", "time": "string | number", "options": "FaultOptions?") -> "()",
            "From now on an effect takes this long.", "h:slow(\"service.start\", \"3s\")";
        Kill = kill("effect": "string", "options": "FaultOptions?") -> "()",
            "From now on the hook's process is killed when it asks for this.", "h:kill(\"route.replace\", { times = 1 })";
        Heal = heal() -> "()", "Ends what fail, hang, slow and kill set up.", "h:heal()";
        Change = change("options": "HostOptions") -> "()",
            "Changes the host as another program would: hostname, routes, units, files, sysctls. `false` removes a file.",
            "h:change({ hostname = \"renamed\" })";
    }

    /// What must be true.
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

    /// The present state.
    Host Look(Look) {
        Vhost = vhost("name": "string") -> "TestHost",
            "Another virtual host of the same host, or the first: it has the same functions. Events, plans, logs, expectations and answers \
             then concern that virtual host; time, faults and the state of the host are shared.",
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
            "Every call of the virtual host's hooks, in order, except for health checks. A state that no hook was called for, because a newer one \
             overtook it, is not listed: the next call counts it in `missed`.",
            "h:calls()[1].entry == \"on_master\"";
        Plan = plan() -> "{ string }", "What expect_plan would compare.", "#h:plan() == 0";
        Undone = undone() -> "{ string }", "What expect_undone would compare with a plan.", "h:undone()";
        Trace = trace() -> "{ string }", "Everything that was done to the host, including what the daemon did.", "h:trace()";
        Demotion = demotion() -> "number", "The demotion that the node advertises: what the hook asked for with carp.demote, plus what its health and its failures add.", "h:demotion() == 0";
        Stored = stored("key": "string") -> "any", "A value of the tested hook's persistent state.", "h:stored(\"failures\")";
        Now = now() -> "number", "Seconds on the host's clock, which starts at 0.", "h:now()";
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
