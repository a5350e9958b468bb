//! What a ported hook needs besides the API: small functions at its head, each only where it is
//! called.

use std::collections::BTreeSet;

/// Name and text.
const HELPERS: &[(&str, &str)] = &[
    (
        "ask",
        "-- Runs a granted command line whose status is an answer.\nlocal ask = tolerant(command.run, \"quiet\")\n",
    ),
    (
        "words",
        "-- The words of a text.\nlocal function words(text)\n  local found = {}\n  \
           for word in string.gmatch(text, \"%S+\") do\n    table.insert(found, word)\n  end\n  return found\nend\n",
    ),
    (
        "lines",
        "-- The lines of a text.\nlocal function lines(text)\n  \
           return if text == \"\" then {} else string.split(text, \"\\n\")\nend\n",
    ),
    (
        "read_lines",
        "-- The lines of a text as read(1) has them; what follows the last of them is one with rest.\n\
           local function read_lines(text, rest, blanks)\n  local found = {}\n  \
           for line in string.gmatch(if rest and not string.find(text, \"\\n$\") and text ~= \"\" then text .. \"\\n\" else text, \"([^\\n]*)\\n\") do\n    \
             table.insert(found, if blanks then line else (string.match(line, \"^[ \\t]*(.-)[ \\t]*$\")))\n  end\n  \
           return found\nend\n",
    ),
    (
        "field",
        "-- What read(1) gives to its variable of this number; the last one has the rest.\nlocal function field(line, number, last)\n  \
           for _ = 2, number do\n    line = string.match(line, \"^[^ \\t]+[ \\t]*(.*)$\") or \"\"\n  end\n  \
           return if last then line else string.match(line, \"^[^ \\t]*\")\nend\n",
    ),
    (
        "has_route",
        "-- Is there a route to this destination?\nlocal function has_route(dst, options)\n  \
           local function plain(text)\n    return (string.gsub(string.gsub(text, \"^0%.0%.0%.0/0$\", \"default\"), \"/32$\", \"\"))\n  end\n  \
           for _, found in facts.routes(options.table) do\n    \
             local same = (found.metric or 0) == (options.metric or if string.find(dst, \":\", 1, true) then 1024 else 0)\n    \
             if same and plain(found.dst) == plain(dst) then\n      return true, found\n    end\n  end\n  return false\nend\n",
    ),
    (
        "add_route",
        "-- Adds a route; one that is there already stays, and that is a failure.\nlocal function add_route(dst, options)\n  \
           if has_route(dst, options) then\n    error(\"there is a route to \" .. dst)\n  end\n  \
           route.replace(dst, options)\nend\n",
    ),
    (
        "insert_route",
        "-- Adds a route before one to the same place; a hook can only take that one's place.\nlocal function insert_route(dst, options)\n  \
           local there, found = has_route(dst, options)\n  \
           if there and found.via ~= options.via then\n    error(\"not granted: a second route to \" .. dst)\n  end\n  \
           route.replace(dst, options)\nend\n",
    ),
    (
        "changed",
        "-- Calls a function of the host; did it change anything?\nlocal function changed(call, ...)\n  local outcome = tolerant(call)(...)\n  return outcome ~= false and outcome ~= \"unchanged\"\nend\n",
    ),
    (
        "answered",
        "-- Asks another host; was the answer a good one?\nlocal function answered(call, ...)\n  local answer = tolerant(call)(...)\n  return answer and answer.status < 400\nend\n",
    ),
    (
        "fetch",
        "-- Asks another host; an empty answer if it cannot be asked.\nlocal function fetch(call, ...)\n  return tolerant(call)(...) or { status = 0, body = \"\" }\nend\n",
    ),
    (
        "body",
        "-- What another host answers, without the end of its last line.\nlocal function body(call, ...)\n  \
           return (string.gsub(fetch(call, ...).body, \"\\n+$\", \"\"))\nend\n",
    ),
    (
        "good_body",
        "-- What another host answers, if that is no failure.\nlocal function good_body(call, ...)\n  \
           local answer = fetch(call, ...)\n  \
           return if answer.status < 400 then (string.gsub(answer.body, \"\\n+$\", \"\")) else \"\"\nend\n",
    ),
    (
        "http_status",
        "-- The status with which another host answers; 000 if it cannot be asked.\nlocal function http_status(call, ...)\n  \
           return string.format(\"%03d\", fetch(call, ...).status)\nend\n",
    ),
    (
        "number",
        "-- The number that a text is; what is none compares with nothing.\nlocal function number(text)\n  \
           return tonumber(text) or 0 / 0\nend\n",
    ),
    (
        "squeeze",
        "-- The words of a text with one blank between them.\nlocal function squeeze(text)\n  \
           return table.concat(words(text), \" \")\nend\n",
    ),
    (
        "grep",
        "-- The lines in which a pattern is found, or all others.\nlocal function grep(text, pattern, others, plain)\n  local found = {}\n  \
           for _, line in lines(text) do\n    \
             if (string.find(line, pattern, 1, plain) ~= nil) ~= others then\n      table.insert(found, line)\n    end\n  end\n  \
           return table.concat(found, \"\\n\")\nend\n",
    ),
    (
        "has_line",
        "-- Is a pattern found in a line of the text, or is there another line?\nlocal function has_line(text, pattern, others, plain)\n  \
           for _, line in lines(text) do\n    \
             if (string.find(line, pattern, 1, plain) ~= nil) ~= others then\n      return true\n    end\n  end\n  \
           return false\nend\n",
    ),
    (
        "cut",
        "-- A field of each line, as cut(1) has it.\nlocal function cut(text, separator, field)\n  local found = {}\n  \
           for _, line in lines(text) do\n    local fields = string.split(line, separator)\n    \
             table.insert(found, if #fields == 1 then line else fields[field] or \"\")\n  end\n  \
           return table.concat(found, \"\\n\")\nend\n",
    ),
    (
        "column",
        "-- A field of each line, as awk(1) has it; -1 is the last.\nlocal function column(text, field, separator)\n  local found = {}\n  \
           for _, line in lines(text) do\n    local fields = if separator then string.split(line, separator) else words(line)\n    \
             table.insert(found, fields[if field < 0 then #fields else field] or \"\")\n  end\n  \
           return table.concat(found, \"\\n\")\nend\n",
    ),
    (
        "head",
        "-- The first lines of a text.\nlocal function head(text, count)\n  \
           return table.concat(lines(text), \"\\n\", 1, math.min(count, #lines(text)))\nend\n",
    ),
    (
        "tail",
        "-- The last lines of a text.\nlocal function tail(text, count)\n  local all = lines(text)\n  \
           return table.concat(all, \"\\n\", math.max(1, #all - count + 1))\nend\n",
    ),
    (
        "lines_from",
        "-- The lines of a text from this one on.\nlocal function lines_from(text, first)\n  \
           return table.concat(lines(text), \"\\n\", first)\nend\n",
    ),
    (
        "count_lines",
        "-- How many lines a text has.\nlocal function count_lines(text)\n  return tostring(#lines(text))\nend\n",
    ),
    (
        "sorted",
        "-- The lines of a text in order, each once if unique.\nlocal function sorted(text, unique)\n  \
           local all, found = lines(text), {}\n  table.sort(all)\n  \
           for index, line in all do\n    if not unique or line ~= all[index - 1] then\n      table.insert(found, line)\n    end\n  end\n  \
           return table.concat(found, \"\\n\")\nend\n",
    ),
    (
        "ended",
        "-- A text with the end of its last line.\nlocal function ended(text)\n  \
           return if text == \"\" then \"\" else text .. \"\\n\"\nend\n",
    ),
    (
        "decimal",
        "-- The number that a text is; the hook fails where it is none.\nlocal function decimal(text)\n  \
           if text ~= \"0\" and not string.match(text, \"^-?[1-9]%d*$\") then\n    error(\"no number: \" .. text, 0)\n  end\n  \
           return tonumber(text)\nend\n",
    ),
    (
        "given",
        "-- A text that a program is to read; the hook fails where that is more than one can be given.\nlocal function given(text)\n  \
           if #text > 4096 or string.find(text, \"^%-\") or string.find(string.gsub(text, \"[\\n\\t]\", \"\"), \"%c\") then\n    \
           error(\"a program cannot be given this text: \" .. string.sub(text, 1, 64), 0)\n  end\n  return text\nend\n",
    ),
    (
        "sed",
        "-- Replaces in each line what a pattern finds.\nlocal function sed(text, pattern, by, count)\n  local found = {}\n  \
           for _, line in lines(text) do\n    table.insert(found, (string.gsub(line, pattern, by, count)))\n  end\n  \
           return table.concat(found, \"\\n\")\nend\n",
    ),
    (
        "whole",
        "-- What a program wrote, unless there is more of it than a hook is given.\nlocal function whole(name, text)\n  \
           if #text >= 65536 then\n    error(name .. \" wrote more than the 64 KiB that a hook is given\", 0)\n  end\n  return text\nend\n",
    ),
    (
        "raw_output",
        "-- What a granted command line writes; nothing if it cannot be run.\nlocal function raw_output(name, holes)\n  return whole(name, ask(name, holes).stdout)\nend\n",
    ),
    (
        "save",
        "-- Writes to a file what a granted command line writes.\nlocal function save(path, name, holes, options)\n  \
           file.write(path, raw_output(name, holes), options)\nend\n",
    ),
    (
        "is_file",
        "-- Is there a plain file of this name?\nlocal function is_file(path)\n  local worked, content = pcall(file.read, path)\n  if not worked and string.find(tostring(content), \"not granted\", 1, true) then\n    error(content, 0)\n  end\n  return content ~= nil and (worked or string.find(tostring(content), \"it is larger than\", 1, true) ~= nil)\nend\n",
    ),
    (
        "content",
        "-- All that is in a file; nothing if there is none.\nlocal function content(path)\n  return file.read(path) or \"\"\nend\n",
    ),
    (
        "runs",
        "-- Does a service run?\nlocal function runs(unit)\n  return tolerant(service.status)(unit) == \"active\"\nend\n",
    ),
    (
        "copy",
        "-- Writes to one file what is in another.\nlocal function copy(from, to, options)\n  \
           file.write(to, file.read(from) or \"\", options)\nend\n",
    ),
    (
        "must_output",
        "-- What a granted command line writes; it must work.\nlocal function must_output(name, holes)\n  \
           local result = command.run(name, holes)\n  assert(result.status == 0, name .. \": failed\")\n  \
           return (string.gsub(whole(name, result.stdout), \"\\n+$\", \"\"))\nend\n",
    ),
    (
        "all_output",
        "-- All that a granted command line says.\nlocal function all_output(name, holes)\n  \
           local result = command.run(name, holes)\n  return whole(name, result.stdout) .. whole(name, result.stderr)\nend\n",
    ),
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
        "default",
        "-- The text, or another one if it is empty.\nlocal function default(text, other)\n  \
           return if text ~= nil and text ~= \"\" then text else other\nend\n",
    ),
    (
        "has_address",
        "-- Has the device, or any, an address with this text in it?\nlocal function has_address(text, dev)\n  \
           for _, found in if dev then facts.addresses(dev) else facts.addresses() do\n    \
             if string.find(\" \" .. found.cidr, text, 1, true) then\n      return true\n    end\n  \
           end\n  return false\nend\n",
    ),
    (
        "keepalived_state",
        "-- What keepalived calls the state of a node that is not master.\nlocal function keepalived_state(event)\n  \
           if event.cause == \"shutdown\" then\n    return \"STOP\"\n  end\n  \
           local faults = { \"link-down\", \"interface\", \"unhealthy\", \"hook-failed\", \"address-failed\", \"send-failed\", \"track\" }\n  \
           return if table.find(faults, event.cause) then \"FAULT\" else \"BACKUP\"\nend\n",
    ),
    (
        "output",
        "-- What a granted command line writes, without the end of its last line.\nlocal function output(name, holes)\n  \
           return (string.gsub(raw_output(name, holes), \"\\n+$\", \"\"))\nend\n",
    ),
    (
        "read",
        "-- The content of a file without the end of its last line; if there is none, empty or another text.\nlocal function read(path, other)\n  \
           return (string.gsub(file.read(path) or other or \"\", \"\\n+$\", \"\"))\nend\n",
    ),
    (
        "touch",
        "-- Makes an empty file if there is none.\nlocal function touch(path, options)\n  \
           if file.read(path) == nil then\n    file.write(path, \"\", options)\n  end\nend\n",
    ),
    (
        "try",
        "-- Calls a function of the host; did it work?\nlocal function try(call, ...)\n  local function does(...)\n    call(...)\n  end\n  return tolerant(does)(...)\nend\n",
    ),
];

