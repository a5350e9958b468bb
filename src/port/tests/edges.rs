//! What scripts do at the edges of what a hook can: long waits, odd values, files of other kinds,
//! names of grants.

use super::{body, ported};
use crate::port::{FactKind, Ported};

fn says(ported: &Ported, kind: FactKind, part: &str) -> bool {
    ported.of(kind).any(|fact| fact.text.contains(part))
}

#[test]
fn a_hook_that_waits_gets_the_time() {
    for (script, timeout) in [
        ("sleep 14\n", "24s"),
        ("sleep 4\n", ""),
        ("for i in 1 2 3 4 5; do sleep 3; done\n", "25s"),
        (
            "for i in $(seq 1 30); do\n  ping -c 1 10.0.0.1 && break\n  sleep 1\ndone\n",
            "70s",
        ),
        (
            "i=0\nwhile [ $i -lt 20 ]; do sleep 2; i=$((i+1)); done\n",
            "50s",
        ),
        ("DELAY=12\nsleep $DELAY\n", "22s"),
        (
            "t=0\nuntil /usr/bin/x; do\n  t=$((t + 1))\n  if [ $t -ge 10 ]; then exit 1; fi\n  sleep 2\ndone\n",
            "32s",
        ),
        (
            "t=9\nwhile ! /usr/bin/x; do\n  sleep 1\n  t=$((t-1))\n  [ $t -eq 0 ] && break\ndone\n",
            "20s",
        ),
        ("w() { sleep 5; }\nw\nw\n", "20s"),
        ("curl -m 30 http://10.0.0.1/\n", "40s"),
        ("timeout 60 /usr/bin/x\n", "70s"),
        (
            "if [ \"$2\" = 10.0.0.1 ]; then sleep 6; else sleep 9; fi\n",
            "19s",
        ),
    ] {
        let ported = ported(script);
        let line = format!("timeout = \"{timeout}\"\n");
        let has = if timeout.is_empty() {
            !ported.toml.contains("timeout = ")
        } else {
            ported.toml.contains(&line)
        };
        assert!(has, "{script}: {}", ported.toml);
        assert!(ported.is_complete(), "{script}: {:?}", ported.facts);
    }
}

#[test]
fn a_wait_of_any_length_is_no_accident() {
    for script in [
        "D=18446744073709551615\nsleep $D\nsleep $D\n",
        "sleep 18446744073709551\nfor a in 1 2 3 4 5 6 7 8 9; do for b in 1 2 3 4 5 6 7 8 9; do sleep 18446744073709551; done; sleep 1; done\n",
        "i=-9223372036854775808\nwhile [ $i -lt 9223372036854775807 ]; do sleep 1; i=$((i+1)); done\n",
        "i=0\nwhile [ $i -ne 9 ]; do sleep 1; i=$((i-9223372036854775808)); done\n",
    ] {
        let ported = ported(script);
        assert!(!ported.is_complete(), "{script}: {:?}", ported.facts);
    }
}

#[test]
fn a_wait_without_an_end_is_a_guess() {
    for script in [
        "until curl -sf http://10.0.0.1/; do sleep 2; done\n",
        "while ! ping -c1 10.0.0.1; do sleep 1; done\n",
    ] {
        let ported = ported(script);
        assert!(
            says(&ported, FactKind::Guessed, "how long it waits"),
            "{script}: {:?}",
            ported.facts
        );
    }
}

#[test]
fn an_argument_is_a_word_only_where_it_must_be_one() {
    for (script, argv) in [
        ("X=$(cat /run/x)\n/usr/bin/t \"$X\"\n", "{x:text}"),
        ("/usr/bin/t \"$3\"\n", "{xparam:text}"),
        ("/usr/bin/t \"now on $1\"\n", "{arg1:text}"),
        ("/usr/bin/t $1\n", "{interface:dev}"),
        ("/usr/bin/t `date +%u`\n", "{arg1:word}"),
        ("N=3\nN=$((N+1))\n/usr/bin/t $N\n", "{n:word}"),
    ] {
        let ported = ported(script);
        assert!(ported.toml.contains(argv), "{script}: {}", ported.toml);
        assert!(ported.is_complete(), "{script}: {:?}", ported.facts);
    }
    let bare = ported("X=$(cat /run/x)\n/usr/bin/t $X\n");
    assert!(bare.toml.contains("{x:word}"), "{}", bare.toml);
    assert!(
        says(&bare, FactKind::Guessed, "$X may be empty or several words"),
        "{:?}",
        bare.facts
    );
    // An option has a command line of its own.
    let option = ported("case $1 in eth0) X=-a;; *) X=b;; esac\n/usr/bin/t \"$X\"\n");
    assert!(option.is_complete(), "{:?}", option.facts);
    assert!(
        option.toml.contains("[\"/usr/bin/t\", \"-a\"]"),
        "{}",
        option.toml
    );
}

