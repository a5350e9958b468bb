//! Hooks and configuration that change while everything runs, and what outlives a daemon, on a real
//! wire.

use std::time::Duration;

use carpd::lab::{Lab, Sighting};

use crate::leftovers::kill_tree;
use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Entry, Failed, SOON, TAKEOVER, Watch, holds, lan, lets_go, sh,
    takes_hold,
};
use crate::{ADDRESS_OF_A, Case, Outcome};

const FAILOVER: &[u8] = include_bytes!("../../plugins/failover/failover.wasm");

const LONG: Duration = Duration::from_mins(1);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "reload::a_hook_that_is_broken_at_the_start_serves_as_it_did_last",
            broken_at_start,
        ),
        Case::new(
            "reload::a_component_that_is_broken_at_the_start_serves_as_it_did_last",
            broken_component,
        ),
        Case::new(
            "reload::state_and_numbers_outlive_a_killed_daemon",
            outlives,
        ),
        Case::new(
            "reload::applying_a_hook_reconciles_and_touches_nothing_else",
            apply,
        ),
        Case::new(
            "reload::virtual_hosts_that_did_not_change_notice_nothing",
            unchanged,
        ),
        Case::new(
            "reload::a_hook_behind_links_and_mounts_is_seen_to_change",
            on_the_way,
        ),
        Case::new("reload::a_hook_that_cannot_work_is_not_taken", foreseen),
        Case {
            limit: LONG,
            ..Case::new(
                "reload::a_node_that_sends_from_another_address_breaks_ties_with_that",
                other_source,
            )
        },
        Case::new(
            "reload::a_tested_hook_serves_once_it_passes_its_test",
            tested,
        ),
        Case::new(
            "reload::the_helper_process_comes_with_the_first_grant_and_comes_back",
            helper,
        ),
        Case::new(
            "reload::what_a_hook_does_not_read_makes_no_new_version",
            neighbours,
        ),
        Case::new(
            "reload::a_huge_directory_does_not_hold_up_the_protocol",
            huge,
        ),
        Case::new("reload::metrics_are_openmetrics", metrics),
        Case {
            limit: LONG,
            ..Case::new(
                "reload::a_writer_that_never_closes_holds_up_its_hook_alone_and_not_for_ever",
                endless,
            )
        },
        Case {
            limit: LONG,
            ..Case::new(
                "reload::of_two_whose_hooks_fail_one_keeps_the_address",
                all_fail,
            )
        },
        Case {
            limit: LONG,
            ..Case::new("reload::who_may_not_stay_degraded_stands_aside", aside)
        },
        Case::new("reload::a_hook_that_may_fail_is_tried_again", kept),
    ]
}

/// A verb of the command line on host a: its output and its exit status.
fn carpd(lab: &Lab, words: &str) -> Result<(String, String), Failed> {
    status_of(
        lab,
        &format!("{CARPD} {words} --config /run/lab/carpd.toml"),
    )
}

fn status_of(lab: &Lab, command: &str) -> Result<(String, String), Failed> {
    let mut lines = sh(lab, "a", &format!("{command} 2>&1; echo $?"))?;
    let status = lines.pop().unwrap_or_default();
    Ok((lines.join("\n"), status))
}

/// As [`carpd`], and it must work.
fn ordered(lab: &Lab, words: &str) -> Result<String, Failed> {
    match carpd(lab, words)? {
        (said, status) if status == "0" => Ok(said),
        (said, status) => Err(format!("carpd {words} ended with {status}: {said}").into()),
    }
}

fn save_hook(lab: &Lab, lua: &str) -> Outcome {
    // As editors do.
    lab.host("a").write("/run/lab/.h.lua.swp", 0o644, lua)?;
    sh(lab, "a", "mv /run/lab/.h.lua.swp /run/lab/h.lua").map(drop)
}

fn took_new(daemon: &mut Daemon) -> Result<Entry, Failed> {
    daemon.wait_says("Activated a new version of a hook", SOON)
}

