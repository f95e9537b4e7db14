//! The command: tsubo dev, test, pack, run.

fn main() {}
