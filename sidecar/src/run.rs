//! The verb `outrigger sidecar`: words in, a process that runs until it is told to stop.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use api::config::{ServiceConfig, SidecarConfig, SidecarConfigWords};
use api::policy::Policy;
use api::schema::{Shape, Switch, Words};
use api::{ServiceKey, problem, yaml};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::boot::{self, CannotStart, Running};
use crate::clock::Clock;
use crate::control::{self, Ended};
use crate::inherit::Inherited;
use crate::tls::{self, Tls};

/// What the command line says: a file, or everything without one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The file.
    pub config: Option<PathBuf>,
    /// Without a file: where apps connect.
    pub listen: Option<SocketAddr>,
    /// Without a file: the endpoints.
    pub to: Vec<SocketAddr>,
    /// A policy file, for a host without a control plane.
    pub policy: Option<PathBuf>,
    /// Worker threads, in the place of the file's.
    pub threads: Option<u32>,
    /// The admin address, in the place of the file's.
    pub admin: Option<SocketAddr>,
}

/// Words that start nothing: every problem, rendered for the operator.
#[derive(Debug)]
pub struct BadConfig(pub String);

/// A configuration that can start, and the same as people write it.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What runs.
    pub config: SidecarConfig,
    /// Every setting in force, for `/v1/config`.
    pub effective: Value,
}

/// Reads and checks: start minus bind.
///
/// # Errors
/// Every mistake at once, each with its place.
pub fn check(options: &Options) -> Result<Checked, BadConfig> {
    let mut words = match &options.config {
        Some(path) => read(path)?,
        None => without_file(options)?,
    };
    words.threads = options.threads.or(words.threads);
    words.admin.listen = options.admin.map(Switch::On).or(words.admin.listen);
    words.policy = options.policy.clone().or(words.policy);
    let config = words.settle();
    let mut problems = config.check();
    for more in [control::check(&config), Tls::load(&config).map(drop)] {
        problems.extend(more.err().unwrap_or_default());
    }
    if !problems.is_empty() {
        let (name, text) = source(options);
        return Err(BadConfig(problem::render(&name, &text, &yaml::place(&text, problems))));
    }
    Ok(Checked { effective: effective(&words), config })
}

/// What will be wrong although it can start: certificates that nobody will trust. A start only warns of them,
/// because what else the sidecar does is worth more than one way in.
pub fn will_fail(checked: &Checked) -> Vec<String> {
    Tls::load(&checked.config).map(|tls| tls.expired(tls::unix(Clock::start()))).unwrap_or_default()
}

/// Starts a sidecar, with the listeners that this process was given. To be called before there are other threads.
///
/// # Errors
/// See [`CannotStart`].
pub fn start(checked: Checked) -> Result<Running, CannotStart> {
    let given = Inherited::take().map_err(failed("take over the listeners that were given"))?;
    boot::start(checked.config, checked.effective, given)
}

/// Waits for SIGTERM or SIGINT, leaves in five steps, and says how it ended. A second signal ends it at once. On SIGUSR2,
/// or when its admin socket is asked, another process takes its place.
pub fn until_told(mut running: Running) -> Result<Ended, CannotStart> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("make a runtime"))?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(failed("hear SIGTERM"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("hear SIGINT"))?;
        let mut replace = signal(SignalKind::user_defined2()).map_err(failed("hear SIGUSR2"))?;
        running.take_over().await.map_err(failed("take over"))?;
        let mut told = false;
        loop {
            tokio::select! {
                ended = running.ended() => return Ok(ended),
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = replace.recv() => {
                    told |= upgrade(&running, told).await.is_ok();
                    continue;
                }
                Some(asked) = running.upgrade_wanted() => {
                    let done = upgrade(&running, told).await;
                    told |= done.is_ok();
                    // Who asked may have left since.
                    _ = asked.send(done);
                    continue;
                }
            }
            if told {
                return Ok(Ended::Drained { forced: true });
            }
            told = true;
            running.drain().start();
        }
    })
}

async fn upgrade(running: &Running, leaving: bool) -> Result<u32, String> {
    if leaving {
        return Err("it is leaving already".to_owned());
    }
    match running.upgrade().await {
        Ok(pid) => {
            tracing::info!(pid, "another process takes over; what is open here ends here");
            Ok(pid)
        }
        Err(error) => {
            tracing::error!(%error, "no other process could take over; this one goes on");
            Err(error.to_string())
        }
    }
}

fn failed(deed: &'static str) -> impl Fn(io::Error) -> CannotStart {
    move |source| CannotStart::Io { deed, source }
}

fn read(path: &Path) -> Result<SidecarConfigWords, BadConfig> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|why| {
        let hint =
            "it never starts with silent defaults; for a run without a file: sidecar --listen ADDR --to A,B";
        BadConfig(format!("error: cannot read {name}: {why}\n  {hint}\n"))
    })?;
    yaml::read_one(&text).map_err(|problems| BadConfig(problem::render(&name, &text, &problems)))
}

/// One service on one port. Its name is the one that the policy file speaks of, so that the same document
/// serves with and without a control plane.
fn without_file(options: &Options) -> Result<SidecarConfigWords, BadConfig> {
    let missing = |what| {
        BadConfig(format!("error: {what} is missing: write --config FILE, or --listen ADDR --to A,B\n"))
    };
    let listen = options.listen.ok_or_else(|| missing("--listen"))?;
    if options.to.is_empty() {
        return Err(missing("--to"));
    }
    let service = match &options.policy {
        Some(path) => spoken_of(path)?,
        None => None,
    };
    let service = service.unwrap_or_else(default_service);
    let known = ServiceConfig::of(listen, options.to.clone());
    let mut words = SidecarConfigWords {
        namespace: Some(service.namespace.clone()),
        services: Some(BTreeMap::from([(service, known)])),
        ..SidecarConfigWords::default()
    };
    words.outbound.listen = Some(Switch::Off);
    words.admin.listen = Some(Switch::Off);
    Ok(words)
}

fn default_service() -> ServiceKey {
    // The word is a valid name, written here once.
    "upstream".parse().unwrap_or_else(|_| ServiceKey::unnamed())
}

/// The first service that a document of the file at `path` speaks for.
fn spoken_of(path: &Path) -> Result<Option<ServiceKey>, BadConfig> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|why| BadConfig(format!("error: cannot read policy {name}: {why}\n")))?;
    let documents = yaml::read_all::<Policy>(&text)
        .map_err(|problems| BadConfig(problem::render(&name, &text, &problems)))?;
    let named = |d: &Policy| Some(ServiceKey::new(d.namespace.clone(), d.target.service.clone()?));
    Ok(documents.iter().find_map(named))
}

/// The text that problems are shown in.
fn source(options: &Options) -> (String, String) {
    match &options.config {
        None => ("command line".into(), String::new()),
        Some(path) => (path.display().to_string(), std::fs::read_to_string(path).unwrap_or_default()),
    }
}

/// Every setting in force: what was written over every default.
pub fn effective(words: &SidecarConfigWords) -> Value {
    let mut all = defaults(&SidecarConfigWords::fields());
    lay(&mut all, words.write());
    all
}

fn defaults(fields: &[api::schema::Field]) -> Value {
    let value = |field: &api::schema::Field| match (&field.default, &field.schema) {
        (Some(default), _) => Some(default.clone()),
        (None, api::schema::Schema::Record(fields)) => Some(defaults(fields)),
        (None, _) => None,
    };
    let named = fields.iter().filter_map(|field| Some((field.name.to_owned(), value(field)?)));
    Value::Object(named.collect())
}

fn lay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}
