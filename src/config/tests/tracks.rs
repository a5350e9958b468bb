//! Tracks.

use super::*;

#[test]
fn tracks_are_read_and_belong_to_who_names_them_or_to_all() {
    let text = format!(
        "{MINIMAL}tracks = [\"up\"]\n\n[track.up]\nkind = \"link\"\ninterface = \"eth1\"\ndemote = 50\n\n\
         [track.all]\nkind = \"link\"\ninterface = \"eth2\"\nall-vhosts = true\n"
    );
    let config = good(&text);
    let names: Vec<&str> = config.vhosts[0].tracks.iter().map(Name::as_str).collect();
    assert_eq!(names, ["up", "all"]);
    assert_eq!(config.tracks["up"].demote, Demote::By(50));
    assert_eq!(config.tracks["all"].demote, Demote::Fault);
    let without = good(&format!("{MINIMAL}\n"));
    assert_eq!(
        differences(&without.vhosts[0], &config.vhosts[0]),
        ["tracks"]
    );
}

#[test]
fn what_is_wrong_with_a_track_is_told_where_it_is() {
    let lines = MINIMAL.lines().count();
    let of = |track: &str| messages(&format!("{MINIMAL}tracks = [\"up\"]\n{track}"));
    let says = |track: &str, line: usize, text: &str| {
        let said = of(track);
        let wanted = format!("{}:", lines + line);
        assert!(
            said.iter()
                .any(|m| m.starts_with(&wanted) && m.contains(text)),
            "{said:?}"
        );
    };
    says("", 1, "there is no track \"up\"");
    says("[track.up]\n", 2, "`kind` is missing");
    says(
        "[track.up]\nkind = \"lnk\"\n",
        3,
        "`kind` must be one of \"link\"",
    );
    says(
        "[track.up]\nkind = \"link\"\n",
        3,
        "`kind = \"link\"` needs `interface`",
    );
    let with = |line: &str| format!("[track.up]\nkind = \"link\"\ninterface = \"eth1\"\n{line}\n");
    says(&with("demote = 0"), 5, "between 1 and 240");
    says(
        &with("demote = \"fatal\""),
        5,
        "or \"fault\", not \"fatal\"",
    );
    says(
        &with("demote = true"),
        5,
        "a number from 1 to 240 or \"fault\"",
    );
    says(&with("demot = 1"), 5, "unknown key `demot`");
    says(
        "[track.up]\nkind = \"tcp\"\n",
        3,
        "`kind = \"tcp\"` needs `connect`",
    );
    says("[track.up]\nkind = \"tcp\"\nconnect = \"db\"\n", 4, "db");
    says(
        &with("connect = \"db:1\""),
        5,
        "`connect` means nothing for `kind = \"link\"`",
    );
    let asked = format!("{MINIMAL}tracks = [\"up\"]\n{}", with("rise = 3"));
    let report = parse(&asked).unwrap().report.to_string();
    assert!(
        report.contains("`rise` means nothing for `kind = \"link\"`"),
        "{report}"
    );
    for (body, line, text) in [
        ("kind = \"http\"\n", 3, "`kind = \"http\"` needs `url`"),
        ("kind = \"http\"\nurl = \"ftp://x/\"\n", 4, "\"ftp://x/\""),
        (
            "kind = \"http\"\nurl = \"http://x/\"\nstatus = [\"299-200\"]\n",
            5,
            "\"299-200\" is no status of HTTP",
        ),
        (
            "kind = \"http\"\nurl = \"http://x/\"\nstatus = []\n",
            5,
            "`status` is empty",
        ),
        (
            "kind = \"process\"\nprocess = \"/bin/x\"\n",
            4,
            "\"/bin/x\" is not the name of a program, without its path",
        ),
        (
            "kind = \"service\"\nunit = \"-x\"\n",
            4,
            "\"-x\" is not the name of a service",
        ),
        (
            "kind = \"route\"\nto = \"default\"\n",
            4,
            "`to` must be an address, as in 198.51.100.1, not \"default\"",
        ),
        ("kind = \"icmp\"\n", 3, "`kind = \"icmp\"` needs `host`"),
        ("kind = \"icmp\"\nhost = \"a b\"\n", 4, "a b"),
        ("kind = \"file\"\n", 3, "`kind = \"file\"` needs `path`"),
        (
            "kind = \"file\"\npath = \"x\"\n",
            4,
            "\"x\" is not the absolute path of a file",
        ),
        (
            "kind = \"command\"\n",
            3,
            "`kind = \"command\"` needs `argv`",
        ),
        (
            "kind = \"command\"\nargv = []\n",
            4,
            "`argv` is empty: it needs at least the program",
        ),
        (
            "kind = \"command\"\nargv = [\"true\"]\n",
            4,
            "\"true\" is not the absolute path of a program",
        ),
        (
            "kind = \"command\"\nargv = [\"/bin/true\"]\nenvironment = [\"A\"]\n",
            5,
            "\"A\" is not of the form NAME=VALUE",
        ),
        (
            "kind = \"command\"\nargv = [\"/bin/true\"]\nenvironment = [\"A=1\", \"A=2\"]\n",
            5,
            "`environment` has A twice",
        ),
        (
            "kind = \"command\"\nargv = [\"/bin/true\"]\nuser = \"\"\n",
            5,
            "not the name or number of a user",
        ),
        (
            "kind = \"command\"\nargv = [\"/bin/true\"]\ninterval = \"49ms\"\n",
            5,
            "`interval`",
        ),
        ("kind = \"hook\"\n", 3, "`kind = \"hook\"` needs `hook`"),
        (
            "kind = \"hook\"\nhook = \"app\"\n",
            4,
            "there is no hook \"app\"",
        ),
        (
            "kind = \"hook\"\nhook = \"app\"\n[hook.app]\nkind = \"script\"\nup = \"/bin/true\"\n",
            4,
            "hook app is a script, which has no `health`",
        ),
    ] {
        says(&format!("[track.up]\n{body}"), line, text);
    }
    let unused = format!(
        "{}[track.other]\nkind = \"link\"\ninterface = \"eth2\"\n",
        with("")
    );
    let loaded = parse(&format!("{MINIMAL}tracks = [\"up\"]\n{unused}")).unwrap();
    assert!(
        loaded
            .report
            .to_string()
            .contains("no virtual host uses track \"other\""),
        "{}",
        loaded.report
    );
}

#[test]
fn a_hook_that_a_track_asks_is_used_and_counts_once() {
    let track = "[track.up]\nkind = \"hook\"\nhook = \"app\"\n[hook.app]\nsource = \"app.lua\"\n";
    let loaded = parse(&format!("{MINIMAL}tracks = [\"up\"]\n{track}")).unwrap();
    assert_eq!(loaded.report.to_string(), "");
    let config = loaded.config;
    assert!(config.calls(&config.vhosts[0], &"app".parse().unwrap()));
    let twice = format!("{MINIMAL}tracks = [\"up\"]\nhooks = [\"app\"]\n{track}");
    let report = parse(&twice).unwrap().report.to_string();
    let text = "the `health` of app counts twice for this virtual host: by itself, and as track up";
    assert!(report.contains(text), "{report}");
}
