//! Counting the server's socket writes from outside: `perf stat` on the system calls' tracepoints, or else `strace -c`.
//!
//! Both slow the server down (strace by a lot), so this belongs in a run of its own whose other figures are not used.
//! `write` is left out: sockets are written by `sendto`, `sendmsg` and `writev` here, `write` wakes event loops.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const CALLS: [&str; 3] = ["sendto", "sendmsg", "writev"];
/// How long the counter takes to attach to all threads.
pub const ATTACH_TIME: Duration = Duration::from_millis(800);

/// A counter that runs beside the server.
#[derive(Debug)]
pub struct WriteCounter {
    child: Child,
    tool: &'static str,
}

impl WriteCounter {
    /// Attaches to `pid`; gives [`ATTACH_TIME`] to get going before the figures count.
    pub fn start(pid: u32) -> io::Result<Self> {
        let pid = pid.to_string();
        let events: Vec<String> = CALLS.iter().map(|call| format!("syscalls:sys_enter_{call}")).collect();
        let perf_works = Command::new("perf")
            .args(["stat", "-e", &events.join(","), "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        let (tool, arguments) = if perf_works {
            ("perf", vec!["stat".into(), "-x,".into(), "-e".into(), events.join(","), "-p".into(), pid])
        } else {
            (
                "strace",
                vec!["-c".into(), "-f".into(), "-e".into(), format!("trace={}", CALLS.join(",")), "-p".into(), pid],
            )
        };
        let child = Command::new(tool).args(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        Ok(Self { child, tool })
    }

    /// Detaches and returns the calls counted.
    pub fn finish(mut self) -> io::Result<u64> {
        if self.child.try_wait()?.is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, Signal::INT)?;
        }
        let output = self.child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let count = match self.tool {
            "perf" => perf_calls(&said),
            _ => strace_calls(&said),
        };
        count.ok_or_else(|| io::Error::other(format!("{} counted nothing: {}", self.tool, said.trim())))
    }
}

fn perf_calls(said: &str) -> Option<u64> {
    let mut counts = said
        .lines()
        .filter(|line| line.contains("sys_enter_"))
        .filter_map(|line| line.split(',').next()?.parse::<u64>().ok())
        .peekable();
    counts.peek()?;
    Some(counts.sum())
}

fn strace_calls(said: &str) -> Option<u64> {
    // % time     seconds  usecs/call     calls    errors syscall
    let mut counts = said
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            CALLS.contains(fields.last()?).then(|| fields.get(3)?.parse::<u64>().ok())?
        })
        .peekable();
    counts.peek()?;
    Some(counts.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tools_are_understood() {
        let perf = "1200,,syscalls:sys_enter_sendto,500,100.00,,\n34,,syscalls:sys_enter_writev,500,100.00,,\n";
        assert_eq!(perf_calls(perf), Some(1_234));
        assert_eq!(perf_calls("<not supported>,,syscalls:sys_enter_sendto,0,0,,\n"), None);
        let strace = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                       99.00    0.028146           7      3756        12 sendto\n\
                        1.00    0.000146           7        10           writev\n\
                      100.00    0.028146           7      3766        12 total\n";
        assert_eq!(strace_calls(strace), Some(3_766));
    }
}
