//! The WebAssembly contract: the committed WIT, the list of host functions and what a component can
//! be made of agree.

use std::collections::BTreeSet;
use std::path::Path;

use carpd::hooks::EntryPoint;
use carpd::hooks::contract::api::wit::{self, kebab};
use carpd::hooks::contract::api::{EVENT_FIELDS, FUNCTIONS, INSTANCE_FIELDS, groups};
use wit_parser::{Resolve, TypeDefKind, WorldItem, WorldKey};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/wit/hooks.wit");

fn contract() -> Resolve {
    let mut resolve = Resolve::default();
    resolve.push_path(Path::new(FILE)).unwrap();
    resolve
}

/// A part of the contract is the contract without the rest: what is left means the same.
#[test]
fn a_part_has_what_was_asked_for_and_nothing_else() {
    let names = [
        "service.start",
        "service.stop",
        "http",
        "config.get",
        "on_master",
        "health",
    ];
    let text = wit::Part::of(names).unwrap().wit();
    let mut resolve = Resolve::default();
    let package = resolve.push_source("hook.wit", &text).unwrap();
    let world = &resolve.worlds[resolve.select_world(&[package], Some("hook")).unwrap()];
    let in_world = |items: &wit_parser::IndexMap<WorldKey, WorldItem>| -> BTreeSet<String> {
        items
            .keys()
            .map(|key| {
                resolve
                    .name_world_key(key)
                    .replace("carpd:hooks/", "")
                    .replace("@1.0.0", "")
            })
            .collect()
    };
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(in_world(&world.exports), set(&["on-master", "health"]));
    assert_eq!(
        in_world(&world.imports),
        set(&["service", "http", "config", "types"])
    );
    assert_eq!(functions(&resolve, "service"), set(&["start", "stop"]));
    assert_eq!(functions(&resolve, "http"), functions(&contract(), "http"));
    let whole = wit::contract();
    // It takes fewer types into use.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("  use types."));
    let missing: Vec<_> = lines.filter(|line| !whole.contains(line)).collect();
    assert_eq!(missing, ["/// All that this hook can ever do."]);
}

fn functions(resolve: &Resolve, interface: &str) -> BTreeSet<String> {
    let interface = resolve
        .interfaces
        .iter()
        .find(|(_, i)| i.name.as_deref() == Some(interface))
        .expect("the interface")
        .1;
    interface.functions.keys().cloned().collect()
}

/// Lua's tables are made from the list when a VM starts; this file is, when someone writes it.
#[test]
fn the_committed_contract_is_the_one_made_from_the_list() {
    let committed = std::fs::read_to_string(FILE).unwrap();
    assert!(
        committed == wit::contract(),
        "out of date: carpd plugin wit > plugins/wit/hooks.wit"
    );
}

#[test]
fn wit_and_lua_have_the_same_functions() {
    let resolve = contract();
    let in_wit: BTreeSet<_> = resolve
        .interfaces
        .iter()
        .filter_map(|(_, i)| i.name.clone())
        .collect();
    for group in groups() {
        let listed: BTreeSet<_> = FUNCTIONS
            .iter()
            .filter(|f| f.group == group)
            .map(|f| kebab(f.name))
            .collect();
        assert_eq!(functions(&resolve, &kebab(group)), listed, "{group}");
    }
    let entry_points: BTreeSet<_> = EntryPoint::ALL
        .iter()
        .map(|entry| kebab(entry.as_str()))
        .collect();
    for entry in &entry_points {
        assert_eq!(
            functions(&resolve, entry),
            BTreeSet::from([entry.clone()]),
            "{entry}"
        );
    }
    let known: BTreeSet<_> = groups()
        .map(kebab)
        .chain(entry_points)
        .chain(["types", "config"].map(str::to_owned))
        .collect();
    assert_eq!(in_wit, known);
}

#[test]
fn an_event_has_the_same_fields_in_both() {
    let resolve = contract();
    let fields = |name: &str| -> Vec<String> {
        let (_, ty) = resolve
            .types
            .iter()
            .find(|(_, t)| t.name.as_deref() == Some(name))
            .expect("the type");
        let TypeDefKind::Record(record) = &ty.kind else {
            panic!("{name} is a record")
        };
        record
            .fields
            .iter()
            .map(|field| field.name.clone())
            .collect()
    };
    assert_eq!(
        fields("event"),
        EVENT_FIELDS
            .iter()
            .map(|f| kebab(f.name))
            .collect::<Vec<_>>()
    );
    assert_eq!(
        fields("instance"),
        INSTANCE_FIELDS
            .iter()
            .map(|f| kebab(f.name))
            .collect::<Vec<_>>()
    );
}

#[test]
fn no_world_imports_anything_else() {
    let resolve = contract();
    assert_eq!(resolve.worlds.len(), 5);
    for (_, world) in &resolve.worlds {
        for (key, item) in &world.imports {
            assert!(
                matches!(item, WorldItem::Interface { .. }),
                "{}: {key:?}",
                world.name
            );
            let WorldKey::Interface(id) = key else {
                panic!("{}: {key:?} has no interface's name", world.name)
            };
            let package = resolve.interfaces[*id].package.expect("a package");
            assert_eq!(
                resolve.packages[package].name.to_string(),
                "carpd:hooks@1.0.0"
            );
        }
    }
}
