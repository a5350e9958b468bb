//! `carpd rehearse`: the daemon's own code and real hooks in virtual time, and the page that shows
//! it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::cli::carpd;

const HOOK: &str = "\
function on_master()
  hostname.set(config.name)
  service.start(\"httpd\")
end
";

/// A directory with the configurations of these nodes, by advskew.
pub(crate) fn place(nodes: &[(&str, u8)]) -> tempfile::TempDir {
    place_with(HOOK, "", nodes)
}

/// The same with this hook, and more that it may do.
fn place_with(hook: &str, grants: &str, nodes: &[(&str, u8)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("web.pass", "love\n");
    fs::set_permissions(
        directory.path().join("web.pass"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    write("failover.lua", hook);
    for (name, advskew) in nodes {
        write(
            &format!("{name}.toml"),
            &format!(
                "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"192.168.32.22/24\"]\n\
                 password-file = \"web.pass\"\nadvskew = {advskew}\npreempt = true\nhooks = [\"failover\"]\n\n\
                 [hook.failover]\nsource = \"failover.lua\"\nconfig = {{ name = \"vir-{name}\" }}\n\
                 [hook.failover.grant]\nhostname = [\"vir-{name}\"]\nservice = [{{ unit = \"httpd\", do = [\"start\"] }}]\n{grants}"
            ),
        );
    }
    directory
}

pub(crate) fn json(directory: &Path, args: &[&str]) -> Value {
    let ran = carpd(directory, &[&["rehearse", "--json"], args].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    serde_json::from_str(&ran.stdout).unwrap()
}

/// From when to when nobody served, in ms, but for the time before the first master.
pub(crate) fn outages(timeline: &Value) -> Vec<(u64, u64)> {
    let all = timeline["vhosts"][0]["outages"].as_array().unwrap();
    let ms = |value: &Value| value.as_u64().unwrap() / 1000;
    all.iter()
        .filter(|o| o["initial"] == false)
        .map(|o| (ms(&o["from_us"]), ms(&o["to_us"])))
        .collect()
}

fn marks(timeline: &Value, node: usize) -> Vec<(u64, String)> {
    let all = timeline["nodes"][node]["marks"].as_array().unwrap();
    all.iter()
        .map(|m| {
            (
                m["at_us"].as_u64().unwrap() / 1000,
                m["text"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

#[test]
fn a_node_that_dies_is_followed_and_the_hooks_run_on_virtual_machines() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let timeline = json(
        directory.path(),
        &[
            "node2.toml",
            "node3.toml",
            "-e",
            "10s node2 dies",
            "-e",
            "40s node2 returns",
        ],
    );
    let [(from, to), ..] = outages(&timeline)[..] else {
        panic!("{timeline}")
    };
    assert!(
        from == 10_000 && (12_000..=13_200).contains(&to),
        "a backup follows after its master-down time: {to}"
    );
    let done = |node, at: u64, text: &str| {
        assert!(
            marks(&timeline, node).contains(&(at, text.to_owned())),
            "{at} {text}: {:?}",
            marks(&timeline, node)
        );
    };
    done(0, 3_000, "hostname: node2 -> vir-node2");
    done(1, to, "hostname: node3 -> vir-node3");
    done(1, to, "service httpd: stopped -> running");
    let back: Vec<_> = marks(&timeline, 1)
        .into_iter()
        .filter(|(at, _)| *at > 40_000)
        .collect();
    assert!(
        back.iter()
            .any(|(_, text)| text == "hostname: vir-node3 -> node3"),
        "it is undone when node2 is back: {back:?}"
    );
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        before
    );
}

#[test]
fn the_same_seed_gives_the_same_rehearsal() {
    let directory = place(&[("a", 0), ("b", 15), ("c", 40)]);
    let events = [
        "5s loss 30%",
        "20s a dies",
        "40s a returns",
        "50s b link flaps 3 times",
        "60s a service httpd takes 2s",
        "61s a resigns",
    ];
    let play = |seed: &str| {
        let mut args = vec![
            "rehearse", "--json", "a.toml", "b.toml", "c.toml", "--seed", seed,
        ];
        for event in events {
            args.extend(["-e", event]);
        }
        carpd(directory.path(), &args).stdout
    };
    let first = play("7");
    assert!(first.len() > 1_000);
    assert_eq!(first, play("7"));
    assert_ne!(first, play("8"));
}

#[test]
fn hooks_and_services_that_fail_or_hang_lead_to_the_other_node() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let nodes = ["node2.toml", "node3.toml"];
    let states = |timeline: &Value, node: usize| -> Vec<String> {
        let states = timeline["nodes"][node]["lanes"][0]["states"]
            .as_array()
            .unwrap();
        states
            .iter()
            .map(|s| {
                format!(
                    "{} {}",
                    s["state"].as_str().unwrap(),
                    s["why"].as_str().unwrap()
                )
            })
            .collect()
    };
    for (trouble, why) in [
        ("0s node2 hook failover fails", "as the rehearsal demands"),
        ("0s node2 service httpd fails", "httpd is failed"),
        (
            "0s node2 service httpd hangs",
            "service.start httpd did not finish within 10s",
        ),
        (
            "0s node2 hook failover hangs",
            "ran longer than its budget of 10s",
        ),
    ] {
        let timeline = json(
            directory.path(),
            &[&nodes[..], &["-e", trouble, "--end", "60s"]].concat(),
        );
        let node2 = states(&timeline, 0);
        assert!(
            node2
                .iter()
                .any(|state| state.starts_with("backup hook-failed") && state.contains(why)),
            "{trouble}: {node2:#?}"
        );
        assert!(
            states(&timeline, 1)
                .iter()
                .any(|state| state.starts_with("master")),
            "{trouble}: node3 takes over"
        );
    }
}

/// Waiting for a runner takes nothing of a run's own time, and whoever waited longest is next.
#[test]
fn a_hook_runs_as_often_at_a_time_as_it_has_runners() {
    let lua = "function on_master() clock.sleep(1500) end";
    let directory = place_with(lua, "", &[("node2", 0)]);
    let path = directory.path().join("node2.toml");
    let one = fs::read_to_string(&path).unwrap();
    let (vhost, hook) = one.split_once("\n\n").unwrap();
    let vhosts = (1..=4).map(|n| {
        vhost
            .replace("web\"", &format!("web{n}\""))
            .replace("40", &format!("{}", 40 + n))
            .replace(".22/", &format!(".{n}/"))
    });
    let hook = hook.replace("config =", "runners = 1\ntimeout = \"2s\"\nconfig =");
    fs::write(
        &path,
        vhosts.collect::<Vec<_>>().join("\n\n") + "\n\n" + &hook,
    )
    .unwrap();
    let timeline = json(directory.path(), &["node2.toml", "--end", "20s"]);
    let done: Vec<_> = marks(&timeline, 0)
        .into_iter()
        .filter(|(_, text)| text.starts_with("on_master"))
        .collect();
    let expected = [4_500, 6_000, 7_500, 9_000].map(|at| (at, "on_master done".to_owned()));
    assert_eq!(done, expected);
}

/// What is tried again after a failure gives way to a new state at once, also if that came while it
/// was being tried.
#[test]
fn a_master_does_not_wait_for_an_on_backup_that_failed() {
    let lua =
        "function on_backup() clock.sleep(60000) end\nfunction on_master() log.info('here') end\n";
    let directory = place_with(lua, "", &[("node2", 20)]);
    let path = directory.path().join("node2.toml");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("config =", "timeout = \"2s\"\nconfig =");
    fs::write(&path, text).unwrap();
    // It fails after 2 s, is tried again after a second, and is overtaken at 3.078 s.
    let timeline = json(directory.path(), &["node2.toml", "--end", "20s"]);
    let runs: Vec<_> = marks(&timeline, 0)
        .into_iter()
        .filter(|(_, text)| text.starts_with("on_"))
        .collect();
    let failed = "on_backup: hook failover failed: ran longer than its budget of 2s".to_owned();
    assert_eq!(
        runs,
        [(2_000, failed), (3_078, "on_master done".to_owned())]
    );
}

/// Of nodes that all resign, whether that ends well or not, one keeps the address.
#[test]
fn nodes_whose_hooks_all_resign_do_not_pass_the_address_on_for_ever() {
    for lua in [
        "carp.resign('x')",
        "carp.resign('x') error('broken')",
        "carp.demote(240, 'x') carp.resign('x')",
    ] {
        let lua = format!("function on_master() {lua} end\n");
        let directory = place_with(
            &lua,
            "carp = [\"resign\", \"demote\"]\n",
            &[("node2", 0), ("node3", 15)],
        );
        let timeline = json(
            directory.path(),
            &["node2.toml", "node3.toml", "--end", "60s"],
        );
        let lost = |timeline: &Value| {
            outages(timeline)
                .iter()
                .map(|(from, to)| to - from)
                .sum::<u64>()
        };
        assert!(
            lost(&timeline) < 10 && outages(&timeline).len() < 8,
            "{lua}: {timeline}"
        );
        let events = ["-e", "30s node2 dies", "-e", "40s node2 returns"];
        let timeline = json(
            directory.path(),
            &[&["node2.toml", "node3.toml", "--end", "90s"], &events[..]].concat(),
        );
        assert!(
            lost(&timeline) < 10_000 && outages(&timeline).len() < 12,
            "{lua}: {timeline}"
        );
    }
}

/// An undoing that waits for the clock, and a new state that waits for it.
#[test]
fn a_new_state_during_an_undoing_does_not_stop_the_clock() {
    let lua = "function before_master() service.start('httpd') carp.resign('x') end\n\
               function on_backup() clock.sleep(100) carp.resign('x') end\n";
    let directory = place_with(
        lua,
        "carp = [\"resign\"]\n",
        &[("node2", 50), ("node3", 50)],
    );
    for name in ["node2.toml", "node3.toml"] {
        let path = directory.path().join(name);
        let text = fs::read_to_string(&path)
            .unwrap()
            .replace("preempt = true", "preempt = true\nadvbase = 0");
        fs::write(&path, text).unwrap();
    }
    let timeline = json(
        directory.path(),
        &["node2.toml", "node3.toml", "--end", "5s"],
    );
    assert!(
        marks(&timeline, 1).iter().any(|(at, _)| *at > 4_000),
        "{timeline}"
    );
}

/// With the line that is to blame.
#[test]
fn an_error_of_a_hook_is_shown_in_its_file() {
    let directory = place_with(
        "function on_master()\n  error('broken')\nend\n",
        "",
        &[("node2", 0), ("node3", 15)],
    );
    let play = || {
        carpd(
            directory.path(),
            &["rehearse", "node2.toml", "node3.toml", "--end", "10s"],
        )
    };
    let ran = play();
    assert!(
        ran.code == 0 && ran.stdout.contains("failover.lua:2:3\n"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        ran.stdout.matches("2 |   error('broken')").count(),
        1,
        "once for both nodes: {}",
        ran.stdout
    );
    fs::write(
        directory.path().join("failover.lua"),
        "function on_master()\n  oops oops\nend\n",
    )
    .unwrap();
    let ran = play();
    assert!(
        ran.code == 3 && ran.stderr.contains("failover.lua:2:3\n") && ran.stderr.contains("^^^^"),
        "{}",
        ran.stderr
    );
}

#[test]
fn partitions_links_freezes_and_stops_do_what_they_do() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let nodes = ["node2.toml", "node3.toml"];
    let play = |args: &[&str]| json(directory.path(), &[&nodes[..], args].concat());

    let parted = play(&["-e", "10s partition node2 / node3", "-e", "30s heal"]);
    let twice = parted["vhosts"][0]["contested"].as_array().unwrap();
    assert!(
        twice.iter().any(|span| span["to_us"].as_u64().unwrap()
            - span["from_us"].as_u64().unwrap()
            > 15_000_000),
        "{twice:?}"
    );

    let frozen = play(&["-e", "10s node2 freezes for 10s"]);
    let lease = marks(&frozen, 0)
        .into_iter()
        .find(|(_, text)| text.contains("the lease of 192.168.32.22"));
    let (_, served) = outages(&frozen)[0];
    assert!(
        lease.unwrap().0 < served,
        "the kernel takes the address away before the other has it"
    );

    let stopped = play(&["-e", "10s node2 stops"]);
    let (from, to) = outages(&stopped).first().copied().unwrap_or_default();
    assert!(
        to - from <= 1,
        "an orderly stop hands over at once: {from} to {to}"
    );
    assert!(
        marks(&stopped, 0)
            .iter()
            .any(|(_, text)| text == "service httpd: running -> stopped")
    );

    let down = play(&["-e", "10s node2 eth0 link down", "-e", "30s node2 link up"]);
    let states: Vec<&str> = down["nodes"][0]["lanes"][0]["states"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["backup", "master", "init", "backup", "master"]);
}

/// The states of a node's virtual host: from when, in ms, and which.
fn states(timeline: &Value, node: usize) -> Vec<(u64, String)> {
    let all = timeline["nodes"][node]["lanes"][0]["states"]
        .as_array()
        .unwrap();
    all.iter()
        .map(|s| {
            (
                s["from_us"].as_u64().unwrap() / 1000,
                s["state"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

/// An advertisement renews the leases at the end of its turn, whatever the turn was about: here
/// what a hook said.
#[test]
fn what_a_hook_says_is_a_turn_like_any_other() {
    let leases_end = |then: &str| {
        let hook = format!("function on_master()\n  clock.sleep(500)\n  {then}\nend\n");
        let directory = place_with(
            &hook,
            "carp = [\"demote\"]\n",
            &[("node2", 0), ("node3", 15)],
        );
        let calm = json(
            directory.path(),
            &["node2.toml", "node3.toml", "--end", "10s"],
        );
        let master = states(&calm, 0)
            .into_iter()
            .find(|(_, state)| state == "master")
            .unwrap()
            .0;
        // Before anything else happens that renews them.
        let freeze = format!("{}ms node2 freezes for 10s", master + 502);
        let frozen = json(
            directory.path(),
            &["node2.toml", "node3.toml", "-e", &freeze],
        );
        let (at, _) = marks(&frozen, 0)
            .into_iter()
            .find(|(_, text)| text.contains("the lease of 192.168.32.22"))
            .unwrap();
        at - master
    };
    // A master that becomes less fit says so at once.
    assert_eq!(
        (leases_end(""), leases_end("carp.demote(10)")),
        (2000, 2500)
    );
}

#[test]
fn hooks_are_asked_for_their_health_and_who_is_unfit_gives_way() {
    let hook = "function health()\n  return service.status('httpd') == 'active' and http.get('http://192.0.2.9/').status == 200\nend\n";
    let grants = "http = [{ url = \"http://192.0.2.9/\", do = [\"get\"] }]\n";
    let directory = place_with(hook, grants, &[("node2", 0), ("node3", 15)]);
    let events = [
        "0s node2 service httpd runs",
        "0s node3 service httpd runs",
        "20s node2 service httpd dies",
        "60s node2 dies",
        "70s node2 returns",
    ];
    let mut args = vec!["node2.toml", "node3.toml", "--end", "120s"];
    args.extend(events.iter().flat_map(|event| ["-e", event]));
    let timeline = json(directory.path(), &args);
    let health = |node| {
        marks(&timeline, node)
            .into_iter()
            .filter(|(_, text)| text.starts_with("health: "))
            .collect::<Vec<_>>()
    };
    let [(at, said)] = &health(0)[..] else {
        panic!("{:?}", health(0))
    };
    // The third bad answer: one every two seconds.
    assert!(
        (24_000..=26_000).contains(at)
            && said == "health: hook failover: unhealthy, demotion 240: it gave no reason",
        "{at} {said}"
    );
    assert_eq!(health(1), [], "that it is well is nothing to tell");
    let follows = states(&timeline, 1)
        .into_iter()
        .find(|(_, state)| state == "master")
        .unwrap()
        .0;
    assert!(
        (*at..at + 2_000).contains(&follows),
        "node3 takes over: {follows}"
    );
    let back = states(&timeline, 0)
        .into_iter()
        .filter(|(from, state)| *from > 70_000 && state == "master")
        .count();
    assert_eq!(
        back,
        1,
        "it runs again after the boot: {:?}",
        states(&timeline, 0)
    );
    assert_eq!(timeline, json(directory.path(), &args), "the same again");
}

#[test]
fn a_hook_that_is_made_to_fail_is_unwell_and_more_checks_than_may_run_at_once_come_to_an_end() {
    let directory = place_with(
        "function health() return true end\n",
        "",
        &[("node2", 0), ("node3", 15)],
    );
    for name in ["node2", "node3"] {
        let path = directory.path().join(format!("{name}.toml"));
        let text = fs::read_to_string(&path).unwrap();
        let (vhost, hook) = text.split_once("[hook.failover]").unwrap();
        let all: String = (0..6u8)
            .map(|n| {
                let one = vhost
                    .replace("\"web\"", &format!("\"web{n}\""))
                    .replace("vhid = 40", &format!("vhid = {}", 40 + n));
                one.replace("32.22", &format!("32.{}", 22 + n))
            })
            .collect();
        fs::write(path, format!("{all}[hook.failover]{hook}")).unwrap();
    }
    let timeline = json(
        directory.path(),
        &[
            "node2.toml",
            "node3.toml",
            "-e",
            "10s node2 hook failover hangs",
            "--end",
            "40s",
        ],
    );
    let unwell = marks(&timeline, 0)
        .into_iter()
        .filter(|(_, text)| text.contains("unhealthy, demotion "))
        .collect::<Vec<_>>();
    assert_eq!(unwell.len(), 6, "{unwell:?}");
    assert!(
        unwell
            .iter()
            .all(|(_, text)| text.contains("ran longer than its budget")),
        "{unwell:?}"
    );
    assert!(
        states(&timeline, 1)
            .iter()
            .any(|(_, state)| state == "master"),
        "node3 takes over"
    );
}

#[test]
fn what_is_not_rehearsed_is_told() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let path = directory.path().join("node2.toml");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("hooks = [\"failover\"]", "hooks = [\"failover\", \"old\"]");
    fs::write(
        &path,
        format!("{text}\n[hook.old]\nkind = \"script\"\nup = \"/bin/true\"\n"),
    )
    .unwrap();
    let ran = carpd(
        directory.path(),
        &[
            "rehearse",
            "node2.toml",
            "node3.toml",
            "--end",
            "10s",
            "--html",
            "r.html",
        ],
    );
    let note = "hook old is a program: it is not run in a rehearsal";
    assert!(
        ran.code == 0 && ran.stdout.ends_with(&format!("note: {note}\n")),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert!(
        fs::read_to_string(directory.path().join("r.html"))
            .unwrap()
            .contains(&format!("<li>{note}</li>"))
    );
}

#[test]
fn outages_can_fail_a_build_and_mistakes_are_told() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let run = |args: &[&str]| {
        carpd(
            directory.path(),
            &[&["rehearse", "node2.toml", "node3.toml"], args].concat(),
        )
    };
    assert_eq!(run(&["-e", "10s node2 dies", "--max-outage", "4s"]).code, 0);
    assert_eq!(run(&["-e", "10s node2 dies", "--max-outage", "1s"]).code, 1);
    let wrong = run(&["-e", "10s node9 dies"]);
    assert_eq!(
        (wrong.code, wrong.stderr.as_str()),
        (
            2,
            "error: there is no node node9; there are: node2, node3\n"
        )
    );
    let wrong = run(&["-e", "node2 dies"]);
    assert!(
        wrong.code == 2
            && wrong.stderr.contains("begins with its time")
            && wrong.stderr.contains("hint: an event is TIME EVENT")
    );
    assert_eq!(run(&["-e", "10s node2 hook nothing fails"]).code, 2);
    assert_eq!(
        carpd(directory.path(), &["rehearse", "node2.toml", "node2.toml"]).code,
        2,
        "two of one name"
    );
    fs::write(
        directory.path().join("s.txt"),
        "# a scenario\nseed 3\nend 20s\n10s node2 stops\n",
    )
    .unwrap();
    let file = run(&["--scenario", "s.txt"]);
    assert!(
        file.code == 0 && file.stdout.contains("* node2 stops"),
        "{}",
        file.stdout
    );
}

#[test]
fn an_edited_hook_is_reloaded_and_survives_a_boot() {
    let play = |first: &str, events: &[&str]| -> Vec<u64> {
        let directory = place_with(first, "", &[("node2", 0), ("node3", 50)]);
        fs::write(directory.path().join("new.lua"), HOOK).unwrap();
        let events = events.iter().flat_map(|event| ["-e", event]);
        let args = ["node2.toml", "node3.toml", "--end", "90s"].into_iter();
        let timeline = json(directory.path(), &args.chain(events).collect::<Vec<_>>());
        let marks = marks(&timeline, 0).into_iter();
        let named = marks.filter(|(_, text)| text.contains("-> vir-node2"));
        named.map(|(at, _)| at).collect()
    };
    let edit = |at: &str| format!("{at} node2 hook failover becomes new.lua");
    // A healthy master does not run the new version, but the next one does.
    let idle = "function on_master() end\n";
    let set = play(idle, &[&edit("5s"), "10s node2 dies", "40s node2 returns"]);
    assert!(matches!(set[..], [at] if at > 40_000), "{set:?}");
    // What failed is tried again at once.
    let broken = "function on_master() error('broken') end\n";
    let set = play(broken, &[&edit("20s")]);
    assert!(
        matches!(set[..], [at] if (20_000..30_000).contains(&at)),
        "{set:?}"
    );
    // A frozen daemon learns of it when it continues, one that is off when it boots.
    let set = play(broken, &["20s node2 freezes for 20s", &edit("25s")]);
    assert!(matches!(set[..], [at] if at > 40_000), "{set:?}");
    let set = play(idle, &["20s node2 dies", &edit("25s"), "40s node2 returns"]);
    assert!(matches!(set[..], [at] if at > 40_000), "{set:?}");
    // What the scenario wants to go wrong still does.
    let set = play(idle, &["0s node2 hook failover fails", &edit("1ms")]);
    assert_eq!(set, [] as [u64; 0]);
}

#[test]
fn a_version_that_cannot_be_loaded_ends_a_rehearsal_before_it_begins() {
    let directory = place(&[("node2", 0)]);
    fs::write(directory.path().join("bad.lua"), "function (\n").unwrap();
    for file in ["bad.lua", "none.lua"] {
        let event = format!("10s node2 hook failover becomes {file}");
        let ran = carpd(directory.path(), &["rehearse", "node2.toml", "-e", &event]);
        assert!(
            ran.code != 0 && ran.stdout.is_empty() && ran.stderr.contains(file),
            "{}",
            ran.stderr
        );
    }
}

/// The names of the elements of a text that is well-formed XML as far as it goes.
fn elements(xml: &str) -> Vec<String> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    for (at, _) in xml.match_indices('<') {
        let tag = &xml[at + 1..at + xml[at..].find('>').unwrap()];
        let name = |text: &str| text.split([' ', '/', '\n']).next().unwrap().to_owned();
        if let Some(end) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name(end)), "at {at}");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
        all.push(name(tag));
        if !tag.ends_with('/') {
            open.push(name(tag));
        }
    }
    assert_eq!(open, Vec::<String>::new());
    all
}

#[test]
fn the_page_stands_alone_and_shows_what_happened() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let args = [
        "node2.toml",
        "node3.toml",
        "-e",
        "10s node2 dies",
        "-e",
        "30s node2 returns",
        "--html",
        "r.html",
    ];
    let timeline = json(directory.path(), &args);
    let page = fs::read_to_string(directory.path().join("r.html")).unwrap();
    let again = json(directory.path(), &args);
    assert_eq!(
        (timeline.clone(), page.clone()),
        (
            again,
            fs::read_to_string(directory.path().join("r.html")).unwrap()
        )
    );
    // Nothing to load, from wherever.
    for word in [
        "http:", "https:", "src=", "href=", "@import", "<script", "<link ",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert_eq!(
        page.matches("url(").count(),
        page.matches("url(#hatch)").count()
    );
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("<html lang=\"en\">"));
    let begin = page.find("<svg viewBox").unwrap();
    let svg = &page[begin..begin + page[begin..].find("</svg>").unwrap() + 6];
    let names = elements(svg);
    assert!(svg.contains("role=\"img\"") && svg.contains("<desc id=\"picture-description\">"));
    let states: usize = timeline["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["lanes"][0]["states"].as_array().unwrap().len())
        .sum();
    let line = &timeline["vhosts"][0];
    let spans: usize = ["served", "outages", "contested"]
        .iter()
        .map(|what| line[*what].as_array().unwrap().len())
        .sum();
    assert_eq!(svg.matches("<rect class=\"span ").count(), states + spans);
    assert_eq!(
        svg.matches("class=\"span outage\"").count(),
        outages(&timeline).len()
    );
    assert_eq!(
        names.iter().filter(|name| *name == "circle").count()
            - svg.matches("class=\"badge\"").count(),
        svg.matches("cy=").count() - 2
    );
    // All that the picture says stands in the table as well.
    let body = &page[page.find("<h2 id=\"all\">").unwrap()..];
    for node in 0..2 {
        for (_, text) in marks(&timeline, node)
            .iter()
            .filter(|(_, text)| !text.starts_with("announces"))
        {
            assert!(body.contains(&text.replace('>', "&gt;")), "{text}");
        }
    }
}

/// Names come from files: none of them gets into the page as markup.
#[test]
fn nothing_that_is_shown_becomes_markup() {
    let directory = place(&[("node2", 0)]);
    let ran = carpd(
        directory.path(),
        &[
            "rehearse",
            "<b>&\"=node2.toml",
            "--html",
            "r.html",
            "--end",
            "5s",
        ],
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let page = fs::read_to_string(directory.path().join("r.html")).unwrap();
    assert!(!page.contains("<b>&\"") && page.contains("&lt;b&gt;&amp;&quot;"));
}

/// How often a node changed its state, and which addresses it has at the end.
fn changes_and_addresses(timeline: &Value, node: usize) -> (usize, BTreeSet<String>) {
    let changes = timeline["nodes"][node]["lanes"][0]["states"]
        .as_array()
        .unwrap()
        .len();
    let mut held = BTreeSet::new();
    for (_, text) in marks(timeline, node) {
        let Some((address, change)) = text
            .strip_prefix("address ")
            .and_then(|text| text.split_once(" on eth0: "))
        else {
            continue;
        };
        if change.ends_with("-> absent") {
            held.remove(address)
        } else {
            held.insert(address.to_owned())
        };
    }
    (changes, held)
}

#[test]
fn where_nobody_can_hold_one_address_the_best_node_holds_the_others_and_all_is_quiet() {
    let refuse = ["a", "b", "c"].map(|node| format!("0s {node} refuses 2001:db8::22"));
    for nodes in [
        &[("a", 0), ("b", 50)][..],
        &[("a", 0), ("b", 50), ("c", 100)],
    ] {
        let directory = place(nodes);
        let files: Vec<String> = nodes
            .iter()
            .map(|(name, _)| format!("{name}.toml"))
            .collect();
        for file in &files {
            let path = directory.path().join(file);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(
                path,
                text.replace("22/24\"]", "22/24\", \"2001:db8::22/64\"]"),
            )
            .unwrap();
        }
        let mut args: Vec<&str> = files.iter().map(String::as_str).collect();
        refuse
            .iter()
            .take(nodes.len())
            .for_each(|event| args.extend(["-e", event]));
        let timeline = json(directory.path(), &[&args[..], &["--end", "63s"]].concat());
        let seen: Vec<_> = (0..nodes.len())
            .map(|node| changes_and_addresses(&timeline, node))
            .collect();
        // Each tries once, the best keeps it; every node that preempts tries again when its
        // demotion has faded, twice in a minute.
        assert!(seen.iter().all(|(changes, _)| *changes <= 16), "{seen:?}");
        let holders = seen
            .iter()
            .filter(|(_, held)| {
                held.iter()
                    .any(|address| address.starts_with("192.168.32.22"))
            })
            .count();
        assert_eq!(holders, 1, "{seen:?}");
        let runs = |node| {
            marks(&timeline, node)
                .iter()
                .filter(|(_, text)| text.starts_with("on_"))
                .count()
        };
        assert!((0..nodes.len()).all(|node| runs(node) <= 16), "hooks");

        // Cured on the one that has it: it holds them all, and is as fit as ever.
        let cured = json(
            directory.path(),
            &[
                &args[..],
                &["-e", "30s a accepts 2001:db8::22", "--end", "3m"],
            ]
            .concat(),
        );
        let (_, held) = changes_and_addresses(&cured, 0);
        assert_eq!(held.len(), 2, "{held:?}");
    }
}

#[test]
fn a_master_whose_kernel_takes_an_address_away_hands_over_to_one_that_can_hold_it() {
    let directory = place(&[("a", 0), ("b", 50)]);
    let timeline = json(
        directory.path(),
        &[
            "a.toml",
            "b.toml",
            "-e",
            "10s a refuses 192.168.32.22",
            "--end",
            "15s",
        ],
    );
    let (from, to) = outages(&timeline)[0];
    assert!(from == 10_000 && to <= 10_001, "{from} {to}");
    assert_eq!(changes_and_addresses(&timeline, 1).1.len(), 1);
}

/// Whether the nodes list each other or all have the same list, the addresses are those of the list.
#[test]
fn unicast_nodes_hear_each_other_and_nobody_who_is_missing_in_the_list() {
    for (lists, masters) in [
        ([&[2, 3][..], &[1, 3], &[1, 2]], 1),
        ([&[1, 2, 3], &[1, 2, 3], &[1, 2, 3]], 1),
        // The third does not believe the others, and they not the third.
        ([&[2], &[1], &[8]], 2),
    ] {
        let directory = place(&[("one", 0), ("two", 50), ("three", 100)]);
        for (name, peers) in ["one", "two", "three"].into_iter().zip(lists) {
            let path = directory.path().join(format!("{name}.toml"));
            let peers: Vec<String> = peers.iter().map(|n| format!("192.168.32.{n}")).collect();
            let text = fs::read_to_string(&path).unwrap();
            let more = format!("unicast = {peers:?}\n\n[hook.failover]");
            fs::write(&path, text.replacen("\n[hook.failover]", &more, 1)).unwrap();
        }
        let nodes = ["one.toml", "two.toml", "three.toml", "--end", "20s"];
        let timeline = json(directory.path(), &nodes);
        let at_the_end = |node: &Value| {
            let spans = node["lanes"][0]["states"].as_array().unwrap();
            spans.last().unwrap()["state"] == "master"
        };
        let all = timeline["nodes"].as_array().unwrap();
        let count = all.iter().filter(|node| at_the_end(node)).count();
        assert_eq!(count, masters, "{lists:?}");
    }
}
