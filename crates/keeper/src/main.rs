//! tsubo-keeper: the parent of one running container.
//!
//! Started by `tsubo run` with a connection as its standard input, on which the job comes. It
//! starts the container, holds its input and output, writes the log, answers on a socket, reaps,
//! and cleans up. One thread, one loop over poll.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod connection;
mod early;
mod finish;
mod health;
mod keep;
mod orders;
mod request;
mod restart;
mod setup;
mod task;

sys::program!(setup::run);
