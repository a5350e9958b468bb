//! Programs that read something, and what reads from a file.

use crate::port::FactKind;

use super::{body, ported};

/// The grant of the one command line of a script.
fn argv(text: &str) -> String {
    let toml = ported(text).toml;
    let (_, rest) = toml
        .split_once("argv = ")
        .unwrap_or_else(|| panic!("{toml}"));
    rest.split_once(" }").unwrap().0.to_owned()
}

#[test]
fn a_program_is_given_what_it_reads() {
    let line = r#""/bin/sh", "-c", '''printf '%s\n' "$0" | "$@"'''"#;
    for same in [
        "echo \"$2 moved\" | mail root\n",
        "printf '%s moved\\n' \"$2\" | /usr/bin/mail root\n",
        "mail root <<EOF\n$2 moved\nEOF\n",
        "cat <<EOF | sudo mail root >/dev/null 2>&1\n$2 moved\nEOF\n",
        "{ echo \"$2 moved\"; } | mail root\n",
        "#!/bin/bash\nmail root <<< \"$2 moved\"\n",
    ] {
        assert_eq!(
            body(same),
            ["command.run(\"mail-root\", { input = vip .. \" moved\" })"],
            "{same}"
        );
        let expected = format!("[{line}, \"{{input:text}}\", \"/usr/bin/mail\", \"root\"]");
        assert_eq!(argv(same), expected, "{same}");
    }
    // What is always the same stands in the grant.
    let script = "nft -f - <<EOF\nflush ruleset\nEOF\n";
    assert_eq!(body(script), ["command.run(\"nft\")"]);
    assert_eq!(
        argv(script),
        format!("[{line}, \"flush ruleset\", \"/usr/sbin/nft\", \"-f\", \"-\"]")
    );
    // No end of line is added.
    let exact = argv("printf up | nc 192.0.2.1 99\n");
    assert!(
        exact.contains(r#"'printf %s "$0" | "$@"', "up""#),
        "{exact}"
    );
    let file = r#"'exec "$@" <"$0"', "/etc/x.sql", "/usr/bin/mysql""#;
    for same in ["mysql < /etc/x.sql\n", "cat /etc/x.sql | mysql\n"] {
        assert!(argv(same).contains(file), "{}", argv(same));
    }
    // More than a hole takes, or an option: the hook fails.
    assert_eq!(
        body("ip route | mail root\n")[0],
        "command.run(\"mail-root\", { input = given(raw_output(\"ip-route\")) })"
    );
}

#[test]
fn the_status_of_a_program_that_reads_is_asked_for() {
    assert_eq!(
        body("if echo \"$2\" | grep -qE '^(10|172)[.]'; then hostname x; fi\n"),
        [
            "if ask(\"grep-10-172\", { input = vip }).status == 0 then",
            "hostname.set(\"x\")",
            "end"
        ]
    );
}

#[test]
fn what_reads_and_is_no_program_stays() {
    for script in [
        "f() { echo x; }\necho a | f\n",
        "cat /etc/x/*.txt | mail root\n",
        "echo \"$3\" | sh\n",
        "echo a | read b\n",
        "/usr/bin/x < \"$3\"\n",
        "yes | /usr/bin/x\n",
        "echo a | service b start\n",
        "set -e\nread X < /etc/x\n",
        "X=1\nread X < /etc/x\necho $X\n",
    ] {
        assert_eq!(
            ported(script).todos().len(),
            1,
            "{script}: {}",
            ported(script).lua
        );
    }
}

#[test]
fn a_line_is_read_from_a_file() {
    assert_eq!(
        body("read -r STATE < /run/state\nlogger \"$STATE\"\n"),
        [
            "local STATE = string.match(string.match(read(\"/run/state\"), \"^[^\\n]*\"), \"^[ \\t]*(.-)[ \\t]*$\")",
            "log.info(STATE)"
        ]
    );
    assert_eq!(
        body("#!/bin/bash\nread -r A B <<< 'x  y z'\nlogger \"$B\"\n"),
        [
            "local line = \"x  y z\"",
            "local B = field(line, 2, true)",
            "log.info(B)"
        ]
    );
}

#[test]
fn what_a_function_has_as_its_own_is_declared_where_it_is_set() {
    assert_eq!(
        body(
            "log() {\n  local level=$1 message=$2\n  local text=\"$level: $message\"\n  echo \"$text\" >> /run/x\n}\nlog a b\nlog c d\n"
        ),
        [
            "local function log_(level, message)",
            "local text = level .. \": \" .. message",
            "append(\"/run/x\", text .. \"\\n\")",
            "end",
            "log_(\"a\", \"b\")",
            "log_(\"c\", \"d\")"
        ]
    );
    // It is looked at before, and set on one way only.
    assert_eq!(
        body(
            "f() {\n  local a b\n  echo \"$a\" >> /run/x\n  a=1\n  if [ \"$1\" = x ]; then b=2; fi\n  echo \"$a$b\" >> /run/x\n}\nf x\nf y\n"
        )[..2],
        ["local function f(a1)", "local a, b = \"\", \"\""]
    );
}

#[test]
fn printf_keeps_its_widths() {
    assert_eq!(
        body("printf '%03d|%-6s\\n' 7 \"$3\" > /run/x\n")[1..],
        [
            "file.write(\"/run/x\", string.format(\"%03d\", \"7\") .. \"|\" .. string.format(\"%-6s\", xparam) .. \"\\n\")"
        ]
    );
    assert_eq!(
        body("n=$(cat /run/n)\nprintf '%d\\n' \"$n\" > /run/x\n")[1],
        "file.write(\"/run/x\", string.format(\"%d\", decimal(n)) .. \"\\n\")"
    );
    for script in [
        "printf '%q' x > /run/x\n",
        "printf '%*d' 3 x > /run/x\n",
        "printf '%100s' x > /run/x\n",
    ] {
        assert_eq!(ported(script).todos().len(), 1, "{script}");
    }
}

#[test]
fn an_array_may_grow() {
    let script = "#!/bin/bash\nV=(10.9.0.1/24)\nV+=(10.9.0.2/24)\nfor v in \"${V[@]}\"; do ip addr add $v dev eth1; done\n";
    let ported = ported(script);
    assert!(ported.todos().is_empty(), "{}", ported.lua);
    assert!(
        ported.lua.contains("V = V .. \" 10.9.0.2/24\""),
        "{}",
        ported.lua
    );
    for script in [
        "#!/bin/bash\nV=(a)\nV+=(\"$x y\")\nfor v in \"${V[@]}\"; do echo $v; done\n",
        "#!/bin/bash\nV+=(a)\nfor v in \"${V[@]}\"; do echo $v; done\n",
    ] {
        assert!(!super::ported(script).todos().is_empty(), "{script}");
    }
}

#[test]
fn what_follows_cd_runs_there() {
    let there = r#""/bin/sh", "-c", 'cd "$0" && exec "$@"', "/etc/ha""#;
    let script = "cd /etc/ha\nln -sf master.cfg ha.cfg\necho up > state\nservice ha reload\n";
    assert_eq!(
        body(script),
        [
            "command.run(\"ln-master-cfg-ha-cfg\")",
            "file.write(\"/etc/ha/state\", \"up\\n\")",
            "service.reload(\"ha\")"
        ]
    );
    let expected = format!("[{there}, \"/usr/bin/ln\", \"-sf\", \"master.cfg\", \"ha.cfg\"]");
    assert_eq!(argv(script), expected);
    assert_eq!(
        body("cd /etc/ha || exit 1\n./reload\n"),
        [
            "if ask(\"test-ha\").status ~= 0 then",
            "error(\"up.sh line 1: the script gave up here with exit 1\")",
            "end",
            "command.run(\"reload\")"
        ]
    );
    assert_eq!(
        body("cd /etc/ha && ./reload\n")[..2],
        [
            "if ask(\"test-ha\").status == 0 then",
            "command.run(\"reload\")"
        ]
    );
    for script in ["cd $3\nx\n", "if x; then cd /etc; fi\n", "cd\n", "cd -\n"] {
        assert!(!ported(script).todos().is_empty(), "{script}");
    }
}

#[test]
fn what_a_script_leaves_for_its_end_is_done_there() {
    assert_eq!(
        body("L=/run/lock/x\n[ -e /run/off ] && exit 1\ntrap 'rm -f \"$L\"' EXIT INT TERM\necho busy > \"$L\"\nhostname x\nexit 0\n").last().unwrap(),
        "file.remove(L)"
    );
    for script in [
        "trap 'rm -f /run/x' EXIT\n[ -e /run/y ] && exit 1\nhostname x\n",
        "set -e\ntrap 'rm -f /run/x' EXIT\nhostname x\n",
        "die() { exit 1; }\ntrap 'rm -f /run/x' EXIT\n/usr/bin/x || die\n",
        "trap 'rm -f /run/x' HUP\nhostname x\n",
        "trap \"rm -f $3\" EXIT\nhostname x\n",
        "trap cleanup EXIT\nhostname x\nreturn\n",
    ] {
        assert!(!ported(script).todos().is_empty(), "{script}");
    }
}

#[test]
fn file_names_are_looked_for_by_a_shell_that_is_granted_for_the_pattern() {
    let ported =
        ported("D=/run/jobs\nmv \"$D\"/*.off /run/done\nfor f in $D/*; do logger \"$f\"; done\n");
    assert!(ported.is_complete(), "{:?}", ported.facts);
    for granted in [
        "'IFS=; exec \"$0\" $@', \"/usr/bin/mv\", \"/run/jobs/*.off\", \"/run/done\"]",
        "$@''', \"names\", \"/run/jobs/*\"]",
    ] {
        assert!(ported.toml.contains(granted), "{}", ported.toml);
    }
    for script in [
        // The sign is no pattern there.
        "rm -f \"/run/a*\" /run/b*\n",
        "rm -f /run/$1*\n",
        "rm -f \"$X\" /run/b*\n",
        "rm -f *.state\n",
        "logger /run/*\n",
        "for f in \"$X\" /run/*; do logger $f; done\n",
    ] {
        let ported = super::ported(script);
        assert!(!ported.todos().is_empty(), "{script}: {}", ported.lua);
    }
}

#[test]
fn what_the_script_has_looked_at_is_not_empty() {
    let guesses = |script: &str| {
        let ported = super::ported(script);
        let guessed = ported.of(FactKind::Guessed).count();
        assert!(ported.todos().is_empty(), "{script}: {}", ported.lua);
        (guessed, ported.lua.matches("command.run").count())
    };
    for look in [
        "[ -z \"$X\" ] && exit 1\n/usr/bin/x $X",
        "[ -n \"$X\" ] || { logger none; exit 1; }\n/usr/bin/x $X",
        "if [ -z \"$X\" ]; then logger none; exit 1; fi\n/usr/bin/x $X",
        "if [ -n \"$X\" ]; then /usr/bin/x $X; fi",
        "[[ -z $X ]] && exit 1\n/usr/bin/x $X",
    ] {
        assert_eq!(
            guesses(&format!("#!/bin/bash\nX=$X\n{look}\n")),
            (0, 1),
            "{look}"
        );
    }
    // It may be empty again, or there.
    for look in [
        "[ -z \"$X\" ] && logger none\n/usr/bin/x $X",
        "[ -z \"$X\" ] && exit 1\nX=$(/usr/bin/y)\n/usr/bin/x $X",
        "if [ -n \"$X\" ]; then logger some; fi\n/usr/bin/x $X",
        "if [ -z \"$X\" ]; then /usr/bin/x $X; fi",
        "f() { [ -z \"$X\" ] && return; }\nf\n/usr/bin/x $X",
    ] {
        assert!(guesses(&format!("X=$X\n{look}\n")).0 > 0, "{look}");
    }
}

#[test]
fn blocks_conditions_and_options_that_are_plain() {
    for (script, line) in [
        (
            "{ echo a; cat /run/b; } > /run/x\n",
            "file.write(\"/run/x\", ",
        ),
        (
            "if ! (ip link | grep -q eth9); then hostname a; fi\n",
            "if not ",
        ),
        (
            "#!/bin/bash\nS=$(grep -q x /run/f && echo M || echo B)\nlogger $S\n",
            "then \"M\" else \"B\"",
        ),
        (
            "#!/bin/bash\nA=(1 2 3)\nfor a in \"${A[@]}\"; do logger $a; done\nlogger \"${#A[@]} are up\"\n",
            "log.info(\"3 are up\")",
        ),
        ("S=$([ -f /run/f ] && echo M)\nlogger $S\n", "\"M\""),
        (
            "F=/run/a/b\nmkdir -p \"$(dirname $F)\"\n",
            "command.run(\"mkdir\")",
        ),
        (
            "for o in -c -f -R; do /usr/bin/x \"$o\" || logger \"$o\"; done\n",
            "o == \"-c\"",
        ),
    ] {
        let ported = super::ported(script);
        assert!(ported.lua.contains(line), "{script}: {}", ported.lua);
        assert!(ported.is_complete(), "{script}: {:?}", ported.facts);
    }
    for script in [
        // What is asked says something, too.
        "#!/bin/bash\nS=$(cat /run/f && echo M || echo B)\nlogger $S\n",
        "( cd /run; /usr/bin/x ) > /run/y\n",
        "#!/bin/bash\nA=(1 2)\nA+=(3)\nlogger \"${#A[@]}\"\n",
    ] {
        let ported = super::ported(script);
        assert!(!ported.todos().is_empty(), "{script}: {}", ported.lua);
    }
}
