mod addresses;
mod netns;
mod notify;
mod tracks;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reference::{Presence, SECTIONS};
use super::*;

/// Surroundings in which everything exists.
struct Fake {
    password: &'static [u8],
}

const AROUND: Fake = Fake {
    password: b"gw22\n",
};

impl Surroundings for Fake {
    fn password_file(&self, _: &Path) -> Result<Vec<u8>, Unusable> {
        Ok(self.password.to_vec())
    }
    fn credential(&self, name: &str) -> Result<Vec<u8>, Unusable> {
        Err(format!("no credential {name}").into())
    }
    fn key_file(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        let text = format!("untrusted comment: for tests\n{KEY}\n");
        match path.to_str() {
            Some("team.pub" | "/usr/local/share/carpd/carpd.pub") => Ok(text.into_bytes()),
            Some("odd.pub") => Ok(vec![0xff; 100]),
            _ => Err(format!("cannot read the key {}", path.display()).into()),
        }
    }
    fn hook_file(&self, path: &Path) -> Result<PathBuf, Unusable> {
        Ok(Path::new("/etc/carpd").join(path))
    }
}

/// A minisign public key.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

const MINIMAL: &str = "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"192.168.32.22/24\"]\n\
                       password-file = \"web.pass\"\n";

fn parse(text: &str) -> Result<Loaded, Report> {
    Config::parse("carpd.toml", text, &AROUND)
}

fn good(text: &str) -> Config {
    parse(text)
        .unwrap_or_else(|report| panic!("{report}"))
        .config
}

/// All messages, each with line and column; warnings too.
fn messages(text: &str) -> Vec<String> {
    let report = match parse(text) {
        Ok(loaded) => loaded.report,
        Err(report) => report,
    };
    let place = |p: &Problem| p.span.as_ref().map_or((0, 0), |s| report.position(s.start));
    report
        .problems
        .iter()
        .map(|p| format!("{}:{} {}", place(p).0, place(p).1, p.message))
        .collect()
}

