//! The API's own description (OpenAPI 3.1), made from one table that a test holds against the routers.

use std::collections::BTreeMap;

use api::message::API_VERSION;
use axum::Json;
use serde_json::{Value, json};

/// Who listens where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The listener for sidecars and readers.
    Nodes,
    /// The listener for operators.
    Admin,
    /// Both.
    Both,
}

use At::{Admin, Both, Nodes};

/// Every route: where, method, path, what it does.
pub(crate) const ROUTES: &[(At, &str, &str, &str)] = &[
    (Both, "GET", "/livez", "Whether the process runs."),
    (Both, "GET", "/readyz", "Whether questions are answered."),
    (Both, "GET", "/metrics", "Metrics in Prometheus' text format."),
    (Both, "GET", "/v1/openapi.json", "This document."),
    (Both, "GET", "/v1/events", "What happens, as server-sent events."),
    (Both, "POST", "/v1/watch", "News of lists and policies, by held stream or long poll."),
    (Both, "POST", "/v1/digests", "What lists and policies say, without moving them."),
    (Both, "GET", "/v1/quotas", "Fleet-wide limits: granted, wanted, and by how much they may be exceeded."),
    (Both, "GET", "/v1/sessions", "Who is connected."),
    (Nodes, "POST", "/v1/sessions", "Opens or resumes a session."),
    (Nodes, "PUT", "/v1/sessions/{id}", "A heartbeat."),
    (Nodes, "DELETE", "/v1/sessions/{id}", "Closes a session; its instances leave."),
    (Nodes, "PUT", "/v1/sessions/{id}/instances", "Registers an instance."),
    (Nodes, "DELETE", "/v1/sessions/{id}/instances", "Takes an instance out."),
    (Nodes, "PUT", "/v1/sessions/{id}/quotas", "What a sidecar would like to spend, and what it may."),
    (Both, "GET", "/v1/services", "Every service."),
    (Both, "GET", "/v1/namespaces/{namespace}/services/{name}", "One service."),
    (Admin, "PATCH", "/v1/namespaces/{namespace}/services/{name}", "Sets a service's settings."),
    (Both, "GET", "/v1/namespaces/{namespace}/services/{name}/instances", "The list of a service."),
    (
        Both,
        "GET",
        "/v1/namespaces/{namespace}/services/{name}/explain",
        "Why an instance is or is not in a list.",
    ),
    (Both, "GET", "/v1/overrides", "What operators put over instances for a time."),
    (Admin, "PUT", "/v1/overrides/{name}", "Puts something over instances for a time."),
    (Admin, "DELETE", "/v1/overrides/{name}", "Ends an override."),
    (Both, "GET", "/v1/drains", "Drains that operators planned."),
    (Admin, "PUT", "/v1/drains/{name}", "Plans a drain."),
    (Admin, "DELETE", "/v1/drains/{name}", "Ends a planned drain."),
    (Both, "GET", "/v1/notify", "Shares of watchers that operators want told at a time."),
    (Admin, "PUT", "/v1/notify/{name}", "Has a share of watchers told at a time."),
    (Admin, "DELETE", "/v1/notify/{name}", "Ends that."),
    (Both, "GET", "/v1/pushes", "Pushes under way, each with its forecast."),
    (Both, "GET", "/v1/policies", "The policies of every namespace."),
    (Both, "GET", "/v1/namespaces/{namespace}/policies", "The policies of a namespace."),
    (Both, "GET", "/v1/namespaces/{namespace}/policies/{name}", "One policy and its revision."),
    (
        Admin,
        "PUT",
        "/v1/namespaces/{namespace}/policies/{name}",
        "Writes a policy; `?dry_run=true` only says what would change.",
    ),
    (Admin, "DELETE", "/v1/namespaces/{namespace}/policies/{name}", "Takes a policy out."),
    (Both, "GET", "/v1/namespaces/{namespace}/policies/{name}/history", "Every revision of a policy."),
    (
        Admin,
        "POST",
        "/v1/namespaces/{namespace}/policies/{name}/rollback",
        "An old revision's words as a new one.",
    ),
    (
        Both,
        "GET",
        "/v1/namespaces/{namespace}/verdicts",
        "Who runs the policies, who cannot, who has not said.",
    ),
    (Both, "GET", "/v1/namespaces/{namespace}/shadows", "What policies in shadow would have done."),
    (Both, "GET", "/v1/namespaces/{namespace}/rollouts", "The last rollout."),
    (Admin, "POST", "/v1/namespaces/{namespace}/rollouts", "Begins a rollout."),
    (Admin, "DELETE", "/v1/namespaces/{namespace}/rollouts", "Gives the rollout up."),
    (Both, "GET", "/v1/namespaces/{namespace}/commands", "The ledger of commands."),
    (Admin, "POST", "/v1/namespaces/{namespace}/commands", "Gives a command."),
    (Admin, "DELETE", "/v1/namespaces/{namespace}/commands/{id}", "Takes a command back."),
    (Both, "GET", "/v1/namespaces/{namespace}/config/{key}", "A config value, with its gray values."),
    (
        Both,
        "POST",
        "/v1/namespaces/{namespace}/config/{key}",
        "The asker's own value; waits while nothing is new.",
    ),
    (Admin, "PUT", "/v1/namespaces/{namespace}/config/{key}", "Writes a config value."),
    (Admin, "DELETE", "/v1/namespaces/{namespace}/config/{key}", "Takes a config value out."),
    (Admin, "GET", "/v1/tokens", "Every token, without its secret."),
    (Admin, "POST", "/v1/tokens", "Makes a token; its secret is told this once."),
    (Admin, "DELETE", "/v1/tokens/{name}", "Takes a token back."),
    (Admin, "GET", "/v1/whitelists", "Who may register, subscribe and edit."),
    (Admin, "PUT", "/v1/whitelists/{name}", "Says who may."),
    (Admin, "DELETE", "/v1/whitelists/{name}", "Takes a whitelist out."),
    (Admin, "POST", "/v1/adopt", "This store replaces others."),
    (Admin, "GET", "/v1/audit", "The last lines of the audit."),
    (Admin, "GET", "/", "The page."),
];

