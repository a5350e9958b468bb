//! Orders that come at the wrong moment.

use std::collections::BTreeMap;
use std::time::Duration;

use carpd::lab::Lab;

use crate::rig::{ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, holds, lan, sh};
use crate::{ADDRESS_OF_A, ADDRESS_OF_B, Case, Outcome};

/// For a `before_master` that takes its time, behind a takeover.
const LONG: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            limit: LONG,
            ..Case::new(
                "orders::a_hook_that_is_applied_does_not_overtake_before_master",
                applied,
            )
        },
        Case {
            limit: LONG,
            ..Case::new(
                "orders::a_reload_that_wants_anothers_virtual_host_changes_nothing",
                taken,
            )
        },
        Case {
            limit: LONG,
            ..Case::new(
                "orders::a_daemon_is_found_by_its_configuration_wherever_it_runs",
                elsewhere,
            )
        },
        Case::new("orders::a_reload_that_renames_moves_nothing", renamed),
        Case::new(
            "orders::a_reload_to_an_interface_that_is_not_there_takes_no_master_down",
            nowhere,
        ),
        Case::new(
            "orders::an_address_that_a_reload_brings_is_heard_at_once",
            groups,
        ),
    ]
}

/// Output and exit status of a verb on host a.
fn carpd(lab: &Lab, words: &str) -> Result<(String, String), Failed> {
    let mut lines = sh(
        lab,
        "a",
        &format!("{CARPD} {words} --config /run/lab/carpd.toml 2>&1; echo $?"),
    )?;
    let status = lines.pop().unwrap_or_default();
    Ok((lines.join("\n"), status))
}

fn applied() -> Outcome {
    let lab = lan(&["a"])?;
    let lua = "function before_master() clock.sleep(6000) end\nfunction on_master() log.info('serves') end";
    let mut daemon = Carpd::new("a")
        .hook(lua, "before-timeout = \"10s\"")
        .start(&lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    // Its addresses wait for `before_master`: nothing is in effect that could be brought up to
    // date.
    let (said, status) = carpd(&lab, "hook apply h --yes")?;
    assert_eq!(status, "0", "{said}");
    daemon.wait_says("Acquired the addresses", TAKEOVER * 2)?;
    daemon.wait_says("serves", SOON)?;
    assert!(holds(&lab, "a")?);
    daemon.stop()
}

/// Every verb that talks to a daemon, with its exit status and what it says.
const VERBS: [(&str, &str, &str); 22] = [
    ("status", "0", "web: master"),
    ("status web", "0", "web: master"),
    ("status --short", "0", "1 master"),
    ("status --json", "0", "\"web\""),
    ("why", "0", "web"),
    ("peers", "0", ""),
    ("metrics", "0", "carpd_vhost_state"),
    ("doctor --json", "", "\"daemon\":true"),
    ("hook list", "0", "h: generation 1"),
    ("hook show h", "0", "h: generation 1"),
    ("hook apply h --yes", "0", "on_master ran"),
    ("hook apply h --dry-run", "0", ""),
    ("hook rollback h", "1", "h"),
    ("resign web", "5", "no fit peer answered"),
    ("maintenance status", "0", "web: not in maintenance"),
    ("maintenance on", "5", "no fit peer answered"),
    ("maintenance off", "0", "no virtual host is in maintenance"),
    ("drain", "5", "no fit peer answered"),
    ("demote 10", "0", "web: 10: an operator"),
    ("promote", "0", "web: no longer demoted"),
    ("undemote web", "0", "web"),
    ("reload", "3", ""),
];

/// Its `run-dir` is another one, and its configuration was broken after it began.
fn elsewhere() -> Outcome {
    let lab = lan(&["a"])?;
    let directories = "[daemon]\nrun-dir = \"/run/lab/elsewhere\"\n";
    let spec = Carpd::new("a")
        .hook("function on_master() end", "")
        .more(directories);
    let mut daemon = spec.start(&lab)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    let broken = format!("{}\n[[vhost]\nnonsense", spec.toml());
    for toml in [spec.toml(), broken] {
        spec.write_with(&lab, &toml)?;
        for (verb, says) in [
            ("status", "web: master"),
            ("why", "web"),
            ("metrics", "carpd_vhost_state"),
            ("hook list", "h: generation 1"),
            ("hook apply h --yes", "on_master ran"),
        ] {
            let (said, status) = carpd(&lab, verb)?;
            assert!(
                status == "0" && said.contains(says),
                "{verb}: {status}: {said}"
            );
        }
    }
    let (said, status) = carpd(&lab, "reload")?;
    assert!(
        status == "3" && said.contains("nothing was changed"),
        "{status}: {said}"
    );
    spec.write(&lab)?;
    assert_eq!(
        carpd(&lab, "reload")?,
        ("nothing to change".to_owned(), "0".to_owned())
    );
    // Its `run-dir` was edited after it began, and another daemon runs where one usually does.
    let other = vhost("stranger", 41, "192.168.32.23/24");
    let place = "/run/lab/other.toml";
    lab.host("a").write(place, 0o644, &other)?;
    let mut stranger = Carpd::new("a").restart_from(&lab, place)?;
    stranger.wait_state("backup", SOON)?;
    let later = spec.toml().replace("/run/lab/elsewhere", "/run/lab/later");
    spec.write_with(&lab, &later)?;
    for (verb, status, says) in VERBS {
        let (said, ended) = carpd(&lab, verb)?;
        let is_right = status.is_empty() || ended == status;
        assert!(
            is_right && said.contains(says) && !said.contains("stranger"),
            "{verb}: {ended}: {said}"
        );
    }
    stranger.stop()?;
    spec.write(&lab)?;
    // By a name as well, and nobody else is taken for it.
    let mut lines = sh(
        &lab,
        "a",
        &format!(
            "{CARPD} status --run-dir /run/lab/elsewhere --instance carpd; {CARPD} status 2>&1; echo $?"
        ),
    )?;
    assert_ne!(lines.pop().unwrap_or_default(), "0", "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("web: master")),
        "{lines:?}"
    );
    daemon.stop()
}

fn vhost(name: &str, vhid: u8, address: &str) -> String {
    format!(
        "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"{address}\"]\n\
         password-file = \"/run/lab/web.pass\"\n"
    )
}

fn taken() -> Outcome {
    let lab = lan(&["a"])?;
    let (web, db) = (
        vhost("web", 40, "192.168.32.22/24"),
        vhost("db", 41, "192.168.32.23/24"),
    );
    let mut daemon = Carpd::new("a").vhosts(web.clone()).start(&lab)?;
    daemon.wait_state("master", TAKEOVER)?;
    let host = lab.host("a");
    host.write("/run/lab/other.toml", 0o644, &db)?;
    let argv = [
        CARPD,
        "run",
        "--config",
        "/run/lab/other.toml",
        "--log-format",
        "json",
    ];
    let mut other = Daemon {
        process: host.spawn_with(&argv, &BTreeMap::new())?,
    };
    other.wait_says("Ready", SOON)?;
    // Also not the change beside it.
    host.write(
        "/run/lab/carpd.toml",
        0o644,
        &format!("{web}advskew = 7\n{db}"),
    )?;
    let (said, status) = carpd(&lab, "reload")?;
    assert!(
        status == "3" && said.contains("another carpd already has vhid 41 on eth0 (pid "),
        "{status}: {said}"
    );
    let (said, _) = carpd(&lab, "status")?;
    assert!(
        said.contains("web: master") && !said.contains("db: "),
        "{said}"
    );
    other.stop()?;
    let (said, status) = carpd(&lab, "reload")?;
    assert!(
        status == "0" && said.contains("vhost db: added") && said.contains("vhost web: advskew"),
        "{status}: {said}"
    );
    daemon.wait_state("master", TAKEOVER)?;
    daemon.stop()
}

fn renamed() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let lua = "function on_master() hostname.set('virtual') end";
    let grant = "grant = { hostname = [\"virtual\"] }";
    let spec = Carpd::new("a").hook(lua, grant);
    let mut a = spec.start(&lab)?;
    a.wait_ran("on_master", TAKEOVER)?;
    let mut b = Carpd::new("b").advskew(50).start(&lab)?;
    b.wait_state("backup", SOON)?;
    watch.hear(ADDRESS_OF_A, 2, SOON)?;
    spec.clone().set("name", "\"www\"").write(&lab)?;
    let (said, status) = carpd(&lab, "reload")?;
    assert_eq!(
        (said.as_str(), status.as_str()),
        ("vhost web: renamed to www", "0")
    );
    watch.hear(ADDRESS_OF_A, 3, SOON)?;
    let (said, _) = carpd(&lab, "status")?;
    assert!(
        said.contains("www: master") && said.contains("holds hostname = virtual for www (hook h)"),
        "{said}"
    );
    assert_eq!(
        (a.states(), b.states()),
        (
            vec!["backup".to_owned(), "master".to_owned()],
            vec!["backup".to_owned()]
        )
    );
    let runs = a
        .entries()
        .iter()
        .filter(|entry| entry.ran("on_master"))
        .count();
    assert_eq!(runs, 1, "{}", a.text());
    assert!(watch.advertisements(ADDRESS_OF_B)?.is_empty());
    // What the hook did under the old name is undone.
    let (why, _) = carpd(&lab, "why")?;
    assert!(why.contains("web: backup -> master"), "{why}");
    a.stop()?;
    assert_ne!(sh(&lab, "a", "hostname")?, ["virtual"]);
    b.stop()
}

