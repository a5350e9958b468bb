// One module for each group of host functions, in the order of the contract.

group! {
    /// Addresses. The virtual host's own need no grant; others need `addr`.
    addr [Options] {
        /// Puts an address on a device.
        fn add(cidr: &str, options: Options) -> Done { host::addr::add(cidr, Some(&options)), fake::effect(format!("addr.add {cidr}"), &format!("{options:?}")) }
        /// Takes an address off a device.
        fn delete(cidr: &str, options: Options) -> Done { host::addr::delete(cidr, Some(&options)), fake::effect(format!("addr.delete {cidr}"), &format!("{options:?}")) }
    }
}

group! {
    /// Announcements. Grant: as `addr`.
    announce [Options] {
        /// Tells the neighbours where an address lives.
        fn announce(cidr: &str, options: Options) -> Done { host::announce::announce(cidr, Some(&options)), fake::effect(format!("announce.announce {cidr}"), &format!("{options:?}")) }
    }
}

group! {
    /// Routes. Grant: `route`.
    route [Options] {
        /// Makes this the route to its destination.
        fn replace(dst: &str, options: Options) -> Done { host::route::replace(dst, Some(&options)), fake::effect(format!("route.replace {dst}"), &format!("{options:?}")) }
        /// Removes a route.
        fn delete(dst: &str, options: Options) -> Done { host::route::delete(dst, Some(&options)), fake::effect(format!("route.delete {dst}"), &format!("{options:?}")) }
    }
}

group! {
    /// Policy rules. Grant: `rule`.
    rule [Options] {
        /// Makes sure that a policy rule exists.
        fn replace(options: Options) -> Done { host::rule::replace(&options), fake::effect("rule.replace".to_owned(), &format!("{options:?}")) }
        /// Removes a policy rule.
        fn delete(options: Options) -> Done { host::rule::delete(&options), fake::effect("rule.delete".to_owned(), &format!("{options:?}")) }
    }
}

group! {
    /// Devices. Grant: `link`.
    link [SetMacOptions, SetUpOptions] {
        /// Sets a device administratively up or down.
        fn set_up(dev: &str, options: SetUpOptions) -> Done { host::link::set_up(dev, Some(options)), fake::effect(format!("link.set_up {dev}"), &format!("{options:?}")) }
        /// Gives a device a hardware address.
        fn set_mac(dev: &str, mac: &str, options: SetMacOptions) -> Done { host::link::set_mac(dev, mac, Some(options)), fake::effect(format!("link.set_mac {dev} {mac}"), &format!("{options:?}")) }
    }
}

group! {
    /// The host name. Grant: `hostname`.
    hostname [Options] {
        /// The kernel's host name.
        fn get() -> Answer<String> { host::hostname::get(), fake::text("hostname.get") }
        /// Sets the kernel's host name; never writes /etc/hostname.
        fn set(name: &str, options: Options) -> Done { host::hostname::set(name, Some(options)), fake::effect(format!("hostname.set {name}"), &format!("{options:?}")) }
    }
}

group! {
    /// Services. Grant: `service`.
    service [Options] {
        /// Starts a service and waits until it runs.
        fn start(unit: &str, options: Options) -> Done { host::service::start(unit, Some(options)), fake::effect(format!("service.start {unit}"), &format!("{options:?}")) }
        /// Stops a service and waits until it is gone.
        fn stop(unit: &str, options: Options) -> Done { host::service::stop(unit, Some(options)), fake::effect(format!("service.stop {unit}"), &format!("{options:?}")) }
        /// Stops and starts a service.
        fn restart(unit: &str, options: Options) -> Done { host::service::restart(unit, Some(options)), fake::effect(format!("service.restart {unit}"), &format!("{options:?}")) }
        /// Makes a service read its configuration again.
        fn reload(unit: &str, options: Options) -> Done { host::service::reload(unit, Some(options)), fake::effect(format!("service.reload {unit}"), &format!("{options:?}")) }
        /// What a service is doing.
        fn status(unit: &str) -> Answer<UnitState> { host::service::status(unit), fake::status(unit) }
    }
}

group! {
    /// Kernel parameters. Grant: `sysctl`.
    sysctl [Options] {
        /// A kernel parameter.
        fn get(key: &str) -> Answer<String> { host::sysctl::get(key), fake::text(&format!("sysctl.get {key}")) }
        /// Sets a kernel parameter.
        fn set(key: &str, value: &str, options: Options) -> Done { host::sysctl::set(key, value, Some(options)), fake::effect(format!("sysctl.set {key} {value}"), &format!("{options:?}")) }
    }
}

group! {
    /// Files. Grant: `file`.
    file [Options] {
        /// The content of a file; `None` if there is none.
        fn read(path: &str) -> Answer<Option<Vec<u8>>> { host::file::read(path), fake::text(&format!("file.read {path}")).map(|text| Some(text.into_bytes())) }
        /// Writes a file, all or nothing.
        fn write(path: &str, content: &[u8], options: Options) -> Done { host::file::write(path, content, Some(options)), fake::effect(format!("file.write {path} ({} bytes)", content.len()), &format!("{options:?}")) }
        /// Removes a file.
        fn remove(path: &str, options: Options) -> Done { host::file::remove(path, Some(options)), fake::effect(format!("file.remove {path}"), &format!("{options:?}")) }
    }
}