/// A whole file with one table written as `body`; `MINIMAL`'s required keys are added where `body`
/// lacks them.
fn file_with(header: &str, body: &str) -> String {
    let complete = |base: &str| {
        let names = |line: &str| line.split(" = ").next().unwrap_or_default().to_owned();
        let missing = base
            .lines()
            .filter(|line| !body.lines().any(|b| names(b) == names(line)));
        missing.map(|line| format!("{line}\n")).collect::<String>() + body
    };
    let hook = "[hook.h]\nsource = \"h.lua\"\n";
    let inline = body.lines().collect::<Vec<_>>().join(", ");
    match header {
        "" => String::new(),
        "[daemon]" | "[daemon.log]" | "[trust]" => format!("{header}\n{body}{MINIMAL}"),
        "[[vhost]]" => format!(
            "[[vhost]]\n{}",
            complete(MINIMAL.trim_start_matches("[[vhost]]\n"))
        ),
        "[vhost.announce]" | "[vhost.damping]" => format!("{MINIMAL}{header}\n{body}"),
        "[group.NAME]" => {
            let other = |name: &str, number: &str| {
                MINIMAL
                    .replace("\"web\"", &format!("\"{name}\""))
                    .replace("= 40", &format!("= {number}"))
                    .replace("32.22", &format!("{number}.22"))
            };
            let members = other("wan", "41") + &other("lan", "42");
            format!("{members}[group.n]\n{body}")
        }
        "[hook.NAME]" => {
            // The programs of a script stand in place of a source.
            let script = ["up", "down"]
                .iter()
                .any(|key| body.starts_with(&format!("{key} = ")));
            let base = if script {
                "kind = \"script\"\n"
            } else {
                "source = \"h.lua\"\n"
            };
            // A signature needs a key.
            let trust = if body.starts_with("signature") {
                "[trust]\nkeys = [\"team.pub\"]\n"
            } else {
                ""
            };
            format!(
                "{trust}{MINIMAL}hooks = [\"h\"]\n[hook.h]\n{}",
                complete(base)
            )
        }
        "[track.NAME]" => {
            let has = |key: &str| body.lines().any(|line| line.starts_with(key));
            // Of all kinds a command has most keys.
            let base = match () {
                () if has("process = ") => "kind = \"process\"\n",
                () if has("unit = ") => "kind = \"service\"\n",
                () if has("to = ") => "kind = \"route\"\n",
                () if has("via = ") => "kind = \"route\"\nto = \"198.51.100.1\"\n",
                () if has("interface = ") => "kind = \"link\"\n",
                () if has("connect = ") => "kind = \"tcp\"\n",
                () if has("url = ") => "kind = \"http\"\n",
                () if has("host = ") => "kind = \"icmp\"\n",
                () if has("status = ") && !has("user = ") => {
                    "kind = \"http\"\nurl = \"http://192.0.2.1/\"\n"
                }
                () if has("path = ") => "kind = \"file\"\n",
                () if has("hook = ") => "kind = \"hook\"\n",
                () => "kind = \"command\"\nargv = [\"/bin/true\"]\n",
            };
            let kind = base.lines().next().unwrap_or_default();
            let whole = complete(base).replace("kind = \"link\"", kind);
            // No kind has both.
            let is_other = |line: &&str| has("user = ") && line.starts_with("status = ");
            let lines = whole.lines().filter(|line| !is_other(line));
            let body: String = lines.map(|line| format!("{line}\n")).collect();
            let asked = if has("hook = ") {
                "[hook.app]\nsource = \"h.lua\"\n"
            } else {
                ""
            };
            format!("{MINIMAL}tracks = [\"n\"]\n[track.n]\n{body}{asked}")
        }
        "[notify.NAME]" => {
            let has = |key: &str| {
                body.lines()
                    .any(|line| line.starts_with(&format!("{key} = ")))
            };
            let has_any = |keys: &[&str]| keys.iter().any(|key| has(key));
            let is_all = has("method") && has("sendmail");
            let base = if is_all {
                "kind = \"command\"\nargv = [\"/bin/true\"]\n"
            } else if has_any(&["url", "method", "headers", "secret-file", "credential"]) {
                "kind = \"webhook\"\nurl = \"http://192.0.2.1/\"\nsecret-file = \"t\"\n"
            } else if has_any(&["recipients", "sender", "subject", "sendmail", "body"]) {
                "kind = \"mail\"\nrecipients = [\"ops@example.net\"]\n"
            } else {
                "kind = \"command\"\nargv = [\"/bin/true\"]\n"
            };
            let kind = base.lines().next().unwrap_or_default();
            let whole = complete(base).replace("kind = \"webhook\"", kind);
            // A target has one secret, and no kind has all keys.
            let others: &[&str] = match () {
                () if has("credential") => &["secret-file"],
                () if is_all => &["method", "subject", "sendmail"],
                () => &[],
            };
            let is_other = |line: &&str| {
                let name = line.split(" = ").next().unwrap_or_default();
                others.contains(&name)
            };
            let lines = whole.lines().filter(|line| !is_other(line));
            let whole: String = lines.map(|line| format!("{line}\n")).collect();
            format!("{MINIMAL}\n[notify.n]\n{whole}")
        }
        "[hook.NAME.grant]" => format!("{MINIMAL}hooks = [\"h\"]\n{hook}[hook.h.grant]\n{body}"),
        "[hook.NAME.health]" => format!("{MINIMAL}hooks = [\"h\"]\n{hook}[hook.h.health]\n{body}"),
        entry => {
            let line = entry.replace("NAME", "n").replace("...", &inline);
            format!("{MINIMAL}hooks = [\"h\"]\n{hook}[hook.h.grant]\n{line}\n")
        }
    }
}

