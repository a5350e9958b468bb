//! The `carpd` binary: hands over to [`carpd::cli`].

fn main() {}
