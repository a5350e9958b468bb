//! Several daemons on one host: whoever looks sees all of them, and whoever orders has to choose.

use carpd::lab::Lab;
use serde_json::Value;

use crate::rig::{CARPD, Carpd, Failed, TAKEOVER, lan};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(
        "several::all_daemons_are_shown_if_none_is_named",
        shown,
    )]
}

/// What a verb says, and how it ends.
fn carpd(lab: &Lab, words: &str) -> Result<(String, i32), Failed> {
    let line = format!("{CARPD} {words} 2>&1; echo $?");
    let mut lines = crate::rig::sh(lab, "a", &line)?;
    let status = lines.pop().ok_or("no status")?.parse()?;
    Ok((lines.join("\n"), status))
}

fn shown() -> Outcome {
    let lab = lan(&["a"])?;
    let web = Carpd::new("a");
    let mail = Carpd::new("a")
        .set("name", "\"mail\"")
        .set("vhid", 41)
        .set("addresses", "[\"192.168.32.23/24\"]");
    let mut daemons = vec![web.start(&lab)?];
    let file = "/run/lab/mail.toml";
    lab.host("a").write(file, 0o644, &mail.toml())?;
    daemons.push(mail.restart_from(&lab, file)?);
    for daemon in &mut daemons {
        daemon.wait_state("master", TAKEOVER)?;
    }
    for verb in ["status", "status --long", "why", "maintenance status"] {
        let (said, status) = carpd(&lab, verb)?;
        assert_eq!(status, 0, "{verb}: {said}");
        for wanted in ["instance carpd-", "instance mail-", "web", "mail"] {
            assert!(said.contains(wanted), "{verb}: {wanted}: {said}");
        }
    }
    let (said, _) = carpd(&lab, "why --vhost mail")?;
    assert!(
        said.contains("mail: backup -> master") && !said.contains("web: "),
        "{said}"
    );
    let (said, status) = carpd(&lab, "status --json")?;
    let report: Value = serde_json::from_str(&said)?;
    let names = report["vhosts"].as_array().map_or(0, Vec::len);
    assert_eq!((names, status), (2, 0), "{said}");
    for verb in ["peers", "peers mail"] {
        let (said, status) = carpd(&lab, verb)?;
        assert_eq!(status, 0, "{verb}: {said}");
        assert!(said.starts_with("no advertisements"), "{verb}: {said}");
    }
    let (said, status) = carpd(&lab, "peers db")?;
    assert!(status != 0 && said.contains("db"), "{said}");
    // One of them must be chosen, and the message says among which.
    for verb in ["resign web", "maintenance on", "metrics", "events"] {
        let (said, status) = carpd(&lab, verb)?;
        assert_eq!(status, 4, "{verb}: {said}");
        for wanted in ["--instance", "carpd-", "mail-"] {
            assert!(said.contains(wanted), "{verb}: {wanted}: {said}");
        }
    }
    let (said, status) = carpd(&lab, "events --instance mail")?;
    assert!(
        status == 0 && said.contains("mail: backup -> master"),
        "{said}"
    );
    daemons.iter().try_for_each(crate::rig::Daemon::stop)
}
