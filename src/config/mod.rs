//! The operator's file: read, checked in full, never half applied.
