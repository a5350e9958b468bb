//! Executes what a case calls: hosts made, events played, expectations compared.

use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::histories::Lived;
use super::hook::Subject;
use super::node::{Node, Told};
use super::record::{HookCall, LogLine};
use super::report::{Failure, Mismatch, Update};
use super::spec::{Spec, World, known, time};
use super::{faults, histories};
use crate::effect::{Query, Reply, Resource};
use crate::hooks::contract::api::{
    Arrangement, Call, Expect, HostEvent, Look, ModuleCall, On, TEST_FUNCTIONS,
};
use crate::hooks::contract::message::TestCall;
use crate::hooks::process::test_session::TestRequestHandler;
use crate::host::sim::{Happens, Trouble};
use crate::host::{Host as _, HostError};
use crate::journal::DaemonCause;
use crate::proto::Cause;
use crate::types::State;

/// How many hosts one case may make.
const HOSTS_MAX: usize = 1000;
/// How many lines one case may print, and how many bytes in total.
const OUTPUT_MAX: usize = 64 << 10;
/// A query of a host in memory never waits.
const LIMIT: Duration = Duration::from_secs(1);

/// One case in progress.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) subject: &'a Rc<Subject>,
    /// The seed of random histories that the case asks for.
    pub(super) seed: u64,
    /// Record plans that differ, and continue.
    pub(super) update: bool,
    /// Each host with the place in the test of its last event.
    hosts: Vec<(Rc<Node>, (String, u32))>,
    /// The first thing that went wrong.
    pub(super) failure: Option<Failure>,
    pub(super) output: Vec<String>,
    output_bytes: usize,
    pub(super) updates: Vec<Update>,
    /// The options that the hosts were made from.
    pub(super) specs: Vec<Json>,
}

/// An argument list, consumed from the front.
struct Arguments(std::vec::IntoIter<Json>);

type Answered = Result<Json, Wrong>;

/// Why a call raises an error.
enum Wrong {
    /// The call is invalid.
    Call(String),
    /// An expectation is not met.
    Expectation(String, Option<Mismatch>),
    /// A history that the test generated went wrong.
    History(Lived),
}

impl From<String> for Wrong {
    fn from(text: String) -> Self {
        Self::Call(text)
    }
}

impl Arguments {
    fn next(&mut self) -> Json {
        self.0.next().unwrap_or(Json::Null)
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        match self.next() {
            Json::String(text) => Ok(text),
            other => Err(format!("{name} must be text, not {}", word_of(&other))),
        }
    }

    fn optional_text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.next() {
            Json::Null => Ok(None),
            Json::String(text) => Ok(Some(text)),
            other => Err(format!("{name} must be text, not {}", word_of(&other))),
        }
    }

    fn number(&mut self, name: &str) -> Result<u64, String> {
        let given = self.next();
        given
            .as_u64()
            .ok_or_else(|| format!("{name} must be a whole number, not {}", word_of(&given)))
    }
}

const fn word_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "nothing",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) | Json::Object(_) => "a table",
    }
}

/// `EventOptions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EventOptions {
    cause: Option<String>,
    peer: Option<std::net::IpAddr>,
    initial: Option<bool>,
    missed: u32,
    wait: Option<bool>,
}

/// `FaultOptions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FaultOptions {
    times: Option<u32>,
    after: u32,
}

impl TestRequestHandler for Case<'_> {
    async fn call(&mut self, call: TestCall) -> Result<Vec<u8>, String> {
        let function = usize::try_from(call.function)
            .ok()
            .and_then(|id| TEST_FUNCTIONS.get(id));
        let function = function.ok_or_else(|| "there is no such function".to_owned())?;
        let arguments: Vec<Json> =
            serde_json::from_slice(&call.arguments).map_err(|err| err.to_string())?;
        let arguments = Arguments(arguments.into_iter());
        let place = (call.file, call.line);
        let answered = match function.call {
            Call::Module(call) => self.test(call, arguments, &place).await,
            call => self.host(call, arguments, &place).await,
        };
        match answered {
            Ok(json) => serde_json::to_vec(&json).map_err(|err| err.to_string()),
            Err(Wrong::Call(text)) => {
                let of = if function.on == On::Test {
                    "test."
                } else {
                    "h:"
                };
                Err(format!("{of}{}: {text}", function.name))
            }
            Err(Wrong::Expectation(text, mismatch)) => {
                let text = text + &self.own_errors();
                self.fail(&place, text.clone(), mismatch);
                Err(text)
            }
            Err(Wrong::History(Lived {
                wrong: message,
                history,
            })) => {
                let text = format!("{message}\n{}", history.join("\n"));
                let (file, line) = place;
                self.failure.get_or_insert(Failure {
                    file,
                    line,
                    message,
                    history,
                    mismatch: None,
                });
                Err(text)
            }
        }
    }
}

