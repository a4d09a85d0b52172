//! `outrigger demo`: a fleet on this machine, and orders to one that runs.
//!
//! Only reads the command line; `src/demo` does the work.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use api::Span;
use clap::{Args, Subcommand};

use crate::demo::{self, Order, Verb};

/// Start a fleet on this machine under load, or act on the one that runs.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    #[command(subcommand)]
    order: Option<OrderWords>,
    /// End by itself after this long and judge what the client saw, as in `20s`.
    #[arg(long = "for", value_name = "SPAN")]
    lasting: Option<Span>,
    /// Kill an app after a third of the time and another provider's sidecar after two thirds.
    #[arg(long, requires = "lasting")]
    kill_one: bool,
    /// Requests per second; one in five is a POST.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
}

#[derive(Debug, Subcommand)]
enum OrderWords {
    /// End a process of the demo with SIGKILL, as a crash would.
    Kill { name: String },
    /// Make an app answer 300 ms later; the same again ends it.
    Slow { name: String },
    /// Ask a process of the demo to stop, with SIGTERM.
    Stop { name: String },
    /// Start a process of the demo that was killed or stopped.
    Start { name: String },
}

impl Demo {
    /// Runs the demo, or gives the order to the one that runs.
    pub(crate) fn run(self) -> io::Result<ExitCode> {
        let order = |verb, name| demo::order(&Order { verb, name });
        match self.order {
            None => demo::run(&demo::Options {
                lasting: self.lasting.map(Span::duration),
                kill_one: self.kill_one,
                rate: self.rate,
            }),
            Some(OrderWords::Kill { name }) => order(Verb::Kill, name),
            Some(OrderWords::Slow { name }) => order(Verb::Slow, name),
            Some(OrderWords::Stop { name }) => order(Verb::Stop, name),
            Some(OrderWords::Start { name }) => order(Verb::Start, name),
        }
    }
}

/// One of the demo's apps: says its name, takes orders.
#[derive(Debug, Args)]
pub(crate) struct DemoApp {
    /// Its name.
    #[arg(long)]
    name: String,
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// The file that gets a line for each order taken.
    #[arg(long)]
    orders: PathBuf,
    /// While this file is there, answers come later.
    #[arg(long)]
    slow: PathBuf,
}

impl DemoApp {
    /// Serves until standard input ends.
    pub(crate) fn run(self) -> io::Result<ExitCode> {
        demo::app(demo::App { name: self.name, orders: self.orders, slow: self.slow }, self.listen)
    }
}

/// The demo's client: steady open-loop load.
#[derive(Debug, Args)]
pub(crate) struct DemoClient {
    /// The consumer sidecar's outbound port.
    #[arg(long)]
    to: SocketAddr,
    /// Requests per second.
    #[arg(long)]
    rate: u32,
    /// The file that gets the report at the end.
    #[arg(long)]
    report: PathBuf,
}

impl DemoClient {
    /// Sends until standard input ends, then waits for what is in flight and writes the report.
    pub(crate) fn run(self) -> io::Result<ExitCode> {
        demo::client(self.to, self.rate, &self.report)
    }
}
