//! Values that nobody in their right mind asks for, on a real kernel: each is refused in words or
//! done and undone, and what the daemon says it holds is there.

use crate::rig::{CARPD, Carpd, Failed, TAKEOVER, lan, sh};
use crate::{Case, Outcome};

use carpd::lab::Lab;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new(
        "odd::values_that_hooks_make_up_are_refused_or_undone",
        odd,
    )]
}

const GRANTS: &str = r#"
timeout = "20s"
[hook.h.grant]
route = [{ dst = "10.9.0.0/16" }, { dst = "default" }, { dst = "::/0" }, { dst = "2001:db8:9::/48" }]
rule = [{ table = 100 }, { table = 4294967295 }]
sysctl = [{ key = "net.ipv4.ip_forward" }, { key = "net.ipv4.neigh.eth0.gc_stale_time" }]
service = [{ unit = "cron", do = ["start", "stop"] }]
addr = [{ cidr = "10.5.0.0/16" }]
hostname = ["odd"]
"#;

/// Each call on its own: what one leaves must not hide what the next does.
const HOOK: &str = r#"
local function try(f, ...) log.info("tried", { ok = tostring(pcall(f, ...)) }) end
function on_master()
  for _, n in ipairs { -1, 1.5, 4294967296, 4294967295, 1e300, 0/0, 1/0, "7", true, 0, 1024 } do
    try(route.replace, "10.9.0.0/16", { via = "192.168.32.50", metric = n })
    try(route.replace, "2001:db8:9::/48", { dev = "eth0", metric = n })
    try(route.replace, "10.9.0.0/16", { via = "192.168.32.50", table = n })
    try(rule.replace, { priority = n, table = 100 })
    try(rule.replace, { priority = 5, table = n })
    try(rule.replace, { priority = 6, table = 100, fwmark = n })
  end
  for _, ip in ipairs { "2001:db8::1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "192.168.32.22", "::ffff:192.168.32.50",
                        "fe80::1%eth0", "", "192.168.32.050", "0x7f.1" } do
    try(route.replace, "10.9.0.0/16", { via = ip })
    try(route.replace, "10.9.0.0/16", { via = "192.168.32.50", src = ip })
    try(route.replace, "::/0", { via = ip })
  end
  for _, dst in ipairs { "10.9.0.0/016", "10.9.0.0/+16", "10.9.0.0/33", "10.9.1.1/16", "0.0.0.0/0", "0/0", "default ", "" } do
    try(route.replace, dst, { via = "192.168.32.50" })
  end
  for _, value in ipairs { "01", "1", "", "1\n0", "1\0", "-1", " 7", "99999999999999999999" } do
    try(sysctl.set, "net.ipv4.ip_forward", value)
    try(sysctl.set, "net.ipv4.neigh.eth0.gc_stale_time", value)
  end
  for _, unit in ipairs { "../../../tmp/x", "-x", "cron\0", "cron;id", "cron.service.service", "" } do try(service.start, unit) end
  for _, name in ipairs { "odd", "", "odd\n", ("x"):rep(65) } do try(hostname.set, name) end
  for _, cidr in ipairs { "10.5.0.0/16", "10.5.255.255/16", "10.5.0.1/0", "10.5.0.1", "10.5.0.1/33" } do try(addr.add, cidr) end
end
"#;

/// All that the hook can have touched.
fn host(lab: &Lab) -> Result<Vec<String>, Failed> {
    sh(
        lab,
        "a",
        "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; ip -o address; hostname; \
         cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/neigh/eth0/gc_stale_time",
    )
}

fn odd() -> Outcome {
    let lab = lan(&["a"])?;
    let before = host(&lab)?;
    let mut a = Carpd::new("a").hook(HOOK, GRANTS).start(&lab)?;
    let ran = a.wait_ran("on_master", TAKEOVER * 2)?;
    assert_eq!(ran.text("outcome"), "done", "{}", a.text());
    let status = sh(
        &lab,
        "a",
        &format!("{CARPD} status --config /run/lab/carpd.toml"),
    )?;
    let holds: Vec<&String> = status
        .iter()
        .filter(|line| line.starts_with("holds "))
        .collect();
    // A value that the kernel refused, or does not know, is not held.
    for never in [
        "9999999999",
        "::/0",
        "fwmark 0 ",
        "metric 0",
        "255.255.255.255",
        "224.0.0.1",
        "1\\n0",
    ] {
        assert!(
            !holds.iter().any(|line| line.contains(never)),
            "{never}: {holds:#?}"
        );
    }
    assert!(
        holds.iter().any(|line| line.contains("fwmark 4294967295")),
        "what the kernel took is held: {holds:#?}"
    );
    assert!(
        !a.text().contains("Left alone what someone else changed"),
        "{}",
        a.text()
    );
    a.stop()?;
    let after = host(&lab)?;
    assert_eq!(after, before, "all is undone; the log:\n{}", a.text());
    Ok(())
}
