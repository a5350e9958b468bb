//! What a hook begins with in each language: files that are part of this binary, with the hook's
//! name put in.

use crate::port::api::{Form, print};
use crate::types::Name;

/// Stands for the hook's name, in paths and in texts.
const NAME: &str = "NAME";

/// One file of a new hook.
#[derive(Debug)]
pub(in crate::cli) struct File {
    /// Below the hook's directory.
    pub(super) path: String,
    pub(super) content: Vec<u8>,
    /// Is it a program?
    pub(super) runs: bool,
}

/// What a hook begins with in one language: paths below its directory, and contents.
pub(super) struct Language {
    /// `NAME` in path and text becomes the hook's name.
    texts: &'static [(&'static str, &'static str)],
    /// What a tool has made stays as it is.
    made: &'static [(&'static str, &'static [u8])],
    /// Where the code stands, if it becomes a component.
    source: Option<&'static str>,
}

/// For an editor, in every language: a hook's test is Luau.
const EDITOR: &[(&str, &str)] = &[
    // Luau's own switch for strictness, and where luau-lsp and lua-language-server find the API.
    (".luaurc", include_str!("files/luaurc")),
    (".vscode/settings.json", include_str!("files/vscode.json")),
    (".luarc.json", include_str!("files/luarc.json")),
];

const README: (&str, &str) = ("README.md", include_str!("files/README.md"));

/// Luau.
pub(super) const LUA: Language = Language {
    texts: &[
        ("NAME.lua", include_str!("files/lua/hook.lua")),
        ("NAME_test.lua", include_str!("files/lua/hook_test.lua")),
        ("NAME.toml", include_str!("files/lua/hook.toml")),
    ],
    made: &[],
    source: None,
};

/// Rust; the SDK comes besides.
#[cfg(feature = "wasm")]
pub(super) const RUST: Language = Language {
    texts: &[
        ("Cargo.toml", include_str!("files/rust/cargo.toml")),
        ("src/lib.rs", include_str!("files/rust/lib.rs")),
        ("plugin.toml", include_str!("files/rust/plugin.toml")),
        ("build", include_str!("files/rust/build")),
        (".gitignore", include_str!("files/rust/gitignore")),
        ("NAME_test.lua", include_str!("files/rust/hook_test.lua")),
        ("NAME.toml", include_str!("files/rust/hook.toml")),
    ],
    made: &[],
    source: Some("src/lib.rs"),
};

/// C: the example of the repository.
#[cfg(feature = "wasm")]
pub(super) const C: Language = Language {
    texts: &[
        (
            "hook.c",
            include_str!("../../../../examples/hooks/c/hook.c"),
        ),
        (
            "wit/hook.wit",
            include_str!("../../../../examples/hooks/c/wit/hook.wit"),
        ),
        (
            "plugin.toml",
            include_str!("../../../../examples/hooks/c/plugin.toml"),
        ),
        ("build", include_str!("../../../../examples/hooks/c/build")),
        (
            ".gitignore",
            include_str!("../../../../examples/hooks/c/.gitignore"),
        ),
        (
            "compile_flags.txt",
            include_str!("../../../../examples/hooks/c/compile_flags.txt"),
        ),
        ("NAME_test.lua", include_str!("files/c/hook_test.lua")),
        ("NAME.toml", include_str!("files/c/hook.toml")),
    ],
    made: &[
        (
            "bindings/hook.c",
            include_bytes!("../../../../examples/hooks/c/bindings/hook.c"),
        ),
        (
            "bindings/hook.h",
            include_bytes!("../../../../examples/hooks/c/bindings/hook.h"),
        ),
        (
            "bindings/hook_component_type.o",
            include_bytes!("../../../../examples/hooks/c/bindings/hook_component_type.o"),
        ),
    ],
    source: Some("hook.c"),
};

/// JavaScript: the example of the repository.
#[cfg(feature = "wasm")]
pub(super) const JS: Language = Language {
    texts: &[
        (
            "hook.js",
            include_str!("../../../../examples/hooks/js/hook.js"),
        ),
        (
            "wit/hook.wit",
            include_str!("../../../../examples/hooks/js/wit/hook.wit"),
        ),
        (
            "plugin.toml",
            include_str!("../../../../examples/hooks/js/plugin.toml"),
        ),
        ("build", include_str!("../../../../examples/hooks/js/build")),
        (
            ".gitignore",
            include_str!("../../../../examples/hooks/js/.gitignore"),
        ),
        (
            "jsconfig.json",
            include_str!("../../../../examples/hooks/js/jsconfig.json"),
        ),
        ("NAME_test.lua", include_str!("files/js/hook_test.lua")),
        ("NAME.toml", include_str!("files/js/hook.toml")),
    ],
    made: &[
        (
            "package.json",
            include_bytes!("../../../../examples/hooks/js/package.json"),
        ),
        (
            "package-lock.json",
            include_bytes!("../../../../examples/hooks/js/package-lock.json"),
        ),
    ],
    source: Some("hook.js"),
};

impl Language {
    /// The files of a hook of this name; `more` are other words to be replaced.
    pub(super) fn files(&self, name: &Name, more: &[(&str, &str)]) -> Vec<File> {
        let readme = self
            .source
            .map(|source| (README.0, README.1.replace("SOURCE", source)));
        let texts = self
            .texts
            .iter()
            .chain(EDITOR)
            .map(|(path, text)| (*path, own(text)));
        let text = |(path, text): (&str, String)| {
            let put_in = |text: &str| text.replace(NAME, name.as_str());
            let text = more
                .iter()
                .fold(put_in(&text), |text, (word, with)| text.replace(word, with));
            File {
                path: put_in(path),
                content: text.into_bytes(),
                runs: path == "build",
            }
        };
        let made = |(path, content): &(&str, &[u8])| File::new(*path, *content);
        let api = [
            (".carpd/carpd.d.luau", Form::Luau),
            (".carpd/luacats/carpd.lua", Form::LuaCats),
        ];
        texts
            .chain(readme)
            .map(text)
            .chain(self.made.iter().map(made))
            .chain(api.map(|(path, form)| File::new(path, print(form))))
            .collect()
    }
}

impl File {
    pub(super) fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
            runs: false,
        }
    }
}

/// A text of an example, under the new hook's name instead of the example's.
fn own(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        match line {
            "name = \"service-in-c\"" | "name = \"failover-in-js\"" => out += "name = \"NAME\"",
            line if line.starts_with("source = \"examples/") => continue,
            line => out += &line.replace("hook.wasm", "NAME.wasm"),
        }
        out.push('\n');
    }
    out
}
