//! The standard `process_*` families, read from `/proc/self` at each scrape.
//!
//! Where `/proc` is not there, the families are missing and nothing else happens.

use std::fs;

use super::catalogue as c;
use super::sheet::Sheet;

/// Linux reports processor time in hundredths of a second on every architecture it runs on (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn collect(sheet: &mut Sheet) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in brackets, which may hold spaces and brackets.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    if let (Some(user), Some(system)) = (number(14), number(15)) {
        sheet.set(&c::PROCESS_CPU, &[], (user + system) / TICKS_PER_SECOND);
    }
    if let (Some(ticks), Some(boot)) = (number(22), boot_time()) {
        sheet.set(&c::PROCESS_START, &[], boot + ticks / TICKS_PER_SECOND);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (key, family, unit) in [
        ("VmSize:", &c::PROCESS_VIRTUAL, 1024.0),
        ("VmRSS:", &c::PROCESS_RESIDENT, 1024.0),
        ("Threads:", &c::PROCESS_THREADS, 1.0),
    ] {
        if let Some(value) = number_after(&status, key) {
            sheet.set(family, &[], value * unit);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        sheet.set(&c::PROCESS_OPEN_FDS, &[], open.count().saturating_sub(1) as f64);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = number_after(&limits, "Max open files") {
        sheet.set(&c::PROCESS_MAX_FDS, &[], most);
    }
}

fn boot_time() -> Option<f64> {
    number_after(&fs::read_to_string("/proc/stat").ok()?, "btime")
}

/// The number after the line's `key`.
fn number_after(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_numbers() {
        let mut sheet = Sheet::default();
        collect(&mut sheet);
        for family in [&c::PROCESS_CPU, &c::PROCESS_RESIDENT, &c::PROCESS_START, &c::PROCESS_MAX_FDS] {
            assert!(sheet.number(family, &[]).is_some(), "{}", family.name);
        }
    }
}
