//! `outrigger drain-plan`: leave to take more away at once.

use std::process::ExitCode;

use api::{Label, NodeName, PlannedDrain, ServiceKey, Share};
use clap::Args;

use super::by::By;
use super::in_force::{Deed, Said, Why};
use crate::failed::Failed;

/// Plan a drain: for its time, more of a service may leave at once than the blast radius allows.
#[derive(Args, Debug)]
pub(crate) struct DrainPlan {
    #[command(subcommand)]
    deed: Deed<Put>,
    #[command(flatten)]
    by: By,
}

#[derive(Args, Debug)]
struct Put {
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
}

impl DrainPlan {
    /// Puts, lists or ends.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        self.deed.run(&self.by)
    }
}

impl Said for Put {
    const PATH: &'static str = "/v1/drains";
    type Words = PlannedDrain;

    fn words(self, by: &By) -> Result<(Label, PlannedDrain), Failed> {
        let Self { name, services, nodes, share, why } = self;
        let (services, nodes) = (services.into_iter().collect(), nodes.into_iter().collect());
        let (owner, reason, ttl) = why.of(by);
        Ok((name, PlannedDrain { services, nodes, share, owner, reason, ttl }))
    }

    fn told(words: &PlannedDrain) -> (String, &str, &str) {
        let services = words.services.iter().map(ToString::to_string);
        let nodes = words.nodes.iter().map(|node| format!("node {node}"));
        let covers: Vec<String> = services.chain(nodes).collect();
        (format!("{} of {}", words.share, covers.join(", ")), &words.owner, &words.reason)
    }
}
