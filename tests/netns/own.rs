//! Addresses and routes of the host's own: carpd leaves them alone, and does not live in their
//! place.

use crate::rig::{
    ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, dual_lan, holds, lan, mac, sh,
};
use crate::{Case, Outcome};
use carpd::lab::{Exit, Lab};
use nix::sys::signal::Signal;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "own::a_permanent_address_of_the_machine_is_not_taken_down",
            permanent,
        ),
        Case::new(
            "own::an_address_from_a_dhcp_server_is_the_machines_own_as_well",
            from_dhcp,
        ),
        Case::new(
            "own::what_another_daemon_left_is_removed_if_that_is_wanted",
            adopted,
        ),
        Case::new(
            "own::an_address_that_others_put_up_on_a_backup_shows",
            on_a_backup,
        ),
        Case::new(
            "own::without_a_lease_stopping_takes_no_other_address_along",
            without_lease,
        ),
        Case::new(
            "own::an_own_address_that_comes_late_is_the_source_again",
            comes_late,
        ),
        Case::new(
            "own::what_a_hook_set_and_somebody_took_away_is_put_back",
            put_back,
        ),
        Case {
            limit: TAKEOVER * 6,
            ..Case::new(
                "own::every_kind_that_a_hook_set_is_put_back_or_missed",
                every_kind,
            )
        },
        Case {
            limit: TAKEOVER * 6,
            ..Case::new(
                "own::what_others_make_of_services_and_files_is_told",
                changed,
            )
        },
        Case::new(
            "own::an_address_on_another_interface_of_a_backup_shows",
            on_another_interface,
        ),
        Case {
            limit: TAKEOVER * 6,
            ..Case::new("own::an_alternative_name_of_the_interface_does", altname)
        },
        Case::new(
            "own::a_name_that_comes_later_leads_to_an_interface_that_is_taken",
            late_name,
        ),
        Case::new("own::a_new_hardware_address_is_announced", hardware),
    ]
}

const OWN: &str = "192.168.32.32";

fn status(lab: &Lab) -> Result<String, Failed> {
    Ok(sh(lab, "a", &format!("{CARPD} status"))?.join("\n"))
}

/// Addresses and routes, without lifetimes.
fn network(lab: &Lab) -> Result<Vec<String>, Failed> {
    sh(
        lab,
        "a",
        "ip -4 -o address show dev eth0 | sed 's/valid_lft.*//'; ip route",
    )
}

/// The source of what the host sends to an address.
fn source(lab: &Lab, to: &str) -> Result<String, Failed> {
    let words = sh(lab, "a", &format!("ip route get {to}"))?.join(" ");
    Ok(words
        .split_whitespace()
        .skip_while(|word| *word != "src")
        .nth(1)
        .unwrap_or_default()
        .to_owned())
}

fn permanent() -> Outcome {
    let lab = lan(&["a"])?;
    sh(
        &lab,
        "a",
        "ip address add 192.168.32.34/24 dev eth0; ip route add default via 192.168.32.50",
    )?;
    let before = network(&lab)?;
    let vhost = |name: &str, vhid: u8, address: &str| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"{address}/24\"]\n\
             password-file = \"/run/lab/web.pass\"\n"
        )
    };
    let spec = Carpd::new("a").vhosts(vhost("own", 40, OWN) + &vhost("web", 41, ADDRESS));
    spec.write(&lab)?;
    let checked = lab
        .host("a")
        .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
    assert_eq!(checked.status, Exit::Code(3), "{checked:?}");
    let said = checked.stderr.join("\n");
    assert!(
        said.contains(&format!("ip address delete {OWN}/24 dev eth0"))
            && said.contains("adopt = true"),
        "{said}"
    );

    let mut a = spec.start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    let during = network(&lab)?;
    assert!(
        before.iter().all(|line| during.contains(line)),
        "{before:?}, {during:?}"
    );
    let shown = status(&lab)?;
    assert!(
        shown.contains("own: init")
            && shown.contains(&format!("ip address delete {OWN}/24 dev eth0")),
        "{shown}"
    );
    assert!(
        shown.contains("up here but not set by carpd") && shown.contains("web: master"),
        "{shown}"
    );
    // What a living daemon holds is no own address of the machine.
    let checked = lab
        .host("a")
        .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
    assert!(!checked.stderr.join("\n").contains(ADDRESS), "{checked:?}");

    // As soon as the address is free, its virtual host takes part. The one that the kernel promotes
    // is not touched either.
    sh(
        &lab,
        "a",
        &format!(
            "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1; ip address delete {OWN}/24 dev eth0"
        ),
    )?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    a.stop()?;
    let after = network(&lab)?;
    assert!(
        after.iter().any(|line| line.contains("192.168.32.34/24"))
            && after.iter().any(|line| line.starts_with("default"))
    );
    assert!(!after.iter().any(|line| line.contains(OWN)), "{after:?}");
    Ok(())
}

