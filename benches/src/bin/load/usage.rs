//! What server and generator use of the machine between two moments.

use std::io;
use std::time::{Duration, Instant};

use hubbub_bench::procfs;
use hubbub_bench::report::Report;
use hubbub_bench::writes::{ATTACH_TIME, WriteCounter};

use crate::Common;

/// Readings at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    at: Instant,
    server: Option<Duration>,
    own: Duration,
    machine: Duration,
}

/// The difference of two readings.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub seconds: f64,
    pub server_cpu: Option<Duration>,
    pub own_cpu: Duration,
    /// What everything else on the machine used meanwhile: if it is much, the figures are worth little.
    pub others_cpu: Duration,
}

impl Usage {
    /// Reads now.
    pub fn read(common: &Common) -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: common.server_pid.map(procfs::cpu_time).transpose()?,
            own: procfs::cpu_time(std::process::id())?,
            machine: procfs::machine_cpu_time()?,
        })
    }

    /// What was used since.
    pub fn since(self, common: &Common) -> io::Result<Used> {
        let now = Self::read(common)?;
        let server_cpu = now.server.zip(self.server).map(|(now, then)| now.saturating_sub(then));
        let own_cpu = now.own.saturating_sub(self.own);
        let machine_cpu = now.machine.saturating_sub(self.machine);
        Ok(Used {
            seconds: (now.at - self.at).as_secs_f64(),
            server_cpu,
            own_cpu,
            others_cpu: machine_cpu.saturating_sub(own_cpu + server_cpu.unwrap_or_default()),
        })
    }
}

impl Used {
    /// Adds the share of a core that each used.
    pub fn report(&self, report: &mut Report) {
        let cores = |cpu: Duration| cpu.as_secs_f64() / self.seconds;
        if let Some(cpu) = self.server_cpu {
            report.figure("server_cores", cores(cpu), "cores");
        }
        report.figure("generator_cores", cores(self.own_cpu), "cores").figure(
            "others_cores",
            cores(self.others_cpu),
            "cores, everything else on the machine",
        );
    }

    /// Adds the CPU time per delivery.
    pub fn report_per_delivery(&self, report: &mut Report, deliveries: u64) {
        let per_delivery = |cpu: Duration| cpu.as_secs_f64() * 1e6 / deliveries as f64;
        if let Some(cpu) = self.server_cpu {
            report.figure("server_cpu_us", per_delivery(cpu), "µs per delivery");
        }
        report.figure("generator_cpu_us", per_delivery(self.own_cpu), "µs per delivery");
    }
}

/// Adds the resident memory of the server, if it is known.
pub fn report_memory(common: &Common, report: &mut Report) -> io::Result<()> {
    if let Some(pid) = common.server_pid {
        let bytes = procfs::resident_bytes(pid)?;
        report.figure("server_rss_mib", bytes as f64 / f64::from(1 << 20), "MiB");
    }
    Ok(())
}

/// Starts to count the server's socket writes, if `wanted`, and waits until the counter is attached.
#[expect(clippy::disallowed_methods, reason = "nothing else runs on the generator's only thread")]
pub fn count_writes(common: &Common, wanted: bool) -> io::Result<Option<WriteCounter>> {
    if !wanted {
        return Ok(None);
    }
    let pid = common.server_pid.ok_or_else(|| io::Error::other("--count-writes needs --server-pid"))?;
    let counter = WriteCounter::start(pid)?;
    std::thread::sleep(ATTACH_TIME);
    Ok(Some(counter))
}
