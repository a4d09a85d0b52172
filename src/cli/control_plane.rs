//! `outrigger control-plane`: the process that knows who serves what and what the policies say.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use control_plane::Options;

use crate::failed::Failed;

/// Run the control plane: with a file, or with the defaults.
#[derive(Args, Debug)]
pub(crate) struct ControlPlane {
    /// The control plane's file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where sidecars and readers connect, in the place of the file's.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where operators connect, in the place of the file's.
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Where policies and the registry's snapshot are kept, in the place of the file's.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl ControlPlane {
    /// Runs until it is told to stop.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let Self { config, listen, admin, data } = self;
        let done = control_plane::run(&Options { config, listen, admin, data }, &mut io::stderr());
        match done {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(why) => Err(Failed { exit: why.exit, text: why.text }),
        }
    }
}
