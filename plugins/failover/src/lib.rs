//! Moves a host name, the default route and a service with the virtual address:
//! `examples/hooks/failover.lua` as a plugin. Every call may be repeated; what is as it should be
//! stays untouched.

use carpd_hook::{Event, Failure, Result, config, hook, hostname, route, service};

hook!(on_master, on_backup);

/// The table `[hook.NAME.config]`.
#[derive(Debug, serde::Deserialize)]
struct Config {
    /// The host's name while it is master.
    name_master: String,
    /// The host's name while it is not.
    name_backup: String,
    /// Where the default route leads to.
    gateway: String,
    /// What runs on the master alone.
    service: String,
}

/// Reads the configuration and does something with it.
fn configured(act: impl FnOnce(&Config) -> Result) -> Result {
    let config = serde_json::from_str(&config::get()).map_err(|err| {
        Failure::new(format!(
            "the config needs name_master, name_backup, gateway and service: {err}"
        ))
    })?;
    act(&config)
}

fn gateway(config: &Config) -> Result {
    route::replace(
        "default",
        route::Options {
            via: Some(config.gateway.clone()),
            ..Default::default()
        },
    )?;
    Ok(())
}

/// We are master: be the service.
fn on_master(_: Event) -> Result {
    configured(|config| {
        hostname::set(&config.name_master, Default::default())?;
        gateway(config)?;
        service::start(&config.service, Default::default())?;
        Ok(())
    })
}

/// We are not master (or no longer): be ourselves.
fn on_backup(_: Event) -> Result {
    configured(|config| {
        hostname::set(&config.name_backup, Default::default())?;
        gateway(config)?;
        service::stop(&config.service, Default::default())?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use carpd_hook::fake;

    use super::*;

    const CONFIG: &str = r#"{"name_master": "nodevir2", "name_backup": "node2", "gateway": "192.168.32.254", "service": "httpd"}"#;

    #[test]
    fn a_master_is_the_service_and_a_backup_itself() {
        fake::set_config(CONFIG);
        on_master(fake::event("on_master")).unwrap();
        on_backup(fake::event("on_backup")).unwrap();
        assert_eq!(
            fake::asked(),
            [
                "hostname.set nodevir2",
                "route.replace default",
                "service.start httpd",
                "hostname.set node2",
                "route.replace default",
                "service.stop httpd"
            ]
        );
        assert!(fake::options()[1].contains("192.168.32.254"));
    }

    #[test]
    fn what_fails_ends_the_run_with_its_words() {
        fake::set_config(CONFIG);
        fake::fail("service.start", "httpd.service failed");
        assert_eq!(
            on_master(fake::event("on_master")),
            Err(Failure::new("httpd.service failed"))
        );
    }

    #[test]
    fn a_missing_key_is_told() {
        assert!(
            on_master(fake::event("on_master"))
                .unwrap_err()
                .to_string()
                .contains("name_master")
        );
        assert!(fake::asked().is_empty());
    }
}
