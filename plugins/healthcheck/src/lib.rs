//! Says whether a node is fit to be master, by TCP connections, HTTP answers and services. It only
//! looks.

use carpd_hook::{
    Event, Failure, Report, Result, UnitState, VhostState, config, hook, http, service, tcp,
};

hook!(health);

/// The table `[hook.NAME.config]`.
#[derive(Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Endpoints that must take connections.
    tcp: Vec<String>,
    /// URLs that must answer well.
    http: Vec<String>,
    /// Services that must be active.
    service: Vec<String>,
    /// Statuses that are good; any from 200 to 299 if empty.
    status: Vec<u16>,
    /// What the body of each answer must have.
    contains: Option<String>,
    /// Look only in this state.
    only: Option<Only>,
    /// For each connection and answer.
    timeout_ms: u32,
}

#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Only {
    Master,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tcp: Vec::new(),
            http: Vec::new(),
            service: Vec::new(),
            status: Vec::new(),
            contains: None,
            only: None,
            timeout_ms: 1000,
        }
    }
}

fn health(event: Event) -> Result<Report> {
    let config: Config = serde_json::from_str(&config::get())
        .map_err(|err| Failure::new(format!("the config: {err}")))?;
    if config.tcp.is_empty() && config.http.is_empty() && config.service.is_empty() {
        return Err(Failure::new(
            "the config names nothing to check: it needs tcp, http or service",
        ));
    }
    if config.only == Some(Only::Master) && event.state != VhostState::Master {
        return Ok(Report::well());
    }
    Ok(check(&config).map_or_else(Report::failed, |()| Report::well()))
}

/// The first thing that is wrong. What costs least is looked at first.
fn check(config: &Config) -> std::result::Result<(), String> {
    for unit in &config.service {
        match service::status(unit).map_err(|err| format!("{unit}: {err}"))? {
            UnitState::Active => {}
            state => return Err(format!("service {unit} is {}", word(state))),
        }
    }
    for endpoint in &config.tcp {
        let options = tcp::Options {
            timeout_ms: Some(config.timeout_ms),
        };
        tcp::connect(endpoint, options).map_err(|err| err.to_string())?;
    }
    config.http.iter().try_for_each(|url| answers(config, url))
}

fn answers(config: &Config, url: &str) -> std::result::Result<(), String> {
    let options = http::Options {
        timeout_ms: Some(config.timeout_ms),
        ..Default::default()
    };
    let answer = http::get(url, options).map_err(|err| err.to_string())?;
    let good = if config.status.is_empty() {
        answer.is_success()
    } else {
        config.status.contains(&answer.status)
    };
    if !good {
        return Err(format!("{url} answered with status {}", answer.status));
    }
    match &config.contains {
        Some(text) if !answer.text().contains(text.as_str()) => {
            Err(format!("the answer of {url} does not have {text:?}"))
        }
        _ => Ok(()),
    }
}

const fn word(state: UnitState) -> &'static str {
    match state {
        UnitState::Active => "active",
        UnitState::Inactive => "inactive",
        UnitState::Activating => "activating",
        UnitState::Deactivating => "deactivating",
        UnitState::Failed => "failed",
        UnitState::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use carpd_hook::fake;

    use super::*;

    fn asked(config: &str, entry: &str) -> Result<Report> {
        fake::set_config(config);
        health(fake::event(entry))
    }

    #[test]
    fn all_of_it_must_be_well() {
        fake::listen(&["127.0.0.1:5432"]);
        fake::answer("service.status httpd", "active");
        let config = r#"{"tcp": ["127.0.0.1:5432"], "http": ["http://127.0.0.1/ready"], "service": ["httpd"]}"#;
        assert_eq!(asked(config, "health"), Ok(Report::well()));
        assert_eq!(
            fake::asked(),
            [
                "tcp.connect 127.0.0.1:5432",
                "http.get http://127.0.0.1/ready"
            ]
        );
        fake::answer("service.status httpd", "failed");
        assert_eq!(
            asked(config, "health"),
            Ok(Report::failed("service httpd is failed"))
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let report = asked(r#"{"tcp": ["127.0.0.1:1"]}"#, "health").unwrap();
        assert!(
            report.demotion == 240 && report.reason.starts_with("refused: 127.0.0.1:1"),
            "{report:?}"
        );
        fake::respond("get http://a/", 503, "busy");
        let report = asked(r#"{"http": ["http://a/"]}"#, "health").unwrap();
        assert_eq!(report.reason, "http://a/ answered with status 503");
        assert_eq!(
            asked(
                r#"{"http": ["http://a/"], "status": [503], "contains": "busy"}"#,
                "health"
            ),
            Ok(Report::well())
        );
        let report = asked(
            r#"{"http": ["http://a/"], "status": [503], "contains": "well"}"#,
            "health",
        )
        .unwrap();
        assert_eq!(
            report.reason,
            r#"the answer of http://a/ does not have "well""#
        );
        fake::fail("http.get http://a/", "timeout: a:80: no answer after 1.0 s");
        let report = asked(r#"{"http": ["http://a/"]}"#, "health").unwrap();
        assert_eq!(report.reason, "timeout: a:80: no answer after 1.0 s");
    }

    #[test]
    fn a_backup_need_not_have_what_the_master_runs() {
        let mut event = fake::event("health");
        event.state = VhostState::Backup;
        fake::set_config(r#"{"tcp": ["127.0.0.1:1"], "only": "master"}"#);
        assert_eq!(health(event), Ok(Report::well()));
        assert_eq!(health(fake::event("health")).unwrap().demotion, 240);
    }

    #[test]
    fn a_config_without_sense_is_an_error() {
        for config in [
            "{}",
            r#"{"tpc": ["a:1"]}"#,
            r#"{"tcp": "a:1"}"#,
            r#"{"tcp": ["a:1"], "only": "backup"}"#,
        ] {
            assert!(asked(config, "health").is_err(), "{config}");
        }
    }
}
