//! The API's description is the API: each listener knows exactly the methods that it names, and feeds tell events.

use std::collections::{BTreeMap, BTreeSet};

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::plane::{NOTHING, Plane, send};

#[tokio::test]
async fn each_path_knows_the_methods_that_its_description_names() {
    let plane = Plane::start().await;
    let document: Value = plane.node("GET", "/v1/openapi.json", NOTHING).await.good();
    let mut wanted: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in
            operations.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters")
        {
            for listener in ["nodes", "admin"] {
                if operation["x-listeners"].as_array().unwrap().contains(&json!(listener)) {
                    let methods = wanted.entry((listener, path.clone())).or_default();
                    methods.insert(method.to_uppercase());
                }
            }
        }
    }
    assert!(wanted.len() > 40, "only {} paths", wanted.len());
    for ((listener, path), mut methods) in wanted {
        // No route knows TRACE, so the answer names what it knows.
        let at = path
            .replace("{namespace}", "default")
            .replace("{name}", "a")
            .replace("{id}", "7")
            .replace("{key}", "k");
        let answer = match listener {
            "nodes" => plane.node("TRACE", &at, NOTHING).await,
            _ => plane.admin("TRACE", &at, &[], NOTHING).await,
        };
        if methods.contains("GET") {
            methods.insert("HEAD".into());
        }
        let allow = answer.headers.get("allow").map(|value| value.to_str().unwrap()).unwrap_or_default();
        let known: BTreeSet<String> = allow.split(',').map(|method| method.trim().to_owned()).collect();
        assert_eq!(known, methods, "{listener} {path}: {answer:?}");
    }
    plane.stop().await;
}

#[tokio::test]
async fn a_feed_tells_what_happens_and_ends_with_the_process() {
    let plane = Plane::start().await;
    let answer = send(plane.running.listen, "GET", "/v1/events", &[], NOTHING.into()).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    let mut text = String::new();
    let policy = json!({ "name": "a", "retry": { "attempts": 2 } });
    plane.admin("PUT", "/v1/namespaces/default/policies/a", &[], policy).await;
    let wait = async {
        while !text.contains("\"event\":\"policy-applied\"") {
            let frame = body.frame().await.expect("it goes on").unwrap();
            text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap()));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("the event");
    assert!(text.contains("event: policy-applied\n"), "{text}");
    plane.stop().await;
    while let Some(Ok(_)) = body.frame().await {}
}

#[tokio::test]
async fn a_dry_run_tells_what_a_limit_would_have_refused_lately() {
    let plane = Plane::start().await;
    let session = plane.session("n1", 1, &[]).await.session;
    let beat = json!({ "traffic": [{
        "service": "checkout", "requests": 90, "failed": 0, "took": [90], "second": 9, "seconds": [30, 30, 30],
    }] });
    plane.node("PUT", &format!("/v1/sessions/{session}"), beat).await.good::<Value>();
    let policy = json!({
        "name": "a", "match": { "service": "checkout" }, "limits": [{ "name": "x", "rate": "10/s", "burst": 10 }],
    });
    let path = "/v1/namespaces/default/policies/a?dry_run=true";
    let told: Value = plane.admin("PUT", path, &[], policy).await.good();
    let wanted = json!([{ "service": "checkout", "limit": "x", "refused": 50, "requests": 90 }]);
    assert_eq!((&told["forecast"], &told["unforeseen"]), (&wanted, &json!([])), "{told}");
    plane.stop().await;
}
