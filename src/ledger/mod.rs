//! The effects that this host holds now, and how to undo each.