#[test]
fn the_scenario_is_read_as_written() {
    let config = good(
        r#"
        [[vhost]]
        name = "web"
        interface = "eth0"
        vhid = 40
        addresses = ["192.168.32.22/24"]
        password-file = "/etc/carpd/web.pass"
        advskew = 0
        preempt = true
        hooks = ["failover"]

        [hook.failover]
        source = "hooks/failover.lua"
        timeout = "10s"
        on-failure = "resign"
        config = { gateway = "192.168.32.254", ports = [80, 443], deep = { ratio = 0.5 } }
        [hook.failover.grant]
        hostname = ["nodevir2", "node2"]
        route = [{ dst = "default", via = "192.168.32.254" }]
        service = [{ unit = "httpd", do = ["start", "stop"] }]
        command.drbd = { argv = ["/sbin/drbdadm", "primary", "{resource:word}"] }
        "#,
    );
    let vhost = &config.vhosts[0];
    assert_eq!(
        (vhost.name.as_str(), vhost.vhid.get(), vhost.preempt),
        ("web", 40, Preempt::On)
    );
    assert_eq!(vhost.key.bytes(), b"gw22");
    let hook = &config.hooks["failover"];
    assert_eq!(hook.path, Path::new("/etc/carpd/hooks/failover.lua"));
    assert_eq!(hook.runners, 1);
    assert_eq!(
        hook.config_json,
        r#"{"deep":{"ratio":0.5},"gateway":"192.168.32.254","ports":[80,443]}"#
    );
    assert_eq!(hook.grants.hostname, ["nodevir2", "node2"]);
    assert_eq!(
        hook.grants.route[0].via,
        Some("192.168.32.254".parse().unwrap())
    );
    assert_eq!(hook.grants.command["drbd"].argv[2], "{resource:word}");
    assert_eq!(hook.limits.wall, Duration::from_secs(10));
}

#[test]
fn writing_every_default_changes_nothing() {
    for section in SECTIONS.iter().filter(|s| !s.header.is_empty()) {
        let (mut bare, mut full) = (String::new(), String::new());
        for key in section.keys {
            match key.presence() {
                Presence::Required => {
                    bare += &format!("{} = {}\n", key.name(), key.example());
                    full += &format!("{} = {}\n", key.name(), key.example());
                }
                Presence::Default(value) => full += &format!("{} = {value}\n", key.name()),
                Presence::Absent(_) => {}
            }
        }
        // A hook named in `hooks` must exist; MINIMAL adds its own list where one is needed.
        assert_eq!(
            good(&file_with(section.header, &full)),
            good(&file_with(section.header, &bare)),
            "{}",
            section.header
        );
    }
}

#[test]
fn every_example_is_valid() {
    for section in SECTIONS.iter().filter(|s| !s.header.is_empty()) {
        for key in section.keys {
            let file = if key.name() == "credential" {
                continue;
            } else {
                file_with(section.header, &example(section, key.name()))
            };
            assert!(
                parse(&file).is_ok(),
                "{} {}: {:?}\n{file}",
                section.header,
                key.name(),
                messages(&file)
            );
        }
    }
}

/// One key of a section by its example, beside the required ones.
fn example(section: &reference::Section, name: &str) -> String {
    let wanted = section
        .keys
        .iter()
        .filter(|k| k.name() == name || k.presence() == Presence::Required);
    wanted
        .map(|k| format!("{} = {}\n", k.name(), k.example()))
        .collect()
}

#[test]
fn every_key_is_read_and_refuses_a_value_of_another_type() {
    for section in SECTIONS {
        for key in section.keys {
            let file = if section.header.is_empty() {
                format!("{} = 1979-05-27\n", key.name())
            } else {
                let good = example(section, key.name());
                let wrong: String = good
                    .lines()
                    .map(|line| match line.split_once(" = ") {
                        Some((name, _)) if name == key.name() => format!("{name} = 1979-05-27\n"),
                        _ => format!("{line}\n"),
                    })
                    .collect();
                file_with(section.header, &wrong)
            };
            let at = file.find("1979-05-27").unwrap();
            let report = parse(&file).expect_err(key.name());
            let hit = report
                .problems
                .iter()
                .any(|p| p.span.as_ref().is_some_and(|s| s.start == at));
            assert!(hit, "{} {}: {report}", section.header, key.name());
        }
    }
}

#[test]
fn a_file_without_a_virtual_host_is_refused_however_it_is_written() {
    for text in ["", "vhost = []\n", "[daemon]\n"] {
        assert_eq!(
            messages(text),
            ["0:0 no virtual host is defined"],
            "{text:?}"
        );
    }
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = "[daemon]\nsandbx = \"required\"\n\n[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 256\nadresses = []\n\
                advbase = 0\npasword-file = \"x\"\nhooks = [\"failovr\"]\n\n[hook.failover]\nsource = \"failover.sh\"\ntimeout = \"10\"\n";
    assert_eq!(
        messages(text),
        [
            "2:1 unknown key `sandbx` in [daemon]",
            "7:8 `vhid` must be between 1 and 255, not 256",
            "8:1 unknown key `adresses` in [[vhost]]",
            "9:11 `advbase` 0 needs an `advskew` above 0: the interval would be zero",
            "10:1 unknown key `pasword-file` in [[vhost]]",
            "11:10 there is no hook \"failovr\"",
            "14:10 \"failover.sh\" does not show its language: it must end in .lua, .luau or .wasm",
            "15:11 `timeout`: \"10\" needs a unit: ms, s, m or h",
        ]
    );
}