/// A lease has a lifetime as well, but it is another one.
fn from_dhcp() -> Outcome {
    let lab = lan(&["a"])?;
    sh(
        &lab,
        "a",
        &format!(
            "ip address flush dev eth0; ip address add {ADDRESS}/24 dev eth0 valid_lft 600 preferred_lft 600; \
             ip route add default via 192.168.32.50"
        ),
    )?;
    let before = network(&lab)?;
    let spec = Carpd::new("a");
    spec.write(&lab)?;
    let checked = lab
        .host("a")
        .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
    assert_eq!(checked.status, Exit::Code(3), "{checked:?}");
    let mut a = spec.start(&lab)?;
    a.wait_says("Ready", SOON)?;
    assert!(status(&lab)?.contains("web: init"), "{}", status(&lab)?);
    assert_eq!(network(&lab)?, before);
    // Its client gives it up.
    sh(
        &lab,
        "a",
        &format!("ip address delete {ADDRESS}/24 dev eth0; ip address add {OWN}/24 dev eth0"),
    )?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    a.stop()
}

fn adopted() -> Outcome {
    let lab = lan(&["a"])?;
    // It is the first of its network, and the others hang on it.
    sh(
        &lab,
        "a",
        &format!(
            "ip address flush dev eth0; ip address add {ADDRESS}/24 dev eth0; ip address add {OWN}/24 dev eth0"
        ),
    )?;
    let spec = Carpd::new("a").set("adopt", true);
    spec.write(&lab)?;
    let checked = lab
        .host("a")
        .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
    assert_eq!(checked.status, Exit::Code(0), "{checked:?}");
    let mut a = spec.start(&lab)?;
    a.wait_says(
        "Removing an address that another program set, as `adopt` says",
        SOON,
    )?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    a.stop()?;
    let after = network(&lab)?;
    assert!(
        after.iter().any(|line| line.contains(&format!("{OWN}/24"))),
        "{after:?}"
    );
    assert!(
        !after.iter().any(|line| line.contains(ADDRESS)),
        "{after:?}"
    );
    Ok(())
}

fn on_a_backup() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let mut b = Carpd::new("b").start(&lab)?;
    b.wait_says("Acquired the addresses", TAKEOVER)?;
    let mut a = Carpd::new("a").advskew(50).start(&lab)?;
    a.wait_state("backup", SOON)?;
    watch.wait(&[mac(&lab, "b")?], SOON)?;
    for more in ["", "valid_lft 600 preferred_lft 600"] {
        sh(
            &lab,
            "a",
            &format!("ip address add {ADDRESS}/24 dev eth0 {more}"),
        )?;
        a.wait_state("init", SOON)?;
        let shown = status(&lab)?;
        assert!(
            shown.contains("web: init") && shown.contains("up here but not set by carpd"),
            "{shown}"
        );
        sh(
            &lab,
            "a",
            &format!("ip address delete {ADDRESS}/24 dev eth0"),
        )?;
        a.wait_state("backup", SOON)?;
        assert!(status(&lab)?.contains("not here"));
    }
    // A reload for an address of the machine changes nothing.
    Carpd::new("a")
        .set("addresses", format!("[\"{ADDRESS}/24\", \"{OWN}/24\"]"))
        .write(&lab)?;
    a.process.signal(nix::sys::signal::Signal::SIGHUP)?;
    a.wait_says("Cannot reload", SOON)?;
    b.stop()?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    assert!(lab.host("a").facts()?.holds(OWN.parse()?));
    a.stop()
}

fn without_lease() -> Outcome {
    let lab = lan(&["a"])?;
    let mut a = Carpd::new("a").set("lease", "\"off\"").start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    // A renewal of the own address, as a DHCP client does it.
    sh(
        &lab,
        "a",
        &format!(
            "ip address delete {OWN}/24 dev eth0; ip address add {OWN}/24 dev eth0; ip route add default via 192.168.32.50"
        ),
    )?;
    lab.until("the virtual address", SOON, || {
        Ok(lab
            .host("a")
            .facts()?
            .holds(ADDRESS.parse().unwrap())
            .then_some(()))
    })?;
    assert_eq!(source(&lab, "192.168.32.50")?, OWN);
    a.stop()?;
    let after = network(&lab)?;
    assert!(
        after.iter().any(|line| line.contains(&format!("{OWN}/24"))),
        "{after:?}"
    );
    assert!(
        after.iter().any(|line| line.starts_with("default")) && !holds(&lab, "a")?,
        "{after:?}"
    );
    Ok(())
}

