//! The parent process: spawns and kills the others, and cleans up after them.
