//! Reloads without end under traffic (`tests/soak`): not part of the suite, since it takes minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use carpd::lab::clock::now;
use carpd::lab::{Lab, Sighting};
use carpd::types::Timestamp;

use crate::measure::Row;
use crate::rig::{ADDRESS, CARPD, Carpd, Daemon, Failed, SOON, TAKEOVER, Watch, lan, sh};
use crate::{ADDRESS_OF_A, Outcome};

/// A gap between two advertisements may be so much of the interval.
const GAP_MAX: Duration = Duration::from_millis(1500);
/// Growth that is noise of the allocator, not a leak.
const GROWTH_MAX: u64 = 2 << 20;

fn vhosts(advskew: u64) -> String {
    let vhost = |name: &str, vhid: u8, address: &str, advskew: u64, rest: &str| {
        format!(
            "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"{address}/24\"]\n\
             password-file = \"/run/lab/web.pass\"\nadvskew = {advskew}\n{rest}"
        )
    };
    vhost("web", 40, ADDRESS, 0, "hooks = [\"h\"]\n")
        + &vhost("db", 41, "192.168.32.23", advskew, "")
}

/// What [`hook`] is granted.
pub(crate) const GRANT: &str = "grant = { service = [{ unit = \"httpd\", do = [\"start\"] }] }";

pub(crate) fn hook(round: u64) -> String {
    format!("function on_master()\n  service.start('httpd')\n  state.set('round', {round})\nend\n")
}

fn spec(round: u64) -> Carpd {
    // The hook's own settings change as well: each makes new runners.
    let toml = format!("timeout = \"{}s\"\n{GRANT}", 10 + round % 3);
    Carpd::new("a")
        .vhosts(vhosts(round % 11))
        .hook(&hook(0), &toml)
}

/// What the daemon uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    resident: u64,
    descriptors: u64,
    processes: usize,
}

fn usage(lab: &Lab) -> Result<Usage, Failed> {
    let text = sh(
        lab,
        "a",
        &format!("{CARPD} metrics --config /run/lab/carpd.toml"),
    )?;
    let value = |name: &str| -> Result<u64, Failed> {
        let line = text.iter().find_map(|line| line.strip_prefix(name));
        Ok(line
            .ok_or_else(|| format!("{name} in {text:?}"))?
            .trim()
            .parse()?)
    };
    let count = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^carpd[ -]' && echo x; done; true";
    let processes = sh(lab, "a", count)?.len();
    Ok(Usage {
        resident: value("process_resident_memory_bytes ")?,
        descriptors: value("process_open_fds ")?,
        processes,
    })
}

fn reload(lab: &Lab) -> Result<String, Failed> {
    Ok(sh(
        lab,
        "a",
        &format!("{CARPD} reload --config /run/lab/carpd.toml 2>&1; true"),
    )?
    .join("\n"))
}

/// One reload a second for so long; fails on the first that should not be.
pub(crate) fn soak(seconds: u64) -> Outcome {
    let lab = lan(&["a"])?;
    let mut daemon = spec(0).start(&lab)?;
    for _ in 0..2 {
        daemon.wait_state("master", TAKEOVER)?;
    }
    daemon.wait_ran("on_master", SOON)?;
    let mut watch = Watch::with_traffic(&lab, ADDRESS)?;
    // The last announcement belongs to the takeover.
    watch.hear(ADDRESS_OF_A, 8, TAKEOVER)?;
    let (began, warm) = (now(), (seconds / 5).clamp(5, 60));
    let (mut first, mut took) = (None, Vec::new());
    for round in 1..=seconds {
        took.extend(one_round(&lab, &mut daemon, round)?);
        if round == warm {
            let warm = usage(&lab)?;
            println!("after {round} s: {warm:?}");
            first = Some(warm);
        } else if round % 60 == 0 {
            println!(
                "after {round} s: {:?}, longest gap {:?}",
                usage(&lab)?,
                longest_gap(&watch)
            );
        }
        let next = began + Duration::from_secs(round);
        pace(next.since(now()));
    }
    let (first, last) = (first.ok_or("too short to warm up")?, usage(&lab)?);
    println!(
        "{seconds} reloads in {:.0} s",
        now().since(began).as_secs_f64()
    );
    Row::times("file saved to new code live", 100.0, &took).print();
    println!(
        "longest gap between two advertisements: {:?}",
        longest_gap(&watch)
    );
    println!("warm {first:?}, at the end {last:?}");
    assert_eq!(
        daemon.states(),
        ["backup", "backup", "master", "master"],
        "a reload is no transition"
    );
    assert!(longest_gap(&watch) <= GAP_MAX, "{:?}", longest_gap(&watch));
    undisturbed(&watch, began)?;
    assert!(last.resident <= first.resident + GROWTH_MAX, "memory grows");
    assert!(
        last.descriptors <= first.descriptors + 2 && last.processes <= first.processes + 1,
        "descriptors or processes grow"
    );
    daemon.stop()?;
    println!("no transition, no missed advertisement, no growth");
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "one reload a second is what is tested, not waited for"
)]
fn pace(pause: Duration) {
    std::thread::sleep(pause);
}