fn broken_at_start() -> Outcome {
    let lab = lan(&["a"])?;
    let good = Carpd::new("a").hook(
        "local m = require('m')\nfunction on_master() log.info(m.text) end",
        "",
    );
    lab.host("a")
        .write("/run/lab/m.lua", 0o644, "return { text = 'the first' }")?;
    let mut daemon = good.start(&lab)?;
    daemon.wait_says("the first", TAKEOVER)?;
    daemon.stop()?;
    // The module, not the hook itself: all that it reads is one version.
    lab.host("a")
        .write("/run/lab/m.lua", 0o644, "return {\n  text = \n}")?;
    let mut daemon = good.start(&lab)?;
    let refused = daemon.wait_says("Keeping the last good version of a hook", SOON)?;
    assert!(refused.text("error").contains("m.lua:3"), "{refused:?}");
    daemon.wait_says("the first", TAKEOVER)?;
    let status = ordered(&lab, "status")?;
    assert!(
        status.contains(", from the saved copy; the file has a fault since 20"),
        "{status}"
    );
    assert!(status.contains("m.lua:3"), "{status}");
    // `check` is about what is on disk.
    let (said, code) = status_of(&lab, &format!("{CARPD} check /run/lab/carpd.toml"))?;
    assert!(code == "3" && said.contains("m.lua:3"), "{code}: {said}");
    lab.host("a")
        .write("/run/lab/m.lua", 0o644, "return { text = 'the second' }")?;
    took_new(&mut daemon)?;
    let status = ordered(&lab, "status")?;
    assert!(
        !status.contains("kept") && !status.contains("fault"),
        "{status}"
    );
    daemon.stop()?;
    // A kept file that somebody damaged is no version at all: then the fault ends the start.
    sh(
        &lab,
        "a",
        "printf x | dd of=$(ls /var/lib/carpd/*/hooks/h) bs=1 seek=60 conv=notrunc 2>&1",
    )?;
    lab.host("a").write("/run/lab/m.lua", 0o644, "return {")?;
    let mut daemon = good.start(&lab)?;
    let damaged = daemon.wait_says("Cannot use the last good version of a hook", SOON)?;
    assert!(damaged.text("problem").contains("damaged"), "{damaged:?}");
    daemon.wait_says("Could not start", SOON)?;
    Ok(())
}

fn broken_component() -> Outcome {
    let lab = lan(&["a"])?;
    let config = "config = { gateway = \"192.168.32.50\", name_master = \"m\", name_backup = \"b\", service = \"httpd\" }\n\
                  grant = { hostname = [\"m\", \"b\"], route = [{ dst = \"default\", via = \"192.168.32.50\" }], \
                  service = [{ unit = \"httpd\", do = [\"start\", \"stop\"] }] }";
    let here = tempfile::tempdir()?;
    let component = here.path().join("h.wasm");
    std::fs::write(&component, FAILOVER)?;
    sh(
        &lab,
        "a",
        &format!("cp {} /run/lab/h.wasm", component.display()),
    )?;
    let spec = Carpd::new("a").hook("", config);
    spec.write_with(&lab, &spec.toml().replace("h.lua", "h.wasm"))?;
    let mut daemon = spec.restart(&lab)?;
    daemon.wait_says("Ready", TAKEOVER)?;
    daemon.stop()?;
    sh(&lab, "a", "truncate -s 1000 /run/lab/h.wasm")?;
    let mut daemon = spec.restart(&lab)?;
    let refused = daemon.wait_says("Keeping the last good version of a hook", TAKEOVER)?;
    assert!(refused.text("error").contains("h.wasm"), "{refused:?}");
    let run = daemon.wait_ran("on_master", TAKEOVER)?;
    assert_eq!(run.text("outcome"), "done", "{run:?}");
    assert_eq!(sh(&lab, "a", "hostname")?, ["m"]);
    daemon.stop()
}