impl<'a> Case<'a> {
    pub(super) const fn new(subject: &'a Rc<Subject>, seed: u64, update: bool) -> Self {
        Self {
            subject,
            seed,
            update,
            hosts: Vec::new(),
            failure: None,
            output: Vec::new(),
            output_bytes: 0,
            updates: Vec::new(),
            specs: Vec::new(),
        }
    }

    /// Records what is wrong, unless something was recorded before.
    fn fail(&mut self, (file, line): &(String, u32), message: String, mismatch: Option<Mismatch>) {
        self.failure.get_or_insert(Failure {
            file: file.clone(),
            line: *line,
            message,
            history: Vec::new(),
            mismatch,
        });
    }

    /// The errors of hooks that were not expected so far, as text; empty if there are none. They
    /// are often the reason why something else is not as expected.
    pub(super) fn own_errors(&self) -> String {
        let all = self
            .hosts
            .iter()
            .flat_map(|(node, _)| node.record().errors.clone());
        all.map(|failed| format!("\nthe hook failed in {}: {}", failed.run(), failed.error))
            .collect()
    }

    /// The case has ended: a hook that failed unexpectedly fails the case.
    pub(super) fn end(&mut self) {
        for at in 0..self.hosts.len() {
            if let Some((node, place)) = self.hosts.get(at).cloned()
                && let Err(text) = nobody_failed(&node)
            {
                self.fail(&place, text, None);
            }
        }
    }

    async fn test(
        &mut self,
        call: ModuleCall,
        mut arguments: Arguments,
        place: &(String, u32),
    ) -> Answered {
        match call {
            ModuleCall::Host => {
                if self.hosts.len() >= HOSTS_MAX {
                    return Err(format!("more than {HOSTS_MAX} hosts in one case").into());
                }
                let options = arguments.next();
                let nodes = Node::all(self.subject, &Spec::read(&options)?).await?;
                if !self.specs.contains(&options) {
                    self.specs.push(options);
                }
                let first = self.hosts.len() + 1;
                let nodes = nodes.into_iter().map(|node| (node, place.clone()));
                self.hosts.extend(nodes);
                Ok(json!(first))
            }
            ModuleCall::Equal => {
                let (actual, expected) = (arguments.text("actual")?, arguments.text("expected")?);
                let note = arguments
                    .optional_text("note")?
                    .map(|note| format!("{note}: "))
                    .unwrap_or_default();
                Err(Wrong::Expectation(
                    format!("{note}expected {expected}, got {actual}"),
                    None,
                ))
            }
            ModuleCall::Print => {
                let text = arguments.text("text")?;
                self.output_bytes += text.len() + 1;
                if self.output_bytes <= OUTPUT_MAX {
                    self.output.push(text);
                }
                Ok(Json::Null)
            }
            ModuleCall::Faults => {
                let found =
                    faults::sweep(self.subject, &arguments.next(), faults::Hopeless::Wrong).await?;
                found.map_or(Ok(Json::Null), |text| Err(Wrong::Expectation(text, None)))
            }
            ModuleCall::Histories => {
                let options = arguments.next();
                let runs = match arguments.next() {
                    Json::Null => histories::RUNS,
                    given => given
                        .as_u64()
                        .and_then(|n| u32::try_from(n).ok())
                        .filter(|n| *n <= histories::RUNS_MAX)
                        .ok_or_else(|| {
                            format!("runs must be a number up to {}", histories::RUNS_MAX)
                        })?,
                };
                let found = histories::play(self.subject, &options, self.seed, runs).await?;
                found.map_or(Ok(Json::Null), |lived| Err(Wrong::History(lived)))
            }
            ModuleCall::Case => Err("it is done where the test file runs".to_owned().into()),
        }
    }

