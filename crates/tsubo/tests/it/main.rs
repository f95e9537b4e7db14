//! The product on real programs: what a person types, and what comes of it.

mod jobs;
mod python;
mod redis;
mod support;
mod web;