#[test]
fn a_path_is_granted_as_it_is_here() {
    for script in [
        "P=/var/run/vip-$1.lock\nmkdir $P\n",
        "mkdir /var/run/vip-$1.lock\n",
    ] {
        let ported = ported(script);
        let line = "command.mkdir = { argv = [\"/usr/bin/mkdir\", \"/var/run/vip-eth0.lock\"] }";
        assert!(ported.toml.contains(line), "{}", ported.toml);
        assert!(!ported.lua.contains("eth0"), "{}", ported.lua);
    }
    let wide = ported("X=$(cat /run/x)\nrm -rf \"$X\"\n");
    assert!(
        says(&wide, FactKind::Open, "any file to rm"),
        "{:?}",
        wide.facts
    );
}

#[test]
fn a_grants_name_says_what_it_runs_and_nothing_secret() {
    for (script, names) in [
        (
            "redis-cli -a s3cret INFO\nredis-cli -a s3cret SLAVEOF NO ONE\n",
            &["redis-cli-info", "redis-cli-slaveof-no"][..],
        ),
        (
            "conntrackd -C /etc/conntrackd/conntrackd.conf -c\nconntrackd -C /etc/conntrackd/conntrackd.conf -B\n",
            &["conntrackd", "conntrackd-b"],
        ),
        (
            "mysql -uroot -ps3cret -e 'START SLAVE'\n",
            &["mysql-start-slave"],
        ),
        ("scp ha:s3cret@10.0.0.1:/x /y\n", &["scp-y"]),
        ("rm -f /var/cache/x.last\n", &["rm-x-last"]),
    ] {
        let ported = ported(script);
        for name in names {
            let line = format!("command.{name} = ");
            assert!(ported.toml.contains(&line), "{name}: {}", ported.toml);
        }
        assert!(!ported.lua.contains("s3cret"), "{}", ported.lua);
    }
}

#[test]
fn what_a_script_says_in_one_breath_is_translated() {
    assert_eq!(
        body("ping -c1 $2 && UP=yes || UP=no\nlogger $UP\n"),
        [
            "local UP = \"\"",
            "if ask(\"ping\", { address = vip }).status == 0 then",
            "UP = \"yes\"",
            "else",
            "UP = \"no\"",
            "end",
            "log.info(UP)",
        ]
    );
    assert_eq!(
        body("X=$(cat /run/x 2>/dev/null || echo none)\nlogger $X\n"),
        ["local X = read(\"/run/x\", \"none\")", "log.info(X)"]
    );
    assert_eq!(
        body("X=$(curl -s http://10.0.0.1/a)\nlogger \"$X\"\n"),
        [
            "local X = body(http.get, \"http://10.0.0.1/a\")",
            "log.info(X)"
        ]
    );
    assert_eq!(
        body("X=$(curl -s -o /dev/null -w '%{http_code}' http://10.0.0.1/a)\nlogger \"$X\"\n"),
        [
            "local X = http_status(http.get, \"http://10.0.0.1/a\")",
            "log.info(X)"
        ]
    );
    assert_eq!(
        body("/usr/bin/x\nif [ $? -ne 0 ]; then logger bad; fi\n"),
        ["if ask(\"x\").status ~= 0 then", "log.info(\"bad\")", "end"]
    );
    assert_eq!(
        body("for d in a b; do /etc/init.d/$d stop; done\n"),
        ["for _, d in { \"a\", \"b\" } do", "service.stop(d)", "end"]
    );
    assert_eq!(
        body("service a status; R=$?\n[ $R -eq 3 ] && logger down\n"),
        [
            "local status = 0",
            "status = if runs(\"a\") then 0 else 3",
            "local R = status",
            "if R == 3 then",
            "log.info(\"down\")",
            "end",
        ]
    );
}