    async fn host(
        &mut self,
        call: Call,
        mut arguments: Arguments,
        place: &(String, u32),
    ) -> Answered {
        let number = usize::try_from(arguments.number("the host")?).unwrap_or(usize::MAX);
        let entry = number
            .checked_sub(1)
            .and_then(|at| self.hosts.get_mut(at))
            .ok_or_else(|| "there is no such host".to_owned())?;
        let node = Rc::clone(&entry.0);
        match call {
            Call::Module(_) => Err("this is no function of a host".to_owned().into()),
            Call::Event(call) => {
                nobody_failed(&node).map_err(|text| Wrong::Expectation(text, None))?;
                entry.1.clone_from(place);
                event(&node, call, arguments).await
            }
            Call::Arrange(call) => arrange(&node, call, arguments),
            Call::Expect(call) => self.expect(&node, call, arguments, place),
            Call::Look(Look::Vhost) => self.beside(&node, &arguments.text("name")?),
            Call::Look(call) => look(&node, call, arguments).await,
        }
    }

    /// The number of the virtual host with this name on the same host.
    fn beside(&self, node: &Node, name: &str) -> Answered {
        let here: Vec<(usize, &str)> = (1..)
            .zip(&self.hosts)
            .filter(|(_, (other, _))| other.is_beside(node))
            .map(|(number, (other, _))| (number, other.vhost().name.as_str()))
            .collect();
        let found = here.iter().find(|(_, known)| *known == name);
        let (number, _) = found.ok_or_else(|| {
            let names: Vec<&str> = here.iter().map(|(_, name)| *name).collect();
            format!("there is no {name:?}; there are {}", names.join(", "))
        })?;
        Ok(json!(number))
    }

    fn expect(
        &mut self,
        node: &Node,
        call: Expect,
        mut arguments: Arguments,
        place: &(String, u32),
    ) -> Answered {
        let met = |met: bool, text: String| {
            if met {
                Ok(Json::Null)
            } else {
                Err(Wrong::Expectation(text, None))
            }
        };
        match call {
            Expect::ExpectPlan => {
                self.compare(
                    "expect_plan",
                    lines(&arguments.text("plan")?),
                    node.plan(),
                    place,
                )?;
                node.record_mut().plan.clear();
                Ok(Json::Null)
            }
            Expect::ExpectUndone => {
                if let Some(plan) = arguments.optional_text("plan")? {
                    return self.compare("expect_undone", lines(&plan), node.undone(), place);
                }
                let up = node.own_addresses_up();
                let mut left = node.left_behind();
                left.extend(
                    up.iter()
                        .map(|address| format!("{address} is up, and this is no master")),
                );
                if node.state() == State::Master {
                    left.insert(0, "it is still master".to_owned());
                }
                met(
                    left.is_empty(),
                    format!("not everything is undone: {}", left.join("; ")),
                )
            }
            Expect::ExpectError => {
                let text = arguments.optional_text("text")?.unwrap_or_default();
                let errors = node.take_errors();
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                let found = errors
                    .iter()
                    .any(|failed| failed.error.to_string().contains(&text));
                let got = if all.is_empty() {
                    "no run failed".to_owned()
                } else {
                    all.join("; ")
                };
                met(found, format!("expected a failure with {text:?}: {got}"))
            }
            Expect::ExpectDenied => {
                let text = arguments.optional_text("text")?.unwrap_or_default();
                let denied = node.record().denied.clone();
                let found = denied.iter().any(|denied| denied.contains(&text));
                let got = if denied.is_empty() {
                    "nothing was refused".to_owned()
                } else {
                    denied.join("; ")
                };
                if found {
                    // The run failed because of the refusal, unless the hook caught it.
                    node.take_errors();
                }
                met(found, format!("expected a refusal with {text:?}: {got}"))
            }
            Expect::ExpectLog => {
                let text = arguments.text("text")?;
                let log: Vec<String> = node.record().log.iter().map(ToString::to_string).collect();
                let found = log.iter().any(|line| line.contains(&text));
                met(
                    found,
                    format!(
                        "no line of the log has {text:?}; it is: {}",
                        if log.is_empty() { "empty" } else { "" }
                    ) + &log.join(" | "),
                )
            }
            Expect::ExpectState => {
                let role = arguments.text("role")?;
                let state = node.state().as_str();
                met(role == state, format!("expected {role}, it is {state}"))
            }
        }
    }

    fn compare(
        &mut self,
        function: &'static str,
        expected: Vec<String>,
        actual: Vec<String>,
        place: &(String, u32),
    ) -> Answered {
        if expected == actual {
            return Ok(Json::Null);
        }
        let mismatch = Mismatch {
            function,
            expected,
            actual,
        };
        if self.update {
            self.updates.push(Update {
                file: place.0.clone(),
                line: place.1,
                mismatch,
            });
            return Ok(Json::Null);
        }
        let what = if function == "expect_plan" {
            "the plan differs"
        } else {
            "what was undone differs"
        };
        Err(Wrong::Expectation(what.to_owned(), Some(mismatch)))
    }
}

