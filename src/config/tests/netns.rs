//! Virtual hosts in several network namespaces.

use super::super::written_shares;
use super::*;

/// A virtual host in a namespace, or in none.
fn vhost(name: &str, netns: &str, vhid: u8, address: &str) -> String {
    let netns = match netns {
        "" => String::new(),
        netns => format!("netns = \"{netns}\"\n"),
    };
    format!(
        "[[vhost]]\nname = \"{name}\"\ninterface = \"eth0\"\nvhid = {vhid}\naddresses = [\"{address}\"]\n\
         password-file = \"web.pass\"\n{netns}"
    )
}

fn three() -> String {
    [
        vhost("web", "", 1, "10.0.0.1/24"),
        vhost("db", "blue", 1, "10.0.0.1/24"),
        vhost("mail", "/proc/7/ns/net", 1, "10.0.0.1/24"),
    ]
    .concat()
}

#[test]
fn each_namespace_has_its_own_vhids_and_addresses() {
    assert_eq!(good(&three()).vhosts.len(), 3);
    let twice = [
        vhost("a", "blue", 1, "10.0.0.1/24"),
        vhost("b", "blue", 1, "10.0.0.1/24"),
    ];
    let said = messages(&twice.concat()).join("\n");
    assert!(
        said.contains("vhid 1 is used twice on eth0") && said.contains("10.0.0.1 is given twice"),
        "{said}"
    );
    let bad = messages(&vhost("a", "../x", 1, "10.0.0.1/24")).join("\n");
    assert!(bad.contains("is not a network namespace"), "{bad}");
}

#[test]
fn an_engine_sees_the_virtual_hosts_of_one_namespace_with_what_is_theirs() {
    let hooks = "[hook.h]\nsource = \"h.lua\"\n[hook.i]\nsource = \"i.lua\"\n";
    let tracks = "[track.up]\nkind = \"link\"\ninterface = \"eth1\"\nall-vhosts = true\n";
    let text = [
        vhost("web", "", 1, "10.0.0.1/24") + "hooks = [\"h\"]\n",
        vhost("db", "blue", 1, "10.0.0.1/24") + "hooks = [\"i\"]\n",
        vhost("dc", "blue", 2, "10.0.0.2/24"),
        hooks.to_owned(),
        tracks.to_owned(),
        "[group.both]\nmembers = [\"db\", \"dc\"]\n".to_owned(),
    ]
    .concat();
    let config = good(&text);
    let blue = Share::Netns("blue".parse().unwrap());
    assert_eq!(config.all_shares, [Share::Here, blue.clone()].into());
    let names = |config: &Config| {
        let vhosts = config.vhosts.iter().map(|vhost| vhost.name.to_string());
        let others = config.hooks.keys().chain(config.groups.keys());
        vhosts
            .chain(others.chain(config.tracks.keys()).map(ToString::to_string))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(&config.clone().only(&Share::Here)), "web h up");
    let inside = config.clone().only(&blue);
    assert_eq!(names(&inside), "db dc i both up");
    // A reload leaves it so, whatever other namespaces it brings, unless there is none any more.
    assert_eq!(
        inside.renewed(config.clone()).map(|c| names(&c)),
        Ok(names(&inside))
    );
    let renewed = inside.renewed(good(&three())).unwrap();
    assert_eq!(names(&renewed), "db");
    assert_eq!(renewed.all_shares.len(), 3);
    let elsewhere = vhost("web", "", 1, "10.0.0.1/24") + &vhost("x", "red", 1, "10.0.0.1/24");
    for (other, why) in [
        (
            elsewhere,
            "no virtual host is in this network namespace any more",
        ),
        (
            vhost("web", "", 1, "10.0.0.1/24"),
            "need a restart of carpd",
        ),
    ] {
        let refused = inside.renewed(good(&other)).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    let alone = good(&vhost("web", "", 1, "10.0.0.1/24"));
    assert_eq!(alone.all_shares, [Share::All].into());
    assert!(alone.renewed(good(&text)).is_err());
    assert_eq!(alone.renewed(alone.clone()), Ok(alone.clone()));
}

#[test]
fn a_group_is_in_one_namespace() {
    let group = "[group.both]\nmembers = [\"web\", \"db\"]\n";
    let said = messages(&(three() + group)).join("\n");
    assert!(
        said.contains("in one group, and their netns differs"),
        "{said}"
    );
}

#[test]
fn shares_are_found_in_a_file_that_is_wrong_in_everything_else() {
    let text = three().replace("vhid", "wihd") + "[nonsense]\n[[vhost]]\nname = 7\n";
    let shares: Vec<(String, String)> = written_shares(&text)
        .into_iter()
        .map(|(name, share)| (name, share.to_string()))
        .collect();
    let pairs: Vec<(&str, &str)> = shares
        .iter()
        .map(|(name, share)| (name.as_str(), share.as_str()))
        .collect();
    let expected = [
        ("web", "."),
        ("db", "blue"),
        ("mail", "/proc/7/ns/net"),
        ("", "."),
    ];
    assert_eq!(pairs, expected);
    for (_, share) in written_shares(&text) {
        assert_eq!(share.to_string().parse(), Ok(share));
    }
    let plain = vhost("web", "", 1, "10.0.0.1/24");
    assert_eq!(written_shares(&plain), [("web".to_owned(), Share::All)]);
    assert_eq!(written_shares("vhost = 1"), []);
}
