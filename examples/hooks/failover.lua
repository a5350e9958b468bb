-- Moves a host name, the default route and a service with the virtual address.
--
-- What it needs stands in the configuration: [hook.failover.config] gives the values, [hook.failover.grant] the rights
-- (examples/carpd.toml). The virtual address itself is carpd's own work: it is up before on_master and gone before
-- on_backup. Every call may be repeated; what is as it should be stays untouched.

-- We are master: be the service.
function on_master()
  hostname.set(config.name_master)
  route.replace("default", { via = config.gateway })
  service.start(config.service)
end

-- We are not master (or no longer): be ourselves.
function on_backup()
  hostname.set(config.name_backup)
  route.replace("default", { via = config.gateway })
  service.stop(config.service)
end
