//! Virtual hosts in network namespaces on one machine.
