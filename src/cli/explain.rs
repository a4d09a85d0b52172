//! `outrigger explain`: the story of one request, as its sidecar kept it, or of one instance, as the control plane
//! knows it.

use std::net::SocketAddr;
use std::process::ExitCode;

use api::story::InstanceStory;
use api::{NodeName, ServiceKey};
use clap::{Args, Subcommand};

use super::by::NO_CONTROL;
use crate::failed::{Failed, USAGE};
use crate::peer::Peer;

/// Tell why a request went the way it did: candidates, attempts, timings, verdict.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Explain {
    #[command(subcommand)]
    about: Option<About>,
    /// The request's id (`x-request-id` of its answer), or `last`.
    #[arg(value_name = "ID|last", default_value = "last")]
    which: String,
    /// With `last`: the last one that was tried more than once.
    #[arg(long)]
    retried: bool,
    /// The record as JSON.
    #[arg(long)]
    json: bool,
    /// The admin listener of the sidecar that carried the request.
    #[arg(long, value_name = "ADDR", default_value = "http://127.0.0.1:7411")]
    admin: Peer,
}

#[derive(Debug, Subcommand)]
enum About {
    /// Why an instance is or is not in a list.
    Instance {
        /// Of which service: `NAME` or `NAME.NAMESPACE`.
        service: ServiceKey,
        /// Where it stands: IP:PORT of the app, or of the listener that callers connect to.
        address: SocketAddr,
        /// In the view of the sidecar on this node.
        #[arg(long, value_name = "NODE")]
        viewer: Option<NodeName>,
        /// The story as JSON.
        #[arg(long)]
        json: bool,
        /// The control plane.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7400")]
        control: Peer,
    },
}

/// What to do when no sidecar answers.
pub(super) const NO_SIDECAR: (&str, &str) =
    ("sidecar", "is it running there? --admin names another: HOST:PORT or unix:/PATH");

impl Explain {
    /// Tells it.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        if let Some(About::Instance { service, address, viewer, json, control }) = self.about {
            let ServiceKey { namespace, name } = &service;
            let viewer = viewer.map(|node| format!("&viewer={node}")).unwrap_or_default();
            let path =
                format!("/v1/namespaces/{namespace}/services/{name}/explain?address={address}{viewer}");
            let answer = control.ask(NO_CONTROL, ("GET", &path), &[("accept", "application/json")], "")?;
            let text = match json {
                true => format!("{:#}\n", answer.json::<serde_json::Value>()?),
                false => told(&answer.json()?),
            };
            super::say(&text)?;
            return Ok(ExitCode::SUCCESS);
        }
        let which = match (self.which.as_str(), self.retried) {
            ("last", true) => "last-retried",
            (_, true) => return Err(Failed::new(USAGE, "--retried goes with `last`")),
            (id, false) if id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => id,
            (id, false) => return Err(Failed::new(USAGE, format!("{id:?} is no request id"))),
        };
        let accept = if self.json { "application/json" } else { "text/plain" };
        let path = format!("/v1/records/{which}");
        let answer = self.admin.ask(NO_SIDECAR, ("GET", &path), &[("accept", accept)], "")?;
        super::say(&answer.good()?)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn told(story: &InstanceStory) -> String {
    let InstanceStory { service, address, viewer, listed, reasons, notes } = story;
    let view = viewer.as_ref().map(|node| format!(", in the view of {node}")).unwrap_or_default();
    let verdict = match (reasons.is_empty(), listed) {
        (true, _) => "is listed and takes traffic",
        (false, true) => "is listed and takes no traffic",
        (false, false) => "is not listed",
    };
    let mut text = format!("{service} at {address} {verdict}{view}\n");
    for (at, because) in reasons.iter().enumerate() {
        text.push_str(&format!("  {}. {}: {}\n", at + 1, because.why, because.detail));
    }
    for note in notes {
        text.push_str(&format!("  - {note}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use api::story::{Because, Why};

    use super::*;

    #[test]
    fn reasons_stand_in_their_order_and_notes_after_them() -> Result<(), String> {
        let story = InstanceStory {
            service: "checkout".parse()?,
            address: ([10, 0, 0, 1], 80).into(),
            viewer: Some("n1".parse()?),
            listed: false,
            reasons: vec![Because { why: Why::Masked, detail: "by ann".into() }],
            notes: vec!["registered from node n2".into()],
        };
        let shown = "checkout at 10.0.0.1:80 is not listed, in the view of n1\n  1. masked: by ann\n  \
                     - registered from node n2\n";
        assert_eq!(told(&story), shown);
        Ok(())
    }
}