/// The lines that are not blank, trimmed, in the form in which they are compared.
fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(canonical)
        .collect()
}

/// A route may be written in any form that `test.host` accepts.
fn canonical(line: &str) -> String {
    let of_route = || {
        let (verb, rest) = line
            .split_once(' ')
            .filter(|(verb, _)| matches!(*verb, "route.replace" | "route.delete"))?;
        let (words, came) = rest
            .split_once(" (")
            .map_or((rest, String::new()), |(words, came)| {
                (words, format!(" ({came}"))
            });
        let route = super::spec::route(words).ok()?;
        Some(format!("{verb} {route}{came}"))
    };
    of_route().unwrap_or_else(|| line.to_owned())
}

/// An event may only follow if nothing failed unexpectedly.
fn nobody_failed(node: &Node) -> Result<(), String> {
    let errors = node.take_errors();
    let Some(failed) = errors.first() else {
        return Ok(());
    };
    let (run, error) = (failed.run(), &failed.error);
    Err(format!(
        "{run} failed, and no expect_error said so: {error}"
    ))
}

async fn event(node: &Rc<Node>, call: HostEvent, mut arguments: Arguments) -> Answered {
    match call {
        HostEvent::Become => {
            let role = arguments.text("role")?;
            let options = arguments.next();
            let options: EventOptions =
                options_of(&options, &["cause", "peer", "initial", "missed", "wait"])?;
            let to = match role.as_str() {
                "master" => State::Master,
                "backup" => State::Backup,
                other => {
                    return Err(format!("{other:?} is neither \"master\" nor \"backup\"").into());
                }
            };
            let first = to == State::Backup && node.state() == State::Init;
            if options.initial.is_some_and(|initial| initial != first) {
                let text =
                    "initial is true for the first h:become(\"backup\") and for nothing else";
                return Err(text.to_owned().into());
            }
            let usual = if first {
                Cause::Startup
            } else {
                Told::usual(to).cause
            };
            let told = Told {
                cause: options.cause.map_or(Ok(usual), |word| cause(&word))?,
                peer: options.peer,
                missed: options.missed,
            };
            node.become_state(to, told, options.wait.unwrap_or(true))
                .await?;
        }
        HostEvent::Advance => node.advance(time(&arguments.next())?).await?,
        HostEvent::Stop => node.stop().await?,
        HostEvent::PeerClaim => {
            let peer = arguments.optional_text("peer")?;
            let peer = peer
                .map(|text| text.parse().map_err(|_| format!("{text:?} is no address")))
                .transpose()?;
            if node.state() != State::Master {
                return Err("only a master hears a worse master".to_owned().into());
            }
            node.hear_worse(peer).await?;
        }
        HostEvent::Health => {
            let (demotion, reason) = node.health().await?;
            return Ok(json!({ "demotion": demotion, "reason": reason }));
        }
    }
    Ok(Json::Null)
}

/// Sets up what goes wrong later, or what another program changes.
fn arrange(node: &Node, call: Arrangement, mut arguments: Arguments) -> Answered {
    let host = node.host();
    let (effect, happens) = match call {
        Arrangement::Heal => {
            host.heal();
            return Ok(Json::Null);
        }
        Arrangement::Change => {
            node.change(&World::read(&arguments.next())?)?;
            return Ok(Json::Null);
        }
        Arrangement::Fail => {
            let effect = arguments.text("effect")?;
            let message = arguments
                .optional_text("message")?
                .unwrap_or_else(|| "the test lets it fail".to_owned());
            let error = HostError::new(message);
            (effect, Happens::Fails(error))
        }
        Arrangement::Slow => (
            arguments.text("effect")?,
            Happens::Takes(time(&arguments.next())?),
        ),
        Arrangement::Hang => (arguments.text("effect")?, Happens::Hangs),
        Arrangement::Kill => (arguments.text("effect")?, Happens::Kills),
    };
    let options = arguments.next();
    let options: FaultOptions = options_of(&options, &["times", "after"])?;
    host.trouble(Trouble {
        effect,
        happens,
        after: options.after,
        times: options.times.unwrap_or(u32::MAX),
    });
    Ok(Json::Null)
}

