//! `outrigger sidecar`: the process beside an app.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use ::sidecar::boot::CannotStart;
use ::sidecar::control::Ended;
use ::sidecar::run::{self, Options};
use clap::Args;

/// `EX_CONFIG` of sysexits.h: the words are wrong; nothing was started, and starting again helps nobody.
const BAD_CONFIG: u8 = 78;
/// `EX_UNAVAILABLE`: something outside is missing or taken.
const UNAVAILABLE: u8 = 69;

/// Run the sidecar: with a file, or without one for one service with fixed endpoints.
#[derive(Args, Debug)]
pub(crate) struct Sidecar {
    /// The sidecar's file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "to"])]
    config: Option<PathBuf>,
    /// Without a file: where apps connect.
    #[arg(long, value_name = "ADDR", requires = "to")]
    listen: Option<SocketAddr>,
    /// Without a file: the endpoints, separated by commas.
    #[arg(long, value_name = "ADDR,ADDR", value_delimiter = ',', requires = "listen")]
    to: Vec<SocketAddr>,
    /// A policy file, for a host without a control plane.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Worker threads.
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// Where health, metrics and records are read.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
}

impl Sidecar {
    /// Runs until it is told to stop.
    pub(crate) fn run(self) -> io::Result<ExitCode> {
        let Self { config, listen, to, policy, threads, admin } = self;
        let checked = match run::check(&Options { config, listen, to, policy, threads, admin }) {
            Ok(checked) => checked,
            Err(bad) => {
                super::complain(&bad.0);
                return Ok(BAD_CONFIG.into());
            }
        };
        let ended = run::start(checked).and_then(run::until_told);
        Ok(match ended {
            Ok(Ended::Drained { .. }) => ExitCode::SUCCESS,
            Ok(Ended::CannotRegister(why)) => {
                super::complain(&format!("error: cannot register: {why}\n"));
                UNAVAILABLE.into()
            }
            Err(why) => {
                super::complain(&explain(&why));
                UNAVAILABLE.into()
            }
        })
    }
}

/// A taken port is told with who holds it.
fn explain(why: &CannotStart) -> String {
    match why {
        CannotStart::Listen(taken) => match taken.port {
            Some(address) => ::control_plane::port::explain(&taken.name, address, &taken.source) + "\n",
            None => format!("error: {taken}\n"),
        },
        other => format!("error: {other}\n"),
    }
}
