//! What a tester may use, and nothing beside it.

use super::*;

/// Every process that a test can make be needed at the same time is one of this machine.
#[test]
fn a_test_has_so_many_processes_at_a_time() {
    let hook = "function on_master() clock.sleep(1000) end\nfunction health() return 0 end";
    let own_config = "test.host({ config = { i = i } })";
    let each = |what: &str| format!("for i = 1, 100 do {what} end");
    let case = |name: &str, what: &str| format!("test.case({name}, function() {what} end)\n");
    let asks = each("local h = test.host({}) h:become('master') h:health()");
    let own = each(&case(
        "'own ' .. i",
        &format!("{own_config}:become('master')"),
    ));
    let sound = case("'asked'", &asks) + &own;
    let said = passes(place(hook, "", &sound).path(), &[]);
    assert!(said.ends_with("101 passed, 0 failed\n"), "{said}");
    for waits in [
        own_config,
        "test.host({}):become('master', { wait = false })",
    ] {
        let greedy = place(hook, "", &case("'greedy'", &each(waits)));
        let ran = test(greedy.path(), &[]);
        assert!(
            ran.code == 1 && ran.stdout.contains("more than 64 processes at once"),
            "{}",
            ran.stdout
        );
    }
}

#[test]
fn a_tester_has_limits_and_leaves_room_for_the_largest_hook() {
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut tester = Command::new(env!("CARGO_BIN_EXE_carpd"))
        .args(carpd::programs::role::words("__tester"))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", tester.id());
    let patience = Patience::of(Duration::from_secs(10));
    let limit = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(&limits).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let words = line.unwrap().split_whitespace().take(2);
        words.map(str::to_owned).collect()
    };
    let is_root = nix::unistd::geteuid().is_root();
    let last = if is_root {
        ("Max processes", ["256", "256"])
    } else {
        ("Max address space", ["1073741824", "4294967296"])
    };
    while limit(last.0) != last.1 && !patience.left().is_zero() {
        patience.pause(Duration::from_millis(5));
    }
    assert_eq!(limit(last.0), last.1);
    assert_eq!(limit("Max address space"), ["1073741824", "4294967296"]);
    drop(ours);
    assert!(tester.wait().unwrap().success(), "nobody wants it any more");
}
