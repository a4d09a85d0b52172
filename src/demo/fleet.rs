//! The fleet: a control plane, three apps each with its own sidecar, a consumer's sidecar.
//!
//! Gives each process its ports and file, starts them in order and ends them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::files::{self, Contacts};
use super::http;
use super::place::Place;
use super::ports::Ports;
use super::process::Process;
use super::report::Kill;

/// The apps, all of service `hello`.
pub(super) const APPS: [&str; 3] = ["hello-1", "hello-2", "hello-3"];
/// All apps must have answered through the consumer's sidecar by then: an addition may wait 1 s at the pacer.
const FOUND_WITHIN: Duration = Duration::from_secs(30);

/// The demo's processes.
pub(super) struct Fleet<'a> {
    place: &'a Place,
    processes: Vec<Process>,
    entry: SocketAddr,
    admin: SocketAddr,
}

impl<'a> Fleet<'a> {
    /// Gives everyone ports, the documented ones where they are free, and writes the sidecars' files.
    pub(super) fn lay_out(place: &'a Place) -> io::Result<Self> {
        let mut ports = Ports::default();
        let (control, control_admin) = (ports.take(7400)?, ports.take(7401)?);
        let (entry, admin) = (ports.take(7410)?, ports.take(7411)?);
        let process = |name: &str, at, args: Vec<OsString>| Process::new(name, at, args, place.log(name));
        let sidecar = |name: &str, at, file: PathBuf| {
            process(name, at, vec!["sidecar".into(), "--config".into(), file.into()])
        };

        let listen =
            ["control-plane", "--listen", &control.to_string(), "--admin", &control_admin.to_string()];
        let mut words: Vec<OsString> = listen.iter().map(Into::into).collect();
        words.extend(["--data".into(), place.data("control-plane").into()]);
        let mut processes = vec![process("control-plane", control, words).ready_at(control, "/readyz")];
        for (name, nth) in APPS.into_iter().zip(1..) {
            let (app, inbound) = (ports.take(9100 + nth)?, ports.take(9200 + nth)?);
            let contacts = Contacts { control, admin: ports.take(7420 + nth)? };
            let listen = ["demo-app", "--name", name, "--listen", &app.to_string(), "--orders"];
            let mut words: Vec<OsString> = listen.iter().map(Into::into).collect();
            words.extend([orders(place, name).into(), "--slow".into(), slow(place, name).into()]);
            processes.push(process(name, app, words).ready_at(app, "/healthz"));
            let file = files::provider(place, name, app, inbound, &contacts)?;
            processes
                .push(sidecar(&format!("{name}-sidecar"), inbound, file).ready_at(contacts.admin, "/readyz"));
        }
        let file = files::consumer(place, entry, &Contacts { control, admin })?;
        processes.push(sidecar("consumer", entry, file).ready_at(admin, "/readyz"));
        Ok(Self { place, processes, entry, admin })
    }

    /// Starts everyone but the client, and returns once each app has answered through the consumer's sidecar.
    pub(super) async fn start_all(&mut self) -> io::Result<()> {
        for process in &mut self.processes {
            process.spawn()?;
            process.wait_ready().await?;
        }
        let give_up = Instant::now() + FOUND_WITHIN;
        let mut missing = APPS.to_vec();
        while !missing.is_empty() {
            if let Ok(answer) = http::get_from(self.entry, "hello", "/", "*/*").await
                && let Some(name) = answer.good()
            {
                missing.retain(|app| *app != name.trim());
            } else {
                sleep(Duration::from_millis(20)).await;
            }
            if Instant::now() > give_up {
                return Err(io::Error::other(format!(
                    "no answer from {} through {}",
                    missing.join(", "),
                    self.entry
                )));
            }
        }
        Ok(())
    }

    /// Ends everyone. What they would say now interests nobody and their data goes away, so it is quick.
    pub(super) async fn end(&mut self) {
        for mut process in self.processes.drain(..) {
            if process.kill().await.is_err() {
                // It ended by itself in between; dropping the handle would kill it as well.
            }
        }
    }