#[test]
fn a_message_begins_after_its_date() {
    for line in [
        "echo \"$(date) up\" >> /var/log/x.log",
        "echo \"`date +%c` up\"",
        "log() { echo \"$(date '+%F %T') $*\" >> /var/log/x.log; }\nlog up",
    ] {
        let ported = ported(&format!("{line}\n"));
        assert!(
            ported.lua.contains("log.info(\"up\")")
                || ported.lua.contains("log.info(table.concat("),
            "{}",
            ported.lua
        );
    }
}

#[test]
fn a_log_for_all_that_follows_is_told() {
    let ported = ported("exec >>/var/log/x.log 2>&1\necho up\n");
    assert!(
        says(&ported, FactKind::Different, "carpd's log"),
        "{:?}",
        ported.facts
    );
    assert!(ported.is_complete(), "{:?}", ported.facts);
}

#[test]
fn errexit_looks_at_the_last_of_a_pipe() {
    let strict = |script: &str| {
        let ported = ported(&format!("set -e\n{script}"));
        assert!(ported.todos().is_empty(), "{script}: {}", ported.lua);
        ported.lua
    };
    let lua = strict("/usr/bin/x | grep -q y\n");
    assert!(
        lua.contains("assert(has_line(output(\"x\"), \"y\""),
        "{lua}"
    );
    let lua = strict("set -o pipefail\n/usr/bin/x | grep -q y\n");
    assert!(
        lua.contains("assert(has_line(must_output(\"x\"), \"y\""),
        "{lua}"
    );
    let lua = strict("X=$(/usr/bin/x | head -1)\nlogger $X\n");
    assert!(lua.contains("head(output(\"x\"), 1)"), "{lua}");
    let lua = strict("X=$(/usr/bin/x | grep y)\nlogger $X\n");
    assert!(lua.contains("assert(X ~= \"\""), "{lua}");
    let lua = strict("if [ \"$(/usr/bin/x)\" = y ]; then logger z; fi\n");
    assert!(lua.contains("if output(\"x\") == \"y\""), "{lua}");
}

#[test]
fn the_own_address_is_not_taken_down_on_becoming_master() {
    assert_eq!(
        body("ip addr del $2/24 dev $1\nip addr add $2/24 dev $1\n"),
        ["addr.add(vip .. \"/24\")"]
    );
    assert_eq!(
        body("ip addr del 10.0.0.9/24 dev $1\n"),
        ["addr.delete(\"10.0.0.9/24\")"]
    );
}

#[test]
fn what_shells_read_in_other_ways_is_not_guessed() {
    for line in [
        "echo $[1+2]",
        "case $2 in 10.*) logger a ;;& *) logger b ;; esac",
        "case $2 in 10.*) logger a ;& *) logger b ;; esac",
        "echo $((2#101))",
    ] {
        let ported = ported(&format!("#!/bin/bash\n{line}\n"));
        assert_eq!(ported.todos().len(), 1, "{line}: {}", ported.lua);
    }
    assert_eq!(
        body("X=$((0x10 + 1))\nlogger $X\n"),
        ["local X = 16 + 1", "log.info(tostring(X))"]
    );
}

#[test]
fn a_call_goes_with_its_function() {
    let script =
        "say() { echo \"$prefix $1\" >> /run/w; }\nmain() { local prefix=x; say a; }\nmain\n";
    let ported = ported(script);
    assert_eq!(ported.todos().len(), 2, "{}", ported.lua);
    assert!(!ported.lua.contains("\n  main()"), "{}", ported.lua);
}

#[test]
fn files_of_another_kind_are_told() {
    for (path, told) in [("/etc/mtab", "symbolic link"), ("/dev/null-or-so", "")] {
        let ported = ported(&format!("echo x > {path}\n"));
        let open = says(&ported, FactKind::Open, "symbolic link");
        assert_eq!(
            open,
            told == "symbolic link" && std::fs::symlink_metadata(path).is_ok(),
            "{path}"
        );
    }
}