fn comes_late() -> Outcome {
    let lab = lan(&["a"])?;
    sh(&lab, "a", "ip address flush dev eth0")?;
    let mut a = Carpd::new("a")
        .set(
            "addresses",
            format!("[\"{ADDRESS}/24\", \"2001:db8::22/64\"]"),
        )
        .start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    assert_eq!(source(&lab, "192.168.32.50")?, ADDRESS, "there is no other");
    sh(
        &lab,
        "a",
        &format!(
            "ip address add {OWN}/24 dev eth0; ip -6 address add 2001:db8::1032/64 dev eth0 nodad"
        ),
    )?;
    // At once: the kernel's own route is the better one.
    assert_eq!(source(&lab, "192.168.32.50")?, OWN);
    assert_eq!(
        source(&lab, "2001:db8::23")?,
        "2001:db8::1032",
        "although the virtual one shares more bits with it"
    );
    for _ in 0..2 {
        a.wait_says(
            "Removed a route: an address of the host's own leads there now",
            SOON,
        )?;
    }
    assert_eq!(sh(&lab, "a", "ip route show 192.168.32.0/24")?.len(), 1);
    // It goes again: the way of the virtual address comes back.
    sh(&lab, "a", &format!("ip address delete {OWN}/24 dev eth0"))?;
    lab.until("the way", SOON, || {
        Ok(source(&lab, "192.168.32.50")
            .is_ok_and(|source| source == ADDRESS)
            .then_some(()))
    })?;
    // Somebody removes the virtual address, and with it the kernel the way.
    sh(
        &lab,
        "a",
        &format!("ip address delete {ADDRESS}/32 dev eth0"),
    )?;
    lab.until("the way", SOON, || {
        Ok(source(&lab, "192.168.32.50")
            .is_ok_and(|source| source == ADDRESS)
            .then_some(()))
    })?;
    // An own address in another network: no source is written down.
    sh(&lab, "a", "ip address add 10.7.7.7/24 dev eth0")?;
    lab.until("no source", SOON, || {
        let way = sh(&lab, "a", "ip route show 192.168.32.0/24").unwrap_or_default();
        Ok((way.len() == 1 && !way[0].contains("src")).then_some(()))
    })?;
    a.stop()?;
    assert_eq!(
        sh(&lab, "a", "ip route show 192.168.32.0/24")?,
        Vec::<String>::new()
    );
    Ok(())
}

fn put_back() -> Outcome {
    let lab = lan(&["a"])?;
    let hook = "function on_master() route.replace('default', { via = '192.168.32.50' }) end";
    let mut a = Carpd::new("a")
        .hook(hook, "grant = { route = [{ dst = \"default\" }] }")
        .start(&lab)?;
    a.wait_ran("on_master", TAKEOVER)?;
    sh(&lab, "a", "ip route delete default")?;
    a.wait_says("Restored what a hook had set and someone removed", SOON)?;
    assert!(sh(&lab, "a", "ip route show default")?[0].contains("via 192.168.32.50"));
    // The kernel takes it away without a word.
    sh(
        &lab,
        "a",
        &format!("ip address flush dev eth0 scope global; ip address add {OWN}/24 dev eth0"),
    )?;
    a.wait_says("Restored what a hook had set and someone removed", SOON)?;
    assert!(
        status(&lab)?.contains("\nholds route to default"),
        "{}",
        status(&lab)?
    );
    // Another route in its place is somebody's decision.
    sh(&lab, "a", "ip route replace default via 192.168.32.77")?;
    a.wait("the other route", SOON, |entry| {
        entry.text("message").contains("someone else changed it")
    })?;
    assert!(sh(&lab, "a", "ip route show default")?[0].contains("via 192.168.32.77"));
    assert!(
        status(&lab)?.contains("\ndoes not hold route to default"),
        "{}",
        status(&lab)?
    );
    a.stop()
}

