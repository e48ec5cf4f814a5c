//! What a process has used, from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// User and system time of all threads of `pid` so far; in steps of the kernel's clock tick (10 ms as a rule).
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = cpu_ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Resident memory of `pid`, bytes.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(kib(&status, "VmRSS:").ok_or(io::ErrorKind::InvalidData)? * 1_024)
}

/// The most resident memory that `pid` ever had, bytes.
pub fn peak_resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(kib(&status, "VmHWM:").ok_or(io::ErrorKind::InvalidData)? * 1_024)
}

/// Busy time of all cores so far, stolen time included: time that a virtual machine wanted and did not get.
pub fn machine_cpu_time() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks = busy_ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

fn busy_ticks(stat: &str) -> Option<u64> {
    // user nice system idle iowait irq softirq steal
    let fields: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    let busy = fields.iter().take(8).sum::<u64>();
    Some(busy - fields.get(3)? - fields.get(4)?)
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The command name stands in parentheses and may itself hold blanks and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_fields_are_read() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 1200 34 0 0 20 0 9 0 77";
        assert_eq!(cpu_ticks(stat), Some(1_234));
        assert_eq!(busy_ticks("cpu  1 2 4 1000 1000 8 16 32 64 64\ncpu0 1\n"), Some(63));
        assert_eq!(kib("VmHWM:\t 900 kB\nVmRSS:\t    512 kB\n", "VmRSS:"), Some(512));
    }

    #[test]
    fn this_process_can_be_read() {
        assert!(cpu_time(std::process::id()).is_ok());
        assert!(resident_bytes(std::process::id()).expect("readable") > 100_000);
    }
}
