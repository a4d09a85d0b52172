//! `outrigger override`: an instance as operators want it seen, for a time.

use std::net::SocketAddr;
use std::process::ExitCode;

use api::{Effect, InstanceKey, Label, NodeName, ServiceKey};
use clap::{Args, Subcommand};

use super::by::By;
use super::in_force::{Why, list};
use crate::failed::{Failed, USAGE};

const PATH: &str = "/v1/overrides";

/// Mask instances, take them out of service, or give them another weight, for a time.
#[derive(Args, Debug)]
pub(crate) struct Override {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum What {
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
        instance: Option<SocketAddr>,
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

impl Override {
    /// Puts, lists or ends.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        match self.what {
            What::Put { effect, name, node, instance, service, weight, why } => {
                if node.is_none() && instance.is_none() {
                    return Err(Failed::new(USAGE, "say --node NODE, or --instance IP:PORT with --service"));
                }
                let key =
                    |(at, service): (SocketAddr, _)| InstanceKey { service, ip: at.ip(), port: at.port() };
                let instance = instance.zip(service).map(key);
                let (owner, reason, ttl) = why.of(&self.by);
                let said = api::Override { node, instance, effect, weight, owner, reason, ttl };
                self.by.put(PATH, &name, &said)?;
            }
            What::List => return list(&self.by, PATH, told),
            What::Remove { name } => self.by.remove(PATH, &name)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(said: &api::Override) -> (String, String, String) {
    let weight = said.weight.map(|weight| format!(" {weight}")).unwrap_or_default();
    let whom = said.node.as_ref().map(ToString::to_string);
    let whom = whom.or_else(|| said.instance.as_ref().map(ToString::to_string)).unwrap_or_default();
    (format!("{}{weight} {whom}", said.effect), said.owner.clone(), said.reason.clone())
}
