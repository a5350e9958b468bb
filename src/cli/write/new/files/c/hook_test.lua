-- Tests NAME.wasm: run `./build`, then `carpd test`.

test.case("a master runs the service", function()
  local h = test.host({ units = { httpd = "inactive" } })
  h:become("master")
  h:expect_plan([[
service.start httpd
]])
  test.equal(h:service("httpd"), "active")
end)

test.case("a backup does not", function()
  local h = test.host()
  h:become("master")
  h:become("backup")
  h:expect_undone()
  test.equal(h:service("httpd"), "inactive")
end)

test.case("a service that does not start leaves the address to the other node", function()
  local h = test.host()
  h:fail("service.start httpd", "no memory")
  h:become("master")
  h:expect_error("no memory")
  h:expect_state("backup")
  h:expect_undone()
end)
