//! Imported configurations beside what they come from: keepalived itself in one host, carpd with
//! what `carpd import` made of the same file in another, each alone on its wire. Once both are
//! master, their hosts must have the same addresses, routes and rules, but for what the account of
//! the import tells. And a ucarp that runs is imported from its command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use carpd::lab::{Fault, HostSpec, Lab, LabSpec, Process};
use serde_json::Value;

use crate::rig::{CARPD, Daemon, Failed, SOON, TAKEOVER, Ucarp, lan, sh, takes_hold};
use crate::{Case, Outcome};

/// For five pairs that start at once, on a busy machine.
const LONG: Duration = Duration::from_mins(2);
/// The time until all are master: three of the longest intervals, and a slow start.
const MASTERS: Duration = Duration::from_secs(40);

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, run| Case {
        limit: LONG,
        ..Case::new(name, run)
    };
    vec![
        case("import::addresses_are_those_of_keepalived", || {
            alike(&["basic", "excluded", "labels", "ipv6", "other-device"])
        }),
        case("import::routes_and_rules_are_those_of_keepalived", || {
            alike(&["routes", "rules", "odd-routes", "static", "announcements"])
        }),
        case("import::tracked_and_grouped_ends_as_in_keepalived", || {
            alike(&[
                "sync-group",
                "weights-both-ways",
                "track-interface",
                "nopreempt",
                "unicast",
            ])
        }),
        case("import::templates_and_devices_end_as_in_keepalived", || {
            alike(&[
                "templates",
                "conditions",
                "variables",
                "dual-stack",
                "virtual-mac",
            ])
        }),
        case("import::a_running_ucarp_is_imported", ucarp),
    ]
}

/// What is made in a host before it begins: the interfaces and networks that the files speak of.
const WORLD: &str = "\
set -e
for n in eth1 eth2 eth0.1 eth0.2; do
  ip link add $n type veth peer name far-$n; ip link set $n up; ip link set far-$n up
done
ip address add 10.0.1.11/24 dev eth1
ip address add 10.9.0.1/24 dev eth2
ip address add 10.0.0.9/24 dev eth0
ip address add 10.8.1.1/24 dev eth0.1
ip address add 10.8.2.1/24 dev eth0.2
ip address add 192.168.200.2/24 dev eth0
sysctl -qw net.ipv4.conf.all.promote_secondaries=1 net.ipv6.conf.all.accept_dad=0 \
  net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.eth0.accept_dad=0";

/// The metric of carpd's routes to networks.
const LAST: &str = "4294967295";

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/import/keepalived");

/// What the account says of all addresses together.
const AS_HOST: &str = "an address is put up as a host address (/32 or /128), and its network gets a route that comes last";

/// A configuration that runs twice.
struct Pair {
    name: String,
    /// The names of the hosts.
    keepalived: String,
    carpd: String,
    statements: Vec<Value>,
    /// Does the account say that addresses are put up as host addresses?
    as_host_addresses: bool,
    vhosts: usize,
}