/// Helpers that call others, each before those that it calls.
const NEEDS: &[(&str, &[&str])] = &[
    ("output", &["raw_output", "whole", "ask"]),
    ("save", &["raw_output", "whole", "ask"]),
    ("raw_output", &["whole", "ask"]),
    ("must_output", &["whole"]),
    ("all_output", &["whole"]),
    ("body", &["fetch"]),
    ("good_body", &["fetch"]),
    ("http_status", &["fetch"]),
    ("add_route", &["has_route"]),
    ("insert_route", &["has_route"]),
    ("squeeze", &["words"]),
    ("column", &["words", "lines"]),
    ("grep", &["lines"]),
    ("has_line", &["lines"]),
    ("cut", &["lines"]),
    ("head", &["lines"]),
    ("tail", &["lines"]),
    ("sed", &["lines"]),
    ("lines_from", &["lines"]),
    ("count_lines", &["lines"]),
    ("sorted", &["lines"]),
];

/// Names that a script's variables must not take.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    HELPERS.iter().map(|(name, _)| *name)
}

/// The text of those that are called.
pub(super) fn text(used: &BTreeSet<&'static str>) -> String {
    let mut used = used.clone();
    // What they call themselves.
    for (caller, needed) in NEEDS {
        if used.contains(caller) {
            used.extend(needed.iter().copied());
        }
    }
    let called = HELPERS.iter().filter(|(name, _)| used.contains(name));
    called.map(|(_, text)| format!("\n{text}")).collect()
}
