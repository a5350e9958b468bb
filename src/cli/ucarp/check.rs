//! Checks everything that can be checked before the daemon starts, with ucarp's wording and order.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use nix::ifaddrs::InterfaceAddress;
use nix::net::if_::InterfaceFlags;

use crate::config::legacy::{Options, Place, Refusal};
use crate::config::{self, Kind};
use crate::daemon::ucarp::{Handover, WHERE, interfaces, introduce};
use crate::engine;
use crate::host::kernel::netlink;
use crate::host::kernel::privilege::Privileges;
use crate::ledger::{Instance, Origin};
use crate::telemetry::ucarp::Sink;

fn refused(message: impl Into<String>) -> Refusal {
    Refusal::Value {
        status: 2,
        message: message.into(),
    }
}

/// The first interface that is up and not a loopback, as libpcap's lookup finds it.
pub(super) fn first_interface() -> Option<String> {
    let usable = |found: &&InterfaceAddress| {
        found.flags.contains(InterfaceFlags::IFF_UP)
            && !found.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    };
    let all = interfaces();
    let running = all
        .iter()
        .filter(usable)
        .find(|found| found.flags.contains(InterfaceFlags::IFF_RUNNING));
    running
        .or_else(|| all.iter().find(usable))
        .map(|found| found.interface_name.clone())
}

/// Checks for everything that would keep the daemon from running.
///
/// # Errors
/// The first problem found.
pub(super) fn check(options: &Options, sink: &Sink) -> Result<Handover, Refusal> {
    options.check_last()?;
    let device = options.device()?;
    let typed = options.interface.as_deref().unwrap_or_default();
    let all = interfaces();
    // The C library lists interfaces by their primary names only.
    let own_name = netlink::own_name_of(&device).unwrap_or_else(|| device.clone());
    let flags = all
        .iter()
        .find(|found| found.interface_name == own_name.as_str())
        .map(|found| found.flags);
    let Some(flags) = flags else {
        let words = "Unable to get hardware info about an interface: No such device";
        return Err(refused(format!(
            "{words}\nUnable to find MAC address of [{typed}]"
        )));
    };
    if !flags.contains(InterfaceFlags::IFF_UP) {
        introduce(&device, sink);
        return Err(refused(format!(
            "Unable to open interface [{typed}]: {typed}: That device is not up"
        )));
    }
    Privileges::current()
        .and_then(|own| own.require())
        .map_err(|error| {
            refused(format!(
                "Unable to open raw device: [Operation not permitted]\n{}",
                error.message
            ))
        })?;
    if !options.nomcast && !options.source.is_some_and(|source| is_own(&all, source)) {
        introduce(&device, sink);
        return Err(refused(
            "Can't do IP_ADD_MEMBERSHIP errno=No such device (19)",
        ));
    }
    let handover = handover(options)?;
    check_alone(&handover)?;
    check_hooks(&handover)?;
    Ok(handover)
}

/// Two daemons for one virtual host on one interface would both hold the address. The daemon takes
/// the lock itself; this check reports the conflict before the process detaches.
fn check_alone(handover: &Handover) -> Result<(), Refusal> {
    let config = handover.options.config(&handover.place)?;
    let Ok(origin) = Origin::current() else {
        return Ok(());
    };
    let mut vhosts = config.vhosts.iter();
    vhosts
        .try_for_each(|vhost| {
            Instance::check_vhost(&config.daemon.run_dir, origin, &engine::post(vhost))
        })
        .map_err(|error| refused(error.to_string()))
}

fn is_own(all: &[InterfaceAddress], source: Ipv4Addr) -> bool {
    all.iter().any(|found| {
        let address = found
            .address
            .as_ref()
            .and_then(|address| address.as_sockaddr_in());
        address.is_some_and(|address| IpAddr::V4(address.ip()) == IpAddr::V4(source))
    })
}

fn handover(options: &Options) -> Result<Handover, Refusal> {
    let grants_text = match &options.grants {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| refused(format!("cannot read the grants in {path}: {error}")))?,
        None => String::new(),
    };
    let name = options.grants.clone().unwrap_or_default();
    let grants = config::parse_grants(&name, &grants_text).map_err(|report| {
        super::output::problems(&report);
        refused(format!("the grants in {name} are not good"))
    })?;
    let directory = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let environment = std::env::vars_os()
        .filter(|(name, _)| name != WHERE)
        .collect();
    Ok(Handover {
        options: options.clone(),
        place: Place {
            directory,
            environment,
            grants,
        },
    })
}

/// A hook that cannot be loaded is reported before the process detaches. Programs are not checked,
/// as in ucarp: they may appear later.
fn check_hooks(handover: &Handover) -> Result<(), Refusal> {
    let mut config = handover.options.config(&handover.place)?;
    config.hooks.retain(|_, hook| hook.kind == Kind::Module);
    if config.hooks.is_empty() {
        return Ok(());
    }
    let problems = engine::check_hooks(&config)
        .map_err(|error| refused(format!("cannot check the hooks: {error}")))?;
    match problems.into_iter().find(|problem| problem.certain) {
        Some(problem) => Err(refused(problem.message)),
        None => Ok(()),
    }
}
