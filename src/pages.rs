//! The pages of `docs/` that are printed from the code: a table that is written twice is wrong once.

use api::reason;
use api::schema::{json_schema, markdown};
use serde_json::{Value, json};
use sidecar::metrics::{Limit, catalogue};

use crate::documents::Kind;

/// Every generated page: its path below the root of the tree, and its text.
pub(crate) fn pages() -> Vec<(String, String)> {
    let mut pages =
        vec![("docs/metrics.md".to_owned(), metrics()), ("docs/reasons.md".to_owned(), reasons())];
    for (kind, title, intro) in [
        (Kind::Sidecar, "The sidecar's file", SIDECAR),
        (Kind::ControlPlane, "The control plane's file", CONTROL_PLANE),
        (Kind::Policy, "Policies", POLICY),
    ] {
        let name = kind.name();
        let page = match kind {
            Kind::Policy => "config-policy".to_owned(),
            Kind::Sidecar | Kind::ControlPlane => format!("config-{name}"),
        };
        pages.push((
            format!("docs/{page}.md"),
            format!("# {title}\n\n{NOTE}\n\n{intro}\n\n{}", markdown(&kind.schema())),
        ));
        pages.push((format!("docs/schema/{name}.json"), schema(kind)));
    }
    pages
}

const NOTE: &str = "*Printed by `outrigger docs`; a test notices when it is stale.*";

const SIDECAR: &str = "Read by `outrigger sidecar --config FILE`; `outrigger check FILE` tells every mistake without \
    starting.\nEvery key may be left out. `outrigger config --effective --file FILE` prints what is then in force.";

const CONTROL_PLANE: &str = "Read by `outrigger control-plane --config FILE`; without a file the defaults below are in \
    force.\nPolicies are never written here: they are applied.";

const POLICY: &str = "Documents for `outrigger apply -f FILE`, or for `policy:` in the file of a sidecar without a \
    control plane.\nA file may hold several, separated by `---`. They merge leaf by leaf, the narrower scope wins: \
    default, namespace, service,\nroute, caller; lists replace. Two documents that set one leaf at one scope are refused.";

/// The JSON Schema of `kind`, for editors.
pub(crate) fn schema(kind: Kind) -> String {
    let mut schema = json_schema(&kind.schema());
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".into(), json!(format!("outrigger {}", kind.name())));
    }
    format!("{schema:#}\n")
}

fn metrics() -> String {
    let intro = "Scraped at `/metrics` of the admin listener. Counts begin at zero for every known service, route and \
        endpoint;\na service nobody knows counts as `other`, so that no client can mint series.";
    let limits: Vec<String> = Limit::ALL.iter().map(|limit| format!("`{limit}`")).collect();
    let limits = limits.join(", ");
    format!(
        "# Metrics of a sidecar\n\n{NOTE}\n\n{intro}\n\n{}\nLimits, the values of the label `limit`: {limits}.\n\
         Reasons, the values of the label `reason`: [reasons.md](reasons.md).\n",
        catalogue::markdown()
    )
}

fn reasons() -> String {
    let intro = "Why a request was refused or failed: one word for the answer's `x-outrigger-reason`, `Proxy-Status` \
        (RFC 9209),\nthe metric label, the log and `outrigger explain`. `outrigger reasons WORD` prints one.";
    let mut page = format!("# Reasons\n\n{NOTE}\n\n{intro}\n\n");
    page.push_str(
        "| reason | HTTP | gRPC | Proxy-Status | what happened | what to do |\n|---|---|---|---|---|---|\n",
    );
    for row in reason::TABLE {
        let reason::Row { reason, status, grpc, proxy_status, meaning, todo, .. } = row;
        page.push_str(&format!(
            "| `{reason}` | {status} | {grpc} | `{proxy_status}` | {meaning} | {todo} |\n"
        ));
    }
    page
}
