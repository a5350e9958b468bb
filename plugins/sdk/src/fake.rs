//! A host for tests, one a thread: it says yes, remembers what was asked, and fails when told to.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use crate::{
    CommandOutput, Done, EntryPoint, Error, Event, HostError, HttpResponse, Instance, Outcome,
    UnitState, VhostState,
};

#[derive(Default)]
struct Fake {
    asked: Vec<String>,
    options: Vec<String>,
    config: Option<String>,
    answers: BTreeMap<String, String>,
    failing: BTreeMap<String, String>,
    kept: BTreeMap<String, String>,
    slept_ms: f64,
    responses: BTreeMap<String, VecDeque<HttpResponse>>,
    bodies: Vec<String>,
    listening: Vec<String>,
}

thread_local! {
    static FAKE: RefCell<Fake> = RefCell::default();
}

fn with<T>(act: impl FnOnce(&mut Fake) -> T) -> T {
    FAKE.with_borrow_mut(act)
}

/// Forgets everything.
pub fn reset() {
    with(|fake| *fake = Fake::default());
}

/// What was asked so far: `"service.start httpd"`.
#[must_use]
pub fn asked() -> Vec<String> {
    with(|fake| fake.asked.clone())
}

/// The options of what was asked, as text, in the same order.
#[must_use]
pub fn options() -> Vec<String> {
    with(|fake| fake.options.clone())
}

/// The hook's configuration, as JSON; `{}` until it is set.
pub fn set_config(json: &str) {
    with(|fake| fake.config = Some(json.to_owned()));
}

/// What a question such as `"hostname.get"` is answered with; `"command.run NAME"` with a status
/// and what was said on standard error: `"3 no such cache"`.
pub fn answer(question: &str, answer: &str) {
    with(|fake| fake.answers.insert(question.to_owned(), answer.to_owned()));
}

/// From now on what begins like this fails with these words.
pub fn fail(request: &str, message: &str) {
    with(|fake| fake.failing.insert(request.to_owned(), message.to_owned()));
}

/// What the next request such as `"post https://api.example.net/v1/"` is answered with; the last
/// answer stays. Without one it is 200 and no body.
pub fn respond(request: &str, status: u16, body: &str) {
    let response = HttpResponse {
        status,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    };
    with(|fake| {
        fake.responses
            .entry(request.to_owned())
            .or_default()
            .push_back(response)
    });
}

/// The bodies that were sent so far, as text.
#[must_use]
pub fn bodies() -> Vec<String> {
    with(|fake| fake.bodies.clone())
}

/// Who takes TCP connections from now on; nobody until then.
pub fn listen(endpoints: &[&str]) {
    with(|fake| {
        fake.listening = endpoints
            .iter()
            .map(|endpoint| (*endpoint).to_owned())
            .collect()
    });
}

/// An event for the entry point of this name: the virtual host `web` on eth0.
///
/// # Panics
/// There is no such entry point.
#[must_use]
pub fn event(entry: &str) -> Event {
    let (entry, state, previous) = match entry {
        "before_master" => (
            EntryPoint::BeforeMaster,
            VhostState::Backup,
            VhostState::Backup,
        ),
        "on_master" => (EntryPoint::OnMaster, VhostState::Master, VhostState::Backup),
        "before_backup" => (
            EntryPoint::BeforeBackup,
            VhostState::Master,
            VhostState::Master,
        ),
        "on_backup" => (EntryPoint::OnBackup, VhostState::Backup, VhostState::Master),
        "on_peer_claim" => (
            EntryPoint::OnPeerClaim,
            VhostState::Master,
            VhostState::Master,
        ),
        "health" => (EntryPoint::Health, VhostState::Master, VhostState::Master),
        "on_stop" => (EntryPoint::OnStop, VhostState::Init, VhostState::Backup),
        other => panic!("{other} is no entry point"),
    };
    Event {
        entry,
        instance: Instance {
            name: "web".to_owned(),
            interface: "eth0".to_owned(),
            vhid: 40,
            addresses: vec!["192.168.32.22/24".to_owned()],
        },
        state,
        previous,
        cause: "master-down".to_owned(),
        cause_text: "no advertisement for 3000 ms".to_owned(),
        peer: None,
        seq: 1,
        initial: false,
        missed: 0,
        xparam: None,
        node: "node2".to_owned(),
        time_left_ms: 10_000,
    }
}

