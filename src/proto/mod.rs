//! CARP itself, sans-IO: no clock, socket, random source or async.