#[test]
fn a_mistyped_key_is_answered_with_the_nearest() {
    for (given, hint) in [
        ("adv_skew = 1", "did you mean `advskew`?"),
        ("prempt = true", "did you mean `preempt`?"),
        (
            "on-failure = \"keep\"",
            "`on-failure` belongs under [hook.NAME]",
        ),
    ] {
        let report = parse(&format!("{MINIMAL}{given}\n")).unwrap_err();
        assert_eq!(report.problems[0].hint.as_deref(), Some(hint), "{given}");
    }
}

#[test]
fn what_two_virtual_hosts_may_not_share() {
    let second = "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"192.168.32.22/32\", \"fe80::1/64\"]\n\
                  password-file = \"x\"\n";
    assert_eq!(
        messages(&format!("{MINIMAL}{second}")),
        [
            "8:8 two virtual hosts are called \"web\"",
            "10:8 vhid 40 is used twice on eth0",
            "11:14 192.168.32.22 is given twice"
        ]
    );
    let apart = second
        .replace("\"web\"", "\"mail\"")
        .replace("eth0", "eth1")
        .replace("192.168.32.22/32", "192.168.32.23/32");
    let third = apart
        .replace("mail", "third")
        .replace("eth1", "eth2")
        .replace("32.23", "32.24");
    assert!(
        messages(&format!("{MINIMAL}{apart}{third}")).is_empty(),
        "link-local addresses are another on another interface"
    );
}

#[test]
fn the_members_of_a_group_exist_once_and_are_alike() {
    let other = MINIMAL
        .replace("web\"", "lan\"")
        .replace("40", "41")
        .replace("32.22", "33.22");
    let of = |more: &str, groups: &str| messages(&format!("{MINIMAL}{other}{more}{groups}"));
    let group = "[group.g]\nmembers = [\"web\", \"lan\"]\n";
    assert!(of("", group).is_empty(), "{:?}", of("", group));
    assert_eq!(
        of("advskew = 5\npreempt = true\n", group),
        [
            "7:1 web and lan are in one group, and their advskew differs",
            "7:1 web and lan are in one group, and their preempt differs"
        ]
    );
    assert_eq!(
        of("manage-addresses = false\n", group),
        ["7:1 lan is in a group, so the daemon must manage its addresses"]
    );
    assert_eq!(
        of(
            "",
            "[group.g]\nmembers = [\"web\", \"lam\"]\n[group.h]\nmembers = [\"web\"]\n"
        ),
        [
            "14:19 no virtual host is called \"lam\"",
            "15:8 group h has fewer than two members",
            "16:12 \"web\" is already in a group"
        ]
    );
}

#[test]
fn a_syntax_error_is_the_only_complaint() {
    assert_eq!(messages("[[vhost]]\nname = web\n").len(), 1);
    assert!(messages("[[vhost]]\nname = web\n")[0].starts_with("2:8 this is not TOML: "));
    assert_eq!(messages(""), ["0:0 no virtual host is defined"]);
}

#[test]
fn passwords_are_bytes_of_one_line() {
    assert_eq!(
        Secret::from_file(b"gw22\nsecond\n").unwrap().bytes(),
        b"gw22"
    );
    assert_eq!(
        Secret::from_file(b" gw22 \r\n").unwrap().bytes(),
        b" gw22 \r"
    );
    assert_eq!(Secret::from_file(&[0xff; 19]).unwrap().bytes(), [0xff; 19]);
    assert_eq!(Secret::from_file(b"\ngw22"), Err(BadSecret::Empty));
    assert_eq!(Secret::from_file(&[b'x'; 20]), Err(BadSecret::TooLong(20)));
    assert_eq!(Secret::from_file(b"a\0b"), Err(BadSecret::Nul));
    assert_eq!(
        format!("{:?}", Secret::from_file(b"gw22").unwrap()),
        "Secret(..)"
    );
}

