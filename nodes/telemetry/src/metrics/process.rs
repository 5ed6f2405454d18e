//! `process_*`: what the kernel knows of this process, read when it is asked for.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::access::AccessLog;

/// Reads what is measured elsewhere.
#[derive(Debug)]
pub(crate) struct Process {
    started: SystemTime,
    access_log: Arc<OnceLock<AccessLog>>,
}

impl Process {
    pub(crate) fn new(started: SystemTime, access_log: Arc<OnceLock<AccessLog>>) -> Self {
        Self {
            started,
            access_log,
        }
    }
}

/// What `/proc/self/stat` says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
    threads: f64,
}

impl Usage {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The fields of proc(5), counted from behind the name of the program, which may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let fields = fields.split_ascii_whitespace().collect::<Vec<_>>();
        // The third field is the first behind the name.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_seconds: number(field(14)? + field(15)?) / number(clock_ticks_per_second()),
            virtual_bytes: number(field(23)?),
            resident_bytes: number(field(24)?) * number(u64::try_from(page_size()).ok()?),
            threads: number(field(20)?),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric, exact up to 2^53")]
fn number(value: u64) -> f64 {
    value as f64
}

/// One metric without labels.
/// One figure that is read when it is asked for.
pub(crate) fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &dyn EncodeMetric,
) -> fmt::Result {
    // The registry adds the full stop to what is registered; here it is on its own.
    let help = format!("{help}.");
    let described = encoder.encode_descriptor(name, &help, None, metric.metric_type())?;
    metric.encode(described)
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        if let Some(usage) = Usage::read() {
            let cpu = ConstCounter::new(usage.cpu_seconds);
            let help = "Total user and system CPU time spent in seconds.";
            write(out, "process_cpu_seconds", help, &cpu)?;
            let help = "Resident memory size in bytes.";
            let resident = ConstGauge::new(usage.resident_bytes);
            write(out, "process_resident_memory_bytes", help, &resident)?;
            let help = "Virtual memory size in bytes.";
            let virtual_bytes = ConstGauge::new(usage.virtual_bytes);
            write(out, "process_virtual_memory_bytes", help, &virtual_bytes)?;
            let help = "Number of OS threads in the process.";
            let threads = ConstGauge::new(usage.threads);
            write(out, "process_threads", help, &threads)?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            // One of them is the directory that is being read.
            let open = u64::try_from(open.count().saturating_sub(1)).unwrap_or(u64::MAX);
            let help = "Number of open file descriptors.";
            write(
                out,
                "process_open_fds",
                help,
                &ConstGauge::new(number(open)),
            )?;
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            let help = "Maximum number of open file descriptors.";
            write(
                out,
                "process_max_fds",
                help,
                &ConstGauge::new(number(limit)),
            )?;
        }
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = ConstGauge::new(started.as_secs_f64());
        let help = "Start time of the process since unix epoch in seconds.";
        write(out, "process_start_time_seconds", help, &started)?;
        if let Some(log) = self.access_log.get() {
            let dropped = ConstCounter::new(log.dropped());
            let help = "Lines of the access log that standard output did not take in time";
            write(out, "roadstead_access_log_dropped_lines", help, &dropped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_may_hold_anything() {
        let stat = "7 (a) b) 1 2) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 9 0 100 4096 3 0";
        let usage = Usage::parse(stat).expect("usage");
        let ticks = number(clock_ticks_per_second());
        assert!((usage.cpu_seconds - 200.0 / ticks).abs() < 1e-9);
        assert!((usage.virtual_bytes - 4096.0).abs() < 1e-9);
        assert!((usage.threads - 9.0).abs() < 1e-9);
        assert_eq!(Usage::parse("7 (a) S 1"), None);
    }
}
