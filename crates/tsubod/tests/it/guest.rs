//! What takes a kernel of its own: `./x guest` has one; elsewhere these are ignored.

mod clock;