#[test]
fn a_password_never_shows_in_a_report_or_in_debug() {
    let around = Fake {
        password: b"twenty-bytes-or-more-of-it",
    };
    let report = Config::parse("carpd.toml", MINIMAL, &around).unwrap_err();
    assert!(
        !format!("{report} {report:?}").contains("twenty"),
        "{report:?}"
    );
    assert!(!format!("{:?}", good(MINIMAL)).contains("gw22"));
}

#[test]
fn durations_and_sizes() {
    for (text, millis) in [
        ("0s", 0),
        ("500ms", 500),
        ("10s", 10_000),
        ("1m", 60_000),
        ("2h", 7_200_000),
        ("1 s", 1_000),
    ] {
        assert_eq!(
            parse_duration(text),
            Ok(Duration::from_millis(millis)),
            "{text}"
        );
    }
    for bad in [
        "",
        "10",
        "s",
        "1.5s",
        "-1s",
        "10 sec",
        "1d",
        "18446744073709551615h",
        "99999999999999999999s",
    ] {
        assert!(parse_duration(bad).is_err(), "{bad}");
    }
    for (text, bytes) in [
        ("0B", 0),
        ("64KiB", 65_536),
        ("16MiB", 16 << 20),
        ("1GiB", 1 << 30),
    ] {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
        assert_eq!(units::show_size(bytes), text);
    }
    for bad in ["", "64", "64K", "64KB", "1.5MiB", "18446744073709551615GiB"] {
        assert!(parse_size(bad).is_err(), "{bad}");
    }
}

#[test]
fn hooks_without_a_number_get_a_runner_for_each_virtual_host() {
    let vhost = |n: usize| {
        format!(
            "[[vhost]]\nname = \"v{n}\"\ninterface = \"eth0\"\nvhid = {n}\naddresses = [\"10.0.0.{n}\"]\npassword-file = \"p\"\nhooks = [\"h\"]\n"
        )
    };
    for (vhosts, runners) in [(1, 1), (5, 5), (50, 8)] {
        let text = (1..=vhosts).map(vhost).collect::<String>() + "[hook.h]\nsource = \"h.lua\"\n";
        assert_eq!(good(&text).hooks["h"].runners, runners);
        assert_eq!(good(&(text + "runners = 3\n")).hooks["h"].runners, 3);
    }
}

#[test]
fn grants_refuse_what_could_mean_something_else() {
    for (line, what) in [
        (
            "file = [{ path = \"/etc/../etc/shadow\", do = [\"read\"] }]",
            "absolute path",
        ),
        (
            "file = [{ path = \"etc/x\", do = [\"read\"] }]",
            "absolute path",
        ),
        (
            "command.x = { argv = [\"drbdadm\"] }",
            "absolute path of a program",
        ),
        (
            "command.x = { argv = [\"/sbin/x\", \"{a:anything}\"] }",
            "not a type of hole",
        ),
        ("command.x = { argv = [] }", "empty"),
        (
            "service = [{ unit = \"../x\", do = [\"start\"] }]",
            "name of a service",
        ),
        (
            "service = [{ unit = \"x\", do = [\"strat\"] }]",
            "must be one of",
        ),
        ("hostname = [\"a b\"]", "host name"),
        ("sysctl = [{ key = \"net..x\" }]", "kernel parameter"),
        ("addr = [{ cidr = \"10.0.0.0/33\" }]", "prefix length"),
    ] {
        let report = parse(&file_with("[hook.NAME.grant]", &format!("{line}\n"))).expect_err(line);
        assert!(
            report.problems[0].message.contains(what),
            "{line}: {report}"
        );
    }
}

#[test]
fn whoever_writes_trust_means_it() {
    let trust = |text: &str| good(&format!("[trust]\n{text}\n{MINIMAL}")).trust;
    assert_eq!(good(MINIMAL).trust, crate::trust::Trust::default());
    let both = trust(&format!("keys = [\"team.pub\", \"{KEY}\"]"));
    assert!(both.require_signature && both.keys.len() == 2 && both.keys[0] == both.keys[1]);
    assert!(!trust("keys = [\"team.pub\"]\nrequire-signature = false").require_signature);
    // By a word, wherever it was installed.
    assert_eq!(trust("keys = [\"carpd\"]").keys, both.keys[..1]);
    assert!(
        trust("keys = []\nrequire-signature = false")
            .keys
            .is_empty()
    );
}

