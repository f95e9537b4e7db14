//! The product on real programs: what a person types, and what comes of it.

mod bases;
mod containers;
mod definition;
mod inodes;
mod jobs;
mod packing;
mod python;
mod redis;
mod seen;
mod support;
mod terminal;
mod web;