/// Plays these configurations.
fn alike(names: &[&str]) -> Outcome {
    let hosts = (0..names.len()).flat_map(|n| [format!("k{n}"), format!("c{n}")]);
    let hosts: Vec<String> = hosts.collect();
    let spec = |name: &String| Ok(HostSpec::new(name, &["192.168.1.2/24".parse()?]));
    let hosts_spec: Result<Vec<HostSpec>, Failed> = hosts.iter().map(spec).collect();
    let lab = Lab::start(&LabSpec { hosts: hosts_spec? })?;
    let mut running: Vec<(Pair, Process, Daemon)> = Vec::new();
    let mut before = BTreeMap::new();
    for host in &hosts {
        lab.set_fault(host, Fault::Silent)?;
        sh(&lab, host, WORLD)?;
    }
    for (n, name) in names.iter().enumerate() {
        let pair = prepare(&lab, n, name)?;
        for host in [&pair.keepalived, &pair.carpd] {
            before.insert(host.clone(), look(&lab, host, pair.as_host_addresses)?);
        }
        let keepalived = keepalived(&lab, &pair.keepalived)?;
        let carpd = carpd(&lab, &pair.carpd)?;
        running.push((pair, keepalived, carpd));
    }
    let mut failures = String::new();
    for (pair, keepalived, carpd) in &running {
        if let Err(error) = masters(&lab, pair, keepalived, carpd) {
            failures += &format!("{error}\n");
            continue;
        }
        let settled = || {
            let of = |host: &str| -> Result<World, Failed> {
                let world = look(&lab, host, pair.as_host_addresses)?;
                Ok(world.since(&before[host]))
            };
            let (theirs, ours) = (of(&pair.keepalived)?, of(&pair.carpd)?);
            let untold = untold(pair, &theirs, &ours);
            Ok::<_, Failed>((
                untold.is_empty() && !ours.addresses.is_empty(),
                theirs,
                ours,
                untold,
            ))
        };
        // Routes and hooks follow the change of state.
        let waited = lab.until("both to have done everything", SOON, || {
            let settled = settled().map_err(|error| error.to_string());
            Ok(settled.is_ok_and(|(done, ..)| done).then_some(()))
        });
        let (_, theirs, ours, untold) = settled()?;
        if waited.is_err() {
            failures += &format!(
                "{}: {untold:#?}\nkeepalived: {theirs:#?}\ncarpd: {ours:#?}\n{}\n",
                pair.name,
                carpd.text()
            );
        }
        let counts = (
            theirs.addresses.len(),
            theirs.routes.len(),
            theirs.rules.len(),
        );
        eprintln!(
            "{}: {counts:?} addresses, routes and rules; told: {:#?}",
            pair.name,
            theirs
                .differences(&ours)
                .iter()
                .map(|(what, _)| what)
                .collect::<Vec<_>>()
        );
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.into())
    }
}

/// Writes keepalived's file, and what is made of it.
fn prepare(lab: &Lab, n: usize, name: &str) -> Result<Pair, Failed> {
    let text = fs::read_to_string(Path::new(CORPUS).join(format!("{name}.conf")))?;
    let (keepalived, carpd) = (format!("k{n}"), format!("c{n}"));
    for host in [&keepalived, &carpd] {
        lab.host(host)
            .write("/run/lab/keepalived.conf", 0o644, &text)?;
    }
    let import = |more: &str| {
        let words = format!(
            "{CARPD} import --config-id node1 /run/lab/keepalived.conf {more} || [ $? = 6 ]"
        );
        sh(lab, &carpd, &words)
    };
    let said: Value = serde_json::from_str(&import("--json")?.join("\n"))?;
    import("-o /run/lab/imported")?;
    let config = said["config"].as_str().unwrap_or_default();
    Ok(Pair {
        name: name.to_owned(),
        keepalived,
        carpd,
        statements: said["statements"].as_array().cloned().unwrap_or_default(),
        as_host_addresses: said["remarks"].to_string().contains(AS_HOST),
        vhosts: config.matches("[[vhost]]").count(),
    })
}

fn keepalived(lab: &Lab, host: &str) -> Result<Process, Failed> {
    let words = "keepalived --dont-fork --vrrp --log-console --log-detail --config-id=node1 \
                 --use-file=/run/lab/keepalived.conf --pid=/run/lab/k.pid --vrrp_pid=/run/lab/v.pid";
    let words: Vec<&str> = words.split_whitespace().collect();
    Ok(lab.host(host).spawn(&words)?)
}

fn carpd(lab: &Lab, host: &str) -> Result<Daemon, Failed> {
    let config = "/run/lab/imported/carpd.toml";
    let words = [CARPD, "run", "--config", config, "--log-format", "json"];
    let process = lab.host(host).spawn(&words)?;
    Ok(Daemon { process })
}

/// Waits until all instances on both hosts are master.
fn masters(lab: &Lab, pair: &Pair, keepalived: &Process, carpd: &Daemon) -> Outcome {
    let are = || {
        let ours = carpd.entries();
        let ours = ours.iter().filter(|entry| entry.becomes("master")).count();
        let theirs = keepalived.lines();
        let theirs = theirs
            .iter()
            .filter(|line| line.text.contains("Entering MASTER STATE"))
            .count();
        Ok((ours >= pair.vhosts && theirs >= pair.vhosts).then_some(()))
    };
    let what = format!("{} to be master on both hosts", pair.name);
    lab.until(&what, MASTERS, are).map_err(|error| {
        let theirs: String = keepalived
            .lines()
            .iter()
            .map(|line| format!("{}\n", line.text))
            .collect();
        format!("{error}:\n{theirs}\n{}", carpd.text()).into()
    })
}

