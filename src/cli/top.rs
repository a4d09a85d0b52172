//! `outrigger top`: what each service is asked for on this host, what comes of it, and who holds requests back, and why.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use api::Span;
use clap::Args;

use super::explain::NO_SIDECAR;
use super::get::table;
use crate::failed::Failed;
use crate::peer::Peer;
use crate::scrape::Scrape;

/// Clears the screen and goes to its first line (ECMA-48: ED, CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Show each service of a sidecar: requests a second, in flight and waiting, caps, endpoints that are out, and its guard.
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// The admin listener of the sidecar.
    #[arg(long, value_name = "ADDR", default_value = "http://127.0.0.1:7411")]
    admin: Peer,
    /// Over what time rates are taken, and how often they are shown anew.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    every: Span,
    /// Show one table and end; also where the output is no terminal.
    #[arg(long)]
    once: bool,
}

impl Top {
    /// Shows it until somebody interrupts it.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let once = self.once || !io::stdout().is_terminal();
        let mut before = self.look()?;
        loop {
            super::pause(self.every.duration());
            let now = self.look()?;
            let shown = table(&rows(&before.0, &now.0, now.1.duration_since(before.1)));
            super::say(&if once { shown } else { format!("{CLEAR}{shown}") })?;
            if once {
                return Ok(ExitCode::SUCCESS);
            }
            before = now;
        }
    }

    fn look(&self) -> Result<(Scrape, Instant), Failed> {
        let text = self.admin.ask(NO_SIDECAR, ("GET", "/metrics"), &[], "")?.good()?;
        Ok((Scrape::read(&text), Instant::now()))
    }
}

fn rows(before: &Scrape, now: &Scrape, passed: Duration) -> Vec<Vec<String>> {
    let head = ["SERVICE", "OFFERED/s", "GOOD/s", "SHED/s", "IN FLIGHT", "WAITING", "CAPS", "OUT", "GUARD"];
    let (services, apps) = (named(now, "outrigger_guard"), named(now, "outrigger_app_requests_in_flight"));
    let row = |service: &String| {
        let one = ("service", service.as_str());
        let rate = |name: &str, with: &[(&str, &str)]| {
            let more = now.sum(name, with) - before.sum(name, with);
            more.max(0.0) / passed.as_secs_f64().max(f64::MIN_POSITIVE)
        };
        let offered = rate("outrigger_requests_total", &[one]);
        // What a limit over time refused is answered 429, other trouble 5xx.
        let bad = rate("outrigger_requests_total", &[one, ("code", "5xx")])
            + rate("outrigger_shed_total", &[one, ("reason", "rate_limited")]);
        let shed = rate("outrigger_shed_total", &[one]);
        let here = ["outrigger_requests_in_flight", "outrigger_requests_waiting"];
        let here = here.map(|name| now.sum(name, &[one]).to_string());
        let rates = [offered, (offered - bad).max(0.0), shed].map(|rate| format!("{rate:.0}"));
        let rest = [caps(now, one), out(now, one), guard(now, one)];
        [service.clone()].into_iter().chain(rates).chain(here).chain(rest).collect()
    };
    let apps = apps.into_iter().map(|service| app(now, service));
    std::iter::once(head.map(str::to_owned).to_vec())
        .chain(services.into_iter().map(row))
        .chain(apps)
        .collect()
}

/// The services that `metric` tells of.
fn named<'s>(now: &'s Scrape, metric: &'s str) -> BTreeSet<&'s String> {
    now.each(metric, &[]).filter_map(|(labels, _)| labels.get("service")).collect()
}

/// The line before a local app. Its requests are counted with those to the service elsewhere, where there are such.
fn app(now: &Scrape, service: &str) -> Vec<String> {
    let one = ("service", service);
    let count = |name: &str| now.sum(name, &[one]);
    let cap = now.each("outrigger_app_cap", &[one]).map(|(_, cap)| cap.to_string()).next();
    let wait = 1e3 * count("outrigger_app_wait_seconds");
    let mut waits = format!("{wait:.0} ms for a place");
    let level = count("outrigger_app_level");
    if level > 0.0 {
        waits += &format!(": only from level {level} on");
    }
    let here = ["outrigger_app_requests_in_flight", "outrigger_app_requests_waiting"];
    let [in_flight, waiting] = here.map(|name| count(name).to_string());
    let (name, none) = (format!("{service} (app)"), String::new);
    [name, none(), none(), none(), in_flight, waiting, cap.unwrap_or_default(), none(), waits].into()
}