fn outlives() -> Outcome {
    let lab = lan(&["a"])?;
    let lua = "function on_master(event)
  local lives = (state.get('lives') or 0) + 1
  state.set('lives', lives)
  log.info('lives ' .. lives)
end";
    let spec = Carpd::new("a").hook(lua, "");
    let mut last = 0;
    for life in 1..=3 {
        let mut daemon = spec.start(&lab)?;
        let master = daemon.wait_state("master", TAKEOVER)?;
        let number: u64 = master.text("seq").parse()?;
        assert!(number > last, "{number} after {last}");
        last = number;
        daemon.wait_says(&format!("lives {life}"), SOON)?;
        kill_tree(&lab, &daemon)?;
    }
    let files = sh(
        &lab,
        "a",
        "cd /var/lib/carpd/carpd-*; find . -type f -o -type d | sort | xargs stat -c '%a %n'",
    )?;
    let modes: Vec<&str> = files
        .iter()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(
        modes
            .iter()
            .all(|mode| ["700", "600", "644"].contains(mode)),
        "{files:?}"
    );
    Ok(())
}

const GRANTS: &str = "grant = { hostname = [\"one\", \"two\"], route = [{ dst = \"10.77.0.0/16\", via = \"192.168.32.50\" }], \
                      sysctl = [{ key = \"net.ipv4.conf.eth0.rp_filter\" }] }";

/// Host name, route, kernel parameter.
fn changed(lab: &Lab) -> Result<(String, bool, String), Failed> {
    let name = sh(lab, "a", "hostname")?.join("");
    let route = sh(lab, "a", "ip route show 10.77.0.0/16")?.join("");
    let filter = sh(lab, "a", "cat /proc/sys/net/ipv4/conf/eth0/rp_filter")?.join("");
    Ok((name, !route.is_empty(), filter))
}

fn apply() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let first = "function on_master()
  hostname.set('one')
  route.replace('10.77.0.0/16', { via = '192.168.32.50' })
end";
    let mut daemon = Carpd::new("a").hook(first, GRANTS).start(&lab)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    let filter = changed(&lab)?.2;
    let states = daemon.states();
    watch.hear(ADDRESS_OF_A, 1, SOON)?;
    save_hook(
        &lab,
        "function on_master()\n  sysctl.set('net.ipv4.conf.eth0.rp_filter', '2')\n  hostname.set('one')\nend",
    )?;
    took_new(&mut daemon)?;
    assert_eq!(
        changed(&lab)?,
        ("one".into(), true, filter.clone()),
        "a new version alone changes nothing"
    );
    let said = ordered(&lab, "hook apply h --dry-run")?;
    for part in [
        "~ sysctl net.ipv4.conf.eth0.rp_filter",
        "already in place: one",
        "  undone\n    ~ route to 10.77.0.0/16",
        "Plan: 2 to change",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert_eq!(
        changed(&lab)?,
        ("one".into(), true, filter),
        "a plan changes nothing"
    );
    let said = ordered(&lab, "hook apply h")?;
    assert!(
        said.contains("hook h: web: on_master ran, 1 undone that it no longer asks for"),
        "{said}"
    );
    assert_eq!(
        changed(&lab)?,
        ("one".into(), false, "2".into()),
        "what stays, what goes, what is new"
    );
    // One that fails: told, and nothing else.
    save_hook(
        &lab,
        "function on_master()\n  hostname.set('two')\n  error('not today')\nend",
    )?;
    took_new(&mut daemon)?;
    let (said, code) = carpd(&lab, "hook apply h")?;
    assert!(
        code != "0" && said.contains("h.lua:3: not today"),
        "{code}: {said}"
    );
    assert_eq!(changed(&lab)?.2, "2", "nothing was undone");
    watch.hear(ADDRESS_OF_A, 2, SOON)?;
    assert_eq!(daemon.states(), states, "mastership is untouched");
    assert!(holds(&lab, "a")?);
    let gaps = watch.advertisements(ADDRESS_OF_A)?;
    assert!(
        gaps.windows(2)
            .all(|pair| pair[1].since(pair[0]) < Duration::from_millis(1500)),
        "{gaps:?}"
    );
    daemon.stop()
}

