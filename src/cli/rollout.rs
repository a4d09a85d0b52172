//! `outrigger rollout`: where a staged change is, and giving it up.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use api::rollout::{RolloutPlan, RolloutState, RolloutView, Verdicts};
use api::{Namespace, Share, Span};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::by::{By, NO_CONTROL};
use crate::failed::{Failed, NO};
use crate::peer::Peer;

/// Between two looks at something that goes on.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// Look at a staged change of policies, or give it up.
#[derive(Args, Debug)]
pub(crate) struct Rollout {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the last one of a namespace.
    Status {
        /// The namespace.
        #[arg(default_value_t = Namespace::default())]
        namespace: Namespace,
        /// The control plane.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7400")]
        control: Peer,
        /// The answer as it came, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give it up: who tried the change goes back to what the others run.
    Abort {
        /// The namespace.
        #[arg(default_value_t = Namespace::default())]
        namespace: Namespace,
        #[command(flatten)]
        by: By,
    },
}

impl Rollout {
    /// Shows it or gives it up.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        match self.verb {
            Verb::Status { namespace, control, json: true } => {
                let value: Value = control.ask(NO_CONTROL, ("GET", &path(&namespace)), &[], "")?.json()?;
                super::say(&format!("{value:#}\n"))?;
            }
            Verb::Status { namespace, control, json: false } => {
                let view: RolloutView =
                    control.ask(NO_CONTROL, ("GET", &path(&namespace)), &[], "")?.json()?;
                super::say(&told(&view))?;
            }
            Verb::Abort { namespace, by } => {
                let view = by.send(("DELETE", &path(&namespace)), "")?.json()?;
                super::say(&told(&view))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn path(namespace: &Namespace) -> String {
    format!("/v1/namespaces/{namespace}/rollouts")
}

/// How a change goes out.
#[derive(Args, Debug)]
pub(super) struct Staged {
    /// Roll the file out in steps, each judged by error rate and latency against the sidecars that do not take part,
    /// and withdraw it by itself when they fare better.
    #[arg(long)]
    pub(super) staged: bool,
    /// The share of sidecars at each step.
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "1%,10%,50%,100%")]
    steps: Vec<Share>,
    /// How long each step is watched at least.
    #[arg(long, value_name = "SPAN", default_value = "60s")]
    hold: Span,
    /// How often sidecars report meanwhile.
    #[arg(long, value_name = "SPAN", default_value = "10s")]
    report_every: Span,
}

impl Staged {
    /// Begins it for `documents`, which are all of `namespace`, and tells each step until it is over.
    pub(super) fn run(
        &self,
        by: &By,
        namespace: &Namespace,
        documents: Vec<Value>,
    ) -> Result<ExitCode, Failed> {
        let plan = json!({
            "documents": documents, "steps": self.steps, "hold": self.hold, "report_every": self.report_every,
        });
        // The words this binary writes are those it reads; what is left out has its default.
        let plan: RolloutPlan = serde_json::from_value(plan).map_err(|why| Failed::new(NO, why))?;
        let path = path(namespace);
        let mut view: RolloutView = by.write(("POST", &path), &plan)?.json()?;
        let mut shown = String::new();
        loop {
            let line = headline(&view);
            if line != shown {
                super::say(&line)?;
                shown = line;
            }
            if view.state.is_over() {
                break;
            }
            super::pause(LOOK);
            view = by.read(&path)?;
        }
        super::say(&measured(&view))?;
        Ok(if view.state == RolloutState::Done { ExitCode::SUCCESS } else { NO.into() })
    }
}

fn headline(view: &RolloutView) -> String {
    format!("rollout {} of {}: {}: {}\n", view.rollout, view.namespace, view.state, view.why)
}

fn measured(view: &RolloutView) -> String {
    let line = |m: &api::rollout::Measured| {
        format!(
            "  {}: {} % {}, {} % expected, {} requests\n",
            m.service, m.tried, m.what, m.expected, m.requests
        )
    };
    view.measured.iter().map(line).collect()
}

fn told(view: &RolloutView) -> String {
    format!("{}{}{}", headline(view), verdicts(&view.verdicts), measured(view))
}

/// Who runs it, who cannot and why, who has not said.
pub(super) fn verdicts(verdicts: &Verdicts) -> String {
    let Verdicts { accepted, rejected, silent, .. } = verdicts;
    let mut text =
        format!("  {} accepted, {} rejected, {} silent\n", accepted.len(), rejected.len(), silent.len());
    rejected.iter().for_each(|no| text.push_str(&format!("  rejected by {}: {}\n", no.node, no.why)));
    let names: BTreeSet<&str> = silent.iter().map(|node| node.as_str()).collect();
    if !names.is_empty() {
        let names: Vec<&str> = names.into_iter().take(SHOWN).collect();
        text.push_str(&format!("  silent: {}\n", names.join(", ")));
    }
    text
}

/// Silent nodes named on one line.
const SHOWN: usize = 20;
