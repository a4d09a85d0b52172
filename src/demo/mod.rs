//! The demo: real processes of this same binary, real load, real kills.
//!
//! One process owns the others, gives them ports and files, and ends them by its own handles; it never signals a
//! process that it did not start. Orders from another terminal reach it through a Unix socket, so they too act
//! on nothing else. What it says about failures is what a separate client process counted.

mod app;
mod client;
mod files;
mod fleet;
mod http;
mod load;
mod orders;
mod place;
mod ports;
mod process;
mod report;
mod show;

pub(crate) use app::App;
pub(crate) use orders::{Order, Verb};

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use fleet::Fleet;
use load::Load;
use orders::REFUSED;
use place::Place;
use report::{Kill, Report};
use show::Show;

/// The app that an unattended run kills.
const KILLED_APP: &str = "hello-2";
/// The provider's sidecar that an unattended run kills later.
const KILLED_SIDECAR: &str = "hello-3-sidecar";

/// How the demo is to run.
pub(crate) struct Options {
    /// Ends by itself after this long.
    pub(crate) lasting: Option<Duration>,
    /// Kills an app and another provider's sidecar on the way.
    pub(crate) kill_one: bool,
    /// Requests per second.
    pub(crate) rate: u32,
}

/// Runs the demo until its time is over, or until SIGINT or SIGTERM.
///
/// # Errors
/// A process that cannot be started or does not become ready, with the path of its log.
pub(crate) fn run(options: &Options) -> io::Result<ExitCode> {
    on_one_thread(async {
        let (place, desk) = Place::take()?;
        let mut fleet = Fleet::lay_out(&place)?;
        let ended = hold(&mut fleet, &place, &desk, options).await;
        fleet.end().await;
        place.leave(ended.as_ref().is_ok_and(|code| *code == ExitCode::SUCCESS))?;
        ended
    })
}

/// Gives an order to the demo that runs and prints its answer.
///
/// # Errors
/// No demo of this user runs.
pub(crate) fn order(order: &Order) -> io::Result<ExitCode> {
    on_one_thread(orders::give(order))
}

/// Serves one of the demo's apps until standard input ends.
pub(crate) fn app(app: App, listen: SocketAddr) -> io::Result<ExitCode> {
    on_one_thread(app.serve(listen))
}

/// Sends load until standard input ends, then reports.
pub(crate) fn client(to: SocketAddr, rate: u32, report: &Path) -> io::Result<ExitCode> {
    on_one_thread(client::run(to, rate, report))
}

fn on_one_thread<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

/// The demo's life: start, load, orders and kills, judgement.
async fn hold(
    fleet: &mut Fleet<'_>,
    place: &Place,
    desk: &UnixListener,
    options: &Options,
) -> io::Result<ExitCode> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut show = Show::new();
    tokio::select! {
        started = fleet.start_all() => started?,
        _ = interrupt.recv() => return Ok(ExitCode::FAILURE),
        _ = terminate.recv() => return Ok(ExitCode::FAILURE),
    }
    show.addresses(fleet)?;
    let (load, mut seen) = Load::start(place, fleet.entry(), options.rate)?;
    place.write_state(&fleet.state())?;

    let begun = Instant::now();
    let mut kills = Vec::new();
    let mut planned = plan(options, begun);
    loop {
        let next = planned.first().copied();
        tokio::select! {
            () = until(next.map(|(at, _)| at)) => match planned.remove(0).1 {
                Planned::Kill(name) => {
                    let (told, kill) = fleet.kill(name).await?;
                    show.line(&told)?;
                    kills.push(kill);
                    place.write_state(&fleet.state())?;
                }
                Planned::End => break,
            },
            guest = desk.accept() => {
                let mut stream = guest?.0;
                let obeyed = obey(fleet, &mut stream).await;
                show.line(obeyed.as_ref().unwrap_or_else(|refused| refused))?;
                place.write_state(&fleet.state())?;
                tokio::task::spawn_local(orders::answer(stream, obeyed, seen.clone()));
            }
            news = seen.changed() => {
                news.map_err(|_| io::Error::other(format!("the client ended; see {}", place.log("client").display())))?;
                show.live(begun.elapsed(), &seen.borrow_and_update())?;
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    let report = load.end().await?;
    judge(fleet, &mut show, &report, &kills, options).await
}

#[derive(Clone, Copy)]
enum Planned {
    Kill(&'static str),
    End,
}

fn plan(options: &Options, begun: Instant) -> Vec<(Instant, Planned)> {
    let Some(lasting) = options.lasting else { return Vec::new() };
    let kills = [
        (begun + lasting / 3, Planned::Kill(KILLED_APP)),
        (begun + lasting * 2 / 3, Planned::Kill(KILLED_SIDECAR)),
    ];
    let kills = kills.into_iter().filter(|_| options.kill_one);
    kills.chain([(begun + lasting, Planned::End)]).collect()
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Carries an order out; what is wrong with it is told to whoever gave it, and the demo goes on.
async fn obey(fleet: &mut Fleet<'_>, stream: &mut UnixStream) -> Result<String, String> {
    let done = async {
        let Order { verb, name } = orders::take(stream).await?;
        match verb {
            Verb::Kill => fleet.kill(&name).await.map(|(told, _)| told),
            Verb::Slow => fleet.slow(&name),
            Verb::Stop => fleet.stop(&name),
            Verb::Start => fleet.start(&name).await,
        }
    };
    done.await.map_err(|why: io::Error| format!("{REFUSED} {why}"))
}

/// Tells what the client counted and, of an unattended run, whether it kept what we promise.
async fn judge(
    fleet: &Fleet<'_>,
    show: &mut Show,
    report: &Report,
    kills: &[Kill],
    options: &Options,
) -> io::Result<ExitCode> {
    show.report(report)?;
    if let Some(story) = http::get(fleet.admin(), "/v1/records/last-retried", "text/plain").await?.good() {
        show.line(&format!("\noutrigger explain last --retried\n{story}"))?;
    }
    let Some(lasting) = options.lasting else { return Ok(ExitCode::SUCCESS) };
    let expected = lasting.as_secs() * u64::from(options.rate);
    let broken = report.broken(kills, &fleet.taken_twice()?, expected);
    broken.iter().try_for_each(|promise| show.line(&format!("BROKEN: {promise}")))?;
    if broken.is_empty() {
        show.line(
            "kept: no GET failed, no more POSTs failed than were in flight at the kills, none ran twice",
        )?;
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