fn two_vhosts(advskew: u8, extra: &str) -> String {
    let vhost = |name: &str, vhid: u8, address: &str, advskew: u8| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"{address}/24\"]\n\
             password-file = \"/run/lab/web.pass\"\nadvskew = {advskew}\n"
        )
    };
    vhost("web", 40, ADDRESS, 0) + &vhost("db", 41, "192.168.32.23", advskew) + extra
}

fn unchanged() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let mut daemon = Carpd::new("a").vhosts(two_vhosts(0, "")).start(&lab)?;
    for _ in 0..2 {
        daemon.wait_state("master", TAKEOVER)?;
    }
    // The second announcement belongs to the takeover.
    watch.hear(ADDRESS_OF_A, 8, SOON)?;
    let announced = |watch: &Watch| {
        watch
            .sightings()
            .iter()
            .filter(|s| matches!(s.what, Sighting::Announcement { .. }))
            .count()
    };
    let (states, announcements) = (daemon.states(), announced(&watch));
    for advskew in 1..=10 {
        lab.host("a")
            .write("/run/lab/carpd.toml", 0o644, &two_vhosts(advskew, ""))?;
        let said = ordered(&lab, "reload")?;
        assert!(said.contains("vhost db: advskew"), "{said}");
        assert!(!said.contains("web"), "{said}");
    }
    assert_eq!(ordered(&lab, "reload")?, "nothing to change");
    // All or nothing: the virtual host that is added is not, since the key beside it needs a
    // restart.
    let third = "[[vhost]]\nname = \"third\"\ninterface = \"eth0\"\nvhid = 42\naddresses = [\"192.168.32.24/24\"]\n\
                 password-file = \"/run/lab/web.pass\"\n[daemon]\nstate-dir = \"/run/lab/elsewhere\"\n";
    lab.host("a")
        .write("/run/lab/carpd.toml", 0o644, &two_vhosts(10, third))?;
    let (said, code) = carpd(&lab, "reload")?;
    assert!(
        code == "3"
            && said.contains("[daemon] state-dir cannot change while carpd is running: restart it"),
        "{code}: {said}"
    );
    watch.hear(ADDRESS_OF_A, 4, SOON)?;
    assert_eq!(daemon.states(), states);
    assert_eq!(announced(&watch), announcements);
    daemon.stop()
}

/// A link to a directory on the way is pointed elsewhere; then the file itself is a mount, and what
/// is mounted is written to.
fn on_the_way() -> Outcome {
    let lab = lan(&["a"])?;
    let lua = |word: &str| format!("function on_stop() log.info('{word}') end");
    for word in ["one", "two"] {
        sh(
            &lab,
            "a",
            &format!("mkdir -p /run/lab/releases/{word} /run/lab/far"),
        )?;
        lab.host("a").write(
            &format!("/run/lab/releases/{word}/h.lua"),
            0o644,
            &lua(word),
        )?;
    }
    lab.host("a")
        .write("/run/lab/far/any", 0o644, &lua("three"))?;
    sh(&lab, "a", "ln -s releases/one /run/lab/current")?;
    let spec = Carpd::new("a").hook("", "");
    spec.write_with(&lab, &spec.toml().replace("h.lua", "current/h.lua"))?;
    let mut daemon = spec.restart(&lab)?;
    daemon.wait_says("Ready", SOON)?;
    sh(&lab, "a", "ln -sfn releases/two /run/lab/current")?;
    took_new(&mut daemon)?;
    sh(
        &lab,
        "a",
        "mount --bind /run/lab/far/any /run/lab/releases/two/h.lua",
    )?;
    // Of a mount nobody is told; whatever is looked at next shows it.
    sh(&lab, "a", "touch /run/lab/releases/two/other.lua")?;
    took_new(&mut daemon)?;
    lab.until("status to say how it is watched", SOON, || {
        let says = "polled every 2s: /run/lab/releases/two/h.lua is a mount";
        Ok(ordered(&lab, "status")
            .is_ok_and(|status| status.contains(says))
            .then_some(()))
    })?;
    sh(
        &lab,
        "a",
        &format!("echo \"{}\" > /run/lab/far/any", lua("four")),
    )?;
    took_new(&mut daemon)?;
    sh(&lab, "a", "umount /run/lab/releases/two/h.lua")?;
    took_new(&mut daemon)?;
    daemon.stop()
}