/// No silence, no announcement; and no more requests without an answer than a busy machine
/// explains.
fn undisturbed(watch: &Watch, since: Timestamp) -> Outcome {
    let mut failed = 0;
    for sighted in watch
        .sightings()
        .into_iter()
        .filter(|sighted| sighted.at() > since)
    {
        match sighted.what {
            Sighting::Silent | Sighting::Both { .. } | Sighting::Announcement { .. } => {
                return Err(format!("traffic was disturbed: {sighted:?}").into());
            }
            Sighting::Http { failed: more, .. } => failed += more,
            _ => {}
        }
    }
    println!("HTTP requests without an answer in 200 ms: {failed}");
    let requests = now().since(since).as_millis() / 50;
    if u128::from(failed) * 1000 > requests {
        Err("more than one in a thousand".into())
    } else {
        Ok(())
    }
}

/// A good hook, a bad one, a changed configuration, a bad one: in turn. How long a good hook took
/// to be live.
fn one_round(lab: &Lab, daemon: &mut Daemon, round: u64) -> Result<Option<Duration>, Failed> {
    let a = lab.host("a");
    match round % 4 {
        0 => Ok(Some(save(lab, daemon, &hook(round))?)),
        1 => {
            a.write(
                "/run/lab/h.lua",
                0o644,
                &format!("function on_master(\n-- {round}"),
            )?;
            let refused = daemon.wait_says("Keeping the last good version of a hook", SOON)?;
            assert!(refused.text("error").contains("h.lua"), "{refused:?}");
            // What is refused as well is what it refers to.
            assert!(reload(lab)?.contains("nothing was changed"));
            a.write("/run/lab/h.lua", 0o644, &hook(round - 1))?;
            Ok(None)
        }
        2 => {
            a.write("/run/lab/carpd.toml", 0o644, &spec(round).toml())?;
            let said = reload(lab)?;
            assert!(
                said.contains("vhost db: advskew") && !said.contains("web"),
                "{said}"
            );
            took_new(daemon)?;
            Ok(None)
        }
        _ => {
            a.write(
                "/run/lab/carpd.toml",
                0o644,
                &(spec(round).toml() + "\nnonsense = true\n"),
            )?;
            assert!(reload(lab)?.contains("nothing was changed"));
            Ok(None)
        }
    }
}

/// Saves the hook; how long until it is live.
pub(crate) fn save(lab: &Lab, daemon: &mut Daemon, text: &str) -> Result<Duration, Failed> {
    let saved = now();
    lab.host("a").write("/run/lab/h.lua", 0o644, text)?;
    Ok(took_new(daemon)?.since(saved))
}

pub(crate) fn took_new(daemon: &mut Daemon) -> Result<Timestamp, Failed> {
    Ok(daemon
        .wait_says("Activated a new version of a hook", TAKEOVER)?
        .at)
}

/// Between two advertisements of one virtual host.
fn longest_gap(watch: &Watch) -> Duration {
    let mut last: BTreeMap<u8, Timestamp> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    for sighted in watch.sightings() {
        if let Sighting::Advertisement { vhid, .. } = sighted.what
            && let Some(before) = last.insert(vhid, sighted.at())
        {
            longest = longest.max(sighted.at().since(before));
        }
    }
    longest
}