/// All kinds that a hook can set in the kernel, each taken away in turn.
fn every_kind() -> Outcome {
    let lab = lan(&["a"])?;
    sh(
        &lab,
        "a",
        "ip link add br7 type bridge; ip link set br7 address 02:00:00:00:77:01",
    )?;
    let hook = "function on_master()\n\
        addr.add('10.7.7.7/32', { dev = 'eth0' })\n\
        route.replace('10.9.0.0/16', { via = '192.168.32.50', table = 100 })\n\
        rule.replace({ from = '10.7.0.0/16', table = 100, priority = 1000 })\n\
        sysctl.set('net.ipv4.conf.eth0.forwarding', '1')\n\
        link.set_up('br7')\n\
        link.set_mac('br7', '02:00:00:00:77:02')\n\
        addr.add('10.7.7.8/32', { dev = 'br7' })\n\
        route.replace('10.8.0.0/16', { dev = 'br7' })\n\
        sysctl.set('net.ipv4.conf.br7.rp_filter', '2')\n\
        end";
    let grants = "[hook.h.grant]\n\
        addr = [{ cidr = \"10.7.7.0/24\" }]\n\
        route = [{ dst = \"10.9.0.0/16\", table = 100 }, { dst = \"10.8.0.0/16\" }]\n\
        rule = [{ table = 100 }]\n\
        sysctl = [{ key = \"net.ipv4.conf.eth0.forwarding\" }, { key = \"net.ipv4.conf.br7.rp_filter\" }]\n\
        link = [{ dev = \"br7\" }]";
    let mut a = Carpd::new("a").hook(hook, grants).start(&lab)?;
    a.wait_ran("on_master", TAKEOVER)?;
    let shown = status(&lab)?;
    assert!(
        shown.contains("\nholds address") && !shown.contains("does not hold"),
        "{shown}, {}",
        a.text()
    );
    for (taken, shown) in [
        (
            "ip address delete 10.7.7.7/32 dev eth0",
            "ip -o address show dev eth0 to 10.7.7.7",
        ),
        (
            "ip route flush table 100",
            "ip route show table 100 10.9.0.0/16",
        ),
        ("ip rule delete priority 1000", "ip rule show priority 1000"),
        (
            "sysctl -qw net.ipv4.conf.eth0.forwarding=0",
            "sysctl net.ipv4.conf.eth0.forwarding | grep 1",
        ),
    ] {
        sh(&lab, "a", taken)?;
        a.wait_says("Restored what a hook had set and someone removed", SOON)?;
        assert_eq!(sh(&lab, "a", shown)?.len(), 1, "{shown}");
    }
    // Devices are others' business. What is as the hook wants it again is nobody's.
    for (changed, back, what) in [
        (
            "ip link set br7 down",
            "ip link set br7 up",
            "does not hold state of br7",
        ),
        (
            "ip link set br7 address 02:00:00:00:77:03",
            "ip link set br7 address 02:00:00:00:77:02",
            "does not hold hardware address of br7",
        ),
    ] {
        sh(&lab, "a", changed)?;
        status_says(&lab, what, true)?;
        sh(&lab, "a", back)?;
        status_says(&lab, "does not hold", false)?;
    }
    // Nothing is left of a device that is gone.
    sh(&lab, "a", "ip link delete br7")?;
    for what in [
        "state of br7",
        "hardware address of br7",
        "address 10.7.7.8 on br7",
        "route to 10.8.0.0/16",
        "sysctl net.ipv4.conf.br7.rp_filter",
    ] {
        status_says(&lab, &format!("does not hold {what}"), true)?;
    }
    a.stop()
}

fn hardware() -> Outcome {
    let lab = dual_lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let mut watch6 = Watch::start(&lab, "2001:db8::22")?;
    let mut a = Carpd::new("a")
        .set("announce", "{ count = 2, interval = \"100ms\" }")
        .set(
            "addresses",
            format!("[\"{ADDRESS}/24\", \"2001:db8::22/64\"]"),
        )
        .start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    let states = a.states();
    sh(&lab, "a", "ip link set eth0 address 02:00:00:00:99:01")?;
    let new = "02:00:00:00:99:01".parse()?;
    watch.hear_announced(new, SOON)?;
    watch.hear_announced(new, SOON)?;
    watch.wait(&[new], SOON)?;
    watch6.hear_announced(new, SOON)?;
    watch6.hear_announced(new, SOON)?;
    watch6.wait(&[new], SOON)?;
    assert_eq!(a.states(), states, "and nothing else comes of it");
    a.stop()
}

