//! The gateway with real containers, from outside: what its clients see.

mod activation;
mod bursts;
mod checks;
mod clients;
mod continuity;
mod crowd;
mod faults;
mod guest;
mod protocols;
mod replacement;
mod rootless;
mod support;
mod tls;
