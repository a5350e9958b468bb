//! Tells an HTTP endpoint that this node is master, until it has heard: the floating IP of a cloud.

use carpd_hook::{
    EntryPoint, Event, Failure, Result, VhostState, clock, config, file, hook, http, log,
};

hook!(on_master, on_backup, on_peer_claim);

/// The table `[hook.NAME.config]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where to.
    url: String,
    /// How.
    #[serde(default)]
    method: Method,
    /// What to send.
    #[serde(default)]
    body: String,
    /// What that is.
    #[serde(default = "json")]
    content_type: String,
    /// Where the token stands, if one is needed.
    token_file: Option<String>,
    /// What to send when mastership ends, if anything.
    on_backup: Option<String>,
    /// How often it is tried.
    #[serde(default = "five")]
    attempts: u32,
    /// Before the second attempt, in ms; doubled each time.
    #[serde(default = "half_a_second")]
    pause_ms: u32,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    #[default]
    Post,
    Put,
}

fn json() -> String {
    "application/json".to_owned()
}

const fn five() -> u32 {
    5
}

const fn half_a_second() -> u32 {
    500
}

/// Longest pause between two attempts, in ms.
const PAUSE_MAX: u32 = 10_000;

fn configured() -> Result<Config> {
    serde_json::from_str(&config::get()).map_err(|err| Failure::new(format!("the config: {err}")))
}

fn on_master(event: Event) -> Result {
    let config = configured()?;
    tell(&config, &config.body, &event)
}

/// The other side of a split may have told it last.
fn on_peer_claim(event: Event) -> Result {
    on_master(event)
}

fn on_backup(event: Event) -> Result {
    let config = configured()?;
    match &config.on_backup {
        // At the start nothing has ended.
        Some(body) if !event.initial => tell(&config, body, &event),
        _ => Ok(()),
    }
}

