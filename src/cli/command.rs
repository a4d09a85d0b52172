//! `outrigger command`: orders for a time, above every policy.

use std::process::ExitCode;

use api::command::{CommandVerb, CommandView, CommandWords};
use api::{Label, Namespace, NodeName, Rate, ServiceName, Span};
use clap::{Args, Subcommand};

use super::by::By;
use crate::failed::Failed;

/// Order something for a time: mask, drain, degrade, break, unbreak, limit, timeout; or look at what was ordered.
#[derive(Args, Debug)]
pub(crate) struct Command {
    #[command(subcommand)]
    what: What,
    /// The namespace.
    #[arg(long, global = true, default_value_t = Namespace::default())]
    namespace: Namespace,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give one; it is over by itself.
    Give(Give),
    /// Show all that are remembered, with who obeys.
    List,
    /// Take one back.
    Revoke {
        /// Its number.
        id: u64,
    },
}

#[derive(Args, Debug)]
struct Give {
    /// mask, drain, degrade, break, unbreak, limit or timeout.
    verb: CommandVerb,
    /// The service.
    #[arg(long)]
    service: Option<ServiceName>,
    /// One route of its policy.
    #[arg(long)]
    route: Option<Label>,
    /// A node: whose instances are meant, or who alone shall obey.
    #[arg(long)]
    node: Option<NodeName>,
    /// With limit: how often requests may come, from each host.
    #[arg(long)]
    rate: Option<Rate>,
    /// With timeout: the total time.
    #[arg(long)]
    total: Option<Span>,
    /// It is over after this.
    #[arg(long, value_name = "SPAN")]
    ttl: Span,
    /// Why.
    #[arg(long, value_name = "WORDS")]
    reason: String,
    /// Also when it takes the last instances of a service out.
    #[arg(long)]
    force: bool,
}

impl Command {
    /// Gives, lists or takes back.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let path = format!("/v1/namespaces/{}/commands", self.namespace);
        let views: Vec<CommandView> = match self.what {
            What::List => self.by.read(&path)?,
            What::Revoke { id } => {
                vec![self.by.send(("DELETE", &format!("{path}/{id}")), "")?.json()?]
            }
            What::Give(give) => vec![self.by.write(("POST", &path), &give.words())?.json()?],
        };
        super::say(&views.iter().map(told).collect::<String>())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Give {
    fn words(self) -> CommandWords {
        let Self { verb, service, route, node, rate, total, ttl, reason, force } = self;
        CommandWords { verb, service, route, node, rate, total, ttl, reason, force }
    }
}

fn told(view: &CommandView) -> String {
    let words = &view.words;
    let mut about = String::new();
    for (name, value) in [
        ("service", words.service.as_ref().map(ToString::to_string)),
        ("route", words.route.as_ref().map(ToString::to_string)),
        ("node", words.node.as_ref().map(ToString::to_string)),
        ("rate", words.rate.map(|rate| rate.to_string())),
        ("total", words.total.map(|total| total.to_string())),
    ] {
        about.push_str(&value.map(|value| format!(" {name} {value}")).unwrap_or_default());
    }
    let CommandView { id, state, left, author, done, failed, silent, .. } = view;
    let mut text = format!(
        "{id} {state} {left} left: {}{about}, by {author}: {}\n  {} obey, {} cannot, {} silent\n",
        words.verb,
        words.reason,
        done.len(),
        failed.len(),
        silent.len()
    );
    failed.iter().for_each(|(node, why)| text.push_str(&format!("  {node} cannot: {why}\n")));
    text
}
