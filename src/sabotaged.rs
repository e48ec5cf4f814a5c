//! The hub with faults on purpose, for the tests alone; see `hubbub::sabotage`.

use std::process::ExitCode;

#[path = "main.rs"]
mod main;

fn main() -> ExitCode {
    main::main()
}