fn tell(config: &Config, body: &str, event: &Event) -> Result {
    let body = filled(body, event);
    let mut headers = vec![("content-type".to_owned(), config.content_type.clone())];
    if let Some(path) = &config.token_file {
        headers.push((
            "authorization".to_owned(),
            format!("Bearer {}", token(path)?),
        ));
    }
    let mut pause = config.pause_ms;
    let mut last = String::new();
    for attempt in 1..=config.attempts.max(1) {
        if attempt > 1 {
            log::warn(
                "Tries again",
                &[
                    ("attempt".to_owned(), attempt.to_string()),
                    ("because".to_owned(), last),
                ],
            );
            clock::sleep(pause)?;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
        let options = http::Options {
            headers: headers.clone(),
            timeout_ms: None,
        };
        let answer = match config.method {
            Method::Post => http::post(&config.url, body.as_bytes(), options),
            Method::Put => http::put(&config.url, body.as_bytes(), options),
        };
        last = match answer {
            Ok(answer) if answer.is_success() => return Ok(()),
            Ok(answer) if !may_pass(answer.status) => {
                return Err(Failure::new(format!(
                    "{} answered with status {}: {}",
                    place(config),
                    answer.status,
                    start(&answer.text())
                )));
            }
            Ok(answer) => format!("{} answered with status {}", place(config), answer.status),
            // Denied, overtaken, over budget: trying again is of no use.
            Err(err) if err.trouble().is_none() => return Err(err.into()),
            Err(err) => err.to_string(),
        };
    }
    Err(Failure::new(format!(
        "gave up after {} attempts: {last}",
        config.attempts.max(1)
    )))
}

/// May the next attempt go better?
const fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// The URL without what may be a secret.
fn place(config: &Config) -> &str {
    config.url.split('?').next().unwrap_or_default()
}

/// As much of a text as belongs into a log.
fn start(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn token(path: &str) -> Result<String> {
    let content =
        file::read(path)?.ok_or_else(|| Failure::new(format!("{path} does not exist")))?;
    let text =
        String::from_utf8(content).map_err(|_| Failure::new(format!("{path} is no text")))?;
    Ok(text.trim().to_owned())
}

/// The text with what stands in braces filled in.
fn filled(text: &str, event: &Event) -> String {
    let instance = &event.instance;
    let address = instance
        .addresses
        .first()
        .map(|cidr| cidr.split('/').next().unwrap_or_default())
        .unwrap_or_default();
    let seq = event.seq.to_string();
    let values = [
        ("{node}", event.node.as_str()),
        ("{name}", &instance.name),
        ("{address}", address),
        ("{interface}", &instance.interface),
        ("{state}", state(event.state)),
        ("{previous}", state(event.previous)),
        ("{cause}", &event.cause),
        ("{seq}", &seq),
        ("{entry}", entry(event.entry)),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match values.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                let quoted = serde_json::to_string(value).unwrap_or_default();
                out.push_str(quoted.trim_matches('"'));
                rest = &rest[name.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

const fn state(state: VhostState) -> &'static str {
    match state {
        VhostState::Init => "init",
        VhostState::Backup => "backup",
        VhostState::Master => "master",
    }
}

const fn entry(entry: EntryPoint) -> &'static str {
    match entry {
        EntryPoint::OnMaster => "on_master",
        EntryPoint::OnBackup => "on_backup",
        EntryPoint::OnPeerClaim => "on_peer_claim",
        EntryPoint::BeforeMaster => "before_master",
        EntryPoint::BeforeBackup => "before_backup",
        EntryPoint::Health => "health",
        EntryPoint::OnStop => "on_stop",
    }
}

#[cfg(test)]
mod tests {
    use carpd_hook::fake;

    use super::*;

    const CONFIG: &str = r#"{"url": "https://api.example.net/v1/ips/7?zone=1", "body": "{\"server\": \"{node}\", \"ip\": \"{address}\", \"x\": {}}"}"#;
    const REQUEST: &str = "post https://api.example.net/v1/ips/7?zone=1";

    fn requests() -> usize {
        fake::asked()
            .iter()
            .filter(|asked| asked.starts_with("http."))
            .count()
    }

    #[test]
    fn the_endpoint_is_told_once_if_it_hears() {
        fake::set_config(CONFIG);
        on_master(fake::event("on_master")).unwrap();
        assert_eq!(fake::asked(), [format!("http.{REQUEST}")]);
        assert_eq!(
            fake::bodies(),
            [r#"{"server": "node2", "ip": "192.168.32.22", "x": {}}"#]
        );
        on_peer_claim(fake::event("on_peer_claim")).unwrap();
        assert_eq!(requests(), 2);
    }

    #[test]
    fn it_is_told_again_until_it_hears_with_growing_pauses() {
        fake::set_config(CONFIG);
        fake::respond(REQUEST, 503, "");
        fake::respond(REQUEST, 429, "");
        fake::respond(REQUEST, 201, "");
        on_master(fake::event("on_master")).unwrap();
        assert_eq!(requests(), 3);
        assert_eq!(clock::now(), 1500.0);
    }

    #[test]
    fn it_gives_up_and_says_why() {
        fake::set_config(CONFIG);
        fake::fail(
            "http.post",
            "refused: api.example.net:443: Connection refused",
        );
        let err = on_master(fake::event("on_master")).unwrap_err();
        assert_eq!(
            err.to_string(),
            "gave up after 5 attempts: refused: api.example.net:443: Connection refused"
        );
        assert_eq!(requests(), 5);
    }

    #[test]
    fn what_cannot_get_better_is_not_tried_again() {
        fake::set_config(CONFIG);
        fake::respond(REQUEST, 403, "no such token\n");
        let err = on_master(fake::event("on_master")).unwrap_err();
        assert_eq!(
            err.to_string(),
            "https://api.example.net/v1/ips/7 answered with status 403: no such token"
        );
        fake::fail("http.post", "not granted");
        assert!(on_master(fake::event("on_master")).is_err());
        assert_eq!(requests(), 2);
    }

    #[test]
    fn a_token_comes_from_its_file_and_goes_into_the_header_alone() {
        fake::set_config(
            r#"{"url": "https://a/", "token_file": "/etc/carpd/api.token", "method": "put"}"#,
        );
        fake::answer("file.read /etc/carpd/api.token", "secret\n");
        on_master(fake::event("on_master")).unwrap();
        assert!(
            fake::options()[0].contains(r#"("authorization", "Bearer secret")"#),
            "{:?}",
            fake::options()
        );
        assert_eq!(fake::asked(), ["http.put https://a/"]);
    }

    #[test]
    fn the_end_of_mastership_is_told_if_wanted_and_the_start_is_not() {
        fake::set_config(CONFIG);
        on_backup(fake::event("on_backup")).unwrap();
        assert_eq!(requests(), 0);
        fake::set_config(r#"{"url": "https://a/", "on_backup": "gone after {seq}: {cause}"}"#);
        let mut event = fake::event("on_backup");
        event.cause = "a \"quoted\" word".to_owned();
        on_backup(event.clone()).unwrap();
        assert_eq!(fake::bodies(), [r#"gone after 1: a \"quoted\" word"#]);
        event.initial = true;
        on_backup(event).unwrap();
        assert_eq!(requests(), 1);
    }
}
