//! Load generator, origin and floor.
fn main() {}