group! {
    /// Command lines that the operator wrote out. Grant: `command`.
    command [Options] {
        /// Runs one; the holes are filled by name. No shell.
        fn run(name: &str, holes: &[(String, String)], options: Options) -> Answer<CommandOutput> { host::command::run(name, holes, Some(options)), fake::command(name, holes, &format!("{options:?}")) }
    }
}

group! {
    /// HTTP servers. Any status is an answer; only no answer is an error, of a [`Trouble`].
    /// Redirects are not followed. What a request does elsewhere is not undone when mastership
    /// ends. Grant: `http`.
    http [Options] {
        /// Asks a server.
        fn get(url: &str, options: Options) -> Answer<HttpResponse> { host::http::get(url, Some(&options)), fake::http("get", url, None, &options) }
        /// Tells a server something.
        fn post(url: &str, body: &[u8], options: Options) -> Answer<HttpResponse> { host::http::post(url, body, Some(&options)), fake::http("post", url, Some(body), &options) }
        /// Puts something in its place on a server.
        fn put(url: &str, body: &[u8], options: Options) -> Answer<HttpResponse> { host::http::put(url, body, Some(&options)), fake::http("put", url, Some(body), &options) }
        /// Changes a part of something on a server.
        fn patch(url: &str, body: &[u8], options: Options) -> Answer<HttpResponse> { host::http::patch(url, body, Some(&options)), fake::http("patch", url, Some(body), &options) }
        /// Removes something from a server.
        fn delete(url: &str, options: Options) -> Answer<HttpResponse> { host::http::delete(url, Some(&options)), fake::http("delete", url, None, &options) }
    }
}

group! {
    /// TCP connections. Grant: `tcp`.
    tcp [Options] {
        /// Opens a connection and closes it; how many ms that took. Nobody there is an error, of a
        /// [`Trouble`].
        fn connect(endpoint: &str, options: Options) -> Answer<f64> { host::tcp::connect(endpoint, Some(options)), fake::connect(endpoint, &options) }
    }
}

group! {
    /// What the host has. Grant: `read`.
    facts [] {
        /// All network devices.
        fn links() -> Answer<Vec<LinkInfo>> { host::facts::links(), fake::list("facts.links") }
        /// The addresses of a device, or of all.
        fn addresses(dev: Option<&str>) -> Answer<Vec<DeviceAddress>> { host::facts::addresses(dev), fake::list(&format!("facts.addresses {}", dev.unwrap_or_default())) }
        /// The routes of a table; main by default.
        fn routes(table: Option<u32>) -> Answer<Vec<RouteInfo>> { host::facts::routes(table), fake::list(&format!("facts.routes {}", table.unwrap_or(254))) }
    }
}

group! {
    /// The hook's own virtual host. Grant: `carp`, except for `state`.
    carp [] {
        /// Its state, now.
        fn state() -> Answer<VhostState> { host::carp::state(), Ok(fake::state()) }
        /// Raises its demotion (0 to 240), or ends it with 0.
        fn demote(by: u8, reason: &str) -> Done { host::carp::demote(by, Some(reason)), fake::effect(format!("carp.demote {by}"), reason) }
        /// Hands over to a peer now.
        fn resign(reason: &str) -> Done { host::carp::resign(Some(reason)), fake::effect("carp.resign".to_owned(), reason) }
    }
}

group! {
    /// The daemon's log. Always there.
    log [] {
        /// For the author.
        fn debug(message: &str, fields: &[(String, String)]) -> () { host::log::debug(message, fields), fake::log("debug", message, fields) }
        /// For the record.
        fn info(message: &str, fields: &[(String, String)]) -> () { host::log::info(message, fields), fake::log("info", message, fields) }
        /// Someone should look at it.
        fn warn(message: &str, fields: &[(String, String)]) -> () { host::log::warn(message, fields), fake::log("warn", message, fields) }
        /// Something failed.
        fn error(message: &str, fields: &[(String, String)]) -> () { host::log::error(message, fields), fake::log("error", message, fields) }
    }
}

group! {
    /// Clocks. Always there.
    clock [] {
        /// Milliseconds since the machine started, suspend included.
        fn now() -> f64 { host::clock::now(), fake::now() }
        /// Seconds since 1970, with a fraction.
        fn wall() -> f64 { host::clock::wall(), fake::now() / 1e3 }
        /// Does nothing for so many ms.
        fn sleep(ms: u32) -> Answer<()> { host::clock::sleep(ms), { fake::sleep(ms); Ok(()) } }
    }
}

group! {
    /// What this hook keeps from run to run, as JSON. Always there.
    state [] {
        /// What an earlier run kept.
        fn get(key: &str) -> Answer<Option<String>> { host::state::get(key), Ok(fake::kept(key)) }
        /// Keeps a value.
        fn set(key: &str, value: &str) -> Answer<()> { host::state::set(key, value), { fake::keep(key, Some(value)); Ok(()) } }
        /// Forgets a value.
        fn delete(key: &str) -> Answer<()> { host::state::delete(key), { fake::keep(key, None); Ok(()) } }
    }
}

group! {
    /// The table `[hook.NAME.config]`. Always there.
    config [] {
        /// The table as JSON.
        fn get() -> String { host::config::get(), fake::config() }
    }
}
