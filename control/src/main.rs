//! The command line of tel-control.

fn main() {}
