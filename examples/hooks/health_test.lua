-- Tests health.lua: run `carpd test examples/hooks`.

local function node(answer, listening)
  return test.host({ http = { [config.url] = answer }, listening = listening })
end

test.case("a node whose server answers and that reaches the database is fit", function()
  test.equal(node({ status = 200 }, { config.database }):health(), { demotion = 0, reason = "" })
end)

test.case("one whose server complains is not", function()
  local health = node({ status = 503 }, { config.database }):health()
  test.equal(health, { demotion = 240, reason = "the web server answers with status 503" })
end)

test.case("one without a database is less fit", function()
  test.equal(node({ status = 200 }, {}):health(), { demotion = 100, reason = "no way to the database" })
end)
