//! What is done to files, kernel parameters and services, and how programs are run for it.

pub mod files;
pub mod manager;
pub mod notify;
pub mod spawn;
