//! Build, test, bench and demo.

fn main() {}
