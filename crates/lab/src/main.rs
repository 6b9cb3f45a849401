//! `aarp-lab`.
fn main() {}
