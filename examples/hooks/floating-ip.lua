-- Tells the API of a cloud which server has the floating IP: there ARP moves nothing.
-- What it needs stands in floating-ip.toml.

local function assign()
  local token = file.read(config.token_file) or error(config.token_file .. " does not exist")
  local headers = { authorization = "Bearer " .. token:gsub("%s+$", ""), ["content-type"] = "application/json" }
  local body = string.format('{"server": %d}', config.server)
  local last
  for attempt = 1, 5 do
    local ok, answer = pcall(http.post, config.url, body, { headers = headers })
    if ok and answer.status < 300 then
      return
    end
    last = if ok then "status " .. answer.status else answer
    log.warn("Tries again", { attempt = attempt, because = last })
    clock.sleep(250 * 2 ^ attempt)
  end
  error("the floating IP did not move: " .. last)
end

on_master = assign
-- The other side of a split may have been the last to tell.
on_peer_claim = assign