/// It loads, and would take the address from a living master.
fn foreseen() -> Outcome {
    let lab = lan(&["a"])?;
    let mut daemon = Carpd::new("a")
        .hook("function on_master() log.info('one') end", "")
        .start(&lab)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    save_hook(
        &lab,
        "function on_master() log.info('two') end\nfunction health()\n  service.start('httpd')\nend",
    )?;
    let refused = daemon.wait_says("Keeping the last good version of a hook", SOON)?;
    let says = "h.lua:3: service.start: health is read-only";
    assert!(refused.text("error").contains(says), "{refused:?}");
    let (said, code) = carpd(&lab, "reload")?;
    assert!(code == "3" && said.contains(says), "{code}: {said}");
    // What may go wrong is taken, and told.
    save_hook(
        &lab,
        "function on_master(event)\n  if event.missed > 9 then hostname.set('x') end\nend",
    )?;
    took_new(&mut daemon)?;
    let doubt = daemon.wait_says("The reload may cause problems", SOON)?;
    assert!(
        doubt.text("problem").contains("h.lua:2: not granted: "),
        "{doubt:?}"
    );
    assert_eq!(daemon.states(), ["backup", "master"]);
    daemon.stop()
}

fn tested() -> Outcome {
    let lab = lan(&["a"])?;
    let hook = |name: &str| format!("function on_master()\n  hostname.set('{name}')\nend");
    let test = |name: &str| {
        format!(
            "test.case('becomes master', function()\n  local h = test.host{{}}\n  h:become('master')\n  test.equal(h:hostname(), '{name}')\nend)"
        )
    };
    lab.host("a")
        .write("/run/lab/h_test.lua", 0o644, &test("one"))?;
    let toml = "reload = \"tested\"\ngrant = { hostname = [\"one\", \"two\", \"three\"] }";
    let spec = Carpd::new("a").hook(&hook("one"), toml);
    let mut daemon = spec.start(&lab)?;
    daemon.wait_says("A hook passed its test", SOON)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    // It loads, and does not do what its test wants.
    save_hook(&lab, &hook("two"))?;
    let refused = daemon.wait_says("Keeping the last good version of a hook", SOON)?;
    assert!(
        refused
            .text("error")
            .contains("h_test.lua:4: becomes master"),
        "{refused:?}"
    );
    let status = ordered(&lab, "status")?;
    assert!(
        status.contains("the file has a fault since") && status.contains("h_test.lua:4"),
        "{status}"
    );
    // The test alone is changed: another try.
    lab.host("a")
        .write("/run/lab/h_test.lua", 0o644, &test("two"))?;
    took_new(&mut daemon)?;
    let tester = |entry: &&Entry| entry.text("process") == "carpd-tester";
    let heard = daemon.entries().iter().find(tester).map(Entry::in_short);
    assert_eq!(
        heard, None,
        "what it does to hosts that do not exist is not news"
    );
    daemon.stop()?;
    // Changed while no daemon runs: it has to pass at the start, or the version before serves.
    save_hook(&lab, &hook("three"))?;
    let mut daemon = spec.restart(&lab)?;
    let refused = daemon.wait_says("Keeping the last good version of a hook", SOON)?;
    assert!(
        refused.text("error").contains("h_test.lua:4"),
        "{refused:?}"
    );
    daemon.wait_ran("on_master", TAKEOVER)?;
    assert_eq!(changed(&lab)?.0, "two");
    daemon.stop()
}

