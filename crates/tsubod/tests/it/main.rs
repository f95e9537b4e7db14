//! The gateway with real containers, from outside: what its clients see.

mod activation;
mod bursts;
mod clients;
mod continuity;
mod crowd;
mod faults;
mod protocols;
mod replacement;
mod support;
mod tls;
