//! What an attack costs: memory, CPU, requests let through, and whether somebody else is still served.

use std::fmt;
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
use crate::{OURS, peers, tell};

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
/// So many requests of the bystander say how it is served without an attack.
const BEFORE: usize = 50;
/// How much more than before the sidecar may have to do until the bystander's middle request is answered: it shares one
/// processor with the attack.
const MORE: u32 = 25;
/// So much anyhow, which is what a burst of the attack costs that came before.
const MORE_WORK: Duration = Duration::from_millis(100);
/// And how much longer it may take. What the sidecar stood ready for a processor that others had is the machine's, and no
/// part of it; what the bystander and the backend stood is, so that a busy machine needs room. A sidecar that stands still
/// does so for a second at least, its time-out of heads here.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Starts a sidecar before a backend that gives these answers, runs `attack` against it while a bystander asks, and
/// holds it to `bounds`. The bystander's every request must be answered, and not much later than before. `attack`
/// returns how many of its connections were left open that should have been cut. Peers are measured the same way and
/// held to nothing.
pub(crate) fn withstand(
    name: &str,
    bounds: &Bounds,
    answers: Vec<Vec<Step>>,
    attack: impl Fn(SocketAddr) -> usize,
) {
    for proxy in peers() {
        let cost = measure(&proxy, name, answers.clone(), &attack);
        tell(&format!("| {name} | {proxy} | {cost} |\n"));
        if proxy == OURS {
            cost.hold(name, bounds);
        }
    }
}

/// What an attack cost.
struct Cost {
    memory: u64,
    cpu: f64,
    through: usize,
    left: usize,
    /// How long the bystander's middle request took, before and meanwhile.
    waits: [Duration; 2],
    /// And how long the sidecar ran until then.
    work: [Duration; 2],
    asked: usize,
    served: usize,
}

impl Cost {
    fn hold(&self, name: &str, bounds: &Bounds) {
        let within = |[before, meanwhile]: [Duration; 2], more| meanwhile <= before * MORE + more;
        assert!(self.memory <= bounds.memory, "{name} cost {} MiB, over {}", self.memory, bounds.memory);
        assert!(self.cpu <= bounds.cpu, "{name} cost {} s of CPU, over {}", self.cpu, bounds.cpu);
        assert!(
            self.through <= bounds.through,
            "{name}: {} let through, over {}",
            self.through,
            bounds.through
        );
        assert_eq!(self.left, 0, "{name}: connections were not cut");
        assert_eq!(self.served, self.asked, "{name}: a bystander was not served");
        assert!(
            within(self.work, MORE_WORK),
            "{name}: the sidecar ran {:?} until it answered a bystander",
            self.work
        );
        assert!(within(self.waits, STANDSTILL), "{name}: a bystander waited {:?}", self.waits);
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, cpu, through, left, waits: [before, meanwhile], work: _, asked, served } = self;
        let millis = |wait: &Duration| wait.as_secs_f64() * 1e3;
        let (before, meanwhile) = (millis(before), millis(meanwhile));
        let cut = if *left == 0 { "yes".into() } else { format!("{left} left") };
        write!(
            f,
            "{memory} | {cpu:.2} | {through} | {cut} | {before:.1} → {meanwhile:.1} | {served} of {asked}"
        )
    }
}

fn measure(proxy: &str, name: &str, answers: Vec<Vec<Step>>, attack: &impl Fn(SocketAddr) -> usize) -> Cost {
    let backend = Backend::start();
    let subject = Subject::start(proxy, backend.address());
    let probe = || {
        let (begun, [ran, stood]) = (Instant::now(), scheduled(subject.pid()));
        let served = get(subject.entry(), "app", "/probe").is_ok_and(|answer| answer.body == "probe");
        let (took, [ran_then, stood_then]) = (begun.elapsed(), scheduled(subject.pid()));
        // A thread may have ended meanwhile, with its time.
        let [ran, stood] = [ran_then.saturating_sub(ran), stood_then.saturating_sub(stood)];
        (served, (took.saturating_sub(stood), ran))
    };
    let mut before = Vec::new();
    for _ in 0..BEFORE {
        let (served, wait) = probe();
        assert!(served, "{proxy} serves nobody even before {name}");
        before.push(wait);
    }
    backend.answer(answers);
    let (memory, cpu) = (status(subject.pid(), "VmRSS"), cpu(subject.pid()));
    let over = AtomicBool::new(false);
    let (left, meanwhile, served) = thread::scope(|scope| {
        let bystander = scope.spawn(|| {
            let (mut waits, mut all) = (Vec::new(), 0);
            while !over.load(Ordering::Relaxed) {
                let (served, wait) = probe();
                waits.push(wait);
                all += usize::from(served);
                thread::park_timeout(STROLL);
            }
            (waits, all)
        });
        let left = attack(if h2_only(name) { subject.entry_h2() } else { subject.entry() });
        over.store(true, Ordering::Relaxed);
        let (waits, served) = bystander.join().unwrap();
        (left, waits, served)
    });
    let spent = self::cpu(subject.pid()) - cpu;
    let grown = status(subject.pid(), "VmHWM").saturating_sub(memory) / 1024;
    let through = backend.end().requests.len();
    assert!(proxy != OURS || probe().0, "it serves nobody after {name}");
    let asked = meanwhile.len();
    type Probe = (Duration, Duration);
    let middles = |part: fn(&Probe) -> Duration| {
        [&before, &meanwhile].map(|all| middle(all.iter().map(part).collect()))
    };
    let (waits, work) = (middles(|probe| probe.0), middles(|probe| probe.1));
    Cost { memory: grown, cpu: spent, through, left, waits, work, asked, served }
}

/// Attacks on HTTP/2 are named by the field's words for them, which have no blanks.
fn h2_only(name: &str) -> bool {
    name.contains('_')
}

fn middle(mut waits: Vec<Duration>) -> Duration {
    waits.sort_unstable();
    waits.get(waits.len() / 2).copied().unwrap_or_default()
}

/// A process and its children: nginx works in one of them.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    [pid].into_iter().chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// A line of `/proc/PID/status` of the whole family, in KiB.
fn status(pid: u32, name: &str) -> u64 {
    let of = |pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    family(pid).into_iter().map(of).sum()
}

/// Processor time of the whole family so far, in seconds.
fn cpu(pid: u32) -> f64 {
    let of = |pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
    };
    family(pid).into_iter().map(of).sum::<f64>() / TICKS
}

/// How long the threads of the whole family ran so far, and how long they stood ready without a processor (`schedstat`).
fn scheduled(pid: u32) -> [Duration; 2] {
    let threads = |pid: u32| fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let mut sums = [Duration::ZERO; 2];
    for thread in family(pid).into_iter().flat_map(threads) {
        // It may end between the two looks.
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let nanos = text.split_whitespace().map(|nanos| nanos.parse().unwrap());
        sums.iter_mut().zip(nanos).for_each(|(sum, nanos)| *sum += Duration::from_nanos(nanos));
    }
    sums
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
