//! The standard library and the examples.
