//! Who registers: hosts with two instances each, one hot service, the rest in services of ten.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use api::message::{OpenSession, SessionOpened};
use api::{Instance, ServiceKey};

use super::wire::{Client, request};

/// Instances of the service that everybody follows.
pub const HOT: usize = 1_000;

/// Instances of every other service.
const EACH: usize = 10;

/// Instances on one host.
pub const PER_HOST: usize = 2;

/// Hosts whose sessions open at the same time.
const AT_ONCE: usize = 32;

/// The service of instance `number`.
///
/// # Panics
/// Never: the names are right.
pub fn service_of(number: usize) -> String {
    match number < HOT {
        true => "hot".into(),
        false => format!("service-{}", (number - HOT) / EACH),
    }
}

/// Instance `number`, as its sidecar asserts it.
///
/// # Errors
/// When a name of ours is none.
pub fn instance(number: usize) -> std::io::Result<Instance> {
    let service: ServiceKey = service_of(number).parse().map_err(std::io::Error::other)?;
    let host = u32::try_from(number / PER_HOST).map_err(std::io::Error::other)?;
    let ip = Ipv4Addr::from(0x0a00_0000 + host + 1);
    let port = 8_000 + u16::try_from(number % PER_HOST).unwrap_or_default();
    let mut instance = Instance::at(service, SocketAddr::new(ip.into(), port));
    instance.address = SocketAddr::new(ip.into(), port + 10_000);
    instance.zone = format!("zone-{}", host % 3);
    instance.labels.insert("version", "v1");
    instance.sidecar = true;
    Ok(instance)
}

/// What host `number` opens its session with.
fn opens(number: usize, boot: &str) -> std::io::Result<String> {
    let instances = (number * PER_HOST..(number + 1) * PER_HOST).map(instance);
    let open = OpenSession {
        node: format!("node-{number}").parse().map_err(std::io::Error::other)?,
        boot: boot.into(),
        epoch: 1,
        capabilities: api::Policy::capabilities(),
        instances: instances.collect::<Result<_, _>>()?,
    };
    Ok(serde_json::to_string(&open)?)
}

/// Opens the sessions of `hosts` hosts. Returns each one's id.
///
/// # Errors
/// When a session is not opened.
pub async fn open(to: SocketAddr, hosts: usize) -> std::io::Result<Vec<String>> {
    let sessions = Rc::new(std::cell::RefCell::new(vec![String::new(); hosts]));
    let mut lanes = Vec::new();
    for lane in 0..AT_ONCE {
        let sessions = Rc::clone(&sessions);
        lanes.push(tokio::task::spawn_local(async move {
            let mut client = Client::connect(to, lane).await?;
            for host in (lane..hosts).step_by(AT_ONCE) {
                let session = open_one(&mut client, host).await?;
                sessions.borrow_mut()[host] = session;
            }
            Ok::<_, std::io::Error>(())
        }));
    }
    for lane in lanes {
        lane.await??;
    }
    Ok(sessions.take())
}

async fn open_one(client: &mut Client, host: usize) -> std::io::Result<String> {
    let asked = request("POST", "/v1/sessions", &opens(host, &format!("boot-{host}"))?);
    for _ in 0..30 {
        let answer = client.ask(&asked).await?;
        match (answer.status, answer.retry_after) {
            (200 | 201, _) => return Ok(serde_json::from_slice::<SessionOpened>(&answer.body)?.session),
            (503, Some(wait)) => tokio::time::sleep(wait.max(Duration::from_millis(100))).await,
            _ => return Err(refused("open a session", &answer)),
        }
    }
    Err(std::io::Error::other("the control plane opens no session"))
}

pub(crate) fn refused(deed: &str, answer: &super::wire::Answer) -> std::io::Error {
    std::io::Error::other(format!("{deed}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)))
}