#[test]
fn trust_fails_closed() {
    for (trust, says) in [
        ("", "1:1 `keys` is missing"),
        ("require-signature = false", "1:1 `keys` is missing"),
        (
            "keys = []",
            "2:8 signatures are required, but there is no key to check them with: no hook could run",
        ),
        ("keys = [\"none.pub\"]", "2:9 cannot read the key none.pub"),
        (
            "keys = [\"team.pub\", \"odd.pub\"]",
            "2:21 \"odd.pub\" is not a minisign public key",
        ),
        (
            &format!("keys = [\"{}\"]", KEY.replace('Q', "!")),
            "2:9 this is not a minisign public key: 56 letters that begin with RW",
        ),
        (
            "keys = \"team.pub\"",
            "2:8 `keys` must be a list, not a string",
        ),
        (
            "keys = [\"team.pub\"]\nrequire-signature = \"no\"",
            "3:21 `require-signature` must be true or false, not a string",
        ),
        (
            "keys = [\"team.pub\"]\nrequire_signature = false",
            "3:1 unknown key `require_signature` in [trust]",
        ),
    ] {
        assert_eq!(
            messages(&format!("[trust]\n{trust}\n{MINIMAL}")),
            [says],
            "{trust}"
        );
    }
}

#[test]
fn what_cannot_be_vouched_for_is_refused() {
    let hook = |text: &str| format!("{MINIMAL}hooks = [\"h\"]\n[hook.h]\n{text}\n");
    let pin = format!("digest = \"sha256:{}\"", "0".repeat(64));
    assert_eq!(
        messages(&hook(&format!("source = \"h.lua\"\n{pin}"))),
        [""; 0]
    );
    let script = "kind = \"script\"\nup = \"/etc/up.sh\"";
    assert_eq!(
        messages(&hook(&format!("{script}\n{pin}"))),
        ["11:10 a script can be neither pinned nor signed: it is read again each time it runs"]
    );
    assert_eq!(
        messages(&format!("[trust]\nkeys = [\"team.pub\"]\n{}", hook(script))),
        [
            "12:6 signatures are required, and a script cannot have one: it is read again each time it runs"
        ]
    );
    assert_eq!(
        messages(&hook("source = \"h.lua\"\nsignature = \"h.sig\"")),
        ["10:13 there is no key to check this signature with"]
    );
    assert_eq!(
        messages(&hook("source = \"h.lua\"\ndigest = \"5891b5\"")),
        [
            "10:10 a digest is \"sha256:\" and 64 hexadecimal digits, as `carpd plugin inspect` shows it"
        ]
    );
}

#[test]
fn the_defaults_are_those_of_the_protocol_machine() {
    let config = good(MINIMAL);
    let (ours, vhost) = (config.vhosts[0].settings(), &config.vhosts[0]);
    let theirs = crate::proto::Settings::new(vhost.vhid, vhost.addresses.clone(), ours.key.clone());
    assert_eq!(ours, theirs);
}

#[test]
fn a_file_of_mistakes_is_cut_and_stays_an_error() {
    let unused: String = (0..500)
        .map(|n| format!("[hook.h{n}]\nsource = \"h.lua\"\n"))
        .collect();
    let report = parse(&format!("{MINIMAL}{unused}[hook.last]\nsource = 1\n")).unwrap_err();
    assert_eq!(
        (report.problems.len(), report.omitted),
        (Report::PROBLEMS_MAX, 402)
    );
    assert!(report.has_errors());
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for text in [
        "x = ".to_owned() + &"[".repeat(200_000),
        "x = ".to_owned() + &"{a=".repeat(200_000),
        "a.".repeat(200_000) + "a = 1",
    ] {
        assert!(parse(&text).is_err());
    }
    let deep = format!(
        "{MINIMAL}[hook.h]\nsource = \"h.lua\"\nconfig.x = {}1{}\n",
        "[".repeat(60),
        "]".repeat(60)
    );
    assert!(parse(&deep).is_ok(), "{:?}", messages(&deep));
}

#[test]
fn a_configuration_that_only_moved_is_the_same() {
    assert_eq!(good(MINIMAL), good(&format!("# a comment\n\n{MINIMAL}")));
}

