//! `outrigger override`, `drain-plan` and `notify`: what operators say for a time over the registry's own judgement.

use std::process::ExitCode;

use api::{
    Effect, InForce, InstanceKey, Label, NodeName, NotifyShare, PlannedDrain, ServiceKey, Share, Span,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::apply::{By, NO_CONTROL};
use crate::failed::{Failed, NO, USAGE};

/// Mask instances, take them out of service, or give them another weight, for a time.
#[derive(Args, Debug)]
pub(crate) struct Override {
    #[command(subcommand)]
    what: OverrideWhat,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum OverrideWhat {
    /// Put one in force; it is over by itself.
    Put {
        /// mask, out-of-service or weight.
        effect: Effect,
        /// What it is called.
        #[arg(long)]
        name: Label,
        /// Every instance registered from this node.
        #[arg(long)]
        node: Option<NodeName>,
        /// This one instance: the app's own address, with --service.
        #[arg(long, value_name = "IP:PORT", requires = "service", conflicts_with = "node")]
        instance: Option<std::net::SocketAddr>,
        /// The instance's service.
        #[arg(long, requires = "instance")]
        service: Option<ServiceKey>,
        /// With weight: which.
        #[arg(long)]
        weight: Option<u16>,
        #[command(flatten)]
        why: Why,
    },
    /// Show those in force.
    List,
    /// End one before its time.
    Remove {
        /// What it is called.
        name: Label,
    },
}

/// Plan a drain: for its time, more of a service may leave at once than the blast radius allows.
#[derive(Args, Debug)]
pub(crate) struct DrainPlan {
    #[command(subcommand)]
    what: DrainWhat,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum DrainWhat {
    /// Put one in force; it is over by itself.
    Put {
        /// What it is called.
        #[arg(long)]
        name: Label,
        /// A service it covers; again for more.
        #[arg(long = "service")]
        services: Vec<ServiceKey>,
        /// A node it covers, with all its instances; again for more.
        #[arg(long = "node")]
        nodes: Vec<NodeName>,
        /// How much of a service may leave within one sweep's interval.
        #[arg(long, default_value = "100%")]
        share: Share,
        #[command(flatten)]
        why: Why,
    },
    /// Show those in force.
    List,
    /// End one before its time.
    Remove {
        /// What it is called.
        name: Label,
    },
}

/// In an emergency: tell only a share of a list's watchers of a change at a time.
#[derive(Args, Debug)]
pub(crate) struct Notify {
    #[command(subcommand)]
    what: NotifyWhat,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum NotifyWhat {
    /// Put one in force; it is over by itself.
    Put {
        /// What it is called.
        #[arg(long)]
        name: Label,
        /// How many of them at a time.
        #[arg(long, default_value = "10%")]
        share: Share,
        #[command(flatten)]
        why: Why,
    },
    /// Show those in force.
    List,
    /// End one before its time.
    Remove {
        /// What it is called.
        name: Label,
    },
}

/// Who answers for it, why, and until when.
#[derive(Args, Debug)]
struct Why {
    /// Who answers for it; who asks when left out.
    #[arg(long, value_name = "NAME", default_value = "")]
    owner: String,
    /// Why.
    #[arg(long, value_name = "WORDS")]
    reason: String,
    /// It is over after this.
    #[arg(long, value_name = "SPAN")]
    ttl: Span,
}

impl Override {
    /// Puts, lists or ends.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        const PATH: &str = "/v1/overrides";
        match self.what {
            OverrideWhat::Put { effect, name, node, instance, service, weight, why } => {
                if node.is_none() && instance.is_none() {
                    return Err(Failed::new(USAGE, "say --node NODE, or --instance IP:PORT with --service"));
                }
                let key = |(at, service): (std::net::SocketAddr, ServiceKey)| InstanceKey {
                    service,
                    ip: at.ip(),
                    port: at.port(),
                };
                let (owner, reason, ttl) = why.of(&self.by);
                let instance = instance.zip(service).map(key);
                put(
                    &self.by,
                    PATH,
                    &name,
                    &api::Override { node, instance, effect, weight, owner, reason, ttl },
                )
            }
            OverrideWhat::List => list(&self.by, PATH, |said: &api::Override| {
                let weight = said.weight.map(|weight| format!(" {weight}")).unwrap_or_default();
                let whom = said.node.as_ref().map(ToString::to_string);
                let whom =
                    whom.or_else(|| said.instance.as_ref().map(ToString::to_string)).unwrap_or_default();
                (format!("{}{weight} {whom}", said.effect), said.owner.clone(), said.reason.clone())
            }),
            OverrideWhat::Remove { name } => end(&self.by, PATH, &name),
        }
    }
}

impl DrainPlan {
    /// Puts, lists or ends.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        const PATH: &str = "/v1/drains";
        match self.what {
            DrainWhat::Put { name, services, nodes, share, why } => {
                let (owner, reason, ttl) = why.of(&self.by);
                let (services, nodes) = (services.into_iter().collect(), nodes.into_iter().collect());
                put(&self.by, PATH, &name, &PlannedDrain { services, nodes, share, owner, reason, ttl })
            }
            DrainWhat::List => list(&self.by, PATH, |said: &PlannedDrain| {
                let services = said.services.iter().map(ToString::to_string);
                let nodes = said.nodes.iter().map(|node| format!("node {node}"));
                let covers: Vec<String> = services.chain(nodes).collect();
                let what = format!("{} of {}", said.share, covers.join(", "));
                (what, said.owner.clone(), said.reason.clone())
            }),
            DrainWhat::Remove { name } => end(&self.by, PATH, &name),
        }
    }
}

impl Notify {
    /// Puts, lists or ends.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        const PATH: &str = "/v1/notify";
        match self.what {
            NotifyWhat::Put { name, share, why } => {
                let (owner, reason, ttl) = why.of(&self.by);
                put(&self.by, PATH, &name, &NotifyShare { share, owner, reason, ttl })
            }
            NotifyWhat::List => list(&self.by, PATH, |said: &NotifyShare| {
                (format!("{} at a time", said.share), said.owner.clone(), said.reason.clone())
            }),
            NotifyWhat::Remove { name } => end(&self.by, PATH, &name),
        }
    }
}

impl Why {
    fn of(self, by: &By) -> (String, String, Span) {
        let owner = if self.owner.is_empty() { by.author.clone() } else { self.owner };
        (owner, self.reason, self.ttl)
    }
}

fn put(by: &By, path: &str, name: &Label, said: &impl Serialize) -> Result<ExitCode, Failed> {
    let body = serde_json::to_string(said).map_err(|why| Failed::new(NO, why))?;
    by.control.ask(NO_CONTROL, ("PUT", &format!("{path}/{name}")), &by.headers(), &body)?.good()?;
    Ok(ExitCode::SUCCESS)
}

fn end(by: &By, path: &str, name: &Label) -> Result<ExitCode, Failed> {
    by.control.ask(NO_CONTROL, ("DELETE", &format!("{path}/{name}")), &by.headers(), "")?.good()?;
    Ok(ExitCode::SUCCESS)
}

/// One line each: what it says, by whom, why.
fn list<T: DeserializeOwned>(
    by: &By,
    path: &str,
    told: impl Fn(&T) -> (String, String, String),
) -> Result<ExitCode, Failed> {
    let all: Vec<InForce<T>> = by.control.ask(NO_CONTROL, ("GET", path), &[], "")?.json()?;
    for InForce { name, left, said } in &all {
        let (what, owner, reason) = told(said);
        super::say(&format!("{name} {left} left: {what}, by {owner}: {reason}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
