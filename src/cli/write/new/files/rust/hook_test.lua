-- Tests NAME.wasm: run `./build`, then `carpd test`.

test.case("on becoming master it writes its role down", function()
  local h = test.host()
  h:become("master")
  h:expect_plan([[
file.write /run/NAME.role (7 bytes)
]])
  test.equal(h:file("/run/NAME.role"), "master\n")
end)

test.case("a backup has no role", function()
  local h = test.host()
  h:become("master")
  h:become("backup")
  h:expect_undone()
  test.equal(h:file("/run/NAME.role"), nil)
end)

test.case("what fails leaves the address to the other node", function()
  local h = test.host()
  h:fail("file.write", "no space left on device")
  h:become("master")
  h:expect_error("no space left on device")
  h:expect_state("backup")
  h:expect_undone()
end)
