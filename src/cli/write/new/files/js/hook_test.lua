-- Tests NAME.wasm: run `./build`, then `carpd test`. Grants and config are those of NAME.toml.

test.case("the master is the service", function()
  local h = test.host({ hostname = "node2", units = { httpd = "inactive" } })
  h:become("master")
  h:expect_plan([[
hostname.set nodevir2
service.start httpd
]])
  test.equal(h:service("httpd"), "active")
end)

test.case("a backup is itself again", function()
  local h = test.host({ hostname = "node2" })
  h:become("master")
  h:become("backup")
  h:expect_undone()
  test.equal(h:hostname(), "node2")
end)

test.case("a service that does not start leaves the address to the other node", function()
  local h = test.host({ hostname = "node2" })
  h:fail("service.start httpd", "no memory")
  h:become("master")
  h:expect_error("no memory")
  h:expect_state("backup")
  h:expect_undone()
end)