fn altname() -> Outcome {
    // As udev makes them, and the longest that there may be.
    let longest = format!(
        "enx{}",
        "0123456789abcdef".repeat(8).get(..124).unwrap_or_default()
    );
    ["enp0s31f6", &longest].into_iter().try_for_each(altname_of)
}

fn altname_of(name: &str) -> Outcome {
    let lab = lan(&["a"])?;
    let mut watch = Watch::start(&lab, ADDRESS)?;
    let (add, remove) = (
        "ip link property add dev eth0 altname ",
        "ip link property del dev eth0 altname ",
    );
    sh(&lab, "a", &format!("{add}{name}"))?;
    let spec = Carpd::new("a").set("interface", format!("\"{name}\""));
    spec.write(&lab)?;
    let checked = lab
        .host("a")
        .run(&[CARPD, "check", "/run/lab/carpd.toml"], SOON)?;
    assert!(
        checked.status == Exit::Code(0) && checked.stderr.is_empty(),
        "{checked:?}"
    );
    let mut a = spec.start(&lab)?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    others_know_it(&lab, &spec, name)?;
    // Without the name the interface is gone to it, and back with it.
    sh(&lab, "a", &format!("{remove}{name}"))?;
    a.wait_state("init", SOON)?;
    watch.wait(&[], SOON)?;
    sh(&lab, "a", &format!("{add}{name}"))?;
    a.wait_says("Acquired the addresses", TAKEOVER)?;
    watch.wait(&[mac(&lab, "a")?], SOON)?;
    a.stop()
}

/// When both began nobody could know that they mean one interface.
fn late_name() -> Outcome {
    let lab = lan(&["a"])?;
    let spec = Carpd::new("a");
    let mut first = spec.start(&lab)?;
    first.wait_state("master", TAKEOVER)?;
    let toml = spec
        .toml()
        .replace("\"eth0\"", "\"late0\"")
        .replace("\"web\"", "\"db\"")
        .replace(ADDRESS, "192.168.32.99");
    lab.host("a").write("/run/lab/other.toml", 0o600, &toml)?;
    let run = [CARPD, "run", "--config", "/run/lab/other.toml"];
    let mut second = Daemon {
        process: lab
            .host("a")
            .spawn(&[&run[..], &["--log-format", "json"]].concat())?,
    };
    second.wait_says("Ready", SOON)?;
    let add = "ip link property add dev eth0 altname late0";
    sh(&lab, "a", add)?;
    second.wait_says(
        "Not taking part: another process has this vhid on this interface, or may have it",
        SOON,
    )?;
    let shown = sh(
        &lab,
        "a",
        &format!("{CARPD} status --config /run/lab/other.toml"),
    )?
    .join("\n");
    assert!(
        shown.contains("not taking part: another process has this vhid on this interface"),
        "{shown}"
    );
    assert!(!lab.host("a").facts()?.holds("192.168.32.99".parse()?));
    first.stop()?;
    second.wait_says("Acquired the addresses", TAKEOVER)?;
    second.stop()
}

/// By whichever name: each vhid is once on an interface, in one configuration and in two processes.
fn others_know_it(lab: &Lab, spec: &Carpd, name: &str) -> Outcome {
    let other = |interface: &str, vhid: u8| {
        let toml = spec
            .toml()
            .replace(&format!("\"{name}\""), &format!("\"{interface}\""));
        toml.replace("\"web\"", "\"db\"")
            .replace(ADDRESS, "192.168.32.99")
            .replace("vhid = 40", &format!("vhid = {vhid}"))
    };
    let both = [spec.toml(), other("eth0", 40)].concat();
    let second_name = "enp9s9";
    sh(
        lab,
        "a",
        &format!("ip link property add dev eth0 altname {second_name}"),
    )?;
    let said = |verb: &str, toml: &str| -> Result<String, Failed> {
        lab.host("a").write("/run/lab/other.toml", 0o600, toml)?;
        let words = format!("timeout 5 {CARPD} {verb} --config /run/lab/other.toml 2>&1 || true");
        Ok(sh(lab, "a", &words)?.join("\n"))
    };
    for verb in ["check", "run"] {
        let said = said(verb, &both)?;
        assert!(
            said.contains("vhid 40 is used twice on eth0, which is eth0 here"),
            "{verb}: {said}"
        );
    }
    for interface in ["eth0", second_name] {
        let said = said("run", &other(interface, 40))?;
        let words = format!("another carpd already has vhid 40 on {interface} (pid ");
        assert!(said.contains(&words), "{said}");
        let ucarp = |vhid: &str| {
            let scripts = ["-u", "/bin/true", "-d", "/bin/true"];
            let line = ["-i", interface, "-s", OWN, "-v", vhid, "-p", "love"];
            let all = [
                &[CARPD, "ucarp", "-a", "192.168.32.98", "-z"],
                &line[..],
                &scripts,
            ]
            .concat();
            lab.host("a").spawn(&all)
        };
        ucarp("40")?.wait_line(&words, SOON, |line| line.contains(&words))?;
        let mut alone = ucarp("41")?;
        let master = "Switching to state: MASTER";
        alone.wait_line(master, TAKEOVER, |line| line.contains(master))?;
        alone.signal(Signal::SIGTERM)?;
        alone.wait(SOON)?;
    }
    sh(
        lab,
        "a",
        &format!("ip link property del dev eth0 altname {second_name}"),
    )
    .map(drop)
}

