//! A panic ends the run as a trap, which has no words: so they go to the log before it.

/// From now on the words of a panic are logged.
pub fn report() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string(), &[])));
}
