//! What the system says of this process, under the names that every Prometheus client uses.

use std::{
    fmt::Write as _,
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// Memory, CPU time, threads, open files. What the system does not tell is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFigures {
    /// Resident memory.
    pub memory_bytes: Option<u64>,
    /// CPU time of all threads, in user and kernel.
    pub cpu_seconds: Option<f64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open files and sockets.
    pub open_fds: Option<u64>,
    /// How many there may be.
    pub max_fds: Option<u64>,
}

impl ProcessFigures {
    /// As they are now: a few small files of `/proc`, tens of microseconds.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self {
            memory_bytes: memory_bytes(&status),
            cpu_seconds: cpu_seconds(&stat),
            threads: field(&status, "Threads:").and_then(|text| text.parse().ok()),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as u64),
            max_fds: field(&limits, "Max open files").and_then(|text| text.split_whitespace().next()?.parse().ok()),
        }
    }

    /// Resident memory alone, for routes that are asked often.
    pub fn memory_now() -> Option<u64> {
        memory_bytes(&fs::read_to_string("/proc/self/status").ok()?)
    }

    /// As lines of Prometheus' text format; `uptime_seconds` says when the process started.
    pub fn render(&self, uptime_seconds: f64) -> String {
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, help: &str, value: Option<f64>| {
            if let Some(value) = value {
                // Writing to a String does not fail.
                let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
            }
        };
        let whole = |value: Option<u64>| value.map(|value| value as f64);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map(|now| now.as_secs_f64() - uptime_seconds).ok();
        line("process_resident_memory_bytes", "gauge", "Resident memory", whole(self.memory_bytes));
        line("process_cpu_seconds_total", "counter", "CPU time of all threads", self.cpu_seconds);
        line("process_threads", "gauge", "Threads", whole(self.threads));
        line("process_open_fds", "gauge", "Open files and sockets", whole(self.open_fds));
        line("process_max_fds", "gauge", "How many files and sockets may be open", whole(self.max_fds));
        line("process_start_time_seconds", "gauge", "When it started, seconds since 1970", started);
        text
    }
}

/// `status` gives it in kB; `statm` would give pages, whose size differs between machines.
fn memory_bytes(status: &str) -> Option<u64> {
    let kibibytes: u64 = field(status, "VmRSS:")?.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// Fields 14 and 15, in ticks; the name of the process, in brackets, may hold anything. A tick is a hundredth of a second
/// on every Linux (`USER_HZ` is part of its interface).
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: Option<Vec<u64>> = rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse().ok()).collect();
    ticks.filter(|ticks| ticks.len() == 2).map(|ticks| ticks.iter().sum::<u64>() as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_of_this_process() {
        let figures = ProcessFigures::now();
        if cfg!(target_os = "linux") {
            assert!(figures.memory_bytes.is_some_and(|bytes| bytes > 1024 * 1024), "{figures:?}");
            assert!(figures.threads.is_some_and(|threads| threads >= 1) && figures.cpu_seconds.is_some());
            assert!(figures.open_fds.is_some_and(|fds| fds > 2) && figures.max_fds > figures.open_fds);
        }
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 100";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn what_is_not_told_is_left_out() {
        let text = ProcessFigures { cpu_seconds: Some(1.5), ..ProcessFigures::default() }.render(1.0);
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.5\n"), "{text}");
        assert!(!text.contains("process_threads"), "{text}");
    }
}
