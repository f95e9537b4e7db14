//! tsubo-keeper: the parent of one running container.

fn main() {}
