//! Which host functions the grants of a hook allow in some form. What none allows is not even
//! linked into a WebAssembly hook; what may be asked in each single case is [`Grants::permit`]'s
//! business.

use super::{FUNCTIONS, Function};
use crate::effect::{CarpVerb, FileVerb, Grants, HttpVerb, LinkVerb, ServiceVerb};

/// The full names of the functions that these grants allow in some form, in the order of
/// [`FUNCTIONS`].
#[must_use]
pub fn allowed(grants: &Grants) -> Vec<String> {
    FUNCTIONS
        .iter()
        .filter(|function| is_allowed(function, grants))
        .map(Function::full_name)
        .collect()
}

impl Function {
    /// Can a grant mark a call of it as one that changes nothing (`query`)?
    #[must_use]
    pub fn can_be_query(&self) -> bool {
        matches!(
            (self.group, self.name),
            ("command", "run") | ("http", "post")
        )
    }

    /// Does one of these grants mark some call of it so?
    #[must_use]
    pub fn may_be_query(&self, grants: &Grants) -> bool {
        match (self.group, self.name) {
            ("command", "run") => grants.command.values().any(|grant| grant.query),
            ("http", "post") => grants
                .http
                .iter()
                .any(|grant| grant.is_query(HttpVerb::Post)),
            _ => false,
        }
    }
}

/// Can a call of this function ever be granted?
#[must_use]
pub fn is_allowed(function: &Function, grants: &Grants) -> bool {
    let service = |verb| {
        grants
            .service
            .iter()
            .any(|grant| grant.verbs.contains(&verb))
    };
    let file = |verb| grants.file.iter().any(|grant| grant.verbs.contains(&verb));
    let link = |verb| {
        grants
            .link
            .iter()
            .any(|grant| grant.verbs.is_empty() || grant.verbs.contains(&verb))
    };
    let http = |verb| grants.http.iter().any(|grant| grant.verbs.contains(&verb));
    match (function.group, function.name) {
        // A virtual host's own addresses need no grant.
        ("addr" | "announce", _) => true,
        ("route", _) => !grants.route.is_empty(),
        ("rule", _) => !grants.rule.is_empty(),
        ("link", "set_up") => link(LinkVerb::SetUp),
        ("link", "set_mac") => link(LinkVerb::SetMac),
        ("hostname", "get") => !grants.hostname.is_empty() || grants.read,
        ("hostname", "set") => !grants.hostname.is_empty(),
        ("service", "start") => service(ServiceVerb::Start),
        ("service", "stop") => service(ServiceVerb::Stop),
        ("service", "restart") => service(ServiceVerb::Restart),
        ("service", "reload") => service(ServiceVerb::Reload),
        ("service", "status") => !grants.service.is_empty(),
        ("sysctl", _) => !grants.sysctl.is_empty(),
        ("file", "read") => file(FileVerb::Read),
        ("file", "write") => file(FileVerb::Write),
        ("file", "remove") => file(FileVerb::Remove),
        ("command", _) => !grants.command.is_empty(),
        ("http", "get") => http(HttpVerb::Get),
        ("http", "post") => http(HttpVerb::Post),
        ("http", "put") => http(HttpVerb::Put),
        ("http", "patch") => http(HttpVerb::Patch),
        ("http", "delete") => http(HttpVerb::Delete),
        ("tcp", _) => !grants.tcp.is_empty(),
        ("facts", _) => grants.read,
        ("carp", "demote") => grants.carp.contains(&CarpVerb::Demote),
        ("carp", "resign") => grants.carp.contains(&CarpVerb::Resign),
        // A function that nobody has thought of here is denied if it needs anything.
        _ => function.capability.is_none(),
    }
}

/// A line of TOML, for `[hook.NAME.grant]`, that would allow the function; what stands in capitals
/// is to be filled in.
#[must_use]
pub fn grant_line(function: &Function) -> String {
    match (function.group, function.name) {
        ("route", _) => "route = [{ dst = \"default\", via = \"GATEWAY\" }]".to_owned(),
        ("rule", _) => "rule = [{ table = TABLE }]".to_owned(),
        ("link", verb) => format!("link = [{{ dev = \"DEVICE\", do = [\"{verb}\"] }}]"),
        ("hostname", _) => "hostname = [\"NAME\"]".to_owned(),
        ("service", "status") => "service = [{ unit = \"UNIT\", do = [] }]".to_owned(),
        ("service", verb) => format!("service = [{{ unit = \"UNIT\", do = [\"{verb}\"] }}]"),
        ("sysctl", _) => "sysctl = [{ key = \"KEY\" }]".to_owned(),
        ("file", verb) => format!("file = [{{ path = \"/PATH\", do = [\"{verb}\"] }}]"),
        ("command", _) => "command.NAME = { argv = [\"/PATH\"] }".to_owned(),
        ("http", verb) => format!("http = [{{ url = \"https://HOST/PATH\", do = [\"{verb}\"] }}]"),
        ("tcp", _) => "tcp = [\"HOST:PORT\"]".to_owned(),
        ("facts", _) => "read = true".to_owned(),
        ("carp", verb) => format!("carp = [\"{verb}\"]"),
        (group, _) => format!("{group} = [...]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_granted_leaves_what_needs_no_grant() {
        let names = allowed(&Grants::default());
        assert!(
            names.iter().any(|n| n == "log.info") && names.iter().any(|n| n == "addr.add"),
            "{names:?}"
        );
        for name in [
            "service.start",
            "hostname.get",
            "file.read",
            "facts.links",
            "carp.resign",
            "command.run",
        ] {
            assert!(!names.iter().any(|n| n == name), "{name}");
        }
    }

    /// Every line that is offered must be one that the configuration takes and that allows the
    /// function.
    #[test]
    fn the_offered_line_allows_the_function() {
        for function in FUNCTIONS {
            if is_allowed(function, &Grants::default()) {
                continue;
            }
            let line = grant_line(function)
                .replace("GATEWAY", "192.0.2.1")
                .replace("TABLE", "7")
                .replace("DEVICE", "eth0")
                .replace("PORT", "80");
            let grants: Grants = toml::from_str(&line)
                .unwrap_or_else(|err| panic!("{}: {line}: {err}", function.full_name()));
            assert!(
                is_allowed(function, &grants),
                "{}: {line}",
                function.full_name()
            );
        }
    }
}
