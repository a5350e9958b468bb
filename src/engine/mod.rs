//! Order and time: one task that owns every virtual host.
