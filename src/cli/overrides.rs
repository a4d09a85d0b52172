//! `outrigger override`: an instance as operators want it seen, for a time.

use std::net::SocketAddr;
use std::process::ExitCode;

use api::{Effect, InstanceKey, Label, NodeName, ServiceKey};
use clap::Args;

use super::by::By;
use super::in_force::{Deed, Said, Why};
use crate::failed::{Failed, USAGE};

/// Mask instances, take them out of service, or give them another weight, for a time.
#[derive(Args, Debug)]
pub(crate) struct Override {
    #[command(subcommand)]
    deed: Deed<Put>,
    #[command(flatten)]
    by: By,
}

#[derive(Args, Debug)]
struct Put {
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
}

impl Override {
    /// Puts, lists or ends.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        self.deed.run(&self.by)
    }
}

impl Said for Put {
    const PATH: &'static str = "/v1/overrides";
    type Words = api::Override;

    fn words(self, by: &By) -> Result<(Label, api::Override), Failed> {
        let Self { effect, name, node, instance, service, weight, why } = self;
        if node.is_none() && instance.is_none() {
            return Err(Failed::new(USAGE, "say --node NODE, or --instance IP:PORT with --service"));
        }
        let key = |(at, service): (SocketAddr, _)| InstanceKey { service, ip: at.ip(), port: at.port() };
        let instance = instance.zip(service).map(key);
        let (owner, reason, ttl) = why.of(by);
        Ok((name, api::Override { node, instance, effect, weight, owner, reason, ttl }))
    }

    fn told(words: &api::Override) -> (String, &str, &str) {
        let weight = words.weight.map(|weight| format!(" {weight}")).unwrap_or_default();
        let whom = words.node.as_ref().map(ToString::to_string);
        let whom = whom.or_else(|| words.instance.as_ref().map(ToString::to_string)).unwrap_or_default();
        (format!("{}{weight} {whom}", words.effect), &words.owner, &words.reason)
    }
}
