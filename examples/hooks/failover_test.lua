-- Tests failover.lua: run `carpd test examples/hooks`. Grants and config are those of ../carpd.toml.

local function node2()
  return test.host({
    interface = "eth0",
    addresses = { "192.168.32.22/32" },
    hostname = "node2",
    routes = { "default via 192.168.32.254" },
    units = { httpd = "inactive" },
  })
end

test.case("the master is the service", function()
  local h = node2()
  h:become("master", { cause = "master-down" })
  h:expect_plan([[
    hostname.set nodevir2
    route.replace default via 192.168.32.254
    service.start httpd
  ]])
  test.equal(h:hostname(), "nodevir2")
  test.equal(h:service("httpd"), "active")
  test.equal(h:addresses(), { "192.168.32.22/32" })
end)

test.case("a backup is itself again", function()
  local h = node2()
  h:become("master")
  h:become("backup", { cause = "better-master" })
  h:expect_plan([[
    hostname.set node2
    route.replace default via 192.168.32.254
    service.stop httpd
  ]])
  h:expect_undone()
  test.equal(h:hostname(), "node2")
  test.equal(h:addresses(), {})
end)

test.case("a service that does not start leaves the address to the other node", function()
  local h = node2()
  h:fail("service.start httpd", "no memory")
  h:become("master")
  h:expect_error("no memory")
  h:expect_state("backup")
  h:expect_undone()
end)

test.case("a service that hangs is given up after the timeout", function()
  local h = node2()
  h:hang("service.start httpd")
  h:become("master")
  h:expect_error("10s")
  h:expect_undone()
  test.equal(h:now(), 10)
end)

test.faults("all is done, or all is undone", {
  addresses = { "192.168.32.22/32" },
  hostname = "node2",
  routes = { "default via 192.168.32.254" },
})

test.histories("no history leaves anything behind", { addresses = { "192.168.32.22/32" }, hostname = "node2" })
