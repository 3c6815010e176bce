//! The `latchkey` executable: arguments, configuration, signals, exit code.

fn main() {}