/// Waits until the status says it, or no longer does.
fn status_says(lab: &Lab, words: &str, says: bool) -> Outcome {
    let looked = || {
        let shown = lab
            .host("a")
            .run(&[CARPD, "status"], SOON)?
            .stdout
            .join("\n");
        Ok((shown.contains(words) == says).then_some(()))
    };
    Ok(lab.until(&format!("status with {words}: {says}"), TAKEOVER, looked)?)
}

fn changed() -> Outcome {
    let lab = lan(&["a"])?;
    sh(&lab, "a", "mkdir /run/lab/out")?;
    let lua =
        "function on_master() service.start('httpd') file.write('/run/lab/out/flag', 'mine') end";
    let grants = "[hook.h.grant]\nservice = [{ unit = \"httpd\", do = [\"start\"] }]\n\
                  file = [{ path = \"/run/lab/out/flag\", do = [\"write\"] }]";
    let mut a = Carpd::new("a").hook(lua, grants).start(&lab)?;
    a.wait_ran("on_master", TAKEOVER)?;
    let before = status(&lab)?;
    assert!(
        before.contains("\nholds service httpd")
            && before.contains("\nholds file /run/lab/out/flag"),
        "{before}"
    );
    for (spoil, mend, what) in [
        (
            "service httpd stop; echo theirs > /run/lab/out/flag",
            "service httpd start",
            "does not hold service httpd",
        ),
        (
            "rm /run/lab/out/flag",
            "printf mine > /run/lab/out/flag",
            "does not hold file /run/lab/out/flag",
        ),
    ] {
        sh(&lab, "a", spoil)?;
        status_says(&lab, what, true)?;
        status_says(&lab, "does not hold file /run/lab/out/flag", true)?;
        sh(&lab, "a", mend)?;
        status_says(&lab, what, false)?;
    }
    a.stop()
}

fn on_another_interface() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let (mut a, mut b) = (
        Carpd::new("a").advskew(50).start(&lab)?,
        Carpd::new("b").start(&lab)?,
    );
    b.wait_state("master", TAKEOVER)?;
    a.wait_state("backup", SOON)?;
    let words = format!("{ADDRESS} is up on lo, but not set by carpd");
    status_says(&lab, &words, false)?;
    sh(&lab, "a", &format!("ip address add {ADDRESS}/32 dev lo"))?;
    status_says(&lab, &words, true)?;
    assert!(
        a.text()
            .contains("A virtual address is up on another interface"),
        "{}",
        a.text()
    );
    sh(&lab, "a", &format!("ip address delete {ADDRESS}/32 dev lo"))?;
    status_says(&lab, &words, false)?;
    // Also what is there before the daemon, and stays while it is master.
    a.stop()?;
    sh(
        &lab,
        "a",
        &format!(
            "ip link add br7 type bridge; ip link set br7 up; ip address add {ADDRESS}/24 dev br7"
        ),
    )?;
    let mut a = Carpd::new("a").advskew(50).start(&lab)?;
    a.wait_state("backup", TAKEOVER)?;
    let words = format!("{ADDRESS} is up on br7, but not set by carpd");
    status_says(&lab, &words, true)?;
    b.stop()?;
    a.wait_state("master", SOON)?;
    status_says(&lab, &words, true)?;
    // It goes by another name.
    sh(&lab, "a", "ip link set br7 name br8")?;
    let renamed = format!("{ADDRESS} is up on br8, but not set by carpd");
    status_says(&lab, &renamed, true)?;
    status_says(&lab, &words, false)?;
    sh(&lab, "a", "ip link delete br8")?;
    status_says(&lab, "but not set by carpd", false)?;
    a.stop()
}
