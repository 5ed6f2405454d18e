//! What the machine says of processes: processor time, memory, and how busy others are.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::figures::real;

/// What a server's processes have used, children included.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Used {
    /// Seconds on a processor.
    pub(crate) cpu: f64,
    /// KiB of memory, at present.
    pub(crate) resident: u64,
    /// KiB of memory, at most since the peak was forgotten.
    pub(crate) peak: u64,
}

/// Of a process and all below it.
pub(crate) fn used(pid: u32) -> Result<Used> {
    let mut all = Used::default();
    for pid in tree(pid) {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            // It ended a moment ago; its parent has its time.
            continue;
        };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        all.cpu += seconds(&stat).with_context(|| format!("/proc/{pid}/stat"))?;
        all.resident += kib(&status, "VmRSS:");
        all.peak += kib(&status, "VmHWM:");
    }
    Ok(all)
}

/// Makes the peak what is resident now.
pub(crate) fn forget_peak(pid: u32) {
    for pid in tree(pid) {
        // Only of processes of one's own; elsewhere the peak counts from their start.
        let _refused = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        all.extend(
            children
                .split_whitespace()
                .filter_map(|child| child.parse::<u32>().ok()),
        );
        next += 1;
    }
    all
}

/// utime, stime, and those of children that were waited for: fields 14 to 17 (proc(5)).
fn seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks = after_name.split_whitespace().skip(11).take(4);
    let ticks: Vec<u64> = ticks.filter_map(|field| field.parse().ok()).collect();
    let ticks = (ticks.len() == 4).then(|| ticks.iter().sum())?;
    Some(real(ticks) / real(rustix::param::clock_ticks_per_second()))
}

fn kib(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Seconds that all processors together were busy, or taken away by the host, since the machine began.
pub(crate) fn busy() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, (idle, iowait), irq, softirq, steal
    let busy: u64 = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|at| ticks.get(*at))
        .sum();
    Ok(real(busy) / real(rustix::param::clock_ticks_per_second()))
}

pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Files are read from the disk again. Whether that could be done.
pub(crate) fn drop_caches() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// One line about the machine.
pub(crate) fn description() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} x {model}, Linux {}", processors(), kernel.trim())
}

/// Whether a program is there to be started.
pub(crate) fn is_installed(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    search_path()
        .split(':')
        .any(|directory| Path::new(directory).join(program).is_file())
}

/// `PATH` with the directories of servers, which not every shell has.
pub(crate) fn search_path() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin", path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 25 25 20 0 1 0 5 6 7";
        let ticks = real(rustix::param::clock_ticks_per_second());
        assert_eq!(seconds(stat), Some(250.0 / ticks));
        assert_eq!(seconds("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        let used = used(std::process::id()).unwrap();
        assert!(used.resident > 0 && used.peak >= used.resident, "{used:?}");
        assert!(busy().unwrap() > 0.0);
    }
}