proptest::proptest! {
    #[test]
    fn reading_never_panics(text in "(?s).{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn reading_a_damaged_file_never_panics(at in 0..MINIMAL.len(), with in "[\\[\\]\"=.{}a0\n-]{0,3}") {
        let mut text = MINIMAL.to_owned();
        text.insert_str(at, &with);
        let _ = parse(&text).map_err(|report| report.to_string());
    }
}

#[test]
fn a_virtual_host_has_not_more_addresses_than_can_be_let_go_in_one_step() {
    let with = |count: usize| {
        let all: Vec<String> = (0..count)
            .map(|n| format!("\"10.0.{}.{}/24\"", n / 250, n % 250 + 1))
            .collect();
        MINIMAL.replace("\"192.168.32.22/24\"", &all.join(", "))
    };
    assert_eq!(good(&with(255)).vhosts[0].addresses.len(), 255);
    assert_eq!(
        messages(&with(256)),
        ["5:13 `addresses` has 256 entries: a virtual host has at most 255"]
    );
}

/// Whoever looks for a daemon needs no more of its configuration, however broken the rest is.
#[test]
fn the_run_directory_is_found_in_a_broken_configuration() {
    for (text, expected) in [
        (
            "[daemon]\nrun-dir = \"/run/elsewhere\"\n",
            Some("/run/elsewhere"),
        ),
        (
            "[daemon]\nrun-dir = \"/run/elsewhere\"\nnonsense = 1\n[[vhost]]\nvhid = 999\n",
            Some("/run/elsewhere"),
        ),
        (
            "[daemon]\nrun-dir = \"/run/elsewhere\"\n[[vhost]\nvhid = \n",
            Some("/run/elsewhere"),
        ),
        (
            "daemon.run-dir = \"/run/elsewhere\"",
            Some("/run/elsewhere"),
        ),
        ("[daemon]\nrun-dir = 3\n", None),
        ("[daemon]\nrun-dir = \"here\"\n", None),
        ("run-dir = \"/run/elsewhere\"", None),
        ("", None),
    ] {
        assert_eq!(
            super::run_dir(text).as_deref(),
            expected.map(std::path::Path::new),
            "{text}"
        );
    }
}

/// A reload says which keys it changes; each key that is written must be seen to.
#[test]
fn every_key_that_differs_is_named() {
    // What makes it another virtual host, or needs more than this file.
    let moves = [
        "name",
        "interface",
        "vhid",
        "credential",
        "hooks",
        "tracks",
        "password-file",
        "netns",
    ];
    let old = good(MINIMAL).vhosts.remove(0);
    let with_unicast = format!("{MINIMAL}unicast = [\"10.0.0.1\"]\n");
    let section = SECTIONS.iter().find(|s| s.header == "[[vhost]]").unwrap();
    for key in section.keys.iter().filter(|k| !moves.contains(&k.name())) {
        let other = match key.presence() {
            Presence::Default(value) => match (key.name(), value.as_str()) {
                (_, "true") => "false".to_owned(),
                (_, "false") => "true".to_owned(),
                (_, number) if number.parse::<u8>().is_ok() => "7".to_owned(),
                (
                    "overlap" | "hold-down" | "preempt-delay" | "probe-interval" | "startup-delay",
                    _,
                ) => "\"7s\"".to_owned(),
                ("mcast-group", _) => "\"224.0.0.19\"".to_owned(),
                ("mcast-group6", _) => "\"ff02::13\"".to_owned(),
                _ => {
                    // One of a few words: the last.
                    let words = key.schema()["enum"].as_array().unwrap().clone();
                    words.last().unwrap().to_string()
                }
            },
            _ => key.example(),
        };
        let changed = match key.name() {
            "addresses" => MINIMAL.replace("22/24", "23/24"),
            "min-ttl" => format!("{with_unicast}min-ttl = 7\n"),
            name => format!("{MINIMAL}{name} = {other}\n"),
        };
        let old = if key.name() == "min-ttl" {
            good(&with_unicast).vhosts.remove(0)
        } else {
            old.clone()
        };
        let new = good(&changed).vhosts.remove(0);
        assert_eq!(differences(&old, &new), [key.name()], "{changed}");
    }
}