#[test]
fn what_a_hook_is_not_given_all_of_is_told() {
    let ported = ported("/usr/bin/x > /srv/a\ncat /srv/a > /srv/b\necho y >> /srv/c\n");
    assert!(ported.is_complete(), "{:?}", ported.facts);
    for part in ["64 KiB", "is not copied", "left as it is"] {
        assert!(
            says(&ported, FactKind::Different, part),
            "{part}: {:?}",
            ported.facts
        );
    }
}

#[test]
fn everyday_pipes_are_texts() {
    for (script, line) in [
        (
            "X=$(/usr/bin/x | wc -l)",
            "local X = count_lines(output(\"x\"))",
        ),
        (
            "X=$(/usr/bin/x | sort -u)",
            "local X = sorted(output(\"x\"), true)",
        ),
        (
            "X=$(/usr/bin/x | tail -n +3)",
            "local X = lines_from(output(\"x\"), 3)",
        ),
        (
            "X=$(/usr/bin/x | sed -n 2p)",
            "local X = head(lines_from(output(\"x\"), 2), 1)",
        ),
    ] {
        assert_eq!(
            body(&format!("{script}\nlogger \"$X\"\n"))[0],
            line,
            "{script}"
        );
    }
    assert_eq!(
        body("/usr/bin/x | head -n 1 > /run/y\n"),
        ["file.write(\"/run/y\", ended(head(output(\"x\"), 1)))"]
    );
    assert_eq!(
        body("echo up | tee -a /srv/state\n"),
        ["log.info(\"up\")", "append(\"/srv/state\", ended(\"up\"))"]
    );
    assert_eq!(
        body("echo \"$(date) up\" | tee -a /var/log/x.log\n"),
        ["log.info(\"up\")"]
    );
}

#[test]
fn arrays_of_plain_words_are_lists() {
    let bash = |script: &str| body(&format!("#!/bin/bash\n{script}\n"));
    assert_eq!(
        bash(
            "VIPS=(10.0.0.1 \"10.0.0.2\")\nfor v in \"${VIPS[@]}\"; do ip addr add $v/24 dev $1; done"
        ),
        [
            "for _, v in { \"10.0.0.1\", \"10.0.0.2\" } do",
            "addr.add(v .. \"/24\")",
            "end",
        ]
    );
    for script in [
        "A=(a b)\nlogger ${A[0]}",
        "A=(a b)\nlogger $A",
        "A=($2 b)\nlogger ${A[@]}",
        "A=(\"a b\")\nlogger ${A[@]}",
    ] {
        let ported = ported(&format!("#!/bin/bash\n{script}\nlogger end\n"));
        assert!(!ported.todos().is_empty(), "{script}: {}", ported.lua);
    }
}

#[test]
fn locks_and_the_own_directory_are_no_work() {
    assert_eq!(
        body(
            "cd \"$(dirname \"$0\")\" || exit 1\nexec 9>/run/x.lock\nflock -n 9 || exit 0\nlogger up\n"
        ),
        ["log.info(\"up\")"]
    );
    for script in ["cd $3\n", "flock /run/x /usr/bin/y\n"] {
        let ported = ported(script);
        assert_eq!(
            ported.todos().len(),
            usize::from(script.starts_with("cd")),
            "{}",
            ported.lua
        );
    }
}

#[test]
fn half_of_an_output_is_never_written() {
    assert_eq!(
        body("iptables-save > /etc/rules\n/usr/bin/x $1 > /etc/y\n"),
        [
            "save(\"/etc/rules\", \"iptables-save\", {})",
            "save(\"/etc/y\", \"x\", { interface = dev })",
        ]
    );
}

#[test]
fn a_parameter_from_a_pipe_has_no_end_of_line() {
    let key = "/proc/sys/net/ipv4/ip_forward";
    for script in [
        format!("echo 1 | tee {key} > /dev/null\n"),
        format!("echo 0 | tr 0 1 > {key}\n"),
    ] {
        let ported = ported(&script);
        assert!(!ported.lua.contains("ended("), "{script}: {}", ported.lua);
    }
    let tee = format!("echo 1 | tee {key} > /dev/null\n");
    assert_eq!(body(&tee), ["sysctl.set(\"net.ipv4.ip_forward\", \"1\")"]);
    let grant = "{ key = \"net.ipv4.ip_forward\", values = [\"1\"] }";
    assert!(ported(&tee).toml.contains(grant), "{}", ported(&tee).toml);
}

