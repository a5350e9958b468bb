//! What a ported hook needs besides the API: small functions at its head, each only where it is
//! called.

use std::collections::BTreeSet;

/// Name and text.
const HELPERS: &[(&str, &str)] = &[
    (
        "append",
        "-- Puts text at the end of a file.\nlocal function append(path, text, options)\n  \
           file.write(path, (file.read(path) or \"\") .. text, options)\nend\n",
    ),
    (
        "assert_set",
        "-- The text, unless it is empty.\nlocal function assert_set(text, message)\n  \
           return if text ~= \"\" then text else error(message)\nend\n",
    ),
    (
        "copy",
        "-- Copies a file.\nlocal function copy(from, to, options)\n  local content = file.read(from)\n  \
           if content == nil then\n    error(\"there is no \" .. from)\n  end\n  file.write(to, content, options)\nend\n",
    ),
    (
        "default",
        "-- The text, or another one if it is empty.\nlocal function default(text, other)\n  \
           return if text ~= nil and text ~= \"\" then text else other\nend\n",
    ),
    (
        "has_address",
        "-- Does the device, or any, have this address?\nlocal function has_address(text, dev)\n  \
           local ip, whole = string.match(text, \"^[^/]+\"), string.find(text, \"/\", 1, true)\n  \
           for _, found in if dev then facts.addresses(dev) else facts.addresses() do\n    \
             if found.cidr == text or (not whole and string.match(found.cidr, \"^[^/]+\") == ip) then\n      return true\n    end\n  \
           end\n  return false\nend\n",
    ),
    (
        "keepalived_state",
        "-- What keepalived calls the state of a node that is not master.\nlocal function keepalived_state(event)\n  \
           if event.cause == \"shutdown\" then\n    return \"STOP\"\n  end\n  \
           local faults = { \"link-down\", \"unhealthy\", \"hook-failed\", \"address-failed\", \"send-failed\" }\n  \
           return if table.find(faults, event.cause) then \"FAULT\" else \"BACKUP\"\nend\n",
    ),
    (
        "output",
        "-- What a granted command line writes, without the end of its last line.\nlocal function output(name, holes)\n  \
           return (string.gsub(command.run(name, holes).stdout, \"\\n+$\", \"\"))\nend\n",
    ),
    (
        "read",
        "-- The content of a file without the end of its last line; empty if there is none.\nlocal function read(path)\n  \
           return (string.gsub(file.read(path) or \"\", \"\\n+$\", \"\"))\nend\n",
    ),
    (
        "run",
        "-- Runs a granted command line; did it work?\nlocal function run(name, holes)\n  local result = command.run(name, holes)\n  \
           if result.status ~= 0 then\n    \
             log.warn(\"A command failed\", { command = name, status = result.status, said = result.stderr })\n  end\n  \
           return result.status == 0\nend\n",
    ),
    (
        "touch",
        "-- Makes an empty file if there is none.\nlocal function touch(path, options)\n  \
           if file.read(path) == nil then\n    file.write(path, \"\", options)\n  end\nend\n",
    ),
    (
        "try",
        "-- Calls a function of the host; did it work?\nlocal function try(call, ...)\n  local worked, problem = pcall(call, ...)\n  \
           if not worked then\n    log.warn(\"Went on after a failure\", { problem = tostring(problem) })\n  end\n  \
           return worked\nend\n",
    ),
    (
        "words",
        "-- The words of a text.\nlocal function words(text)\n  local found = {}\n  \
           for word in string.gmatch(text, \"%S+\") do\n    table.insert(found, word)\n  end\n  return found\nend\n",
    ),
];

/// Names that a script's variables must not take.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    HELPERS.iter().map(|(name, _)| *name)
}

/// The text of those that are called.
pub(super) fn text(used: &BTreeSet<&'static str>) -> String {
    let called = HELPERS.iter().filter(|(name, _)| used.contains(name));
    called.map(|(_, text)| format!("\n{text}")).collect()
}
