//! Trust while the daemon runs: what nobody vouches for never serves, and what serves goes on.

use std::time::Duration;

use carpd::lab::Lab;

use crate::rig::{CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, lan};
use crate::{Case, Outcome};

/// A key pair for tests, and the public key of another.
const PUBLIC: &str = include_str!("../it/trust/team.pub");
const SECRET: &str = include_str!("../it/trust/team.key");
const OTHER: &str = "untrusted comment: of somebody else\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n";

pub(crate) fn cases() -> Vec<Case> {
    let limit = Duration::from_mins(1);
    vec![
        Case {
            limit,
            ..Case::new("trust::what_nobody_vouches_for_never_serves", reloads)
        },
        Case {
            limit,
            ..Case::new(
                "trust::tests_are_vouched_for_and_what_is_kept_has_its_own_signature",
                tested_and_kept,
            )
        },
        Case::new(
            "trust::an_unsigned_hook_keeps_the_daemon_from_starting",
            starts,
        ),
    ]
}

const TRUST: &str = "[trust]\nkeys = [\"team.pub\"]\n";

fn hook(word: &str) -> String {
    format!("function on_master() log.info('{word}') end\n")
}

/// What a command of an operator on node a said.
fn carpd(lab: &Lab, args: &[&str]) -> Result<String, Failed> {
    let argv = [&[CARPD], args, &["--config", "/run/lab/carpd.toml"]].concat();
    let output = lab.host("a").run(&argv, SOON)?;
    Ok(format!(
        "{}\n{}",
        output.stdout.join("\n"),
        output.stderr.join("\n")
    ))
}

fn write(lab: &Lab, file: &str, text: &str) -> Outcome {
    Ok(lab
        .host("a")
        .write(&format!("/run/lab/{file}"), 0o644, text)?)
}

fn sign(lab: &Lab) -> Outcome {
    sign_file(lab, "h.lua")
}

fn sign_file(lab: &Lab, file: &str) -> Outcome {
    write(lab, "team.key", SECRET)?;
    let file = format!("/run/lab/{file}");
    let output = lab.host("a").run(
        &[CARPD, "plugin", "sign", &file, "-s", "/run/lab/team.key"],
        SOON,
    )?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{output:?}").into())
    }
}

/// Runs the version that serves, and waits until it has said its word.
fn serves(lab: &Lab, daemon: &mut Daemon, word: &str) -> Outcome {
    carpd(lab, &["hook", "apply", "h"])?;
    daemon.wait_says(word, SOON).map(drop)
}

/// A reload that changes nothing, for this reason.
fn refused(lab: &Lab, why: &str) -> Outcome {
    let said = carpd(lab, &["reload"])?;
    if said.contains("nothing was changed") && said.contains(why) {
        Ok(())
    } else {
        Err(format!("{why}: {said}").into())
    }
}

fn reloads() -> Outcome {
    let lab = lan(&["a"])?;
    let spec = Carpd::new("a").hook(&hook("one"), TRUST);
    spec.write(&lab)?;
    write(&lab, "team.pub", PUBLIC)?;
    sign(&lab)?;
    let mut a = spec.start(&lab)?;
    let loaded = a.wait_says("Loaded a hook", SOON)?;
    assert_eq!(
        loaded.text("vouched"),
        "not pinned, signed by A62E8BBDB630AB66"
    );
    a.wait_says("one", TAKEOVER)?;
    // Other bytes under the old signature.
    write(&lab, "h.lua", &hook("two"))?;
    let kept = a.wait_says("Keeping the last good version of a hook", SOON)?;
    assert!(
        kept.text("error")
            .contains("h.lua.minisig: the signature does not fit"),
        "{kept:?}"
    );
    refused(&lab, "the signature does not fit")?;
    serves(&lab, &mut a, "one")?;
    // With a signature it needs nobody's order.
    sign(&lab)?;
    a.wait_says("Activated a new version of a hook", SOON)?;
    serves(&lab, &mut a, "two")?;
    // A key that cannot be read, and another one.
    write(&lab, "team.pub", "rubbish\n")?;
    refused(&lab, "is not a minisign public key")?;
    write(&lab, "team.pub", OTHER)?;
    refused(&lab, "which is none of [trust] keys")?;
    serves(&lab, &mut a, "two")?;
    // What the old keys vouched for does not come back by another door.
    write(&lab, "team.pub", PUBLIC)?;
    a.reload(
        &lab,
        &Carpd::new("a").hook(&hook("two"), &format!("{TRUST}require-signature = false\n")),
    )?;
    let said = carpd(&lab, &["hook", "rollback", "h"])?;
    assert!(said.contains("has no version before this one"), "{said}");
    serves(&lab, &mut a, "two")?;
    a.stop()
}

fn tested_and_kept() -> Outcome {
    let lab = lan(&["a"])?;
    let spec = Carpd::new("a").hook(&hook("one"), &format!("reload = \"tested\"\n{TRUST}"));
    spec.write(&lab)?;
    write(&lab, "team.pub", PUBLIC)?;
    sign(&lab)?;
    let mut a = spec.start(&lab)?;
    a.wait_says("one", TAKEOVER)?;
    // A test decides what may serve: nobody's test decides nothing.
    write(
        &lab,
        "h_test.lua",
        "test.case('it serves', function() test.host({}):become('master') end)\n",
    )?;
    let kept = a.wait_says("Keeping the last good version of a hook", SOON)?;
    assert!(
        kept.text("error").contains("h_test.lua: it is not signed"),
        "{kept:?}"
    );
    let check = lab
        .host("a")
        .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
    assert!(
        check
            .stderr
            .join("\n")
            .contains("h_test.lua: it is not signed"),
        "{check:?}"
    );
    sign_file(&lab, "h_test.lua")?;
    write(&lab, "h.lua", &hook("two"))?;
    sign(&lab)?;
    a.wait_says("Activated a new version of a hook", SOON)?;
    serves(&lab, &mut a, "two")?;
    a.stop()?;
    // A new version with a fault, and its good signature in the place of the old one.
    write(&lab, "h.lua", "function on_master(")?;
    sign(&lab)?;
    let mut a = spec.restart(&lab)?;
    let kept = a.wait_says("Keeping the last good version of a hook", SOON)?;
    assert!(kept.text("error").contains("h.lua:1"), "{kept:?}");
    a.wait_says("two", TAKEOVER)?;
    a.stop()
}

fn starts() -> Outcome {
    let lab = lan(&["a"])?;
    let spec = Carpd::new("a").hook(&hook("one"), TRUST);
    spec.write(&lab)?;
    write(&lab, "team.pub", PUBLIC)?;
    let a = spec.start(&lab)?;
    let exit = a.process.wait(SOON)?;
    assert_ne!(exit, carpd::lab::Exit::Code(0));
    assert!(
        a.text()
            .contains("it is not signed: there is no /run/lab/h.lua.minisig"),
        "{}",
        a.text()
    );
    assert!(!a.entries().iter().any(|entry| entry.says("one")));
    Ok(())
}
