use super::*;
use crate::config::{AtStop, Kind, OnFailure, SourceMac, TieBreak};
use crate::effect::Grants;

/// A line that is good; what a test adds comes later and wins.
const GOOD: &str = "-i eth0 -s 10.0.0.1 -v 42 -p love -a 10.0.0.100";

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn read(line: &str) -> Result<Options, Refusal> {
    parse(&words(line), &mut |path| match path {
        "good" => Ok(b"love\nmore\n".to_vec()),
        "crlf" => Ok(b"love\r\n".to_vec()),
        "blank" => Ok(b"\n".to_vec()),
        _ => Err(format!(
            "unable to open passfile {path} for reading: No such file or directory"
        )),
    })
}

fn good(more: &str) -> Options {
    let options = read(&format!("{GOOD} {more}")).unwrap();
    options.check().unwrap();
    options
}

fn value(status: u8, message: &str) -> Refusal {
    Refusal::Value {
        status,
        message: message.to_owned(),
    }
}

fn place() -> Place {
    Place {
        directory: "/home/op".into(),
        environment: vec![("A".into(), "b".into())],
        grants: Grants::default(),
    }
}

#[test]
fn options_are_read_as_getopt_long_reads_them() {
    let plain = good("-P -z -k 5 -u /up");
    for line in [
        "-Pzk5 -u/up",
        "--preempt --shutdown --advskew=5 --upscript /up",
        "--pre --sh --advs 5 --up=/up",
        "-P words -z that --advskew 0x5 mean -u /up nothing",
        "-k 7 -k 05 -Pz -u x -u /up -- -k 9",
    ] {
        assert_eq!(good(line), plain, "{line}");
    }
    assert_eq!(
        good("-u -d").up.as_deref(),
        Some("-d"),
        "the next word is the value, whatever it looks like"
    );
}

#[test]
fn complaints_are_those_of_getopt() {
    for (line, complaint) in [
        ("-q", "invalid option -- 'q'"),
        ("-Pq", "invalid option -- 'q'"),
        ("-P -v", "option requires an argument -- 'v'"),
        ("--vhid", "option '--vhid' requires an argument"),
        ("--nothing=3", "unrecognized option '--nothing=3'"),
        (
            "--preempt=yes",
            "option '--preempt' doesn't allow an argument",
        ),
        (
            "--adv 3",
            "option '--adv' is ambiguous; possibilities: '--advbase' '--advskew'",
        ),
    ] {
        assert_eq!(
            read(line),
            Err(Refusal::Option(complaint.to_owned())),
            "{line}"
        );
    }
    assert_eq!(
        read("-v 300 -q"),
        Err(value(1, "vhid must be between 1 and 255.")),
        "the first from the left"
    );
}

#[test]
fn values_have_the_ranges_of_ucarp() {
    for (text, vhid) in [
        ("1", 1),
        ("255", 255),
        ("0x2a", 42),
        ("052", 42),
        ("42abc", 42),
    ] {
        assert_eq!(good(&format!("-v {text}")).vhid, Some(vhid), "{text}");
    }
    for text in ["0", "256", "-1", "abc", "99999999999999999999"] {
        assert_eq!(
            read(&format!("-v {text}")),
            Err(value(1, "vhid must be between 1 and 255.")),
            "{text}"
        );
    }
    let wrapped = good("-b 300 -k -1 -r -1");
    assert_eq!(
        (wrapped.advbase, wrapped.advskew, wrapped.dead_ratio),
        (44, 255, u32::MAX)
    );
    for option in ["-s", "-a", "-m", "--mcastip", "--mcast"] {
        for text in ["10.0.0.1/24", "fe80::1", "host", "10.1"] {
            assert_eq!(
                read(&format!("{option} {text}")),
                Err(value(1, &format!("Invalid address: [{text}]")))
            );
        }
    }
}

