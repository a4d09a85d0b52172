//! What an attack costs: memory, CPU, requests let through, and whether somebody else is still served.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outrigger_tests::get;

use crate::backend::Backend;
use crate::script::Step;
use crate::subject::Subject;
use crate::tell;

/// What an attack may cost at most. Bounds, not figures: the suite runs unoptimised on a busy machine.
pub(crate) struct Bounds {
    /// Growth of the process's resident memory at its peak, in MiB.
    pub(crate) memory: u64,
    /// Processor time of the process, in seconds.
    pub(crate) cpu: f64,
    /// Requests that reach the backend.
    pub(crate) through: usize,
}

/// The kernel counts processor time in hundredths of a second on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;
/// Between two requests of the bystander.
const STROLL: Duration = Duration::from_millis(10);

/// Starts a sidecar before a backend that gives these answers, runs `attack` against it while a bystander asks, and
/// holds it to `bounds`. The bystander's every request must be answered.
pub(crate) fn withstand(
    name: &str,
    bounds: &Bounds,
    answers: Vec<Vec<Step>>,
    attack: impl FnOnce(SocketAddr),
) {
    let backend = Backend::start();
    let subject = Subject::start("outrigger", backend.address());
    let probe = || get(subject.entry(), "app", "/probe").is_ok_and(|answer| answer.body == "probe");
    assert!(probe(), "it serves nobody even before {name}");
    backend.answer(answers);
    let (memory, cpu) = (status(subject.pid(), "VmRSS"), cpu(subject.pid()));
    let over = AtomicBool::new(false);
    let (asked, served) = thread::scope(|scope| {
        let bystander = scope.spawn(|| {
            let (mut asked, mut served) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                asked += 1;
                served += usize::from(probe());
                thread::park_timeout(STROLL);
            }
            (asked, served)
        });
        attack(subject.entry());
        over.store(true, Ordering::Relaxed);
        bystander.join().unwrap()
    });
    let spent = self::cpu(subject.pid()) - cpu;
    let grown = status(subject.pid(), "VmHWM").saturating_sub(memory) / 1024;
    let through = backend.end().requests.len();
    tell(&format!(
        "{name}: +{grown} MiB, {spent:.2} s of CPU, {through} let through, {served} of {asked} served\n"
    ));
    assert!(grown <= bounds.memory, "{name} cost {grown} MiB, over {}", bounds.memory);
    assert!(spent <= bounds.cpu, "{name} cost {spent} s of CPU, over {}", bounds.cpu);
    assert!(through <= bounds.through, "{name}: {through} let through, over {}", bounds.through);
    assert_eq!(served, asked, "{name}: a bystander was not served");
    assert!(probe(), "it serves nobody after {name}");
}

/// A line of `/proc/PID/status`, in KiB.
fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Processor time so far, in seconds.
fn cpu(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / TICKS
}

/// Opens so many connections.
pub(crate) fn connect(to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let open = |_| {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    (0..count).map(open).collect()
}

/// How many of these the other side has not ended, once `patience` is over or none is left.
pub(crate) fn left_open(streams: &[TcpStream], patience: Duration) -> usize {
    let until = Instant::now() + patience;
    loop {
        let open = streams.iter().filter(|stream| is_open(stream)).count();
        if open == 0 || Instant::now() >= until {
            return open;
        }
        thread::park_timeout(STROLL);
    }
}

fn is_open(mut stream: &TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
