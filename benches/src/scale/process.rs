//! What a process of this machine uses, as `/proc` says (proc(5)).

use std::fs;
use std::io::Error;
use std::time::Duration;

/// Ticks of the processor's account in a second: `USER_HZ`, 100 on every Linux that people run.
const TICKS: u64 = 100;

/// Resident bytes of process `pid`.
///
/// # Errors
/// When there is no such process.
pub fn resident(pid: u32) -> std::io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| Error::other("no VmRSS"))
}

/// Processor time that process `pid` used, its own and the kernel's for it.
///
/// # Errors
/// When there is no such process.
pub fn processor(pid: u32) -> std::io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in the second field may hold spaces; what follows it does not.
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis((ticks(11) + ticks(12)) * 1_000 / TICKS))
}
