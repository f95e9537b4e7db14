//! Watches real programs in a real container, with every set of instruments.
#![allow(unsafe_code, reason = "a container needs clone and mount, and the runtime is a neighbour")]

mod changes;
mod harness;
mod needs;
mod paths;
mod services;
