//! One sequence: what the daemon does in a rehearsal, what it does on a host of `carpd test`, and
//! what `carpd plan` says are the same, effect by effect.
//!
//! Hooks and histories are random. `CARPD_SEED` in the environment plays those of one seed, and
//! `CARPD_CASES` more of them.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use carpd::config::{self, Config};
use carpd::effect::{Link, Nature, Outcome, Resource, Value};
use carpd::engine::observer::Observer;
use carpd::engine::sim::{Change, LoadedHook, Scripted};
use carpd::hooks::HookSource;
use carpd::hooks::process::session::SandboxPolicy;
use carpd::host::sim::{Deed, Happens};
use carpd::host::{HostError, SimHost};
use carpd::keeper::Client;
use carpd::proto::Cause;
use carpd::resolve::Sources;
use carpd::types::{IfName, MacAddr, Name, State, Timestamp, VirtualAddress};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value as Json;

use super::cli::carpd;
use super::hooks::{DAEMON, block_on};

/// What a hook does in one of its functions.
#[derive(Debug, Clone)]
enum Op {
    Hostname(bool, &'static str),
    Write(bool, &'static str),
    Remove,
    Rule(bool, u16),
    /// Is not granted, and the hook goes on.
    Refused,
    /// Fails so many times.
    Fails(u32),
    /// Starts or stops a service.
    Service(&'static str, &'static str),
    /// Sets a parameter to what it is told of the states that it missed.
    Missed,
    Sleeps(u64),
    Demotes(u8),
}

impl Op {
    /// As Luau; `place` makes names that nobody else has.
    fn code(&self, place: &str, directory: &str) -> String {
        let keep = |keep: &bool| if *keep { ", { keep = true }" } else { "" };
        match self {
            Self::Hostname(stays, word) => format!("hostname.set('{word}'{})", keep(stays)),
            Self::Write(stays, word) => {
                format!("file.write('{directory}/role', '{word}'{})", keep(stays))
            }
            Self::Remove => format!("file.remove('{directory}/role')"),
            Self::Rule(stays, priority) => format!(
                "rule.replace({{ from = '192.0.2.77', table = 100, priority = {priority}, keep = {stays} }})"
            ),
            Self::Refused => "pcall(sysctl.set, 'vm.swappiness', '1')".to_owned(),
            Self::Fails(times) => format!(
                "do local n = (state.get('{place}') or 0) + 1 state.set('{place}', n) \
                 if n <= {times} then error('boom') end end"
            ),
            Self::Service(verb, unit) => format!("service.{verb}('{unit}')"),
            Self::Missed => {
                "sysctl.set('net.ipv4.ip_forward', event.missed .. event.previous)".to_owned()
            }
            Self::Sleeps(ms) => format!("clock.sleep({ms})"),
            Self::Demotes(by) => format!("carp.demote({by}, 'as it likes')"),
        }
    }
}

/// What `carpd plan` can foresee on this machine as well.
fn plain() -> impl Strategy<Value = Op> {
    let word = || prop_oneof![Just("one"), Just("two")];
    prop_oneof![
        4 => (any::<bool>(), word()).prop_map(|(keep, word)| Op::Hostname(keep, word)),
        3 => (any::<bool>(), word()).prop_map(|(keep, word)| Op::Write(keep, word)),
        1 => Just(Op::Remove),
        2 => (any::<bool>(), 1000..1002_u16).prop_map(|(keep, at)| Op::Rule(keep, at)),
        1 => Just(Op::Refused),
        1 => Just(Op::Fails(1)),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let verb = prop_oneof![3 => Just("start"), 1 => Just("stop"), 1 => Just("restart")];
    let unit = prop_oneof![Just("httpd"), Just("mysql")];
    prop_oneof![
        5 => plain(),
        4 => (verb, unit).prop_map(|(verb, unit)| Op::Service(verb, unit)),
        2 => Just(Op::Missed),
        2 => (1..2500_u64).prop_map(Op::Sleeps),
        1 => (0..240_u8).prop_map(Op::Demotes),
        1 => (1..4_u32).prop_map(Op::Fails),
    ]
}

/// A hook, and what its operator wrote about it.
#[derive(Debug, Clone)]
struct Hook {
    before_master: Option<Vec<Op>>,
    on_master: Vec<Op>,
    on_backup: Option<Vec<Op>>,
    health: bool,
    on_failure: &'static str,
    runners: u8,
}

fn hook<S: Strategy<Value = Op>>(op: fn() -> S) -> impl Strategy<Value = Hook> {
    let some = |most: usize| prop::option::of(prop::collection::vec(op(), 0..most));
    (
        prop::option::weighted(0.2, prop::collection::vec(op(), 0..3)),
        prop::collection::vec(op(), 1..6),
        some(4),
        any::<bool>(),
        prop_oneof![Just("resign"), Just("keep"), Just("ignore")],
        1..3_u8,
    )
        .prop_map(
            |(before_master, on_master, on_backup, health, on_failure, runners)| Hook {
                before_master,
                on_master,
                on_backup,
                health,
                on_failure,
                runners,
            },
        )
}

impl Hook {
    fn code(&self, directory: &str) -> String {
        let mut all = String::new();
        let functions = [
            ("before_master", self.before_master.as_ref()),
            ("on_master", Some(&self.on_master)),
            ("on_backup", self.on_backup.as_ref()),
        ];
        for (name, ops) in functions {
            let Some(ops) = ops else { continue };
            let lines = ops.iter().enumerate();
            let lines: String = lines
                .map(|(at, op)| format!("  {}\n", op.code(&format!("{name}-{at}"), directory)))
                .collect();
            all += &format!("function {name}(event)\n{lines}end\n");
        }
        if self.health {
            all += "function health() return service.status('httpd') == 'active' end\n";
        }
        all
    }

    fn toml(&self, name: &str, directory: &str) -> String {
        let Self {
            on_failure,
            runners,
            ..
        } = self;
        format!(
            "[hook.{name}]\nsource = \"{name}.lua\"\ntimeout = \"4s\"\non-failure = \"{on_failure}\"\nrunners = {runners}\n\
             [hook.{name}.health]\ninterval = \"2s\"\n\
             [hook.{name}.grant]\nhostname = [\"one\", \"two\"]\nrule = [{{ table = 100 }}]\ncarp = [\"demote\"]\n\
             file = [{{ path = \"{directory}/role\", do = [\"write\", \"remove\"] }}]\n\
             sysctl = [{{ key = \"net.ipv4.ip_forward\" }}]\n\
             service = [{{ unit = \"httpd\", do = [\"start\", \"stop\", \"restart\"] }}, {{ unit = \"mysql\", do = [\"start\", \"stop\", \"restart\"] }}]\n"
        )
    }
}

/// The versions that a hook becomes, by what is added to the name of its file.
const VERSIONS: [&str; 2] = ["", "-2"];

/// Something that happens to the first node or to what it hears, so long after what was before.
#[derive(Debug, Clone)]
enum Step {
    OtherDies,
    OtherReturns,
    OtherResigns,
    /// An operator's order.
    Resigns,
    Service(&'static str, Becomes),
    /// A hook is edited, and reloaded.
    Edited(&'static str, &'static str),
    /// The first node loses its power.
    Crashes,
    /// It boots.
    Boots,
    /// The last one, for the first node.
    Stops,
}

#[derive(Debug, Clone, Copy)]
enum Becomes {
    Dead,
    Running,
    Failing,
    Hanging,
    Slow(u64),
    Well,
}

impl Step {
    fn line(&self) -> String {
        match self {
            Self::OtherDies => "n2 dies".to_owned(),
            Self::OtherReturns => "n2 returns".to_owned(),
            Self::OtherResigns => "n2 resigns".to_owned(),
            Self::Resigns => "n1 resigns".to_owned(),
            Self::Stops => "n1 stops".to_owned(),
            Self::Edited(hook, version) => format!("n1 hook {hook} becomes {hook}{version}.lua"),
            Self::Crashes => "n1 dies".to_owned(),
            Self::Boots => "n1 returns".to_owned(),
            Self::Service(unit, becomes) => {
                let becomes = match becomes {
                    Becomes::Dead => "dies".to_owned(),
                    Becomes::Running => "runs".to_owned(),
                    Becomes::Failing => "fails".to_owned(),
                    Becomes::Hanging => "hangs".to_owned(),
                    Becomes::Slow(ms) => format!("takes {ms}ms"),
                    Becomes::Well => "works".to_owned(),
                };
                format!("n1 service {unit} {becomes}")
            }
        }
    }
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let becomes = prop_oneof![
        2 => Just(Becomes::Dead),
        1 => Just(Becomes::Running),
        2 => Just(Becomes::Failing),
        1 => Just(Becomes::Hanging),
        2 => (100..6000_u64).prop_map(Becomes::Slow),
        1 => Just(Becomes::Well),
    ];
    let unit = prop_oneof![Just("httpd"), Just("mysql")];
    let step = prop_oneof![
        4 => Just(Step::OtherDies),
        5 => Just(Step::OtherReturns),
        1 => Just(Step::OtherResigns),
        1 => Just(Step::Resigns),
        4 => (unit, becomes).prop_map(|(unit, becomes)| Step::Service(unit, becomes)),
        3 => (prop_oneof![Just("a"), Just("b")], prop::sample::select(&VERSIONS[..]))
            .prop_map(|(hook, version)| Step::Edited(hook, version)),
        1 => Just(Step::Crashes),
        2 => Just(Step::Boots),
    ];
    (prop_oneof![1..800_u64, 1..9000_u64], step)
}

/// Hooks on virtual hosts, and what happens to them.
#[derive(Debug, Clone)]
struct History {
    hooks: [Hook; 2],
    /// What they become when they are edited.
    edited: [Hook; 2],
    /// The hooks of each virtual host.
    vhosts: Vec<Vec<&'static str>>,
    steps: Vec<(u64, Step)>,
    stops: bool,
}

fn history() -> impl Strategy<Value = History> {
    let list = prop_oneof![
        Just(vec!["a"]),
        Just(vec!["a", "b"]),
        Just(vec!["b", "a"]),
        Just(vec!["b"])
    ];
    (
        [hook(any_op), hook(any_op)],
        [hook(any_op), hook(any_op)],
        prop::collection::vec(list, 1..3),
        prop::collection::vec(step(), 2..14),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(hooks, edited, vhosts, steps, stops)| History {
            hooks,
            edited,
            vhosts,
            steps,
            stops,
        })
}

/// What is said of a virtual host in the configurations: name, vhid, address; the second is a
/// little slower, so that each changes at a time of its own.
const VHOSTS: [(&str, u8, &str, u8); 2] = [
    ("web", 40, "192.168.32.22/24", 100),
    ("db", 41, "192.168.32.23/24", 130),
];

impl History {
    /// The files of both nodes.
    fn write(&self, directory: &Path) {
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        write("pass", "love\n");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(directory.join("pass"), private).unwrap();
        let vhosts = |of: fn(&[&str], u8) -> String| -> String {
            let known = VHOSTS.iter().zip(&self.vhosts);
            known
                .map(|((name, vhid, address, skew), hooks)| {
                    format!(
                        "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"{address}\"]\n\
                         password-file = \"pass\"\n{}",
                        of(hooks, *skew)
                    )
                })
                .collect()
        };
        let mut first =
            vhosts(|hooks, skew| format!("advskew = {skew}\npreempt = false\nhooks = {hooks:?}\n"));
        for (name, hook, edited) in self.named() {
            for (version, hook) in VERSIONS.iter().zip([hook, edited]) {
                write(&format!("{name}{version}.lua"), &hook.code("/run"));
            }
            first += &hook.toml(name, "/run");
        }
        write("n1.toml", &first);
        write("n2.toml", &vhosts(|_, _| "preempt = true\n".to_owned()));
    }

    /// The hooks that are used, and what they become.
    fn named(&self) -> impl Iterator<Item = (&'static str, &Hook, &Hook)> {
        let versions = self.hooks.iter().zip(&self.edited);
        let named = ["a", "b"].into_iter().zip(versions);
        named
            .filter(|(name, _)| self.uses(name))
            .map(|(name, (hook, edited))| (name, hook, edited))
    }

    fn uses(&self, hook: &str) -> bool {
        self.vhosts.iter().any(|hooks| hooks.contains(&hook))
    }

    /// Each step with its time in ms. What the other node is ordered to do, the first hears for all
    /// virtual hosts in one turn: nobody can play that one after the other.
    fn steps(&self) -> Vec<(u64, Step)> {
        let mut at = 0;
        let timed = self.steps.iter().map(|(pause, step)| {
            at += pause;
            (at, step.clone())
        });
        let mut steps: Vec<_> = timed
            .filter(|(_, step)| match step {
                Step::OtherResigns => self.vhosts.len() == 1,
                Step::Edited(hook, _) => self.uses(hook),
                _ => true,
            })
            .collect();
        if self.stops {
            steps.push((at + 777, Step::Stops));
        }
        steps
    }

    fn end(&self) -> u64 {
        self.steps().last().map_or(0, |(at, _)| at + 40_000)
    }
}

/// An effect on the first node's host: when, in its own words and in what it changed, and whether
/// it worked.
type Done = (u64, String, String, bool);

/// Something that the other way has to do as well, at this time.
#[derive(Debug)]
enum Cue {
    /// A virtual host became something, by itself or by what it heard.
    Became(usize, State, String),
    Step(Step),
}

/// Plays it as `carpd rehearse`: what was done, and what happened to the first node.
fn rehearsed(history: &History, directory: &Path) -> (Vec<Done>, Vec<(u64, Cue)>) {
    let steps = history.steps();
    let mut lines: String = steps
        .iter()
        .map(|(at, step)| format!("{at}ms {}\n", step.line()))
        .collect();
    lines += &format!("end {}ms\n", history.end());
    fs::write(directory.join("scenario"), lines).unwrap();
    let args = [
        "rehearse",
        "n1.toml",
        "n2.toml",
        "--json",
        "--scenario",
        "scenario",
    ];
    let ran = carpd(directory, &args);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let timeline: Json = serde_json::from_str(&ran.stdout).unwrap();
    let list = |json: &Json| json.as_array().unwrap().clone();
    let number = |json: &Json| json.as_u64().unwrap();
    let text = |json: &Json| json.as_str().unwrap().to_owned();
    let node = &timeline["nodes"][0];
    let done = list(&node["marks"])
        .iter()
        .filter(|mark| !mark["effect"].is_null())
        .map(|mark| {
            let (at, good) = (number(&mark["at_us"]), mark["good"].as_bool().unwrap());
            done(at, text(&mark["effect"]), text(&mark["text"]), good)
        })
        .collect();
    let mut cues = Vec::new();
    for (vhost, lane) in list(&node["lanes"]).iter().enumerate() {
        for span in list(&lane["states"]) {
            let state = match span["state"].as_str().unwrap() {
                "backup" => State::Backup,
                "master" => State::Master,
                "init" => State::Init,
                _ => continue,
            };
            let cue = Cue::Became(vhost, state, text(&span["why"]));
            cues.push((number(&span["from_us"]), number(&span["seq"]), cue));
        }
    }
    let happened = list(&timeline["events"]);
    for (event, (_, step)) in happened.iter().zip(steps) {
        let cue = Cue::Step(step);
        cues.push((number(&event["at_us"]), number(&event["seq"]), cue));
    }
    cues.sort_by_key(|(at, seq, _)| (*at, *seq));
    (
        done,
        cues.into_iter().map(|(at, _, cue)| (at, cue)).collect(),
    )
}

#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {}

/// The machine on which the rehearsal plays the first node.
fn machine() -> SimHost {
    let off = SimHost::new();
    off.others_are_well();
    booted(&off)
}

/// The same after a boot.
fn booted(off: &SimHost) -> SimHost {
    let link = Link {
        name: eth0(),
        altnames: Vec::new(),
        index: 1,
        up: true,
        carrier: true,
        mac: MacAddr([2, 0, 0, 0, 1, 1]),
        mtu: 1500,
        nature: Nature::default(),
    };
    let own: VirtualAddress = "192.168.32.1/24".parse().unwrap();
    off.booted("n1", &[link], &[(eth0(), own)])
}

fn eth0() -> IfName {
    "eth0".parse().unwrap()
}

/// The first node as a host of a test.
struct Played {
    scripted: Scripted,
    /// Every version of each hook.
    versions: BTreeMap<(Name, &'static str), LoadedHook>,
    /// What was done before the last boot.
    before: Vec<Done>,
    at: u64,
}

impl Played {
    async fn start(directory: &Path, keeper: &Client) -> Self {
        let config = Config::load(&directory.join("n1.toml")).unwrap().config;
        let mut versions = BTreeMap::new();
        for (name, spec) in &config.hooks {
            for version in VERSIONS {
                let file = format!("{name}{version}.lua");
                let spec = spec.from_file(&directory.join("n1.toml"), Path::new(&file));
                let hook = load(name, &spec, keeper).await;
                versions.insert((name.clone(), version), hook);
            }
        }
        let first = versions
            .iter()
            .filter(|((_, version), _)| version.is_empty());
        let loaded = first.map(|((name, _), hook)| (name.clone(), hook));
        let scripted = Scripted::start(
            "n1",
            config.clone(),
            loaded.collect(),
            machine(),
            keeper,
            Rc::new(Nobody),
        );
        Self {
            scripted: scripted.await,
            versions,
            before: Vec::new(),
            at: 0,
        }
    }

    async fn advance(&mut self, to: u64) {
        // At the start nothing is done before it is told what it is.
        if to == self.at {
            return;
        }
        let length = Duration::from_micros(to - self.at);
        self.scripted.advance(length).await.unwrap();
        self.at = to;
    }

    async fn take(&mut self, cue: &Cue) {
        match cue {
            Cue::Became(vhost, to, why) => self.becomes(*vhost, *to, why).await,
            Cue::Step(Step::Service(unit, becomes)) => {
                let (host, fails) = (self.scripted.host(), failing(unit));
                match becomes {
                    Becomes::Dead => host.set_service(unit, false, false),
                    Becomes::Running => host.set_service(unit, true, true),
                    Becomes::Failing => host.starting(unit, Some(&fails)),
                    Becomes::Hanging => host.starting(unit, Some(&Happens::Hangs)),
                    Becomes::Slow(ms) => {
                        let takes = Happens::Takes(Duration::from_millis(*ms));
                        host.starting(unit, Some(&takes));
                    }
                    Becomes::Well => host.starting(unit, None),
                }
            }
            Cue::Step(Step::Edited(hook, version)) => {
                let hook: Name = hook.parse().unwrap();
                let version = &self.versions[&(hook.clone(), *version)];
                self.scripted.edit(&hook, version).await.unwrap();
            }
            Cue::Step(Step::Crashes) => self.scripted.power_off().await.unwrap(),
            Cue::Step(Step::Boots) if !self.scripted.is_on() => {
                self.before = self.done();
                let host = booted(self.scripted.host());
                self.scripted.power_on(host).await.unwrap();
            }
            Cue::Step(Step::Stops) => self.scripted.stop().await.unwrap(),
            Cue::Step(Step::Resigns) => self.scripted.hand_over("rehearsed").await.unwrap(),
            Cue::Step(Step::Boots | Step::OtherDies | Step::OtherReturns | Step::OtherResigns) => {}
        }
    }

    /// What follows from hooks and orders it does by itself; the rest it is told.
    async fn becomes(&mut self, vhost: usize, to: State, why: &str) {
        let by_itself = ["hook-failed", "unhealthy", "resigned", "shutdown"]
            .iter()
            .any(|word| why.starts_with(word));
        if by_itself {
            // Whatever is done at this instant.
            self.scripted.advance(Duration::ZERO).await.unwrap();
        }
        let now = self.scripted.state(vhost);
        assert!(
            now == to || !by_itself,
            "after {} us virtual host {vhost} should be {to} by itself ({why}), and is {now}",
            self.at
        );
        if now == to || to == State::Init {
            return;
        }
        let cause = match to {
            State::Master => Cause::MasterDown {
                silent: Duration::from_secs(3),
            },
            State::Backup | State::Init => Cause::BetterMaster,
        };
        let change = Change {
            vhost,
            to,
            cause,
            peer: None,
            missed: 0,
        };
        self.scripted.change(change, false).await.unwrap();
    }

    fn done(&self) -> Vec<Done> {
        let deeds = self.scripted.host().trace().into_iter();
        let before = self.before.iter().cloned();
        let now = deeds
            .filter(|deed| deed.outcome != Ok(Outcome::Unchanged))
            .map(|deed: Deed| {
                let start = Timestamp::ZERO + Duration::from_secs(1);
                let at = u64::try_from(deed.at.since(start).as_micros()).unwrap();
                let (effect, text) = (deed.effect.to_string(), deed.to_string());
                done(at, effect, text, deed.outcome.is_ok())
            });
        before.chain(now).collect()
    }
}

fn failing(unit: &str) -> Happens {
    Happens::Fails(HostError::new(format!(
        "{unit} is failed, as the rehearsal demands"
    )))
}

/// What was changed; of what failed, only what was tried: the reason is each way's own.
fn done(at: u64, effect: String, text: String, good: bool) -> Done {
    let text = if good { text } else { effect.clone() };
    (at, effect, text, good)
}

async fn load(name: &Name, spec: &config::Hook, keeper: &Client) -> LoadedHook {
    let sources = Sources::of_daemon();
    let source = HookSource::read(name.clone(), &spec.path, spec.config_json.clone(), &sources);
    let policy = SandboxPolicy::Required;
    let loaded = LoadedHook::load(keeper, name, spec, source.unwrap(), policy, false).await;
    loaded.unwrap()
}

/// The values that a machine has, as the rehearsal's effects left them.
fn left(done: &[Done]) -> BTreeMap<String, String> {
    let changes = done.iter().filter(|(.., good)| *good);
    let changes = changes.filter_map(|(_, _, text, _)| {
        let (resource, values) = text.split_once(": ")?;
        Some((
            resource.to_owned(),
            values.rsplit_once(" -> ")?.1.to_owned(),
        ))
    });
    changes.collect()
}

/// In the output of the test, and past who captures it: a run that is killed has said it.
fn tell(text: &str) {
    _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs a property over random values: those of the seed in the environment, or of one that is
/// printed.
fn hold<S: Strategy>(cases: u32, strategy: &S, holds: impl Fn(&S::Value)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 =
        number("CARPD_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    tell(&format!("CARPD_SEED={seed}"));
    let cases = number("CARPD_CASES")
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(cases);
    let runs = Runs {
        cases,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Runs::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(runs, rng);
    let ran = runner.run(strategy, |value| {
        holds(&value);
        Ok(())
    });
    if let Err(error) = ran {
        panic!("CARPD_SEED={seed}: {error}");
    }
}

#[test]
fn a_rehearsal_and_a_host_of_a_test_do_the_same_whatever_happens() {
    hold(30, &history(), |history| {
        let directory = tempfile::tempdir().unwrap();
        history.write(directory.path());
        let (done, cues) = rehearsed(history, directory.path());
        let (played, booted, host) = block_on(async {
            let (keeper, _exits) = Client::start(Some(Path::new(DAEMON))).unwrap();
            let mut played = Played::start(directory.path(), &keeper).await;
            for (at, cue) in &cues {
                played.advance(*at).await;
                played.take(cue).await;
            }
            played.advance(history.end() * 1000).await;
            let host = played.scripted.host().clone();
            (played.done(), played.before.len(), host)
        });
        assert_eq!(played, done, "{cues:#?}");
        let foreign = |resource: &Resource| matches!(resource, Resource::Service { .. });
        let now: BTreeMap<String, Value> = host
            .trace()
            .into_iter()
            .filter(|deed| deed.outcome.is_ok())
            .filter_map(|deed| deed.change)
            .filter(|(resource, ..)| !foreign(resource))
            .map(|(resource, ..)| (resource.to_string(), host.value(&resource)))
            .collect();
        for (resource, value) in left(&done[booted..]) {
            if let Some(now) = now.get(&resource) {
                let content = now
                    .content()
                    .map(|text| format!("{:?}", String::from_utf8_lossy(text)));
                assert_eq!(
                    content.unwrap_or_else(|| now.to_string()),
                    value,
                    "{resource}"
                );
            }
        }
    });
}

/// Two hooks of one virtual host. What fails is left alone, or tried again only later.
fn pair() -> impl Strategy<Value = [Hook; 2]> {
    let patient = |mut hook: Hook| {
        hook.health = false;
        if hook.on_failure == "resign" {
            hook.on_failure = "keep";
        }
        let before = hook.before_master.iter_mut();
        before.for_each(|ops| ops.retain(|op| !matches!(op, Op::Fails(_))));
        hook
    };
    [hook(plain), hook(plain)].prop_map(move |hooks| hooks.map(patient))
}

/// Of becoming master and of becoming backup afterwards: what is done, in order, and what the hooks
/// ask for; what is undone at the end.
type Effects = [Vec<String>; 5];

/// As `carpd plan` says it.
fn planned(directory: &Path) -> Effects {
    let steps = |event: &str| -> Vec<(Json, String)> {
        let args = ["plan", "--config", "carpd.toml", "--event", event, "--json"];
        let ran = carpd(directory, &args);
        let json: Json = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr));
        let parts = json["plans"][0]["parts"].as_array().unwrap();
        let of_part = |part: &Json| {
            let steps = part["steps"].as_array().unwrap().iter();
            let by = part["by"].clone();
            let step = |step: &Json| {
                let came = match step["verdict"].as_str().unwrap() {
                    "denied" => " (denied)",
                    "failed" => " (failed)",
                    _ => "",
                };
                format!("{}{came}", step["effect"].as_str().unwrap())
            };
            steps.map(|it| (by.clone(), step(it))).collect::<Vec<_>>()
        };
        parts.iter().flat_map(of_part).collect()
    };
    let those = |steps: &[(Json, String)], of: fn(&Json, &str) -> bool| -> Vec<String> {
        let steps = steps.iter().filter(|(by, step)| of(by, step));
        steps.map(|(_, step)| step.clone()).collect()
    };
    let (up, down) = (steps("master"), steps("backup"));
    // The routes of this machine are not those of the other.
    let done = |by: &Json, step: &str| {
        !(step.ends_with(" (denied)") || by == "daemon" && step.starts_with("route."))
    };
    [
        those(&up, done),
        those(&up, |by, _| by.is_object()),
        those(&down, done),
        those(&down, |by, _| by.is_object()),
        those(&down, |by, _| by == "undo"),
    ]
}

/// As `carpd test` sees it.
fn tested(directory: &Path) -> Effects {
    let ran = carpd(directory, &["test", "a_test.lua", "--json"]);
    let report: Json = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr));
    assert_eq!(report["failed"], 0, "{report}");
    let lines = report["files"][0]["cases"][0]["output"].as_array().unwrap();
    [
        "up done ",
        "up asked ",
        "down done ",
        "down asked ",
        "undone ",
    ]
    .map(|kind| {
        let lines = lines.iter().map(|line| line.as_str().unwrap());
        lines
            .filter_map(|line| Some(line.strip_prefix(kind)?.to_owned()))
            .collect()
    })
}

const BOTH_WAYS: &str = "\
test.case('both', function()
  local h = test.host({ interface = 'lo', hostname = $HOSTNAME, hooks = { 'a', 'b' } })
  local called, seen = 0, 0
  local function tell(kind, role)
    h:become(role)
    local failed = false
    for at, call in h:calls() do failed = failed or at > called and call.outcome == 'failed' end
    if failed then h:expect_error() end
    called = #h:calls()
    for at, effect in h:trace() do
      if at > seen then print(kind .. ' done ' .. effect) end
    end
    seen = #h:trace()
    for _, effect in h:plan() do print(kind .. ' asked ' .. effect) end
  end
  tell('up', 'master')
  tell('down', 'backup')
  for _, effect in h:undone() do print('undone ' .. effect) end
end)
";

#[test]
fn a_plan_and_a_test_know_the_same_effects_of_a_change() {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    hold(15, &pair(), |hooks| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        write("pass", "love\n");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(path.join("pass"), private).unwrap();
        let below = path.to_str().unwrap();
        let mut config = "[[vhost]]\nname = \"test\"\ninterface = \"lo\"\nvhid = 1\naddresses = [\"192.0.2.22/24\"]\n\
                          password-file = \"pass\"\nhooks = [\"a\", \"b\"]\n"
            .to_owned();
        for (name, hook) in ["a", "b"].iter().zip(hooks) {
            write(&format!("{name}.lua"), &hook.code(below));
            config += &hook.toml(name, below);
        }
        write("carpd.toml", &config);
        let hostname = format!("{:?}", hostname.trim());
        write("a_test.lua", &BOTH_WAYS.replace("$HOSTNAME", &hostname));
        assert_eq!(tested(path), planned(path), "{config}");
    });
}
