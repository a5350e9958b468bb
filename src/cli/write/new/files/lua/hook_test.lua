-- Tests NAME.lua: run `carpd test`.

test.case("on becoming master it writes its role down", function()
  local h = test.host({ interface = "eth0", addresses = { "192.0.2.22/24" } })
  h:become("master")
  h:expect_plan([[
file.write /run/NAME.role (7 bytes)
]])
end)