#[test]
fn what_is_missing_is_said_in_the_order_of_ucarp() {
    for (line, message) in [
        ("-P", "You must supply a network interface"),
        ("-i e", "You must supply a valid virtual host id"),
        ("-i e -v 1", "You must supply a password"),
        ("-i e -v 1 -o blank", "You must supply a password"),
        (
            "-i e -v 1 -p x -b 0",
            "You must supply an advertisement time base",
        ),
        (
            "-i e -v 1 -p x",
            "You must supply a persistent source address",
        ),
        (
            "-i e -v 1 -p x -s 0.0.0.0",
            "You must supply a persistent source address",
        ),
        (
            "-i e -v 1 -p x -s 1.1.1.1",
            "You must supply a virtual host address",
        ),
        (
            "-i e -v 1 -p x -s 1.1.1.1 -a 1.1.1.2 -r 0",
            "Dead ratio can't be zero",
        ),
    ] {
        let options = read(line).unwrap();
        assert_eq!(
            options.check().and_then(|()| options.check_last()),
            Err(value(1, message)),
            "{line}"
        );
    }
    assert_eq!(
        read("-p 12345678901234567890 -i e -v 1 -s 1.1.1.1 -a 1.1.1.2")
            .unwrap()
            .check_last(),
        Err(value(2, "Password too long"))
    );
    assert_eq!(read(""), Err(Refusal::Usage));
    assert_eq!(read("-v 1 -h"), Err(Refusal::Usage));
}

#[test]
fn a_password_file_counts_to_its_first_newline_and_the_last_of_both_options_wins() {
    let of = |line: &str| {
        good(line)
            .config(&place())
            .unwrap()
            .vhosts
            .remove(0)
            .key
            .bytes()
            .to_vec()
    };
    assert_eq!(of("-o good"), b"love");
    assert_eq!(of("-o crlf"), b"love\r");
    assert_eq!(of("-o good -p other"), b"other");
    assert_eq!(
        read("-o gone"),
        Err(value(
            1,
            "unable to open passfile gone for reading: No such file or directory"
        ))
    );
}

#[test]
fn no_password_stays_in_the_words_that_others_see() {
    let line = "-p one -ptwo -Pp three --pass=four --pass five -o file -x p";
    let masked = masked(&words(line)).join(" ");
    assert_eq!(
        masked,
        "-p **** -p**** -Pp **** --pass=**** --pass **** -o file -x p"
    );
    assert!(!format!("{:?}", good("-p geheim")).contains("geheim"));
}

#[test]
fn the_configuration_is_ucarps_behaviour() {
    let config = good("-k 255 -r 1000 -M -S -n -P -u up.sh -d /down.sh -x word")
        .config(&place())
        .unwrap();
    let vhost = &config.vhosts[0];
    assert!(
        !vhost.manage_addresses && !vhost.clamp_advskew && vhost.neutral && vhost.ignore_link_state
    );
    assert_eq!(
        (vhost.tie_break, vhost.source_mac, vhost.at_stop),
        (TieBreak::Ucarp, SourceMac::Ucarp, AtStop::AddressesOnly)
    );
    assert_eq!(
        (
            vhost.advskew.0,
            vhost.dead_ratio,
            vhost.destination.ethernet_broadcast
        ),
        (255, 1000, true)
    );
    assert!(config.daemon.hangup_stops);
    assert_eq!(
        good("-z").config(&place()).unwrap().vhosts[0].at_stop,
        AtStop::HooksFirst
    );
    let hook = &config.hooks["script"];
    let Kind::Script(script) = &hook.kind else {
        panic!("{hook:?}")
    };
    assert_eq!(hook.on_failure, OnFailure::Ignore);
    assert_eq!(
        script.up.as_deref(),
        Some(std::path::Path::new("/home/op/up.sh"))
    );
    assert_eq!(
        script.down.as_deref(),
        Some(std::path::Path::new("/down.sh"))
    );
}

#[test]
fn scripts_and_hooks_may_be_mixed() {
    let names = |line: &str| {
        good(line)
            .config(&place())
            .unwrap()
            .hooks
            .into_keys()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("-u a.lua -d a.lua"), ["hook"]);
    assert_eq!(names("-u a.lua -d b.lua"), ["down", "up"]);
    assert_eq!(names("-u a.lua -d /b"), ["script", "up"]);
    assert_eq!(names("-u a.lua"), ["up"]);
    assert_eq!(names("-d /b"), ["script"]);
    assert!(names("").is_empty());
}

#[test]
fn an_alias_is_a_label_on_its_device() {
    let options = good("-i eth0:1 -u /up");
    assert_eq!(options.device().unwrap().as_str(), "eth0");
    let config = options.config(&place()).unwrap();
    let Kind::Script(script) = &config.hooks["script"].kind else {
        panic!()
    };
    assert_eq!(script.interface.as_deref(), Some("eth0:1"));
    assert!(
        good("-i a-very-long-name-of-an-interface")
            .device()
            .is_err()
    );
}
