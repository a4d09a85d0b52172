//! Passed of all, by category and by level, one column a proxy.

use std::fmt;

use crate::case::{Case, Level};

/// The counts of a run.
pub(crate) struct Table {
    /// Row names with how many cases they have, in order.
    rows: Vec<(String, usize)>,
    columns: Vec<(String, Vec<usize>)>,
}

/// The rows a case counts in.
fn rows(case: &Case) -> [String; 2] {
    let level = match case.level {
        Level::Safety => "**safety**",
        Level::Must => "**MUST**",
        Level::Quality => "**quality**",
    };
    [case.category.clone(), level.into()]
}

impl Table {
    /// An empty table for these cases.
    pub(crate) fn new(cases: &[Case]) -> Self {
        let mut all: Vec<(String, usize)> = Vec::new();
        for index in [0, 1] {
            for case in cases {
                let row = &rows(case)[index];
                match all.iter_mut().find(|(name, _)| name == row) {
                    Some((_, count)) => *count += 1,
                    None => all.push((row.clone(), 1)),
                }
            }
        }
        Self { rows: all, columns: Vec::new() }
    }

    /// Counts a case of a proxy.
    pub(crate) fn count(&mut self, proxy: &str, case: &Case, passed: bool) {
        if self.columns.last().is_none_or(|(name, _)| name != proxy) {
            self.columns.push((proxy.into(), vec![0; self.rows.len()]));
        }
        let Some((_, column)) = self.columns.last_mut() else { return };
        for row in rows(case) {
            let at = self.rows.iter().position(|(name, _)| *name == row).unwrap();
            column[at] += usize::from(passed);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(f, "\n| cases | {} |", names.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(names.len()))?;
        for (at, (row, count)) in self.rows.iter().enumerate() {
            let cells: Vec<String> = self.columns.iter().map(|(_, column)| column[at].to_string()).collect();
            writeln!(f, "| {row} ({count}) | {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}