fn nowhere() -> Outcome {
    let lab = lan(&["a"])?;
    let spec = Carpd::new("a");
    let mut a = spec.start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    spec.clone().set("interface", "\"eth7\"").write(&lab)?;
    let (said, status) = carpd(&lab, "reload")?;
    assert_eq!(status, "3", "{said}");
    assert!(
        said.contains("vhost web is master on eth0 and would move to eth7, which does not exist"),
        "{said}"
    );
    assert!(holds(&lab, "a")?);
    assert_eq!(a.states(), ["backup", "master"]);
    let (said, status) = carpd(&lab, "reload --force")?;
    assert_eq!(status, "0", "{said}");
    assert!(
        said.contains(
            "vhost web: removed\nvhost web: added\ninterface eth7 does not exist yet: waiting for it"
        ),
        "{said}"
    );
    assert!(!holds(&lab, "a")?);
    a.stop()
}

/// The groups that host a's `eth0` is a member of.
fn memberships(lab: &Lab) -> Result<String, Failed> {
    Ok(sh(lab, "a", "ip maddress show dev eth0")?.join("\n"))
}

fn groups() -> Outcome {
    let lab = lan(&["a"])?;
    let mut daemon = Carpd::new("a").start(&lab)?;
    daemon.wait_says("Ready", SOON)?;
    let before = memberships(&lab)?;
    assert!(
        before.contains("224.0.0.18") && !before.contains("ff02::12"),
        "{before}"
    );
    let both = format!("[\"{ADDRESS}/24\", \"2001:db8::22/64\"]");
    daemon.reload(&lab, &Carpd::new("a").set("addresses", both))?;
    let after = memberships(&lab)?;
    assert!(
        after.contains("224.0.0.18") && after.contains("ff02::12"),
        "{after}"
    );
    daemon.stop()
}
