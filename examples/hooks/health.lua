-- Says whether this node is fit to be master: its web server answers, and a database takes connections.
-- What it needs stands in health.toml.

function health()
  -- No answer is an error, and an error counts as unfit: its text is the reason.
  local answer = http.get(config.url, { timeout_ms = 1000 })
  if answer.status ~= 200 then
    return 240, "the web server answers with status " .. answer.status
  end
  -- Not as bad: a node that reaches the database is preferred.
  if config.database and not pcall(tcp.connect, config.database, { timeout_ms = 500 }) then
    return 100, "no way to the database"
  end
  return true
end
