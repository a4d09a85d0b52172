//! The verb `outrigger control-plane`: configuration in, a process that runs until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use api::config::{ControlPlaneConfig, ControlPlaneConfigWords};
use api::schema::Words;
use api::{problem, yaml};
use tokio::signal::unix::{SignalKind, signal};

use crate::boot::{self, StartError};

/// What the command line says; what it says wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The file; embedded defaults without one.
    pub config: Option<PathBuf>,
    /// In the place of the file's `listen`.
    pub listen: Option<SocketAddr>,
    /// In the place of the file's `admin`.
    pub admin: Option<SocketAddr>,
    /// In the place of the file's `data`.
    pub data: Option<PathBuf>,
}

/// Why the process ends other than by being told to.
#[derive(Debug)]
pub struct Failure {
    /// The exit code, as sysexits.h names them: 78 configuration, 69 something needed is not there, 71 the
    /// system refused.
    pub exit: u8,
    /// What to tell the operator.
    pub text: String,
}

/// `EX_CONFIG`: the configuration is wrong; nothing was started.
const BAD_CONFIG: u8 = 78;

/// `EX_UNAVAILABLE`: a port, a directory or a store is not to be had.
const UNAVAILABLE: u8 = 69;

/// `EX_OSERR`: the system refused something else.
const SYSTEM: u8 = 71;

/// Reads and checks the configuration: start minus bind.
///
/// # Errors
/// Every mistake at once, each with its place; exit code 78.
pub fn check(options: &Options) -> Result<ControlPlaneConfig, Failure> {
    let mut words = match &options.config {
        None => ControlPlaneConfigWords::default(),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|why| Failure { exit: BAD_CONFIG, text: format!("cannot read {name}: {why}\n") })?;
            read(&text).map_err(|problems| Failure {
                exit: BAD_CONFIG,
                text: problem::render(&name, &text, &problems),
            })?
        }
    };
    words.listen = options.listen.or(words.listen);
    words.admin = options.admin.or(words.admin);
    words.data = options.data.clone().or(words.data);
    Ok(words.settle())
}

/// A file that says nothing means the defaults.
fn read(text: &str) -> Result<ControlPlaneConfigWords, Vec<problem::Problem>> {
    let mut documents = yaml::read_all::<ControlPlaneConfigWords>(text)?;
    match (documents.pop(), documents.len()) {
        (None, _) => Ok(ControlPlaneConfigWords::default()),
        (Some(words), 0) => Ok(words),
        (Some(_), more) => {
            Err(vec![problem::Problem::at("", format!("expected one document, found {}", more + 1))])
        }
    }
}

/// Runs a control plane until SIGTERM or SIGINT. Says on `out` where it listens and keeps its state.
///
/// # Errors
/// See [`Failure`].
pub fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let config = check(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(StartError::System)?;
    runtime.block_on(until_told(&config, out)).map_err(Failure::from)
}

async fn until_told(config: &ControlPlaneConfig, out: &mut dyn Write) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut running = boot::start(config).await?;
    let at = [
        format!("control plane for nodes      http://{}", running.listen),
        format!("control plane for operators  http://{}", running.admin),
        format!("data directory               {}", running.data.display()),
        format!("store                        {}", running.store),
    ];
    writeln!(out, "{}", at.join("\n"))?;
    tracing::info!(
        event = "listening", listen = %running.listen, admin = %running.admin,
        data = %running.data.display(), store = running.store, "answers once state is loaded"
    );
    let loaded = running.ready().await;
    if loaded.is_ok() {
        tracing::info!(event = "ready", "state is loaded");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    running.stop().await;
    loaded
}

impl From<StartError> for Failure {
    fn from(why: StartError) -> Self {
        let exit = if matches!(why, StartError::System(_)) { SYSTEM } else { UNAVAILABLE };
        Self { exit, text: format!("outrigger control-plane: {why}\n") }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn checked(text: &str) -> Result<ControlPlaneConfig, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cp.yaml");
        std::fs::write(&path, text).unwrap();
        check(&Options { config: Some(path), admin: Some(([127, 0, 0, 1], 9).into()), ..Options::default() })
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_defaults() {
        let config = checked("admin: 127.0.0.1:1\nlease: { expiry: 30s }\n").unwrap();
        assert_eq!(config.admin.port(), 9);
        assert_eq!(config.lease.expiry, api::Span::secs(30));
        assert_eq!(config.listen.port(), 7400);
        assert_eq!(checked("# nothing said\n").unwrap().push, Default::default());
    }

    #[test]
    fn every_mistake_of_a_file_is_told_at_once() {
        let failure = checked("lisen: 127.0.0.1:1\nlease: { expiry: 30 }\n").unwrap_err();
        assert_eq!(failure.exit, 78);
        for words in
            ["did you mean \"listen\"?", "cp.yaml:2:10", "has no unit", "2 problems; nothing was started"]
        {
            assert!(failure.text.contains(words), "{}", failure.text);
        }
    }

    #[test]
    fn a_missing_file_is_a_bad_configuration() {
        let options = Options { config: Some("/nowhere/cp.yaml".into()), ..Options::default() };
        let failure = check(&options).unwrap_err();
        assert_eq!((failure.exit, failure.text.contains("cannot read /nowhere/cp.yaml")), (78, true));
    }
}
