//! The command line: one command starts it, and what stands in the way is said plainly.

mod command_line;
mod faults;
mod redis;
mod start;