    /// `kill -9`.
    pub(super) async fn kill(&mut self, name: &str) -> io::Result<(String, Kill)> {
        let process = self.named(name)?;
        let killed = process.kill().await?;
        let (pid, kill) = killed.ok_or_else(|| io::Error::other(format!("{name} does not run")))?;
        Ok((format!("killed {name}, pid {pid} (kill -9)"), kill))
    }

    /// SIGTERM.
    pub(super) fn stop(&mut self, name: &str) -> io::Result<String> {
        let pid =
            self.named(name)?.terminate()?.ok_or_else(|| io::Error::other(format!("{name} does not run")))?;
        Ok(format!("asked {name}, pid {pid}, to stop (SIGTERM)"))
    }

    /// Starts who was killed or stopped, on the same ports.
    pub(super) async fn start(&mut self, name: &str) -> io::Result<String> {
        let process = self.named(name)?;
        if let Some(pid) = process.pid() {
            return Ok(format!("{name} runs already, pid {pid}"));
        }
        process.spawn()?;
        process.wait_ready().await?;
        Ok(format!("started {name}, pid {}", process.pid().unwrap_or_default()))
    }

    /// Makes an app slow, or ordinary again.
    pub(super) fn slow(&mut self, name: &str) -> io::Result<String> {
        if !APPS.contains(&name) {
            return Err(io::Error::other(format!("only apps can be slow: {}", APPS.join(", "))));
        }
        let file = slow(self.place, name);
        if file.exists() {
            fs::remove_file(file)?;
            return Ok(format!("{name} answers as before"));
        }
        fs::write(file, "")?;
        Ok(format!("{name} answers 300 ms later"))
    }

    /// Orders that the apps wrote down more than once, over all of them.
    pub(super) fn taken_twice(&self) -> io::Result<Vec<String>> {
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        for file in APPS.iter().map(|name| orders(self.place, name)).filter(|file| file.exists()) {
            for id in fs::read_to_string(file)?.lines() {
                *times.entry(id.to_owned()).or_default() += 1;
            }
        }
        Ok(times.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect())
    }

    /// The consumer sidecar's outbound port.
    pub(super) fn entry(&self) -> SocketAddr {
        self.entry
    }

    /// The consumer sidecar's admin port.
    pub(super) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Name, address and what it is, of everyone.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr, &'static str)> {
        self.processes.iter().map(|process| {
            let what = match process.name.as_str() {
                "control-plane" => "lists, policies",
                "consumer" => "the consumer's sidecar: requests go in here",
                name if name.ends_with("-sidecar") => "its sidecar, inbound",
                _ => "app of service hello",
            };
            (process.name.as_str(), process.address, what)
        })
    }

    /// Who runs where, as the state file says it.
    pub(super) fn state(&mut self) -> Value {
        let (entry, admin) = (self.entry.to_string(), self.admin.to_string());
        let one = |process: &mut Process| json!({ "name": process.name, "address": process.address.to_string(), "pid": process.pid() });
        let processes: Vec<Value> = self.processes.iter_mut().map(one).collect();
        json!({ "demo": std::process::id(), "entry": entry, "admin": admin, "processes": processes })
    }

    fn named(&mut self, name: &str) -> io::Result<&mut Process> {
        let known: Vec<String> = self.processes.iter().map(|process| process.name.clone()).collect();
        let found = self.processes.iter_mut().find(|process| process.name == name);
        found.ok_or_else(|| io::Error::other(format!("nobody is called {name:?}: {}", known.join(", "))))
    }
}

/// Gets a line for each order that the app took.
fn orders(place: &Place, app: &str) -> PathBuf {
    place.data(&format!("{app}.orders"))
}

/// While it is there, the app is slow.
fn slow(place: &Place, app: &str) -> PathBuf {
    place.data(&format!("{app}.slow"))
}