/// `GET /v1/openapi.json`.
pub(crate) async fn openapi() -> Json<Value> {
    Json(document())
}

fn document() -> Value {
    let mut paths: BTreeMap<&str, Value> = BTreeMap::new();
    for (at, method, path, says) in ROUTES {
        let listener = match at {
            Nodes => json!(["nodes"]),
            Admin => json!(["admin"]),
            Both => json!(["nodes", "admin"]),
        };
        let operation = json!({
            "summary": says,
            "x-listeners": listener,
            "responses": {
                "2XX": { "description": "Done." },
                "default": {
                    "description": "Why not.",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        });
        let entry = paths.entry(path).or_insert_with(|| json!({ "parameters": parameters(path) }));
        entry[method.to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Outrigger's control plane", "version": API_VERSION },
        "paths": paths,
        "components": { "schemas": { "Problem": problem() } },
    })
}

/// The parts of `path` that stand for something.
fn parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter =
        |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    names.map(parameter).collect()
}

/// RFC 9457, as `api::message::ProblemBody` writes it.
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "problems": {
                "type": "array",
                "items": { "type": "object", "properties": {
                    "path": { "type": "string" }, "what": { "type": "string" }, "hint": { "type": "string" },
                } },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths in the file of the routers.
    fn routed() -> Vec<&'static str> {
        let file = include_str!("mod.rs").split("#[cfg(test)]").next().unwrap_or_default();
        file.split(".route(").skip(1).filter_map(|rest| rest.split('"').nth(1)).collect()
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let mut routed = routed();
        routed.sort_unstable();
        routed.dedup();
        let mut described: Vec<&str> = ROUTES.iter().map(|(_, _, path, _)| *path).collect();
        described.sort_unstable();
        described.dedup();
        assert_eq!(described, routed);
    }
}