/// A file of the kernel takes what is written to it as it comes: it is never replaced.
#[test]
fn files_of_the_kernel_are_parameters_or_not_written() {
    for script in [
        "for f in /proc/sys/net/ipv4/conf/eth0/rp_filter /proc/sys/net/ipv4/conf/eth1/rp_filter; do echo 0 > $f; done\n",
        "for d in /proc/sys/net/ipv4/conf/eth0 /proc/sys/net/ipv4/conf/eth1; do echo 0 > $d/rp_filter; done\n",
        "for i in eth0 eth1; do echo 0 > /proc/sys/net/ipv4/conf/$i/rp_filter; done\n",
        "set_it() { echo \"$2\" > \"$1\"; }\nset_it /proc/sys/net/ipv4/conf/eth0/rp_filter 0\nset_it /proc/sys/net/ipv4/conf/eth1/rp_filter 0\n",
    ] {
        let ported = ported(script);
        assert!(
            ported.lua.contains("sysctl.set("),
            "{script}: {}",
            ported.lua
        );
        assert!(ported.is_complete(), "{script}: {:?}", ported.facts);
        for dev in ["eth0", "eth1"] {
            let key = format!("net.ipv4.conf.{dev}.rp_filter");
            assert!(ported.toml.contains(&key), "{script}: {}", ported.toml);
        }
    }
    for script in [
        "for f in /sys/class/net/a/x /sys/class/net/b/x; do echo 0 > $f; done\n",
        "echo 0 > /sys/class/net/$1/x\n",
        "for f in /proc/sys/net/ipv4/ip_forward /run/x; do echo 0 > $f; done\n",
        "F=/proc/sysrq-trigger\n[ -f /run/x ] && F=/run/x\necho b > $F\n",
    ] {
        let ported = ported(script);
        assert!(!ported.todos().is_empty(), "{script}: {}", ported.lua);
        assert!(
            !ported.lua.contains("file.write("),
            "{script}: {}",
            ported.lua
        );
    }
}

#[test]
fn options_of_curl_stand_together_and_end_with_a_value() {
    for (script, line) in [
        (
            "curl -sSXPOST http://10.0.0.1/a\n",
            "http.post(\"http://10.0.0.1/a\"",
        ),
        (
            "curl -sX PUT -d a http://10.0.0.1/a\n",
            "http.put(\"http://10.0.0.1/a\", \"a\"",
        ),
        (
            "curl --url http://10.0.0.1/a -so /dev/null\n",
            "http.get(\"http://10.0.0.1/a\"",
        ),
        (
            "wget -qO /dev/null --post-data=\"a=$1\" http://10.0.0.1/a\n",
            "  http.post(\"http://10.0.0.1/a\", \"a=\" .. ",
        ),
    ] {
        let ported = ported(script);
        assert!(ported.lua.contains(line), "{script}: {}", ported.lua);
        assert!(ported.is_complete(), "{script}: {:?}", ported.facts);
    }
    for script in [
        "curl -k http://10.0.0.1/\n",
        "curl -sk http://10.0.0.1/\n",
        "curl -w 'x%{http_code}' http://10.0.0.1/\n",
        "curl \"-d$1\" http://10.0.0.1/\n",
        "curl --url http://10.0.0.1/ http://10.0.0.2/\n",
    ] {
        assert!(!ported(script).todos().is_empty(), "{script}");
    }
    // Nobody looks at the answer: it is a call as any other.
    assert_eq!(
        body("curl -s http://10.0.0.1/a\n"),
        ["http.get(\"http://10.0.0.1/a\")"]
    );
    // A hook follows no redirect.
    let follows = ported("curl -L http://10.0.0.1/\n");
    assert!(
        says(&follows, FactKind::Guessed, "no redirect"),
        "{:?}",
        follows.facts
    );
    assert!(says(
        &ported("wget -q -O- http://10.0.0.1/\n"),
        FactKind::Different,
        "does not follow"
    ));
}
