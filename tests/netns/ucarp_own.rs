//! carpd under the name ucarp, beside ucarp and alone: what has no counterpart to compare with.

use std::collections::BTreeMap;
use std::time::Duration;

use carpd::lab::{Exit, Process};
use nix::sys::signal::Signal;

use crate::Outcome;
use crate::ucarp_stage::{
    ADDRESS, CARPD, MASTER, Played, SOON, Stage, UCARP, Which, backup, called, end, master, said,
};

/// Real ones and ours in one group: power cuts hand the address from one to the next.
pub(crate) fn three() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let mut first = stage.start(Which::Ucarp, "a", "-z -P")?;
        master(&mut first)?;
        let mut second = stage.start(Which::Carpd, "b", "-z -P -k 20")?;
        let mut third = stage.start(Which::Ucarp, "c", "-z -P -k 40")?;
        stage.pass(Duration::from_secs(3))?;
        stage.lab.power_off("a")?;
        master(&mut second)?;
        called(stage, "b", 2)?;
        stage.pass(Duration::from_secs(3))?;
        let exit = end(&mut second)?;
        assert_eq!(exit, Exit::Code(0));
        master(&mut third)?;
        let masters = |process: &Process| {
            process
                .lines()
                .iter()
                .filter(|line| line.text.ends_with(MASTER))
                .count()
        };
        assert_eq!(
            (masters(&first), masters(&second), masters(&third)),
            (1, 1, 1)
        );
        let again = stage.start(Which::Carpd, "b", "-z -P -k 20")?;
        said(&mut third, "Preferred master advertised")?;
        drop(again);
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}

pub(crate) fn side_by_side() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let line = |n: u8| {
            format!(
                "-i eth0 -s 192.168.32.10 -v {n} -p love -a 192.168.32.{} -u /run/lab/up -d /run/lab/down -z",
                100 + n
            )
        };
        let mut first = stage.start_line(Which::Carpd, "a", &line(1))?;
        let mut second = stage.start_line(Which::Carpd, "a", &line(2))?;
        master(&mut first)?;
        master(&mut second)?;
        called(stage, "a", 4)?;
        let facts = stage.lab.until("both addresses", SOON, || {
            let facts = stage.lab.host("a").facts()?;
            Ok((facts.addresses.len() == 3).then_some(facts))
        })?;
        assert!(
            facts.holds("192.168.32.101".parse()?) && facts.holds("192.168.32.102".parse()?),
            "{facts:?}"
        );
        let status = |more: &[&str]| {
            let argv = [&[CARPD, "status"], more].concat();
            Ok(stage.lab.host("a").run(&argv, SOON)?.stdout.join("\n")) as Played<String>
        };
        let both = status(&[])?;
        let of = |text: &str, n: u8| text.contains(&format!("eth0-{n}: master since"));
        assert!(
            of(&both, 1) && of(&both, 2) && both.contains("instance ucarp-eth0-1-"),
            "{both}"
        );
        let one = status(&["--instance", "ucarp-eth0-2"])?;
        assert!(of(&one, 2) && !of(&one, 1), "{one}");
        assert!(
            one.contains("192.168.32.102/32, up here"),
            "a script put it up: {one}"
        );
        end(&mut first)?;
        let only = status(&["--json"])?;
        assert!(
            only.contains("\"eth0-2\"") && !only.contains("eth0-1"),
            "{only}"
        );
        let facts = stage.lab.host("a").facts()?;
        assert!(
            !facts.holds("192.168.32.101".parse()?) && facts.holds("192.168.32.102".parse()?),
            "{facts:?}"
        );
        assert_eq!(second.ended(), None);
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}