/// What a host has, each with the words that an account would name it by.
#[derive(Debug, Clone, Default)]
struct World {
    addresses: BTreeMap<String, Vec<String>>,
    routes: BTreeMap<String, Vec<String>>,
    rules: BTreeMap<String, Vec<String>>,
}

impl World {
    fn parts(&self) -> [(&'static str, &BTreeMap<String, Vec<String>>); 3] {
        [
            ("address", &self.addresses),
            ("route", &self.routes),
            ("rule", &self.rules),
        ]
    }

    /// What was not there before.
    fn since(mut self, before: &Self) -> Self {
        self.addresses
            .retain(|key, _| !before.addresses.contains_key(key));
        self.routes
            .retain(|key, _| !before.routes.contains_key(key));
        self.rules.retain(|key, _| !before.rules.contains_key(key));
        self
    }

    /// What only one of them has, each with the words to find it by.
    fn differences(&self, other: &Self) -> Vec<(String, BTreeSet<String>)> {
        let mut found = Vec::new();
        for ((kind, mine), (_, theirs)) in self.parts().into_iter().zip(other.parts()) {
            let only = |a: &BTreeMap<String, Vec<String>>, b: &BTreeMap<String, Vec<String>>| {
                let only = a.iter().filter(|(key, _)| !b.contains_key(*key));
                only.map(|(key, words)| (key.clone(), words.clone()))
                    .collect::<Vec<_>>()
            };
            for (side, list) in [
                ("keepalived", only(mine, theirs)),
                ("carpd", only(theirs, mine)),
            ] {
                found.extend(list.into_iter().map(|(key, words)| {
                    (
                        format!("{kind} only with {side}: {key}"),
                        words.into_iter().collect(),
                    )
                }));
            }
        }
        found
    }
}

/// The differences that no statement with an outcome of its own names.
fn untold(pair: &Pair, theirs: &World, ours: &World) -> Vec<String> {
    let telling: Vec<String> = pair
        .statements
        .iter()
        .filter(|said| {
            let outcome = said["outcome"].as_str().unwrap_or_default();
            let detail = said["detail"].as_str().unwrap_or_default();
            // What is in a block that is not translated.
            !["translated", "unneeded"].contains(&outcome) || detail.starts_with("part of ")
        })
        .map(|said| {
            let part = |key: &str| said[key].as_str().unwrap_or_default();
            format!(" {} {} ", part("text"), part("detail"))
        })
        .collect();
    let told = |words: &BTreeSet<String>| {
        words.iter().any(|word| {
            let bounded = |said: &String| {
                said.split(|c: char| c.is_whitespace() || ",;`".contains(c))
                    .any(|part| part == word || part.split('/').next() == Some(word))
            };
            telling.iter().any(bounded)
        })
    };
    let differences = theirs.differences(ours).into_iter();
    differences
        .filter(|(_, words)| !told(words))
        .map(|(what, _)| what)
        .collect()
}

fn json(lab: &Lab, host: &str, words: &str) -> Result<Vec<Value>, Failed> {
    let text = sh(lab, host, words)?.join("\n");
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let all: Value = serde_json::from_str(&text)?;
    Ok(all.as_array().cloned().unwrap_or_default())
}

/// The addresses, routes and rules of a host. Left out is what differs without meaning: who set a
/// route, and lifetimes, which are leases of carpd. `as_host`: an address with its network and a
/// host address with a route to that network are the same.
fn look(lab: &Lab, host: &str, as_host: bool) -> Result<World, Failed> {
    let mut world = World::default();
    let text = |value: &Value, key: &str| match &value[key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for link in json(lab, host, "ip -j address")? {
        let device = text(&link, "ifname");
        for info in link["addr_info"].as_array().into_iter().flatten() {
            let (ip, prefix) = (text(info, "local"), text(info, "prefixlen"));
            // The kernel's own, made of the hardware address.
            if ip.is_empty() || (ip.starts_with("fe80::") && ip.contains("ff:fe")) {
                continue;
            }
            let label = Some(text(info, "label")).filter(|label| *label != device);
            let length = if as_host { "" } else { &prefix };
            let key = format!(
                "{ip}/{length} on {device}, scope {}, brd {:?}, label {}, deprecated {}",
                text(info, "scope"),
                text(info, "broadcast"),
                label.unwrap_or_default(),
                info["deprecated"] == true
            );
            let mut words = vec![ip.clone(), format!("{ip}/{prefix}"), device.clone()];
            words.retain(|word| word != "eth0");
            world.addresses.insert(key, words);
        }
    }
    for family in ["-4", "-6"] {
        let routes = format!("ip -j {family} route show table all");
        for route in json(lab, host, &routes)? {
            let dst = text(&route, "dst");
            if dst.contains("ff:fe") || dst == "multicast" || dst == "ff00::/8" {
                continue;
            }
            let mut words = vec![dst.clone(), text(&route, "prefsrc"), text(&route, "dev")];
            words.retain(|word| !word.is_empty() && word != "eth0");
            let of_kernel = text(&route, "protocol") == "kernel";
            let last = text(&route, "metric") == LAST;
            if as_host && (of_kernel || last) {
                // The route to itself and the broadcast address follow from the address.
                if dst.contains('/') {
                    let key = format!("network {dst} on {}", text(&route, "dev"));
                    world.routes.insert(key, words);
                }
                continue;
            }
            let key = format!(
                "{} {dst} via {} dev {} src {} table {} metric {} scope {} {}",
                text(&route, "type"),
                text(&route, "gateway"),
                text(&route, "dev"),
                text(&route, "prefsrc"),
                text(&route, "table"),
                text(&route, "metric"),
                text(&route, "scope"),
                if of_kernel { "by the kernel" } else { "" }
            );
            world.routes.insert(key, words);
        }
        let rules = format!("ip -j {family} rule");
        for rule in json(lab, host, &rules)? {
            let net = |key: &str, length: &str| match text(&rule, length).as_str() {
                "" => text(&rule, key),
                length => format!("{}/{length}", text(&rule, key)),
            };
            let (from, to) = (net("src", "srclen"), net("dst", "dstlen"));
            let key = format!(
                "{family} {} from {from} to {to} fwmark {} lookup {}",
                text(&rule, "priority"),
                text(&rule, "fwmark"),
                text(&rule, "table")
            );
            let words = [from, to].into_iter();
            let words = words.filter(|net| !net.is_empty() && net != "all");
            world.rules.insert(key, words.collect());
        }
    }
    Ok(world)
}

/// A ucarp that runs is imported from its command line: the node goes on as one of its group.
fn ucarp() -> Outcome {
    let lab = lan(&["a", "b"])?;
    let running = Ucarp::on_b(0, true);
    let process = running.start(&lab)?;
    takes_hold(&lab, "b")?;
    let words = format!("{CARPD} import --from ucarp --json");
    let said: Value = serde_json::from_str(&sh(&lab, "b", &words)?.join("\n"))?;
    let text = said.to_string();
    assert!(!text.contains(running.password), "{text}");
    assert_eq!(said["complete"], true, "{text}");
    let file = format!("process {}", process.pid());
    let statements = said["statements"].as_array().cloned().unwrap_or_default();
    let own: Vec<&Value> = statements
        .iter()
        .filter(|said| said["file"] == file.as_str())
        .collect();
    assert_eq!(own.len(), 1, "{text}");
    // On the other node, in the place of a second ucarp: it is a backup of the one that runs, and
    // takes over when that is gone.
    let words = format!("{CARPD} import --from ucarp -o /run/lab/imported");
    sh(&lab, "b", &words)?;
    for file in ["carpd.toml", "eth0-40.pass"] {
        let text = lab.host("b").read(&format!("/run/lab/imported/{file}"))?;
        let text = text.replace(running.source, "192.168.32.32");
        lab.host("a")
            .write(&format!("/run/lab/{file}"), 0o600, &text)?;
    }
    for script in ["up", "down"] {
        let path = format!("/run/lab/{script}");
        let text = lab.host("b").read(&path)?;
        lab.host("a").write(&path, 0o755, &text)?;
    }
    let words = [
        CARPD,
        "run",
        "--config",
        "/run/lab/carpd.toml",
        "--log-format",
        "json",
    ];
    let mut a = Daemon {
        process: lab.host("a").spawn(&words)?,
    };
    a.wait_state("backup", TAKEOVER)?;
    process.signal(nix::sys::signal::Signal::SIGKILL)?;
    process.wait(SOON)?;
    a.wait_state("master", TAKEOVER)?;
    takes_hold(&lab, "a")?;
    a.stop()
}
