//! The start of the control thread: file, policy file, static services, snapshot, in that order.
//!
//! Reads files and nothing else; no control plane is spoken to before the workers know what this host knew.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use api::config::SidecarConfig;
use api::{Instance, List, Moment, Policy, Problem};
use sidecar_core::clusters::Clusters;
use sidecar_core::directory::Teller;
use tokio::sync::mpsc::UnboundedReceiver;

use super::client::Client;
use super::cluster::Cluster;
use super::hub::{Hub, HubParts};
use super::policies::Policies;
use super::session::Boot;
use super::state::State;
use super::{Parts, SnapshotStatus, StatusView, place, show};
use crate::clock::{Clock, Dice};
use crate::local::Drain;
use crate::publish::Ask;
use crate::snapshot::SnapshotFile;
use crate::tls::Tls;

/// What stands in the way of a start: the node's name, the authority's file, the policy file.
pub(crate) fn check(config: &SidecarConfig) -> Result<(), Vec<Problem>> {
    let mut problems: Vec<Problem> = place::node(config).err().into_iter().collect();
    let clock = Clock::start();
    if let Err(why) = clusters(config, clock, &Rc::new(Dice::seeded(clock))) {
        problems.push(why);
    }
    if let Err(told) = policies_of(config) {
        problems.extend(told);
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Everything a run needs.
pub(crate) struct Prepared {
    pub(crate) hub: Rc<Hub>,
    pub(crate) boot: Boot,
    pub(crate) file: Option<SnapshotFile>,
    pub(crate) in_flight: Box<dyn Fn() -> usize + Send>,
    pub(crate) open: Box<dyn Fn() -> usize + Send>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) asks: UnboundedReceiver<Ask>,
}

/// Builds it all and tells the workers what the file and the snapshot know.
pub(crate) fn prepare(parts: Parts, view: StatusView, drain: Drain) -> io::Result<Prepared> {
    let Parts { config, clock, apps, own, gate, in_flight, open, inbound, publisher, tls, asks } = parts;
    let dice = Rc::new(Dice::seeded(clock));
    let node = place::node(&config).map_err(|why| io::Error::other(why.to_string()))?;
    let clusters = clusters(&config, clock, &dice).map_err(|why| io::Error::other(why.to_string()))?;
    let named = config.control.clusters().into_iter().map(|words| (words.name.to_string(), words.serves));
    let told_by = match clusters.is_empty() {
        true => Clusters::default(),
        false => Clusters::new(named),
    };
    let policies = policies_of(&config).map_err(|told| io::Error::other(joined(&told)))?;
    let policies = policies.unwrap_or_else(|| Policies::of_node(node.clone()));
    let state =
        State::new((node.clone(), own), policies, inbound).in_zone(config.zone.clone()).told_by(told_by);
    // Without a control plane the file is the whole truth, and nothing needs to be kept.
    let file = (!clusters.is_empty()).then(|| SnapshotFile::within(&place::state_dir(&config)));
    let boot =
        Boot { id: format!("{:016x}{:016x}", dice.draw(), dice.draw()), epoch: clock.wall(clock.now()) };
    let hub =
        Hub::new(HubParts { config, node, clock, dice, gate, clusters, apps, drain, state, publisher, view });
    let now = clock.now();
    fixed(&hub, now);
    if let Some(file) = &file {
        restore(&hub, file, now);
    }
    let inbound = hub.state.borrow_mut().settle_inbound();
    hub.publish(&inbound);
    show::write(&hub);
    Ok(Prepared { hub, boot, file, in_flight, open, tls, asks })
}

/// The clusters of control planes that the file names; nothing is dialled yet.
fn clusters(config: &SidecarConfig, clock: Clock, dice: &Rc<Dice>) -> Result<Vec<Cluster>, Problem> {
    let control = &config.control;
    let each = (0u8..).zip(control.clusters()).map(|(at, words)| {
        let client = Client::new(&words, control, clock, dice.clone())
            .map_err(|why| Problem::at("control", format!("cluster {}: {why}", words.name)))?;
        Ok(Cluster::new(Teller(at), words.name.to_string(), client, clock.now()))
    });
    each.collect()
}

/// The policies of the `--policy` file; `None` where there is none.
fn policies_of(config: &SidecarConfig) -> Result<Option<Policies>, Vec<Problem>> {
    let path = &config.policy;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|why| vec![Problem::at("policy", format!("{}: {why}", path.display()))])?;
    Policies::of_file(api::yaml::read_all::<Policy>(&text)?).map(Some)
}

/// Services whose endpoints the file names, and those it wants watched.
fn fixed(hub: &Hub, now: Moment) {
    for (service, config) in &hub.config.services {
        if config.endpoints.is_empty() {
            hub.state.borrow_mut().want(service);
            continue;
        }
        let at = |address: &SocketAddr| Instance {
            protocol: config.protocol,
            tls: config.tls.is_on(),
            ..Instance::at(service.clone(), *address)
        };
        let list = List::new(service.clone(), 1, config.endpoints.iter().map(at).collect());
        let updates = hub.state.borrow_mut().fix(list, now);
        hub.publish(&updates);
    }
}

fn restore(hub: &Hub, file: &SnapshotFile, now: Moment) {
    let mut kept = SnapshotStatus { path: file.path().display().to_string(), ..SnapshotStatus::default() };
    match file.load() {
        Ok(None) => {}
        Ok(Some(snapshot)) => {
            kept.restored_from = Some(snapshot.saved_at);
            let updates = hub.state.borrow_mut().restore(snapshot, now);
            tracing::info!(services = updates.len(), path = kept.path, "started from the snapshot");
            hub.publish(&updates);
        }
        Err(why) => {
            tracing::warn!(%why, "starting without a snapshot");
            kept.trouble = why.to_string();
        }
    }
    *hub.kept.borrow_mut() = Some(kept);
}

fn joined(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