fn helper() -> Outcome {
    let lab = lan(&["a"])?;
    let spec = |lua: &str, grants: &str| Carpd::new("a").hook(lua, grants);
    let mut daemon = spec("function on_master() end", "").start(&lab)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    let helpers = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^carpd-helper __helper' && echo ${p#/proc/}; \
                   done; true";
    assert!(sh(&lab, "a", helpers)?.is_empty(), "nothing needs one");
    let lua = "function on_master() hostname.set('one') end";
    let granted = spec(lua, "grant = { hostname = [\"one\", \"two\"] }");
    save_hook(&lab, lua)?;
    lab.host("a")
        .write("/run/lab/carpd.toml", 0o644, &granted.toml())?;
    let said = ordered(&lab, "reload")?;
    assert!(
        said.contains("helper process: started, for settings"),
        "{said}"
    );
    ordered(&lab, "hook apply h")?;
    assert_eq!(changed(&lab)?.0, "one");
    let [pid] = sh(&lab, "a", helpers)?
        .try_into()
        .map_err(|pids| format!("one helper: {pids:?}"))?;
    sh(&lab, "a", &format!("kill -9 {pid}"))?;
    daemon.wait_says("The helper process died; restarting it", SOON)?;
    // Asked while there is none: it waits for the next one.
    save_hook(&lab, "function on_master() hostname.set('two') end")?;
    took_new(&mut daemon)?;
    ordered(&lab, "hook apply h")?;
    assert_eq!(changed(&lab)?.0, "two");
    assert_eq!(daemon.states(), ["backup", "master"]);
    let metrics = ordered(&lab, "metrics")?;
    assert!(
        metrics.contains("\ncarpd_helper_up 1\n")
            && metrics.contains("\ncarpd_helper_deaths_total 1\n"),
        "{metrics}"
    );
    // Nothing is granted any more; but the host name is still to be put back.
    save_hook(&lab, "function on_master() end")?;
    took_new(&mut daemon)?;
    lab.host("a")
        .write("/run/lab/carpd.toml", 0o644, &spec("", "").toml())?;
    ordered(&lab, "reload")?;
    assert_eq!(
        (sh(&lab, "a", helpers)?.len(), changed(&lab)?.0.as_str()),
        (1, "two")
    );
    ordered(&lab, "hook apply h")?;
    daemon.wait_says(
        "Stopped the helper process: nothing needs it any more",
        SOON,
    )?;
    assert_eq!(changed(&lab)?.0, "a");
    Ok(lab.until("the helper's end", SOON, || {
        let left = lab.host("a").run(&["bash", "-c", helpers], SOON)?.stdout;
        Ok(left.is_empty().then_some(()))
    })?)
}

fn neighbours() -> Outcome {
    let lab = lan(&["a"])?;
    let host = lab.host("a");
    host.write("/run/lab/lib/m.lua", 0o644, "return { text = 'the first' }")?;
    let mut daemon = Carpd::new("a")
        .hook(
            "local m = require('lib/m')\nfunction on_master() log.info(m.text) end",
            "",
        )
        .start(&lab)?;
    daemon.wait_says("the first", TAKEOVER)?;
    for (file, text) in [
        ("other.lua", "return 1"),
        ("lib/other.lua", "return 2"),
        ("notes.txt", "3"),
        ("h_test.lua", "nonsense"),
    ] {
        host.write(&format!("/run/lab/{file}"), 0o644, text)?;
    }
    // By then all of these were noticed.
    ordered(&lab, "reload")?;
    host.write(
        "/run/lab/lib/m.lua",
        0o644,
        "return { text = 'the second' }",
    )?;
    let taken = took_new(&mut daemon)?;
    assert_eq!(taken.text("generation"), "2", "{}", daemon.text());
    daemon.stop()
}

