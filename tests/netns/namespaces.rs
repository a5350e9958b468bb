//! Virtual hosts of one daemon in several network namespaces.

use std::time::Duration;

use carpd::lab::{Exit, Lab};
use carpd::types::MacAddr;
use nix::sys::signal::Signal;

use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Entry, Failed, SOON, TAKEOVER, Watch, lan, mac, sh,
};
use crate::{Case, Outcome};

/// The virtual address in the namespace `blue`.
const INSIDE: &str = "192.168.32.23";

pub(crate) fn cases() -> Vec<Case> {
    let long = |name, run| Case {
        limit: Duration::from_mins(2),
        ..Case::new(name, run)
    };
    vec![
        long(
            "namespaces::each_virtual_host_lives_in_its_own",
            two_namespaces,
        ),
        long(
            "namespaces::what_is_killed_leaves_nothing_behind_in_any",
            killed,
        ),
        long(
            "namespaces::one_that_is_deleted_is_waited_for",
            deleted_and_made_anew,
        ),
        long(
            "namespaces::one_that_cannot_begin_anew_ends_no_other",
            broken_file,
        ),
        long(
            "namespaces::a_reload_may_bring_and_take_away_namespaces",
            other_namespaces,
        ),
        Case::new("namespaces::check_says_which_are_missing", missing),
    ]
}

/// Makes `blue`, with the interface `m0` on the common wire.
fn make_blue(lab: &Lab, host: &str) -> Outcome {
    let last = if host == "a" { 132 } else { 133 };
    let script = format!(
        "ip netns add blue && ip link add m0 link eth0 type macvlan mode bridge && \
         ip link set m0 netns blue && ip -n blue link set m0 up && \
         ip -n blue address add 192.168.32.{last}/24 dev m0"
    );
    sh(lab, host, &script).map(drop)
}

fn mac_inside(lab: &Lab, host: &str) -> Result<MacAddr, Failed> {
    let words = sh(
        lab,
        host,
        "ip -n blue -o link show m0 | sed 's/.*link.ether \\([^ ]*\\).*/\\1/'",
    )?;
    Ok(words[0].parse()?)
}

/// `web` where the daemon is, and `db` in `blue`.
fn node(host: &str, advskew: u8, of_db: &str) -> Carpd {
    node_in(host, advskew, "blue", of_db)
}

/// The same with another network namespace.
fn node_in(host: &str, advskew: u8, netns: &str, of_db: &str) -> Carpd {
    let vhost = |name: &str, interface: &str, address: &str, more: &str| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvhid = 40\naddresses = [\"{address}/24\"]\n\
             password-file = \"/run/lab/web.pass\"\nadvskew = {advskew}\npreempt = true\n{more}\n"
        )
    };
    let inside = format!("netns = \"{netns}\"\nmcast-group = \"224.0.0.81\"\n{of_db}");
    Carpd::new(host).vhosts(vhost("web", "eth0", ADDRESS, "") + &vhost("db", "m0", INSIDE, &inside))
}

/// Waits until a virtual host has this state; the engines' lines come in any order.
fn becomes(lab: &Lab, daemon: &Daemon, vhost: &str, state: &str) -> Outcome {
    let is_it = || {
        let entries = daemon.entries();
        let mut of_vhost = entries
            .iter()
            .filter(|entry| entry.says("Changed state") && entry.text("vhost") == vhost);
        Ok(of_vhost
            .next_back()
            .is_some_and(|last| last.text("to") == state)
            .then_some(()))
    };
    let what = format!("{vhost} to be {state}");
    lab.until(&what, TAKEOVER, is_it)
        .map_err(|error| format!("{error}: {}", daemon.text()).into())
}

fn status(lab: &Lab, host: &str) -> Result<String, Failed> {
    let words = format!("{CARPD} status --config /run/lab/carpd.toml");
    Ok(sh(lab, host, &words)?.join("\n"))
}

/// Where the virtual address of `db` is on a host: outside, inside.
fn places(lab: &Lab, host: &str) -> Result<(bool, bool), Failed> {
    let has = |words: &str| Ok::<_, Failed>(sh(lab, host, words)?.join("\n").contains(INSIDE));
    Ok((has("ip address")?, has("ip -n blue address")?))
}

