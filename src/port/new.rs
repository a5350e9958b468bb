//! A hook to begin with.

use super::api::{Form, print};
use crate::types::Name;

/// The files of a new hook in Lua: path below its directory, and text.
#[must_use]
pub fn hook(name: &Name) -> Vec<(String, String)> {
    let lua = format!(
        "-- {name}: what happens around a change of state. Every call may be repeated; what is as it should be stays untouched.\n\
         -- What it may do stands in {name}.toml. The virtual host's own addresses are carpd's work.\n\
         \n\
         -- We are master: the addresses are up and announced.\n\
         function on_master(event)\n  \
           log.info(\"Took over\", {{ instance = event.instance.name, cause = event.cause }})\n  \
           file.write(config.role_file, \"master\\n\")\n\
         end\n\
         \n\
         -- We are not master, or no longer: the addresses are gone. What on_master did is undone after this.\n\
         function on_backup(event)\n  \
           log.info(\"Stands by\", {{ instance = event.instance.name, cause = event.cause }})\n\
         end\n"
    );
    let toml = format!(
        "[hook.{name}]\nsource = \"hooks/{name}.lua\"\nconfig = {{ role_file = \"/run/{name}.role\" }}\n\n\
         # All that the hook may do. Anything else is refused.\n\
         [hook.{name}.grant]\nfile = [{{ path = \"/run/{name}.role\", do = [\"write\"] }}]\n"
    );
    let test = format!(
        "-- Tests {name}.lua: run `carpd test`.\n\
         \n\
         test.case(\"on becoming master it writes its role down\", function()\n  \
           local h = test.host({{ interface = \"eth0\", addresses = {{ \"192.0.2.22/24\" }} }})\n  \
           h:become(\"master\")\n  \
           h:expect_plan([[\nfile.write /run/{name}.role (7 bytes)\n]])\n\
         end)\n"
    );
    vec![
        (format!("{name}.lua"), lua),
        (format!("{name}_test.lua"), test),
        (format!("{name}.toml"), toml),
        // Luau's own switch for strictness, and where luau-lsp and lua-language-server find the API.
        (".luaurc".to_owned(), "{\n  \"languageMode\": \"strict\"\n}\n".to_owned()),
        (
            ".vscode/settings.json".to_owned(),
            "{\n  \"luau-lsp.types.definitionFiles\": [\".carpd/carpd.d.luau\"],\n  \"luau-lsp.platform.type\": \"standard\"\n}\n"
                .to_owned(),
        ),
        (
            ".luarc.json".to_owned(),
            "{\n  \"runtime.version\": \"Lua 5.1\",\n  \"workspace.library\": [\".carpd/luacats\"]\n}\n".to_owned(),
        ),
        (".carpd/carpd.d.luau".to_owned(), print(Form::Luau)),
        (".carpd/luacats/carpd.lua".to_owned(), print(Form::LuaCats)),
    ]
}
