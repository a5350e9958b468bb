//! Services under systemd, by D-Bus: asks for a job and waits for its result.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::Mutex;
use tokio::time::timeout;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, message};

use super::checked;
use crate::effect::{Outcome, ServiceVerb, UnitState};
use crate::host::services::spawn::Deadline;
use crate::host::{HostError, RAISE_TIMEOUT};

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const ROOT: &str = "/org/freedesktop/systemd1";

/// For what must not hang even when the limit is long, or used up: connecting, asking for states,
/// cancelling.
const QUESTION: Duration = Duration::from_secs(2);

/// Jobs whose end may be told before we look.
const QUEUE: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");

/// A connection to the system bus, made when first needed, and again when it broke.
#[derive(Debug, Default)]
pub(in crate::host) struct Systemd {
    /// Instead of the usual system bus.
    address: Option<String>,
    connection: Mutex<Option<Connection>>,
}

/// What a unit is doing, in systemd's own words.
struct States {
    active: String,
    sub: String,
}

impl States {
    fn state(&self) -> UnitState {
        match self.active.as_str() {
            "active" | "reloading" | "refreshing" => UnitState::Active,
            "inactive" | "maintenance" => UnitState::Inactive,
            "activating" => UnitState::Activating,
            "deactivating" => UnitState::Deactivating,
            "failed" => UnitState::Failed,
            _ => UnitState::Unknown,
        }
    }
}

/// `httpd` is `httpd.service`; other types of unit are written out.
fn full_name(unit: &str) -> Result<String, HostError> {
    const TYPES: [&str; 7] = [
        ".service", ".socket", ".target", ".timer", ".mount", ".path", ".slice",
    ];
    let unit = checked(unit)?;
    Ok(if TYPES.iter().any(|kind| unit.ends_with(kind)) {
        unit.to_owned()
    } else {
        format!("{unit}.service")
    })
}

impl Systemd {
    pub(in crate::host) fn new(address: Option<String>) -> Self {
        Self {
            address,
            connection: Mutex::new(None),
        }
    }

    /// What the unit is doing.
    pub(in crate::host) async fn status(
        &self,
        unit: &str,
        limit: Duration,
    ) -> Result<UnitState, HostError> {
        let unit = full_name(unit)?;
        let asked = timeout(limit, async {
            let connection = self.connected().await?;
            self.settle(states(&connection, &unit).await).await
        });
        let states = asked
            .await
            .map_err(|_| silent("the state of", &unit, limit))??;
        Ok(states.map_or(UnitState::Unknown, |states| states.state()))
    }

    /// Acts on the unit and waits for what comes of it.
    pub(in crate::host) async fn perform(
        &self,
        unit: &str,
        verb: ServiceVerb,
        limit: Duration,
    ) -> Result<Outcome, HostError> {
        let unit = full_name(unit)?;
        let deadline = Deadline::after(limit);
        let begun = timeout(limit, async {
            let connection = self.connected().await?;
            let before = self.settle(states(&connection, &unit).await).await?;
            match (verb, before.as_ref().map(States::state)) {
                (_, None) => Err(HostError::errno(
                    format!("there is no unit {unit}"),
                    libc::ENOENT,
                )),
                (ServiceVerb::Start, Some(UnitState::Active))
                | (ServiceVerb::Stop, Some(UnitState::Inactive | UnitState::Failed)) => Ok(None),
                (_, Some(_)) => {
                    self.settle(Job::enqueue(&connection, &unit, verb).await)
                        .await
                }
            }
        });
        let Some(job) = begun
            .await
            .map_err(|_| silent(verb.as_str(), &unit, limit))??
        else {
            return Ok(Outcome::Unchanged);
        };
        job.wait(deadline.left(), limit).await
    }

    async fn connected(&self) -> Result<Connection, HostError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref() {
            return Ok(connection.clone());
        }
        let builder = match &self.address {
            Some(address) => zbus::connection::Builder::address(address.as_str()),
            None => zbus::connection::Builder::system(),
        };
        let failed =
            |said: String| HostError::new(format!("could not reach systemd over D-Bus: {said}"));
        let built = timeout(QUESTION, builder.build()).await;
        let connection = built
            .map_err(|_| failed("no answer".to_owned()))?
            .map_err(|err| failed(err.to_string()))?;
        // Without a subscriber systemd tells nobody about the end of jobs.
        let subscribed = connection
            .call_method(Some(SERVICE), ROOT, Some(MANAGER), "Subscribe", &())
            .await;
        subscribed.map_err(|err| failed(words(&err)))?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// Drops a connection that failed for another reason than systemd's "no": the bus may have been
    /// restarted.
    async fn settle<T>(&self, result: Result<T, zbus::Error>) -> Result<T, HostError> {
        match result {
            Ok(value) => Ok(value),
            Err(err) => {
                if !matches!(err, zbus::Error::MethodError(..) | zbus::Error::FDO(_)) {
                    *self.connection.lock().await = None;
                }
                Err(HostError::new(format!("systemd: {}", words(&err))))
            }
        }
    }
}

fn silent(what: &str, unit: &str, limit: Duration) -> HostError {
    let message = format!(
        "systemd did not answer to {what} {unit} within {:.1} s",
        limit.as_secs_f64()
    );
    HostError::errno(message, libc::ETIMEDOUT)
}

/// What systemd said, without D-Bus's own names where it used words.
fn words(err: &zbus::Error) -> String {
    if let zbus::Error::MethodError(_, Some(said), _) = err {
        said.clone()
    } else {
        err.to_string()
    }
}

