//! `carpd rehearse`: the daemon's own code and real hooks in virtual time, and the page that shows it.

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
fn place(nodes: &[(&str, u8)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("web.pass", "love\n");
    fs::set_permissions(directory.path().join("web.pass"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    write("failover.lua", HOOK);
    for (name, advskew) in nodes {
        write(
            &format!("{name}.toml"),
            &format!(
                "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\naddresses = [\"192.168.32.22/24\"]\n\
                 password-file = \"web.pass\"\nadvskew = {advskew}\npreempt = true\nhooks = [\"failover\"]\n\n\
                 [hook.failover]\nsource = \"failover.lua\"\nconfig = {{ name = \"vir-{name}\" }}\n\
                 [hook.failover.grant]\nhostname = [\"vir-{name}\"]\nservice = [{{ unit = \"httpd\", do = [\"start\"] }}]\n"
            ),
        );
    }
    directory
}

fn json(directory: &Path, args: &[&str]) -> Value {
    let ran = carpd(directory, &[&["rehearse", "--json"], args].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    serde_json::from_str(&ran.stdout).unwrap()
}

/// From when to when nobody served, in ms, but for the time before the first master.
fn outages(timeline: &Value) -> Vec<(u64, u64)> {
    let all = timeline["vhosts"][0]["outages"].as_array().unwrap();
    let ms = |value: &Value| value.as_u64().unwrap() / 1000;
    all.iter().filter(|o| o["initial"] == false).map(|o| (ms(&o["from_us"]), ms(&o["to_us"]))).collect()
}

fn marks(timeline: &Value, node: usize) -> Vec<(u64, String)> {
    let all = timeline["nodes"][node]["marks"].as_array().unwrap();
    all.iter().map(|m| (m["at_us"].as_u64().unwrap() / 1000, m["text"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_node_that_dies_is_followed_and_the_hooks_run_on_virtual_machines() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let timeline = json(directory.path(), &["node2.toml", "node3.toml", "-e", "10s node2 dies", "-e", "40s node2 returns"]);
    let [(from, to), ..] = outages(&timeline)[..] else { panic!("{timeline}") };
    assert!(from == 10_000 && (12_000..=13_200).contains(&to), "a backup follows after its master-down time: {to}");
    let done = |node, at: u64, text: &str| {
        assert!(marks(&timeline, node).contains(&(at, text.to_owned())), "{at} {text}: {:?}", marks(&timeline, node));
    };
    done(0, 3_000, "hostname: node2 -> vir-node2");
    done(1, to, "hostname: node3 -> vir-node3");
    done(1, to, "service httpd: stopped -> running");
    let back: Vec<_> = marks(&timeline, 1).into_iter().filter(|(at, _)| *at > 40_000).collect();
    assert!(back.iter().any(|(_, text)| text == "hostname: vir-node3 -> node3"), "it is undone when node2 is back: {back:?}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
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
        let mut args = vec!["rehearse", "--json", "a.toml", "b.toml", "c.toml", "--seed", seed];
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
        let states = timeline["nodes"][node]["lanes"][0]["states"].as_array().unwrap();
        states.iter().map(|s| format!("{} {}", s["state"].as_str().unwrap(), s["why"].as_str().unwrap())).collect()
    };
    for (trouble, why) in [
        ("0s node2 hook failover fails", "made to fail"),
        ("0s node2 service httpd fails", "httpd is failed"),
        ("0s node2 service httpd hangs", "httpd had not started after 10.0 s"),
        ("0s node2 hook failover hangs", "ran longer than its budget of 10s"),
    ] {
        let timeline = json(directory.path(), &[&nodes[..], &["-e", trouble, "--end", "60s"]].concat());
        let node2 = states(&timeline, 0);
        assert!(
            node2.iter().any(|state| state.starts_with("backup hook-failed") && state.contains(why)),
            "{trouble}: {node2:#?}"
        );
        assert!(states(&timeline, 1).iter().any(|state| state.starts_with("master")), "{trouble}: node3 takes over");
    }
}

#[test]
fn partitions_links_freezes_and_stops_do_what_they_do() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let nodes = ["node2.toml", "node3.toml"];
    let play = |args: &[&str]| json(directory.path(), &[&nodes[..], args].concat());

    let parted = play(&["-e", "10s partition node2 / node3", "-e", "30s heal"]);
    let twice = parted["vhosts"][0]["contested"].as_array().unwrap();
    assert!(
        twice.iter().any(|span| span["to_us"].as_u64().unwrap() - span["from_us"].as_u64().unwrap() > 15_000_000),
        "{twice:?}"
    );

    let frozen = play(&["-e", "10s node2 freezes for 10s"]);
    let lease = marks(&frozen, 0).into_iter().find(|(_, text)| text.contains("the lease of 192.168.32.22"));
    let (_, served) = outages(&frozen)[0];
    assert!(lease.unwrap().0 < served, "the kernel takes the address away before the other has it");

    let stopped = play(&["-e", "10s node2 stops"]);
    let (from, to) = outages(&stopped).first().copied().unwrap_or_default();
    assert!(to - from <= 1, "an orderly stop hands over at once: {from} to {to}");
    assert!(marks(&stopped, 0).iter().any(|(_, text)| text == "service httpd: running -> stopped"));

    let down = play(&["-e", "10s node2 eth0 link down", "-e", "30s node2 link up"]);
    let states: Vec<&str> =
        down["nodes"][0]["lanes"][0]["states"].as_array().unwrap().iter().map(|s| s["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["backup", "master", "init", "backup", "master"]);
}

#[test]
fn outages_can_fail_a_build_and_mistakes_are_told() {
    let directory = place(&[("node2", 0), ("node3", 15)]);
    let run = |args: &[&str]| carpd(directory.path(), &[&["rehearse", "node2.toml", "node3.toml"], args].concat());
    assert_eq!(run(&["-e", "10s node2 dies", "--max-outage", "4s"]).code, 0);
    assert_eq!(run(&["-e", "10s node2 dies", "--max-outage", "1s"]).code, 1);
    let wrong = run(&["-e", "10s node9 dies"]);
    assert_eq!((wrong.code, wrong.stderr.as_str()), (2, "error: there is no node node9; there are: node2, node3\n"));
    let wrong = run(&["-e", "node2 dies"]);
    assert!(
        wrong.code == 2 && wrong.stderr.contains("begins with its time") && wrong.stderr.contains("hint: an event is TIME EVENT")
    );
    assert_eq!(run(&["-e", "10s node2 hook nothing fails"]).code, 2);
    assert_eq!(carpd(directory.path(), &["rehearse", "node2.toml", "node2.toml"]).code, 2, "two of one name");
    fs::write(directory.path().join("s.txt"), "# a scenario\nseed 3\nend 20s\n10s node2 stops\n").unwrap();
    let file = run(&["--scenario", "s.txt"]);
    assert!(file.code == 0 && file.stdout.contains("* node2 stops"), "{}", file.stdout);
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
    let args = ["node2.toml", "node3.toml", "-e", "10s node2 dies", "-e", "30s node2 returns", "--html", "r.html"];
    let timeline = json(directory.path(), &args);
    let page = fs::read_to_string(directory.path().join("r.html")).unwrap();
    let again = json(directory.path(), &args);
    assert_eq!((timeline.clone(), page.clone()), (again, fs::read_to_string(directory.path().join("r.html")).unwrap()));
    // Nothing to load, from wherever.
    for word in ["http:", "https:", "src=", "href=", "@import", "<script", "<link "] {
        assert!(!page.contains(word), "{word}");
    }
    assert_eq!(page.matches("url(").count(), page.matches("url(#hatch)").count());
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("<html lang=\"en\">"));
    let begin = page.find("<svg viewBox").unwrap();
    let svg = &page[begin..begin + page[begin..].find("</svg>").unwrap() + 6];
    let names = elements(svg);
    assert!(svg.contains("role=\"img\"") && svg.contains("<desc id=\"picture-description\">"));
    let states: usize =
        timeline["nodes"].as_array().unwrap().iter().map(|n| n["lanes"][0]["states"].as_array().unwrap().len()).sum();
    let line = &timeline["vhosts"][0];
    let spans: usize = ["served", "outages", "contested"].iter().map(|what| line[*what].as_array().unwrap().len()).sum();
    assert_eq!(svg.matches("<rect class=\"span ").count(), states + spans);
    assert_eq!(svg.matches("class=\"span outage\"").count(), outages(&timeline).len());
    assert_eq!(
        names.iter().filter(|name| *name == "circle").count() - svg.matches("class=\"badge\"").count(),
        svg.matches("cy=").count() - 2
    );
    // All that the picture says stands in the table as well.
    let body = &page[page.find("<h2 id=\"all\">").unwrap()..];
    for node in 0..2 {
        for (_, text) in marks(&timeline, node).iter().filter(|(_, text)| !text.starts_with("announces")) {
            assert!(body.contains(&text.replace('>', "&gt;")), "{text}");
        }
    }
}

/// Names come from files: none of them gets into the page as markup.
#[test]
fn nothing_that_is_shown_becomes_markup() {
    let directory = place(&[("node2", 0)]);
    let ran = carpd(directory.path(), &["rehearse", "<b>&\"=node2.toml", "--html", "r.html", "--end", "5s"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let page = fs::read_to_string(directory.path().join("r.html")).unwrap();
    assert!(!page.contains("<b>&\"") && page.contains("&lt;b&gt;&amp;&quot;"));
}
