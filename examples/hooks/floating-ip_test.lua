-- Tests floating-ip.lua: run `carpd test examples/hooks`.

local options = {
  files = { ["/etc/carpd/api.token"] = "secret\n" },
  http = { [config.url] = { status = 202 } },
}

test.case("the master tells the cloud once", function()
  local h = test.host(options)
  h:become("master")
  h:expect_plan([[
    http.post https://api.example.net/v1/floating_ips/7/assign (16 bytes)
  ]])
end)

test.case("until it has heard", function()
  local h = test.host(options)
  h:fail("http.post", "no answer", { times = 2 })
  h:become("master")
  test.equal(#h:plan(), 3)
  h:expect_log("warn Tries again attempt=2 because=http.post: no answer")
  test.equal(h:now(), 1.5)
end)

test.case("a cloud that says no is an error in the end", function()
  local h = test.host({ files = options.files, http = { [config.url] = { status = 403 } } })
  h:become("master")
  h:expect_error("the floating IP did not move: status 403")
  test.equal(h:now(), 15.5)
  h:expect_state("backup")
end)

test.case("a healed split tells it again", function()
  local h = test.host(options)
  h:become("master")
  h:peer_claim("192.0.2.3")
  test.equal(#h:plan(), 1)
end)

test.faults("whatever fails, nothing is left behind", options)