/// `None` if there is no such unit.
async fn states(connection: &Connection, unit: &str) -> Result<Option<States>, zbus::Error> {
    let loaded = connection
        .call_method(Some(SERVICE), ROOT, Some(MANAGER), "LoadUnit", &(unit,))
        .await?;
    let path: OwnedObjectPath = loaded.body().deserialize()?;
    let property = async |name| text_property(connection, path.as_str(), UNIT, name).await;
    if property("LoadState").await? == "not-found" {
        return Ok(None);
    }
    Ok(Some(States {
        active: property("ActiveState").await?,
        sub: property("SubState").await?,
    }))
}

async fn text_property(
    connection: &Connection,
    path: &str,
    interface: &str,
    name: &str,
) -> Result<String, zbus::Error> {
    let properties = Some("org.freedesktop.DBus.Properties");
    let answer = connection
        .call_method(Some(SERVICE), path, properties, "Get", &(interface, name))
        .await?;
    let body = answer.body();
    let value: zbus::OwnedVariant = body.deserialize()?;
    String::try_from(&*value)
}

/// A job that systemd works on. Dropped before its end, it is cancelled.
struct Job {
    connection: Connection,
    unit: String,
    verb: ServiceVerb,
    path: OwnedObjectPath,
    ends: MessageStream,
    ended: bool,
}

impl Job {
    /// `None` if there is nothing to wait for because the machine goes down anyway.
    async fn enqueue(
        connection: &Connection,
        unit: &str,
        verb: ServiceVerb,
    ) -> Result<Option<Self>, zbus::Error> {
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .interface(MANAGER)
            .member("JobRemoved")
            .build()?;
        // Listening first: the job may be done before its path has reached us.
        let ends = MessageStream::for_match_rule(rule, connection, Some(QUEUE)).await?;
        let method = match verb {
            ServiceVerb::Start => "StartUnit",
            ServiceVerb::Stop => "StopUnit",
            ServiceVerb::Restart => "RestartUnit",
            ServiceVerb::Reload => "ReloadUnit",
        };
        match connection
            .call_method(
                Some(SERVICE),
                ROOT,
                Some(MANAGER),
                method,
                &(unit, "replace"),
            )
            .await
        {
            Ok(answer) => {
                let path = answer.body().deserialize()?;
                let (connection, unit) = (connection.clone(), unit.to_owned());
                Ok(Some(Self {
                    connection,
                    unit,
                    verb,
                    path,
                    ends,
                    ended: false,
                }))
            }
            Err(_) if is_stopping(connection).await => Ok(None),
            Err(err) => Err(err),
        }
    }

    async fn wait(mut self, left: Duration, limit: Duration) -> Result<Outcome, HostError> {
        match timeout(left, self.result()).await {
            Ok(Some(result)) => {
                self.ended = true;
                match result.as_str() {
                    "done" => Ok(Outcome::Changed),
                    "skipped" => Ok(Outcome::Unchanged),
                    "canceled" if is_stopping(&self.connection).await => Ok(Outcome::Unchanged),
                    result => Err(self.error(&format!("ended as {result:?}"), "", None).await),
                }
            }
            Ok(None) => Err(self
                .error("was lost: the connection to systemd ended", "", None)
                .await),
            Err(_) => {
                let what = format!(
                    "did not finish within {:.1} s and was cancelled",
                    limit.as_secs_f64()
                );
                let error = self
                    .error(&what, RAISE_TIMEOUT, Some(libc::ETIMEDOUT))
                    .await;
                self.cancel().await;
                Err(error)
            }
        }
    }

    async fn result(&mut self) -> Option<String> {
        loop {
            // Broken messages are not ours.
            let Ok(message) = self.ends.next().await? else {
                continue;
            };
            let body = message.body();
            if let Ok((_, path, _, result)) =
                body.deserialize::<(u32, OwnedObjectPath, String, String)>()
                && path == self.path
            {
                return Some(result);
            }
        }
    }

    async fn error(&self, what: &str, hint: &str, errno: Option<i32>) -> HostError {
        let now = match timeout(QUESTION, states(&self.connection, &self.unit)).await {
            Ok(Ok(Some(States { active, sub }))) => format!("the unit is {active} ({sub})"),
            Ok(Ok(None)) => "the unit is gone".to_owned(),
            Ok(Err(_)) | Err(_) => "the unit's state is not known".to_owned(),
        };
        let message = format!(
            "{} of {} {what}; {now}{hint}",
            self.verb.as_str(),
            self.unit
        );
        HostError::with(message, errno)
    }

    async fn cancel(mut self) {
        self.ended = true;
        let _ = timeout(QUESTION, cancel(self.connection.clone(), self.path.clone())).await;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.ended
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(cancel(self.connection.clone(), self.path.clone()));
        }
    }
}

async fn cancel(connection: Connection, job: OwnedObjectPath) {
    // It may have ended by itself meanwhile: then there is no such object.
    let _ = connection
        .call_method(
            Some(SERVICE),
            job.as_str(),
            Some("org.freedesktop.systemd1.Job"),
            "Cancel",
            &(),
        )
        .await;
}

/// Is the machine shutting down? Then systemd refuses or drops jobs, and stops everything itself.
async fn is_stopping(connection: &Connection) -> bool {
    let state = text_property(connection, ROOT, MANAGER, "SystemState");
    matches!(timeout(QUESTION, state).await, Ok(Ok(state)) if state == "stopping")
}
