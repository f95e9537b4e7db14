//! tsubo-keeper: the parent of one running container, as a program of its own.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

sys::program!(keeper::executed);
