//! `outrigger get`: what a control plane knows.

use std::process::ExitCode;

use api::message::{PolicyNews, ServiceView};
use api::shadow::ShadowView;
use api::{List, Namespace, ServiceKey};
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::by::NO_CONTROL;
use crate::failed::Failed;
use crate::peer::Peer;

/// List what a control plane knows.
#[derive(Args, Debug)]
pub(crate) struct Get {
    #[command(subcommand)]
    what: What,
    /// The control plane.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7400", global = true)]
    control: Peer,
    /// The answer as it came, as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Services, with how many of their instances want traffic.
    Services,
    /// The instances of one service.
    Instances {
        /// Which: `NAME` or `NAME.NAMESPACE`.
        service: ServiceKey,
    },
    /// Policies in force.
    Policies,
    /// What policies in shadow would have done.
    Shadows {
        /// The namespace.
        #[arg(long, default_value_t = Namespace::default())]
        namespace: Namespace,
    },
}

impl Get {
    /// Lists it.
    pub(crate) fn run(self) -> Result<ExitCode, Failed> {
        let text = match &self.what {
            What::Services => self.listed("/v1/services", services)?,
            What::Policies => self.listed("/v1/policies", policies)?,
            What::Shadows { namespace } => {
                self.listed(&format!("/v1/namespaces/{namespace}/shadows"), shadows)?
            }
            What::Instances { service } => {
                let path =
                    format!("/v1/namespaces/{}/services/{}/instances", service.namespace, service.name);
                self.listed(&path, instances)?
            }
        };
        super::say(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn listed<T: DeserializeOwned>(
        &self,
        path: &str,
        rows: fn(T) -> Vec<Vec<String>>,
    ) -> Result<String, Failed> {
        let answer = self.control.ask(NO_CONTROL, ("GET", path), &[("accept", "application/json")], "")?;
        if self.json {
            let value: Value = answer.json()?;
            return Ok(format!("{value:#}\n"));
        }
        Ok(table(&rows(answer.json()?)))
    }
}

fn services(views: Vec<ServiceView>) -> Vec<Vec<String>> {
    let head = ["SERVICE", "INSTANCES", "READY", "EXPIRY", "OWNER", "HELD"].map(str::to_owned).to_vec();
    let row = |view: ServiceView| {
        let expiry = view.settings.expiry.map_or_else(|| "-".to_owned(), |expiry| expiry.to_string());
        let (instances, ready) = (view.instances.to_string(), view.ready.to_string());
        vec![view.service.to_string(), instances, ready, expiry, view.settings.owner, view.held]
    };
    std::iter::once(head).chain(views.into_iter().map(row)).collect()
}

fn instances(list: List) -> Vec<Vec<String>> {
    let head = ["ADDRESS", "APP", "READINESS", "WEIGHT", "ZONE", "LANE", "PROTOCOL", "SIDECAR"];
    let row = |i: api::Instance| {
        let app = std::net::SocketAddr::new(i.key.ip, i.key.port).to_string();
        let sidecar = if i.sidecar { "yes" } else { "no" };
        let (readiness, protocol) = (i.readiness.to_string(), i.protocol.to_string());
        let weight = i.weight.to_string();
        vec![i.address.to_string(), app, readiness, weight, i.zone, i.lane, protocol, sidecar.to_owned()]
    };
    std::iter::once(head.map(str::to_owned).to_vec()).chain(list.instances.into_iter().map(row)).collect()
}

fn policies(news: Vec<PolicyNews>) -> Vec<Vec<String>> {
    let head = ["NAMESPACE", "POLICY", "SERVICE", "CALLER", "MODE"].map(str::to_owned).to_vec();
    let word = |document: &Value, at: &str, empty: &str| {
        document.pointer(at).and_then(Value::as_str).unwrap_or(empty).to_owned()
    };
    let row = |document: &Value| {
        let (name, service) = (word(document, "/name", "?"), word(document, "/match/service", "*"));
        let (caller, mode) = (word(document, "/match/caller", "*"), word(document, "/mode", "enforce"));
        vec![word(document, "/namespace", "default"), name, service, caller, mode]
    };
    std::iter::once(head).chain(news.iter().flat_map(|news| &news.documents).map(row)).collect()
}

fn shadows(views: Vec<ShadowView>) -> Vec<Vec<String>> {
    let head = ["SERVICE", "LEAF", "WOULD", "REQUESTS", "SIDECARS", "WORDS"].map(str::to_owned).to_vec();
    let rows = |ShadowView { sum, sidecars }: ShadowView| {
        let (service, words) = (sum.service.to_string(), sum.words.to_string());
        let row = move |(leaf, would): (String, u64)| {
            let numbers = [would.to_string(), sum.requests.to_string(), sidecars.to_string()];
            [service.clone(), leaf].into_iter().chain(numbers).chain([words.clone()]).collect()
        };
        sum.would.into_iter().map(row).collect::<Vec<Vec<String>>>()
    };
    std::iter::once(head).chain(views.into_iter().flat_map(rows)).collect()
}

/// Columns as wide as their widest cell; empty cells are a dash.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cell = |(cell, width): (&String, &usize)| {
            let cell = if cell.is_empty() { "-" } else { cell };
            format!("{cell:<width$}")
        };
        let line: Vec<String> = row.iter().zip(&widths).map(cell).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let shown = table(&[row(["A", "LONG", "C"]), row(["a-very", "", "c"])]);
        assert_eq!(shown, "A       LONG  C\na-very  -     c\n");
    }
}