/// Debian's own hook of ifupdown, unchanged, with carpd in ucarp's place.
pub(crate) fn debian() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let host = stage.lab.host("a");
        // The others where a package has them, with nothing written to this machine.
        let mount = format!(
            "mount --bind {CARPD} {UCARP} && mount -t tmpfs tmpfs /usr/libexec && mkdir /usr/libexec/carpd && \
             cd /usr/libexec/carpd && for name in carpd-daemon carpd-worker; do \
             touch $name && mount --bind $(dirname {CARPD})/$name $name || exit 1; done"
        );
        let mounted = host.run(&["/bin/sh", "-c", &mount], SOON)?;
        assert!(mounted.status.success(), "{mounted:?}");
        let environment: BTreeMap<String, String> = [
            ("IFACE", "eth0"),
            ("IF_ADDRESS", "192.168.32.10"),
            ("IF_UCARP_VID", "42"),
            ("IF_UCARP_VIP", ADDRESS),
            ("IF_UCARP_PASSWORD", "love"),
            ("IF_UCARP_UPSCRIPT", "/run/lab/up"),
            ("IF_UCARP_DOWNSCRIPT", "/run/lab/down"),
            ("IF_UCARP_MASTER", "yes"),
            ("IF_UCARP_XPARAM", "word"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let started = host.spawn_with(&["/etc/network/if-up.d/ucarp"], &environment)?;
        assert_eq!(started.wait(SOON)?, Exit::Code(0), "{:?}", started.lines());
        stage.lab.until("the address", SOON, || {
            Ok(host.facts()?.holds(ADDRESS.parse().unwrap()).then_some(()))
        })?;
        assert_eq!(host.run(&["pidof", "ucarp"], SOON)?.stdout.len(), 1);
        let words = host
            .run(&["ps", "axww", "-o", "args"], SOON)?
            .stdout
            .join("\n");
        assert!(
            words.contains("-B -z -v 42 -p ****") && !words.contains("love"),
            "{words}"
        );
        assert!(host.run(&["killall", "ucarp"], SOON)?.status.success());
        stage.lab.until("the address to go", SOON, || {
            Ok((!host.facts()?.holds(ADDRESS.parse().unwrap())).then_some(()))
        })?;
        let calls = host.read("/run/lab/calls")?;
        let expected = [
            "down eth0 192.168.32.22 word",
            "up eth0 192.168.32.22 word",
            "down eth0 192.168.32.22 word",
        ];
        assert_eq!(calls.lines().collect::<Vec<_>>(), expected);
        stage.lab.until("its end", SOON, || {
            Ok((!host.run(&["pidof", "ucarp"], SOON)?.status.success()).then_some(()))
        })?;
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}

pub(crate) fn bad_scripts() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let host = stage.lab.host("a");
        host.write(
            "/run/lab/down",
            0o755,
            "#!/bin/sh\necho down >> /run/lab/calls\nyes flood | head -c 3000000\nexit 7\n",
        )?;
        host.write(
            "/run/lab/up",
            0o755,
            "#!/bin/sh\ntrap '' TERM\necho up >> /run/lab/calls\nsleep 300 &\nwhile :; do sleep 1; done\n",
        )?;
        let mut subject = stage.subject("-z --timeout=2")?;
        said(&mut subject, "ended with status 7")?;
        let up = master(&mut subject)?;
        let ended = said(&mut subject, "Killed a script that ran too long")?;
        let took = ended - up;
        assert!(
            (Duration::from_millis(1900)..Duration::from_secs(6)).contains(&took),
            "its limit and its grace: {took:?}"
        );
        assert!(
            !host.run(&["pgrep", "sleep"], SOON)?.status.success(),
            "its whole group is gone"
        );
        // It has advertised all the time.
        let mut peer = stage.peer("-z -k 100")?;
        backup(&mut peer)?;
        stage.pass(Duration::from_secs(4))?;
        assert!(!peer.lines().iter().any(|line| line.text.ends_with(MASTER)));
        host.write("/run/lab/down", 0o644, "")?;
        subject.signal(Signal::SIGTERM)?;
        said(
            &mut subject,
            "Unable to exec /run/lab/down eth0 192.168.32.22 a: Permission denied",
        )?;
        assert_eq!(subject.wait(SOON)?, Exit::Code(0));
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}

pub(crate) fn lua() -> Outcome {
    let stage = Stage::new(Which::Carpd).map_err(|error| error.to_string())?;
    let story = |stage: &Stage| -> Played<()> {
        let host = stage.lab.host("a");
        let hook = "function on_master(event)\n  addr.add(event.instance.addresses[1], { dev = event.instance.interface })\n  hostname.set('moved')\nend\n\
                    function on_backup(event) end\n";
        host.write("/run/lab/h/hook.lua", 0o644, hook)?;
        host.write("/run/lab/grants", 0o644, "hostname = [\"moved\"]\n")?;
        let line = "-i eth0 -s 192.168.32.10 -v 42 -p love -a 192.168.32.22 -u /run/lab/h/hook.lua -d /run/lab/h/hook.lua \
                    --grants /run/lab/grants -z";
        let mut subject = stage.start_line(Which::Carpd, "a", line)?;
        master(&mut subject)?;
        stage.lab.until("what the hook does", SOON, || {
            let facts = host.facts()?;
            Ok((facts.holds(ADDRESS.parse().unwrap()) && facts.hostname == "moved").then_some(()))
        })?;
        assert_eq!(end(&mut subject)?, Exit::Code(0), "{:?}", subject.lines());
        let facts = host.facts()?;
        assert!(
            !facts.holds(ADDRESS.parse()?) && facts.hostname == "a",
            "undone: {facts:?}"
        );
        host.write("/run/lab/h/hook.lua", 0o644, "function on_master( end")?;
        let bad = stage.start_line(Which::Carpd, "a", &format!("{line} -B"))?;
        assert_eq!(bad.wait(SOON)?, Exit::Code(2), "said before it is detached");
        Ok(())
    };
    story(&stage).map_err(|error| error.to_string().into())
}