/// Of how many endpoints how many have a cap, and which.
fn caps(now: &Scrape, one: (&str, &str)) -> String {
    let caps: Vec<f64> = now.each("outrigger_endpoint_cap", &[one]).map(|(_, cap)| cap).collect();
    let least = caps.iter().copied().fold(f64::INFINITY, f64::min);
    let most = caps.iter().copied().fold(0.0, f64::max);
    match caps.len() {
        0 => String::new(),
        count if least == most => format!("{count}: {most}"),
        count => format!("{count}: {least}-{most}"),
    }
}

fn out(now: &Scrape, one: (&str, &str)) -> String {
    let count = |state| now.sum("outrigger_endpoints", &[one, ("state", state)]);
    let all = now.sum("outrigger_endpoints", &[one]);
    format!("{} of {all}", count("ejected") + count("check-fails"))
}

/// What the guard does, and what it saw.
fn guard(now: &Scrape, one: (&str, &str)) -> String {
    let states = &[one];
    let state = now.each("outrigger_guard", states).find(|(_, is_so)| *is_so > 0.0);
    let state = state.and_then(|(labels, _)| labels.get("state")).map_or("", String::as_str);
    if matches!(state, "" | "calm") {
        return state.to_owned();
    }
    let saw = |what| now.sum("outrigger_guard_window", &[one, ("what", what)]);
    let (lasted, bound) =
        (now.sum("outrigger_guard_state_seconds", states), now.sum("outrigger_guard_bound", states));
    format!(
        "{state} for {lasted:.1} s: of {} offered {} in time, {} in vain; at most {bound}",
        saw("offered"),
        saw("good"),
        saw("lost")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "outrigger_requests_total{service=\"app\",route=\"default\",code=\"2xx\"} 100\n";
    const NOW: &str = "outrigger_requests_total{service=\"app\",route=\"default\",code=\"2xx\"} 140\n\
        outrigger_requests_total{service=\"app\",route=\"default\",code=\"5xx\"} 160\n\
        outrigger_shed_total{service=\"app\",reason=\"overloaded\"} 150\n\
        outrigger_requests_in_flight{service=\"app\"} 12\n\
        outrigger_requests_waiting{service=\"app\"} 7\n\
        outrigger_endpoint_cap{service=\"app\",endpoint=\"10.0.0.1:80\"} 2\n\
        outrigger_endpoint_cap{service=\"app\",endpoint=\"10.0.0.2:80\"} 5\n\
        outrigger_endpoints{service=\"app\",state=\"ready\"} 3\n\
        outrigger_endpoints{service=\"app\",state=\"ejected\"} 1\n\
        outrigger_guard{service=\"app\",state=\"calm\"} 0\n\
        outrigger_guard{service=\"app\",state=\"draining\"} 1\n\
        outrigger_guard_state_seconds{service=\"app\"} 1.25\n\
        outrigger_guard_bound{service=\"app\"} 4\n\
        outrigger_guard_window{service=\"app\",what=\"offered\"} 90\n\
        outrigger_guard_window{service=\"app\",what=\"good\"} 3\n\
        outrigger_guard_window{service=\"app\",what=\"lost\"} 70\n\
        outrigger_guard{service=\"db\",state=\"calm\"} 1\n\
        outrigger_app_requests_in_flight{service=\"cart\"} 3\n\
        outrigger_app_requests_waiting{service=\"cart\"} 2\n\
        outrigger_app_wait_seconds{service=\"cart\"} 0.012\n\
        outrigger_app_level{service=\"cart\"} 185\n\
        outrigger_app_cap{service=\"cart\"} 3\n";

    #[test]
    fn a_row_says_what_comes_of_what_is_offered_and_why_it_is_held_back() {
        let shown = rows(&Scrape::read(BEFORE), &Scrape::read(NOW), Duration::from_secs(2));
        let guard = "draining for 1.2 s: of 90 offered 3 in time, 70 in vain; at most 4";
        assert_eq!(shown[1], ["app", "100", "20", "75", "12", "7", "2: 2-5", "1 of 4", guard]);
        let waits = "12 ms for a place: only from level 185 on";
        assert_eq!(shown[3], ["cart (app)", "", "", "", "3", "2", "3", "", waits]);
        assert_eq!(shown[2], ["db", "0", "0", "0", "0", "0", "", "0 of 0", "calm"]);
    }
}
