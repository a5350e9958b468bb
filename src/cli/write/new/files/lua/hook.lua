-- NAME: what happens around a change of state. Every call may be repeated; what is as it should be stays untouched.
-- What it may do stands in NAME.toml. The virtual host's own addresses are carpd's work.

-- We are master: the addresses are up and announced.
function on_master(event)
  log.info("Took over", { instance = event.instance.name, cause = event.cause })
  file.write(config.role_file, "master\n")
end

-- We are not master, or no longer: the addresses are gone. What on_master did is undone after this.
function on_backup(event)
  log.info("Stands by", { instance = event.instance.name, cause = event.cause })
end
