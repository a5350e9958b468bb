//! What several virtual hosts set together, and a ledger that cannot be written.

use std::time::Duration;

use carpd::lab::Lab;
use nix::sys::signal::Signal;

use crate::rig::{CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, holds, lan, sh};
use crate::{Case, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "shared::what_two_virtual_hosts_set_is_as_before_when_both_left",
            || leave(["web", "mail"]),
        ),
        Case::new("shared::and_in_the_other_order", || leave(["mail", "web"])),
        Case {
            limit: Duration::from_secs(60),
            ..Case::new(
                "shared::with_a_read_only_ledger_only_the_address_is_taken",
                read_only,
            )
        },
        Case {
            limit: Duration::from_secs(60),
            ..Case::new("shared::with_a_full_disk_only_the_address_is_taken", full)
        },
    ]
}

const HOOK: &str = "function on_master()
  hostname.set('virtual')
  route.replace('10.77.0.0/16', { via = '192.168.32.50' })
  service.start('httpd')
end";

const GRANTS: &str = "grant = { hostname = [\"virtual\"], route = [{ dst = \"10.77.0.0/16\", via = \"192.168.32.50\" }], \
                      service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }] }";

/// What the hook changes, as the host has it.
fn changed(lab: &Lab) -> Result<Vec<String>, Failed> {
    // A route that is put back has our mark as its origin.
    sh(
        lab,
        "a",
        "hostname; ip route show 10.77.0.0/16 | sed 's/ proto [^ ]*//'; service httpd status || true",
    )
}

/// The tables of some virtual hosts that all have the hook.
fn tables(names: &[&str]) -> String {
    let table = |name: &&str| {
        let (vhid, ip) = if *name == "web" { (40, 22) } else { (41, 23) };
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"192.168.32.{ip}/24\"]\n\
             password-file = \"/run/lab/web.pass\"\nhooks = [\"h\"]\n"
        )
    };
    names.iter().map(table).collect()
}

fn leave([first, last]: [&'static str; 2]) -> Outcome {
    let lab = lan(&["a"])?;
    // It had such a route before, another one.
    sh(&lab, "a", "ip route add 10.77.0.0/16 via 192.168.32.51")?;
    let before = changed(&lab)?;
    let spec = |names: &[&str]| Carpd::new("a").hook(HOOK, GRANTS).vhosts(tables(names));
    let mut a = spec(&["web", "mail"]).start(&lab)?;
    for _ in 0..2 {
        assert_eq!(a.wait_ran("on_master", TAKEOVER)?.text("outcome"), "done");
    }
    let during = changed(&lab)?;
    assert!(
        during.iter().all(|line| !before.contains(line)),
        "{before:?}, {during:?}"
    );
    // One leaves: the other still has it all.
    a.reload(&lab, &spec(&[last]))?;
    let owner = format!("{first} (hook h)");
    let one_left = || {
        Ok(status(&lab)
            .is_ok_and(|status| !status.contains(&owner))
            .then_some(()))
    };
    lab.until("one owner to be left", SOON, one_left)?;
    assert_eq!(changed(&lab)?, during);
    a.stop()?;
    assert_eq!(changed(&lab)?, before);
    Ok(())
}

fn status(lab: &Lab) -> Result<String, Failed> {
    Ok(sh(
        lab,
        "a",
        &format!("{CARPD} status --config /run/lab/carpd.toml --json"),
    )?
    .join("\n"))
}

/// Node a as master whose hook was refused its effects.
fn refused(a: &mut Daemon) -> Outcome {
    let run = a.wait_ran("on_master", TAKEOVER)?;
    assert_eq!(run.text("outcome"), "failed", "{run:?}");
    assert!(
        run.text("error").contains("the ledger cannot be written"),
        "{run:?}"
    );
    Ok(())
}

fn read_only() -> Outcome {
    // From the start: the kernel lets nobody set a file system read-only on which files are open
    // for writing.
    unwritable(
        "mount -o remount,ro /run/carpd",
        "mount -o remount,rw /run/carpd",
    )
}

fn full() -> Outcome {
    unwritable(
        "cat /dev/zero > /run/carpd/filler 2>/dev/null; true",
        "rm /run/carpd/filler",
    )
}

/// A host whose ledger's directory is made unwritable by `spoil`, and writable again by `heal`.
fn unwritable(spoil: &str, heal: &str) -> Outcome {
    let lab = lan(&["a"])?;
    sh(
        &lab,
        "a",
        "mkdir -p /run/carpd && mount -t tmpfs -o size=256k tmpfs /run/carpd",
    )?;
    sh(&lab, "a", spoil)?;
    let before = changed(&lab)?;
    // Kept: whether it is master shall not hang on its hook here.
    let mut a = Carpd::new("a")
        .hook(HOOK, &format!("on-failure = \"keep\"\n{GRANTS}"))
        .start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    refused(&mut a)?;
    assert!(holds(&lab, "a")?);
    assert_eq!(
        changed(&lab)?,
        before,
        "nothing is done that could not be undone"
    );
    let told = a
        .entries()
        .into_iter()
        .any(|entry| entry.says("Refusing all effects but addresses"));
    assert!(told, "{}", a.text());

    // Letting go goes on.
    a.process.signal(Signal::SIGUSR2)?;
    a.wait_says("Released the addresses", SOON)?;
    assert!(!holds(&lab, "a")?);

    // And when it can be written again, all is as it should be.
    sh(&lab, "a", heal)?;
    let run = a.wait_ran("on_master", TAKEOVER)?;
    assert_eq!(run.text("outcome"), "done", "{run:?}");
    assert_ne!(changed(&lab)?, before);
    a.stop()?;
    assert_eq!(changed(&lab)?, before);
    Ok(())
}
