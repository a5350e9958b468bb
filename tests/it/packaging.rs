//! What stands in `docs/packaging`, where no systemd is needed to see that it is right.
//! `tests/systemd` runs it.

use std::collections::BTreeSet;

/// All values of a key of the unit file.
fn values(unit: &str, key: &str) -> BTreeSet<String> {
    let lines = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines
        .flat_map(|line| line.split_whitespace().map(str::to_owned))
        .collect()
}

#[test]
fn the_unit_stops_before_the_network_does() {
    let unit = include_str!("../../docs/packaging/carpd.service");
    let after = values(unit, "After");
    // What a unit is started after is stopped after it: interfaces, packet filters, the bus over
    // which hooks stop services.
    for earlier in ["network.target", "network-pre.target", "dbus.socket"] {
        assert!(after.contains(earlier), "{earlier} is not in {after:?}");
    }
    // It is not pulled in: without a network there is still something to wait for.
    let wants = values(unit, "Wants");
    assert!(
        !wants.contains("network-online.target")
            && !values(unit, "Requires").contains("network.target"),
        "{wants:?}"
    );
}
