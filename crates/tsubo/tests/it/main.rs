//! The product on real programs: what a person types, and what comes of it.

mod bad_input;
mod bases;
mod cli;
mod containers;
mod crowd;
mod definition;
mod faults;
mod floods;
mod hostile;
mod inodes;
mod jobs;
mod minimal;
mod oddities;
mod packing;
mod python;
mod questions;
mod ready;
mod redis;
mod seen;
mod story;
mod support;
mod terminal;
mod web;