fn endless() -> Outcome {
    let lab = lan(&["a"])?;
    let host = lab.host("a");
    let says = |word: &str| format!("function on_master() log.info('{word}') end\n");
    host.write("/run/lab/other.lua", 0o644, &says("the first"))?;
    let mut daemon = Carpd::new("a")
        .hook("function on_master() end", "")
        .set("hooks", "[\"h\", \"other\"]")
        .more("[hook.other]\nsource = \"other.lua\"\n")
        .start(&lab)?;
    daemon.wait_says("the first", TAKEOVER)?;
    let writes = "exec 3>>/run/lab/h.lua; while echo '-- more' >&3; do sleep 0.05; done";
    let writer = host.spawn(&["sh", "-c", writes])?;
    lab.until("somebody to write", SOON, || {
        let text = host.read("/run/lab/h.lua")?;
        Ok(text.contains("more").then_some(()))
    })?;
    host.write("/run/lab/other.lua", 0o644, &says("the second"))?;
    assert_eq!(took_new(&mut daemon)?.text("hook"), "other");
    // Its writer goes on and on: what is there by then is taken.
    let taken = daemon.wait_says("Activated a new version of a hook", 2 * TAKEOVER)?;
    assert_eq!(taken.text("hook"), "h");
    assert_eq!(writer.ended(), None);
    daemon.stop()
}

fn huge() -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    sh(
        &lab,
        "a",
        "mkdir -p /run/lab/many && cd /run/lab/many && seq 10000 | xargs mkdir",
    )?;
    let mut daemon = Carpd::new("a")
        .hook("function on_master() end", "")
        .start(&lab)?;
    let told = "Watching only some of what is below the hooks' directories; use `carpd reload`, or give each hook its own directory";
    daemon.wait_says(told, TAKEOVER)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    for _ in 0..3 {
        watch.hear(ADDRESS_OF_A, 1, SOON)?;
        ordered(&lab, "reload")?;
    }
    save_hook(&lab, "function on_master() local changed = 1 end")?;
    took_new(&mut daemon)?;
    watch.hear(ADDRESS_OF_A, 1, SOON)?;
    let times = watch.advertisements(ADDRESS_OF_A)?;
    let longest = times
        .windows(2)
        .map(|pair| pair[1].since(pair[0]))
        .max()
        .unwrap_or_default();
    // An interval is one second.
    assert!(longest < Duration::from_millis(1500), "{longest:?}");
    assert_eq!(daemon.states(), ["backup", "master"]);
    daemon.stop()
}

fn metrics() -> Outcome {
    let lab = lan(&["a"])?;
    let mut daemon = Carpd::new("a")
        .hook("function on_master() end", "")
        .start(&lab)?;
    daemon.wait_ran("on_master", TAKEOVER)?;
    let text = ordered(&lab, "metrics")?;
    for line in [
        "carpd_vhost_state{vhost=\"web\",state=\"master\"} 1",
        "carpd_transitions_total{vhost=\"web\",to=\"master\",cause=\"master-down\"} 1",
        "carpd_hook_runs_total{hook=\"h\",entry=\"on_master\",outcome=\"done\"} 1",
        "carpd_hook_run_duration_seconds_bucket{hook=\"h\",entry=\"on_master\",le=\"+Inf\"} 1",
        "carpd_ledger_writable 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} in:\n{text}"
        );
    }
    assert!(text.ends_with("# EOF"), "{text}");
    // Each family is said once, with its type, before its samples; each sample belongs to the
    // family before it.
    let mut families = std::collections::BTreeSet::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            rest.split(' ').next().unwrap().clone_into(&mut family);
            assert!(families.insert(family.clone()), "{family} twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&family), "{line} in family {family}");
        }
    }
    let older = ordered(&lab, "metrics --format prometheus")?;
    assert!(
        older.contains("# TYPE carpd_hook_runs_total counter") && !older.contains("# EOF"),
        "{older}"
    );
    daemon.stop()
}

const FAILS: &str = "function on_master() error('no database') end";

fn masters(daemon: &Daemon) -> usize {
    daemon
        .states()
        .iter()
        .filter(|state| *state == "master")
        .count()
}

