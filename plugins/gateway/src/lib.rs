//! Makes the master a router: connection states first, then rules and routes, and forwarding last.
//! What it sets as master is undone by carpd when mastership ends. Every call may be repeated.

use carpd_hook::{Event, Failure, Result, command, config, hook, log, route, rule, sysctl};

hook!(before_master, on_master, on_backup);

/// The table `[hook.NAME.config]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Command lines that take the old master's connections over.
    commit: Vec<String>,
    /// Without them this node does not become master.
    commit_required: bool,
    /// Routes of the master.
    routes: Vec<Route>,
    /// Policy rules of the master.
    rules: Vec<Rule>,
    /// Kernel parameters that are 1 on the master.
    forward: Vec<String>,
    /// Command lines that listen to the new master again.
    resync: Vec<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    dst: String,
    via: Option<String>,
    dev: Option<String>,
    src: Option<String>,
    metric: Option<u32>,
    table: Option<u32>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    from: Option<String>,
    to: Option<String>,
    iif: Option<String>,
    fwmark: Option<u32>,
    table: u32,
    priority: u32,
}

fn configured() -> Result<Config> {
    serde_json::from_str(&config::get())
        .map_err(|err| Failure::new(format!("the config of this hook makes no sense: {err}")))
}

/// Runs a command line of the operator; a status other than 0 is a failure, told with the last
/// thing that it said.
fn run(name: &str) -> Result {
    let output = command::run(name, &[], Default::default())?;
    if output.status == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing");
    Err(Failure::new(format!(
        "command {name} ended with status {}: {}",
        output.status,
        said.trim()
    )))
}

/// The addresses are not up yet: no packet of a connection that we do not know can arrive.
fn before_master(_: Event) -> Result {
    let config = configured()?;
    for name in &config.commit {
        match run(name) {
            Err(failure) if config.commit_required => return Err(failure),
            Err(failure) => log::warn(
                "Takes over without the connections of the old master",
                &[
                    ("command".to_owned(), name.clone()),
                    ("error".to_owned(), failure.to_string()),
                ],
            ),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// We are master: know the way, then forward.
fn on_master(_: Event) -> Result {
    let config = configured()?;
    for Rule {
        from,
        to,
        iif,
        fwmark,
        table,
        priority,
    } in config.rules
    {
        rule::replace(rule::Options {
            from,
            to,
            iif,
            fwmark,
            table,
            priority,
            keep: None,
        })?;
    }
    for Route {
        dst,
        via,
        dev,
        src,
        metric,
        table,
    } in config.routes
    {
        route::replace(
            &dst,
            route::Options {
                via,
                dev,
                src,
                metric,
                table,
                keep: None,
            },
        )?;
    }
    for key in &config.forward {
        sysctl::set(key, "1", Default::default())?;
    }
    Ok(())
}

/// We are not master, or no longer: listen to who is. One that fails does not keep the others from
/// running.
fn on_backup(_: Event) -> Result {
    let failures: Vec<String> = configured()?
        .resync
        .iter()
        .filter_map(|name| run(name).err())
        .map(|failure| failure.to_string())
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failures.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use carpd_hook::fake;

    use super::*;

    const CONFIG: &str = r#"{
        "commit": ["commit", "flush"],
        "resync": ["listen", "ask"],
        "routes": [{"dst": "default", "via": "203.0.113.1", "table": 100}, {"dst": "10.0.0.0/8", "dev": "eth1", "metric": 5}],
        "rules": [{"from": "10.1.0.0/16", "table": 100, "priority": 1000}],
        "forward": ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
    }"#;

    #[test]
    fn connections_come_first_and_forwarding_last() {
        fake::set_config(CONFIG);
        before_master(fake::event("before_master")).unwrap();
        on_master(fake::event("on_master")).unwrap();
        assert_eq!(
            fake::asked(),
            [
                "command.run commit",
                "command.run flush",
                "rule.replace",
                "route.replace default",
                "route.replace 10.0.0.0/8",
                "sysctl.set net.ipv4.ip_forward 1",
                "sysctl.set net.ipv6.conf.all.forwarding 1"
            ]
        );
        let options = fake::options();
        assert!(
            options[2].contains("10.1.0.0/16") && options[2].contains("priority: 1000"),
            "{}",
            options[2]
        );
        assert!(
            options[3].contains("203.0.113.1") && options[3].contains("table: Some(100)"),
            "{}",
            options[3]
        );
        assert!(
            options[4].contains("eth1") && options[4].contains("metric: Some(5)"),
            "{}",
            options[4]
        );
        assert!(
            options
                .iter()
                .all(|options| !options.contains("keep: Some")),
            "carpd undoes it"
        );
    }

    #[test]
    fn a_backup_listens_again_whatever_fails() {
        fake::set_config(CONFIG);
        fake::answer("command.run listen", "3 connection refused\n");
        let failure = on_backup(fake::event("on_backup")).unwrap_err().to_string();
        assert_eq!(
            failure,
            "command listen ended with status 3: connection refused"
        );
        assert_eq!(fake::asked(), ["command.run listen", "command.run ask"]);
    }

    #[test]
    fn lost_connections_keep_nobody_from_being_master_unless_they_must() {
        fake::set_config(CONFIG);
        fake::answer("command.run commit", "1");
        before_master(fake::event("before_master")).unwrap();
        let warning = "log.warn Takes over without the connections of the old master";
        assert_eq!(
            fake::asked(),
            ["command.run commit", warning, "command.run flush"]
        );
        fake::reset();
        fake::set_config(&CONFIG.replacen('{', r#"{"commit_required": true,"#, 1));
        fake::answer("command.run commit", "1");
        let failure = before_master(fake::event("before_master"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            failure,
            "command commit ended with status 1: it said nothing"
        );
        fake::reset();
        fake::set_config(&CONFIG.replacen('{', r#"{"commit_required": true,"#, 1));
        fake::fail("command.run commit", "not granted");
        assert_eq!(
            before_master(fake::event("before_master"))
                .unwrap_err()
                .to_string(),
            "not granted"
        );
    }

    #[test]
    fn what_fails_ends_the_run_before_anything_is_forwarded() {
        fake::set_config(CONFIG);
        fake::fail("route.replace default", "network is unreachable");
        assert_eq!(
            on_master(fake::event("on_master")),
            Err(Failure::new("network is unreachable"))
        );
        assert_eq!(fake::asked(), ["rule.replace", "route.replace default"]);
    }

    #[test]
    fn nothing_configured_is_nothing_done_and_a_mistyped_key_is_told() {
        for entry in [before_master, on_master, on_backup] {
            entry(fake::event("on_master")).unwrap();
        }
        assert!(fake::asked().is_empty());
        fake::set_config(r#"{"route": []}"#);
        assert!(
            on_master(fake::event("on_master"))
                .unwrap_err()
                .to_string()
                .contains("unknown field `route`")
        );
    }
}
