//! Floor 4: containers that come when they are called.
//!
//! A request for a service finds an instance of it, or waits until one is ready. What is decided is pure
//! ([`policy`]); what is done to containers is done by a few threads; everything between the sockets happens
//! on one thread, which never waits for anything else.
#![forbid(unsafe_code)]

pub mod account;
mod advisor;
pub mod config;
pub mod control;
mod dial;
mod door;
pub mod examine;
mod gateway;
mod hands;
pub mod holder;
mod house;
mod local;
mod notes;
pub mod page;
pub mod policy;
mod proxy;
mod service;
mod settings;
mod sign;
pub mod tls;
mod watch;
pub mod worker;
