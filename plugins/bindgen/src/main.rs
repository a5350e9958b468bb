//! Writes the bindings of the example in C from `wit/hooks.wit`. Run it after the contract has
//! changed: `plugins/build --bindings`. Those of the SDK are made when it is compiled.

use std::path::Path;

use anyhow::{Context as _, Result};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator as _};

/// As `wit-bindgen c` does.
fn main() -> Result<()> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("this crate stands in plugins")?;
    let example = plugins
        .parent()
        .context("the plugins are part of a repository")?
        .join("examples/hooks/c");
    let mut resolve = Resolve::default();
    resolve.push_path(plugins.join("wit/hooks.wit"))?;
    let (package, _) = resolve.push_path(example.join("wit/hook.wit"))?;
    let world = resolve.select_world(&[package], Some("hook"))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)?;
    for (name, text) in files.iter() {
        std::fs::write(example.join("bindings").join(name), text)?;
    }
    Ok(())
}
