//! What a process takes of the machine, as `/proc` tells it.

use std::process::Child;
use std::time::{Duration, Instant};

/// Ticks of `/proc/PID/stat` a second, on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    pub(crate) cpu_seconds: f64,
    /// The most resident memory, in MiB.
    pub(crate) peak_mib: f64,
}

/// Waits for a process and measures it until its end.
pub(crate) fn measured(mut child: Child, begun: Instant) -> Usage {
    let mut peak_mib = 0.0_f64;
    // Its figures stand until it is waited for, its memory only while it runs.
    while state(child.id()) != Some('Z') {
        peak_mib = peak_mib.max(peak(child.id()).unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let wall = begun.elapsed();
    let cpu_seconds = cpu_seconds(child.id());
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{status}");
    Usage { wall, cpu_seconds, peak_mib }
}

/// CPU time of a process up to now, in user and system mode.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let fields = fields(pid).unwrap_or_else(|| panic!("process {pid} is not there"));
    // Numbers 14 and 15 of the file; the first two are cut off.
    let ticks = |at: usize| fields[at - 3].parse::<f64>().expect("a number of ticks");
    (ticks(14) + ticks(15)) / TICKS_PER_SECOND
}

/// The most memory that a process held resident, in MiB.
pub(crate) fn peak(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

fn state(pid: u32) -> Option<char> {
    fields(pid)?.first()?.chars().next()
}

/// The fields of `/proc/PID/stat` from the third on; the second is a name that may hold anything.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}