fn all_fail() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut a = Carpd::new("a").preempts().hook(FAILS, "").start(&lab)?;
    let mut b = Carpd::new("b")
        .preempts()
        .advskew(50)
        .hook(FAILS, "")
        .start(&lab)?;
    // One hands over to the other, which hands back; there it stays.
    a.wait_says("Staying master, degraded: no peer took over", TAKEOVER)?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    watch.hear_advskew(240, SOON)?;
    watch.hear(ADDRESS_OF_A, 8, LONG)?;
    assert_eq!(
        (masters(&a), masters(&b)),
        (2, 1),
        "{:?} {:?}",
        a.states(),
        b.states()
    );
    assert!(holds(&lab, "a")? && !holds(&lab, "b")?);
    // The one that gets well is as good as ever.
    lab.host("b")
        .write("/run/lab/h.lua", 0o644, "function on_master() end")?;
    took_new(&mut b)?;
    b.wait_state("master", TAKEOVER)?;
    assert_eq!(a.wait_state("backup", SOON)?.text("cause"), "better-master");
    b.wait_ran("on_master", SOON)?;
    lets_go(&lab, "a")?;
    assert!(holds(&lab, "b")?);
    a.stop()?;
    b.stop()
}

fn aside() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let node = |host: &str, advskew| {
        Carpd::new(host)
            .preempts()
            .advskew(advskew)
            .set("keep-degraded", false)
            .hook(FAILS, "")
    };
    let (mut a, b) = (node("a", 0).start(&lab)?, node("b", 50).start(&lab)?);
    for seconds in ["1", "2"] {
        assert_eq!(
            a.wait_says("Standing aside: the hook failed again", TAKEOVER)?
                .text("aside_s"),
            seconds
        );
    }
    assert!(
        masters(&a) <= 4 && masters(&b) <= 4,
        "{:?} {:?}",
        a.states(),
        b.states()
    );
    // Mended, it need not wait for the end of its time.
    lab.host("a")
        .write("/run/lab/h.lua", 0o644, "function on_master() end")?;
    took_new(&mut a)?;
    a.wait("a run that ends well", TAKEOVER, |entry| {
        entry.ran("on_master") && entry.text("outcome") == "done"
    })?;
    assert!(holds(&lab, "a")?);
    a.stop()?;
    b.stop()
}

fn kept() -> Outcome {
    let lab = lan(&["a"])?;
    let lua = "function on_master()
  local tries = (state.get('tries') or 0) + 1
  state.set('tries', tries)
  if tries < 3 then error('try ' .. tries) end
end";
    let mut a = Carpd::new("a")
        .hook(lua, "on-failure = \"keep\"")
        .start(&lab)?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    for (tries, seconds) in [("try 1", "1"), ("try 2", "2")] {
        let stays = a.wait_says("Staying master; will run the hook again", TAKEOVER)?;
        assert!(
            stays.text("reason").contains(tries) && stays.text("retry_s") == seconds,
            "{stays:?}"
        );
    }
    a.wait_says("No longer degraded", TAKEOVER)?;
    watch.hear(ADDRESS_OF_A, 1, SOON)?;
    assert_eq!(a.states(), ["backup", "master"]);
    let worse =
        |what: &Sighting| matches!(what, Sighting::Advertisement { advskew, .. } if *advskew != 0);
    assert!(
        !watch.sightings().iter().any(|sighted| worse(&sighted.what)),
        "it is as fit as ever"
    );
    a.stop()
}

/// Two equal nodes; the one whose address decides for it is told to send from one that does not.
fn other_source() -> Outcome {
    let lab = lan(&["a", "b"])?;
    lab.host("a").add_address("192.168.32.40/24".parse()?)?;
    let config = Carpd::new("a").set("source-address", "\"192.168.32.32\"");
    let mut a = config.start(&lab)?;
    a.wait_state("master", TAKEOVER)?;
    let mut b = Carpd::new("b").start(&lab)?;
    b.wait_state("backup", SOON)?;
    a.reload(
        &lab,
        &Carpd::new("a").set("source-address", "\"192.168.32.40\""),
    )?;
    lab.partition(&["a", "b"])?;
    b.wait_state("master", TAKEOVER)?;
    lab.reunite(&["a", "b"])?;
    let yielded = a.wait_state("backup", TAKEOVER)?;
    assert_eq!(yielded.text("cause"), "tie");
    takes_hold(&lab, "b")?;
    lets_go(&lab, "a")?;
    a.stop()?;
    b.stop()
}