fn outcome<T>(fake: &Fake, request: &str, good: T) -> Result<T, Error> {
    match fake
        .failing
        .iter()
        .find(|(start, _)| request.starts_with(start.as_str()))
    {
        Some((_, message)) => Err(Error::Host(HostError {
            message: message.clone(),
            errno: None,
        })),
        None => Ok(good),
    }
}

pub(crate) fn effect(request: String, options: &str) -> Done {
    with(|fake| {
        let request = request.trim_end().to_owned();
        let done = outcome(fake, &request, Outcome::Changed);
        fake.asked.push(request);
        fake.options.push(options.to_owned());
        done
    })
}

pub(crate) fn http(
    verb: &str,
    url: &str,
    body: Option<&[u8]>,
    options: &crate::http::Options,
) -> Result<HttpResponse, Error> {
    with(|fake| {
        let request = format!("{verb} {url}");
        fake.asked.push(format!("http.{request}"));
        fake.options.push(format!("{options:?}"));
        fake.bodies
            .extend(body.map(|body| String::from_utf8_lossy(body).into_owned()));
        let good = match fake.responses.get_mut(&request) {
            Some(responses) if responses.len() > 1 => responses.pop_front(),
            Some(responses) => responses.front().cloned(),
            None => None,
        };
        let good = good.unwrap_or(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
        });
        outcome(fake, &format!("http.{request}"), good)
    })
}

pub(crate) fn connect(endpoint: &str, options: &crate::tcp::Options) -> Result<f64, Error> {
    with(|fake| {
        let request = format!("tcp.connect {endpoint}");
        fake.asked.push(request.clone());
        fake.options.push(format!("{options:?}"));
        if fake.listening.iter().any(|known| known == endpoint) {
            return outcome(fake, &request, 1.0);
        }
        Err(Error::Host(HostError {
            message: format!("refused: {endpoint}: Connection refused"),
            errno: Some(111),
        }))
    })
}

pub(crate) fn text(question: &str) -> Result<String, Error> {
    with(|fake| {
        outcome(
            fake,
            question,
            fake.answers.get(question).cloned().unwrap_or_default(),
        )
    })
}

pub(crate) fn list<T>(question: &str) -> Result<Vec<T>, Error> {
    with(|fake| outcome(fake, question, Vec::new()))
}

pub(crate) fn status(unit: &str) -> Result<UnitState, Error> {
    text(&format!("service.status {unit}")).map(|state| match state.as_str() {
        "active" => UnitState::Active,
        "activating" => UnitState::Activating,
        "deactivating" => UnitState::Deactivating,
        "failed" => UnitState::Failed,
        "inactive" => UnitState::Inactive,
        _ => UnitState::Unknown,
    })
}

pub(crate) fn command(
    name: &str,
    holes: &[(String, String)],
    options: &str,
) -> Result<CommandOutput, Error> {
    let holes: String = holes
        .iter()
        .map(|(key, value)| format!(" {key}={value}"))
        .collect();
    effect(format!("command.run {name}{holes}"), options)?;
    let answer =
        with(|fake| fake.answers.get(&format!("command.run {name}")).cloned()).unwrap_or_default();
    let (status, said) = answer.split_once(' ').unwrap_or((&answer, ""));
    let status = if status.is_empty() {
        0
    } else {
        status.parse().expect("a status is a number")
    };
    Ok(CommandOutput {
        status,
        stdout: Vec::new(),
        stderr: said.as_bytes().to_vec(),
    })
}

pub(crate) fn state() -> VhostState {
    VhostState::Master
}

pub(crate) fn log(level: &str, message: &str, _: &[(String, String)]) {
    with(|fake| {
        fake.asked.push(format!("log.{level} {message}"));
        fake.options.push(String::new());
    });
}

pub(crate) fn now() -> f64 {
    with(|fake| fake.slept_ms)
}

pub(crate) fn sleep(ms: u32) {
    with(|fake| fake.slept_ms += f64::from(ms));
}

pub(crate) fn kept(key: &str) -> Option<String> {
    with(|fake| fake.kept.get(key).cloned())
}

pub(crate) fn keep(key: &str, value: Option<&str>) {
    with(|fake| match value {
        Some(value) => drop(fake.kept.insert(key.to_owned(), value.to_owned())),
        None => drop(fake.kept.remove(key)),
    });
}

pub(crate) fn config() -> String {
    with(|fake| fake.config.clone()).unwrap_or_else(|| "{}".to_owned())
}
