use super::*;

fn owner(vhost: &str) -> Owner {
    Owner { vhost: vhost.parse().unwrap(), hook: Some("h".parse().unwrap()) }
}

fn text(s: &str) -> Value {
    Value::Text(s.into())
}

/// Undoes a virtual host's claims against a host name that is just a variable.
fn leave(ledger: &mut Ledger, vhost: &str, name: &mut Value) {
    for undo in ledger.undo_plan(&vhost.parse().unwrap(), Of::Hooks) {
        assert_eq!(*name, undo.ours);
        *name = undo.back_to.clone();
        ledger.settle(&undo.owner, &undo.resource);
    }
}

#[test]
fn two_owners_leave_in_any_order_and_the_original_is_back() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut ledger = Ledger::new();
        let mut name = text("node");
        for vhost in ["a", "b"] {
            ledger.claim(&owner(vhost), &Resource::Hostname, name.clone(), text("virtual"));
            name = text("virtual");
        }
        leave(&mut ledger, order[0], &mut name);
        assert_eq!(name, text("virtual"), "one still holds it");
        leave(&mut ledger, order[1], &mut name);
        assert_eq!(name, text("node"));
        assert!(ledger.is_empty());
    }
}

#[test]
fn the_newest_claim_shows_and_the_one_below_comes_back() {
    let mut ledger = Ledger::new();
    let mut name = text("node");
    for vhost in ["a", "b"] {
        ledger.claim(&owner(vhost), &Resource::Hostname, name.clone(), text(vhost));
        name = text(vhost);
    }
    leave(&mut ledger, "b", &mut name);
    assert_eq!(name, text("a"));
    leave(&mut ledger, "a", &mut name);
    assert_eq!(name, text("node"));
}

#[test]
fn an_effect_that_stays_ends_the_own_claim() {
    let mut ledger = Ledger::new();
    ledger.claim(&owner("a"), &Resource::Hostname, text("node"), text("virtual"));
    assert_eq!(ledger.assign(&owner("a"), &Resource::Hostname, &text("other")), Verdict::Perform);
    assert!(ledger.is_empty());
}

#[test]
fn an_effect_that_stays_waits_for_a_master_that_holds_the_resource() {
    let mut ledger = Ledger::new();
    let mut name = text("virtual");
    ledger.claim(&owner("a"), &Resource::Hostname, text("node"), text("virtual"));
    assert_eq!(ledger.assign(&owner("b"), &Resource::Hostname, &text("standby")), Verdict::Deferred);
    leave(&mut ledger, "a", &mut name);
    assert_eq!(name, text("standby"));
}

#[test]
fn the_plan_undoes_newest_first() {
    let mut ledger = Ledger::new();
    let unit = |unit: &str| Resource::Service { unit: unit.into() };
    for name in ["z", "a", "m"] {
        ledger.claim(&owner("v"), &unit(name), Value::Running(false), Value::Running(true));
    }
    let order: Vec<_> = ledger.undo_plan(&"v".parse().unwrap(), Of::Hooks).into_iter().map(|u| u.resource).collect();
    assert_eq!(order, [unit("m"), unit("a"), unit("z")]);
}