fn options_of<T: Default + for<'d> Deserialize<'d>>(
    json: &Json,
    keys: &[&str],
) -> Result<T, String> {
    if json.is_null() {
        return Ok(T::default());
    }
    known(json, keys)?;
    serde_json::from_value(json.clone()).map_err(|err| err.to_string())
}

/// A cause by its name.
fn cause(word: &str) -> Result<Cause, String> {
    // When the daemon has died, nothing is left that could receive this cause.
    let daemon = DaemonCause::ALL
        .into_iter()
        .filter(|cause| *cause != DaemonCause::Died);
    let all: Vec<Cause> = Cause::protocol()
        .into_iter()
        .chain(daemon.map(|cause| Cause::Asked(cause.because(""))))
        .collect();
    let words: Vec<&str> = all.iter().map(Cause::as_str).collect();
    all.iter()
        .find(|cause| cause.as_str() == word)
        .cloned()
        .ok_or_else(|| format!("no cause {word:?}; there are {}", words.join(", ")))
}

/// Queries a host.
async fn look(node: &Node, call: Look, mut arguments: Arguments) -> Answered {
    let host = node.host();
    let file = |path: String| {
        let value = host.value(&Resource::File { path });
        value.content().map_or(Json::Null, |content| {
            Json::from(String::from_utf8_lossy(content))
        })
    };
    Ok(match call {
        Look::State => json!(node.state().as_str()),
        Look::Hostname => json!(host.value(&Resource::Hostname).to_string()),
        Look::Sysctl => json!(
            host.value(&Resource::Sysctl {
                key: arguments.text("key")?
            })
            .to_string()
        ),
        Look::File => file(arguments.text("path")?),
        Look::Service => match host
            .answer(
                &Query::ServiceStatus {
                    unit: arguments.text("unit")?,
                },
                LIMIT,
            )
            .await
        {
            Ok(Reply::Unit(state)) => json!(state.as_str()),
            _ => Json::Null,
        },
        Look::Addresses => {
            let dev = arguments.optional_text("dev")?;
            let dev = dev.map_or(Ok(node.vhost().interface.clone()), |dev| {
                dev.parse().map_err(|e| format!("{dev:?}: {e}"))
            })?;
            match host
                .answer(&Query::Addresses { dev: Some(dev) }, LIMIT)
                .await
            {
                Ok(Reply::Addresses(found)) => found
                    .iter()
                    .map(|(_, address)| address.to_string())
                    .collect(),
                _ => Json::Null,
            }
        }
        Look::Routes => {
            let table = match arguments.next() {
                Json::Null => None,
                given => Some(
                    given
                        .as_u64()
                        .and_then(|n| u32::try_from(n).ok())
                        .ok_or("table must be a number".to_owned())?,
                ),
            };
            match host.answer(&Query::Routes { table }, LIMIT).await {
                Ok(Reply::Routes(routes)) => routes.iter().map(ToString::to_string).collect(),
                _ => Json::Null,
            }
        }
        Look::Rules => {
            let rule = |resource: &Resource| {
                if let Resource::Rule(rule) = resource {
                    Some(rule.to_string())
                } else {
                    None
                }
            };
            host.values().keys().filter_map(rule).collect()
        }
        Look::Link => {
            let dev = arguments.text("dev")?;
            let dev = dev.parse().map_err(|err| format!("{dev:?}: {err}"))?;
            host.link(&dev).map_or(Json::Null, |link| {
                json!({ "name": link.name.as_str(), "index": link.index, "up": link.up, "carrier": link.carrier,
                        "mac": link.mac.to_string(), "mtu": link.mtu })
            })
        }
        Look::Log => {
            let line = |l: &LogLine| json!({ "hook": l.hook.as_str(), "level": l.level(), "message": l.message, "fields": l.fields });
            node.record().log.iter().map(line).collect()
        }
        Look::Calls => {
            let call = |call: &HookCall| {
                json!({ "hook": call.hook.as_str(), "entry": call.entry.as_str(), "cause": call.cause,
                        "missed": call.missed, "outcome": call.outcome })
            };
            node.record().calls.iter().map(call).collect()
        }
        Look::Vhost => return Err("it is done where all hosts are known".to_owned().into()),
        Look::Plan => json!(node.plan()),
        Look::Undone => json!(node.undone()),
        Look::Trace => json!(node.trace()),
        Look::Demotion => json!(node.demotion()),
        Look::Stored => {
            let bytes = node.stored(&arguments.text("key")?);
            bytes
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default()
        }
        Look::Now => json!(node.now().as_secs_f64()),
    })
}
