//! `outrigger drain-plan`: leave to take more away at once.

use std::process::ExitCode;

use api::{Label, NodeName, PlannedDrain, ServiceKey, Share};
use clap::{Args, Subcommand};

use super::by::By;
use super::in_force::{Why, list};
use crate::failed::Failed;

const PATH: &str = "/v1/drains";

/// Plan a drain: for its time, more of a service may leave at once than the blast radius allows.
#[derive(Args, Debug)]
pub(crate) struct DrainPlan {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum What {
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

impl DrainPlan {
    /// Puts, lists or ends.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        match self.what {
            What::Put { name, services, nodes, share, why } => {
                let (services, nodes) = (services.into_iter().collect(), nodes.into_iter().collect());
                let (owner, reason, ttl) = why.of(&self.by);
                let said = PlannedDrain { services, nodes, share, owner, reason, ttl };
                self.by.put(PATH, &name, &said)?;
            }
            What::List => return list(&self.by, PATH, told),
            What::Remove { name } => self.by.remove(PATH, &name)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn told(said: &PlannedDrain) -> (String, String, String) {
    let services = said.services.iter().map(ToString::to_string);
    let nodes = said.nodes.iter().map(|node| format!("node {node}"));
    let covers: Vec<String> = services.chain(nodes).collect();
    (format!("{} of {}", said.share, covers.join(", ")), said.owner.clone(), said.reason.clone())
}
