//! Writes `sdk/src/bindings.rs` from `wit/hooks.wit`, and what the example in C needs. Run it after the contract has changed:
//! `plugins/build --bindings`.

use std::path::Path;

use anyhow::{Context as _, Result};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator as _};
use wit_bindgen_rust::Opts;

fn main() -> Result<()> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate stands in plugins")?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(plugins.join("wit/hooks.wit"))?;
    let world = resolve.select_world(&[package], Some("hook"))?;
    let options = Opts {
        format: true,
        generate_all: true,
        runtime_path: Some("wit_bindgen::rt".to_owned()),
        pub_export_macro: true,
        default_bindings_module: Some("carpd_hook::bindings".to_owned()),
        additional_derive_attributes: vec!["PartialEq".to_owned()],
        disable_custom_section_link_helpers: true,
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, text) = files.iter().next().context("one file")?;
    let mut text = String::from_utf8(text.to_vec())?;
    // What the component is comes from carpd plugin build, which looks at what a hook really exports. The world that
    // these bindings were made for has every entry point, and would be demanded whole.
    let end = text.find("/// Generates `#[unsafe(no_mangle)]` functions").context("the macro for the whole world")?;
    text.truncate(end);
    // The SDK says an error in its own words.
    for start in ["            impl ::core::fmt::Display for Error {", "            impl ::core::error::Error for Error {}"] {
        let begin = text.find(start).context("the error's traits")?;
        let one_line = start.ends_with("{}");
        let length = if one_line { start.len() } else { text[begin..].find("\n            }").context("its end")? + 14 };
        text.replace_range(begin..begin + length, "");
    }
    std::fs::write(plugins.join("sdk/src/bindings.rs"), text)?;
    example_in_c(plugins)
}

/// As `wit-bindgen c` does.
fn example_in_c(plugins: &Path) -> Result<()> {
    let example = plugins.parent().context("the plugins are part of a repository")?.join("examples/hooks/c");
    let mut resolve = Resolve::default();
    resolve.push_path(plugins.join("wit/hooks.wit"))?;
    let (package, _) = resolve.push_path(example.join("wit/hook.wit"))?;
    let world = resolve.select_world(&[package], Some("hook"))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    for (name, text) in files.iter() {
        std::fs::write(example.join("bindings").join(name), text)?;
    }
    Ok(())
}
