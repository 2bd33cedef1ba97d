//! What the system tells of this machine and of a process (Linux's /proc), and the time of day.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Ticks of a second in /proc/PID/stat: USER_HZ, which is 100 on every Linux that people run.
const TICKS_PER_S: f64 = 100.0;

/// Microseconds of the machine's clock: the one time that two processes share.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    u64::try_from(since.as_micros()).expect("microseconds of this age fit")
}

/// CPU seconds that a process has used so far, in user and in kernel mode.
pub fn cpu_s(pid: u32) -> Result<f64> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold anything, spaces too.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has a name")?;
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_S)
}

/// VmRSS: the part of a process that is in memory.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let status = read(&format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS is told")?;
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).context("VmRSS is a number")
}

/// Files and sockets that this process may have open.
pub fn handles_max() -> Result<u64> {
    let limits = read("/proc/self/limits")?;
    let line = limits.lines().find(|line| line.starts_with("Max open files")).context("no limit is told")?;
    line.split_whitespace().nth(3).and_then(|limit| limit.parse().ok()).context("the limit is a number")
}

/// What a reader must know of the machine to read the figures.
pub fn describe(disk: &Path) -> Value {
    let cpu = read("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = read("/proc/meminfo").unwrap_or_default();
    let memory_kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
    let load = read("/proc/loadavg").unwrap_or_default();
    json!({
        "cpu": cpu.trim_start_matches(['\t', ':', ' ']),
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "memoryGib": memory_kib.div_ceil(1 << 20),
        "kernel": read("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "disk": file_system_of(disk),
        "loadAtStart": load.split_whitespace().next().unwrap_or_default(),
    })
}

/// Kind and device of the file system that holds a path: that with the longest fitting mount point.
fn file_system_of(path: &Path) -> String {
    let mounts = read("/proc/mounts").unwrap_or_default();
    let fitting = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
        path.starts_with(point).then(|| (point.len(), format!("{kind} on {device}")))
    });
    fitting.max().map_or_else(String::new, |(_, text)| text)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))
}