fn two_namespaces() -> Outcome {
    let lab = lan(&["a", "b"])?;
    for host in ["a", "b"] {
        make_blue(&lab, host)?;
    }
    let (mut web, mut db) = (Watch::start(&lab, ADDRESS)?, Watch::start(&lab, INSIDE)?);
    let hook = "function on_master()\n  route.replace('10.99.0.0/24', { via = '192.168.32.50' })\n  \
                sysctl.set('net.ipv4.ip_forward', '1')\n  command.run('who')\nend";
    let grants = "grant = { route = [{ dst = \"10.99.0.0/24\" }], sysctl = [{ key = \"net.ipv4.ip_forward\" }], \
                  command = { who = { argv = [\"/bin/sh\", \"-c\", \"ip link show m0 > /run/lab/seen\"] } } }";
    let a = node("a", 0, "hooks = [\"h\"]")
        .hook(hook, grants)
        .start(&lab)?;
    becomes(&lab, &a, "web", "master")?;
    becomes(&lab, &a, "db", "master")?;
    web.wait(&[mac(&lab, "a")?], SOON)?;
    db.wait(&[mac_inside(&lab, "a")?], SOON)?;
    assert_eq!(places(&lab, "a")?, (false, true));
    // What its hook does is in there, too.
    lab.until("the hook's effects", SOON, || {
        let there = sh(
            &lab,
            "a",
            "ip -n blue route; ip netns exec blue sysctl -n net.ipv4.ip_forward; cat /run/lab/seen",
        )
        .unwrap_or_default()
        .join("\n");
        Ok(
            (there.contains("10.99.0.0/24") && there.contains("\n1\n") && there.contains("m0"))
                .then_some(()),
        )
    })?;
    let outside = sh(&lab, "a", "ip route; sysctl -n net.ipv4.ip_forward")?.join("\n");
    assert!(
        !outside.contains("10.99.0.0/24") && outside.ends_with("\n0"),
        "{outside}"
    );
    let shown = status(&lab, "a")?;
    for words in [
        "the daemon's own network namespace\nweb: master",
        "network namespace blue\ndb: master",
        "vhid 40 on m0 in blue",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    // The other verbs go through both, too.
    let all_of = |verb: &str| -> Result<String, Failed> {
        let words = format!("{CARPD} {verb} --config /run/lab/carpd.toml 2>&1 || true");
        Ok(sh(&lab, "a", &words)?.join("\n"))
    };
    let metrics = all_of("metrics")?;
    let times = |words: &str| metrics.matches(words).count();
    assert_eq!(times("# EOF"), 1, "{metrics}");
    assert_eq!(times("# TYPE carpd_vhost_state "), 1, "{metrics}");
    assert!(times("{netns=\"blue\",vhost=\"db\"") > 0, "{metrics}");
    assert!(times("{vhost=\"web\"") > 0, "{metrics}");
    let json: serde_json::Value = serde_json::from_str(&all_of("status --json")?)?;
    assert_eq!(json["vhosts"].as_array().map(Vec::len), Some(2), "{json}");
    for (verb, blue, here) in [
        ("hook list", "network namespace blue\nh: generation 1", true),
        (
            "hook show h",
            "network namespace blue\nh: generation 1",
            false,
        ),
        ("hook rollback h", "network namespace blue", false),
        ("why", "network namespace blue\n2", true),
    ] {
        let said = all_of(verb)?;
        assert!(said.contains(blue), "{verb}: {said}");
        let own = said.contains("the daemon's own network namespace");
        assert_eq!(own, here, "{verb}: {said}");
    }
    let b = node("b", 50, "").start(&lab)?;
    becomes(&lab, &b, "web", "backup")?;
    becomes(&lab, &b, "db", "backup")?;
    // An order finds the engine that has the virtual host.
    sh(
        &lab,
        "a",
        &format!("{CARPD} resign db --config /run/lab/carpd.toml"),
    )?;
    becomes(&lab, &b, "db", "master")?;
    db.wait(&[mac_inside(&lab, "b")?], SOON)?;
    lab.until("the route to be gone", SOON, || {
        let there = sh(&lab, "a", "ip -n blue route")
            .unwrap_or_default()
            .join("\n");
        Ok((!there.contains("10.99.0.0/24")).then_some(()))
    })?;
    becomes(&lab, &a, "web", "master")?;
    // A reload reaches both.
    node("a", 7, "").write(&lab)?;
    let said = sh(
        &lab,
        "a",
        &format!("{CARPD} reload --config /run/lab/carpd.toml"),
    )?
    .join("\n");
    assert!(
        said.contains("vhost web: ") && said.contains("vhost db: "),
        "{said}"
    );
    a.stop()?;
    b.stop()?;
    assert_eq!(places(&lab, "b")?, (false, false));
    Ok(())
}

/// Kills what is called so in the namespace, or everywhere.
fn kill_engine(lab: &Lab, host: &str) -> Outcome {
    let script = "for p in $(ip netns pids blue); do \
                  [ \"$(cat /proc/$p/comm)\" != carpd-engine ] || kill -9 $p; done";
    sh(lab, host, script).map(drop)
}

fn killed() -> Outcome {
    let lab = lan(&["a", "b"])?;
    for host in ["a", "b"] {
        make_blue(&lab, host)?;
    }
    let mut db = Watch::start(&lab, INSIDE)?;
    let a_spec = node("a", 0, "lease = \"off\"");
    let a = a_spec.start(&lab)?;
    becomes(&lab, &a, "db", "master")?;
    becomes(&lab, &a, "web", "master")?;
    let b = node("b", 50, "").start(&lab)?;
    becomes(&lab, &b, "db", "backup")?;
    // An engine that dies: its keeper bows out there, and nothing happens elsewhere.
    kill_engine(&lab, "a")?;
    becomes(&lab, &b, "db", "master")?;
    let took = b.entries();
    let last = took.iter().rfind(|entry| entry.becomes("master"));
    assert_eq!(
        last.map(|entry| entry.text("cause")).as_deref(),
        Some("master-leaving")
    );
    lab.until("a to take it back", TAKEOVER, || {
        Ok((places(&lab, "a").is_ok_and(|places| places.1)).then_some(()))
    })?;
    db.wait(&[mac_inside(&lab, "a")?], SOON)?;
    assert_eq!(changes_of_web(&a), 2, "{}", a.text());
    b.stop()?;
    // All of it dies at once, so that nothing but a cleanup takes the address down.
    let kill_all = "killall -q -STOP carpd carpd-engine; killall -q -9 carpd carpd-engine; true";
    sh(&lab, "a", kill_all)?;
    assert_eq!(places(&lab, "a")?, (false, true));
    let cleaned = sh(
        &lab,
        "a",
        &format!("{CARPD} cleanup --config /run/lab/carpd.toml 2>&1"),
    )?
    .join("\n");
    assert_eq!(places(&lab, "a")?, (false, false), "{cleaned}");
    // A new daemon begins afresh.
    let again = a_spec.restart(&lab)?;
    becomes(&lab, &again, "db", "master")?;
    db.wait(&[mac_inside(&lab, "a")?], SOON)?;
    // If only the process dies that started the others, they end in good order.
    again.process.signal(Signal::SIGKILL)?;
    lab.until("nothing to be left", TAKEOVER, || {
        Ok((places(&lab, "a").is_ok_and(|places| places == (false, false))).then_some(()))
    })?;
    Ok(())
}

/// How often the virtual host in the namespace has changed its state, by the log.
fn changes_of_web(node: &Daemon) -> usize {
    let all = node.entries();
    let is_change = |entry: &&Entry| entry.says("Changed state") && entry.text("vhost") == "web";
    all.iter().filter(is_change).count()
}

fn deleted_and_made_anew() -> Outcome {
    let lab = lan(&["a"])?;
    let a = node("a", 0, "").start(&lab)?;
    becomes(&lab, &a, "web", "master")?;
    let waits = "network namespace blue\n  there is no network namespace blue";
    let shown = status(&lab, "a")?;
    assert!(shown.contains(waits), "{shown}");
    for _ in 0..2 {
        make_blue(&lab, "a")?;
        lab.until("the address", TAKEOVER, || {
            Ok((places(&lab, "a").is_ok_and(|places| places.1)).then_some(()))
        })
        .map_err(|error| format!("{error}: {}", a.text()))?;
        // Its processes would keep it alive, and the address in it.
        let id = sh(&lab, "a", "stat -Lc %i /run/netns/blue")?;
        sh(&lab, "a", "ip netns delete blue")?;
        lab.until("nobody to be in it any more", TAKEOVER, || {
            let script = format!(
                "ls -L -i /proc/[0-9]*/ns/net 2>/dev/null | grep -c '^{} ' || true",
                id[0]
            );
            Ok((sh(&lab, "a", &script).unwrap_or_default() == ["0"]).then_some(()))
        })
        .map_err(|error| format!("{error}: {}", a.text()))?;
    }
    assert_eq!(changes_of_web(&a), 2, "{}", a.text());
    a.process.signal(Signal::SIGTERM)?;
    assert_eq!(a.process.wait(SOON)?, Exit::Code(0));
    Ok(())
}

/// From `blue` to `red` and to both: the virtual host elsewhere notices nothing.
fn other_namespaces() -> Outcome {
    let lab = lan(&["a"])?;
    make_blue(&lab, "a")?;
    let a = node("a", 0, "").start(&lab)?;
    becomes(&lab, &a, "web", "master")?;
    becomes(&lab, &a, "db", "master")?;
    assert_eq!(places(&lab, "a")?, (false, true));
    let red = "ip netns add red && ip link add m1 link eth0 type macvlan mode bridge && \
               ip link set m1 netns red name m0 && ip -n red link set m0 up && \
               ip -n red address add 192.168.32.142/24 dev m0";
    sh(&lab, "a", red)?;
    let reload = |verb: &str| -> Result<String, Failed> {
        let words = format!("{CARPD} {verb} --config /run/lab/carpd.toml 2>&1");
        Ok(sh(&lab, "a", &words)?.join("\n"))
    };
    node_in("a", 0, "red", "").write(&lab)?;
    let said = reload("reload")?;
    assert!(said.contains("network namespace red\nstarted"), "{said}");
    let in_red = || {
        Ok::<_, Failed>(
            sh(&lab, "a", "ip -n red address")?
                .join("\n")
                .contains(INSIDE),
        )
    };
    lab.until("the address to be in red alone", TAKEOVER, || {
        let there = in_red().unwrap_or_default();
        Ok((there && places(&lab, "a").is_ok_and(|places| places == (false, false))).then_some(()))
    })
    .map_err(|error| format!("{error}: {}", a.text()))?;
    let shown = status(&lab, "a")?;
    assert!(shown.contains("network namespace red\ndb: "), "{shown}");
    assert!(!shown.contains("blue"), "{shown}");
    // By signal, and back again.
    node("a", 0, "").write(&lab)?;
    a.process.signal(Signal::SIGHUP)?;
    lab.until("the address to be in blue alone", TAKEOVER, || {
        let there = in_red().unwrap_or(true);
        Ok((!there && places(&lab, "a").is_ok_and(|places| places.1)).then_some(()))
    })
    .map_err(|error| format!("{error}: {}", a.text()))?;
    assert_eq!(changes_of_web(&a), 2, "{}", a.text());
    // The last one cannot go.
    let plain = Carpd::new("a").vhosts(
        "[[vhost]]\nname = \"web\"\ninterface = \"eth0\"\nvhid = 40\n\
        addresses = [\"192.168.32.22/24\"]\npassword-file = \"/run/lab/web.pass\"\n"
            .to_owned(),
    );
    plain.write(&lab)?;
    a.process.signal(Signal::SIGHUP)?;
    lab.until("the refusal", SOON, || {
        Ok(a.text().contains("need a restart of carpd").then_some(()))
    })?;
    assert!(places(&lab, "a")?.1);
    a.process.signal(Signal::SIGTERM)?;
    assert_eq!(a.process.wait(SOON)?, Exit::Code(0));
    Ok(())
}

/// The file is wrong just when a namespace is made anew: there is no daemon for that one, until the
/// file is mended.
fn broken_file() -> Outcome {
    let lab = lan(&["a"])?;
    make_blue(&lab, "a")?;
    let a = node("a", 0, "").start(&lab)?;
    becomes(&lab, &a, "web", "master")?;
    becomes(&lab, &a, "db", "master")?;
    let file = "/run/lab/carpd.toml";
    sh(
        &lab,
        "a",
        &format!("cp {file} {file}.good && echo wrong >> {file}"),
    )?;
    sh(&lab, "a", "ip netns delete blue")?;
    make_blue(&lab, "a")?;
    lab.until("it to fail", TAKEOVER, || {
        let all = a.entries();
        let mut failures = all
            .iter()
            .filter(|entry| entry.says("The daemon of a network namespace failed; restarting it"));
        Ok(failures.next().is_some().then_some(()))
    })
    .map_err(|error| format!("{error}: {}", a.text()))?;
    assert_eq!(changes_of_web(&a), 2, "{}", a.text());
    sh(&lab, "a", &format!("mv {file}.good {file}"))?;
    lab.until("the address", TAKEOVER + SOON, || {
        Ok((places(&lab, "a").is_ok_and(|places| places.1)).then_some(()))
    })
    .map_err(|error| format!("{error}: {}", a.text()))?;
    assert_eq!(changes_of_web(&a), 2, "{}", a.text());
    a.stop()
}

fn missing() -> Outcome {
    let lab = lan(&["a"])?;
    node("a", 0, "").write(&lab)?;
    let check = |more: &[&str]| {
        let words = [&[CARPD, "check", "/run/lab/carpd.toml"], more].concat();
        lab.host("a").run(&words, SOON)
    };
    let checked = check(&[])?;
    let said = checked.stderr.join("\n");
    assert!(
        checked.status == Exit::Code(0)
            && said.contains("there is no network namespace blue here now")
            && said.contains("`ip netns add blue` makes it"),
        "{checked:?}"
    );
    assert_eq!(check(&["--strict"])?.status, Exit::Code(3));
    // It looks in there.
    make_blue(&lab, "a")?;
    assert_eq!(check(&["--strict"])?.status, Exit::Code(0));
    sh(&lab, "a", "ip -n blue link set m0 multicast off")?;
    let checked = check(&[])?;
    assert!(
        checked
            .stderr
            .join("\n")
            .contains("m0 has multicast switched off"),
        "{checked:?}"
    );
    Ok(())
}
