//! Whitelists over the wire: who is not named is told so, and by which.

use api::message::SessionOpened;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::plane::{Answer, NOTHING, Plane, Stream, instance, send, whole};

const LIST: &str = "/v1/namespaces/default/services/checkout/instances";

async fn put(plane: &Plane, secret: &str, name: &str, words: Value) {
    let bearer = format!("Bearer {secret}");
    let path = format!("/v1/whitelists/{name}");
    let put = plane.admin("PUT", &path, &[("authorization", &bearer)], words).await;
    assert_eq!(put.status, StatusCode::NO_CONTENT, "{put:?}");
}

async fn token(plane: &Plane, secret: &str, words: Value) -> String {
    let bearer = format!("Bearer {secret}");
    let made: Value = plane.admin("POST", "/v1/tokens", &[("authorization", &bearer)], words).await.good();
    made["secret"].as_str().unwrap().to_owned()
}

/// Asks the nodes' listener with a token.
async fn show(plane: &Plane, secret: &str, method: &str, path: &str, body: Value) -> Answer {
    let bearer = format!("Bearer {secret}");
    whole(send(plane.running.listen, method, path, &[("authorization", &bearer)], body.into()).await).await
}

/// Opens a session of node `n1` with an instance of `checkout`, showing `secret`.
async fn open(plane: &Plane, secret: &str) -> SessionOpened {
    let words = json!({
        "node": "n1", "boot": "b", "epoch": 1, "capabilities": [], "instances": [instance("checkout", 8001)]
    });
    show(plane, secret, "POST", "/v1/sessions", words).await.good()
}

async fn why(plane: &Plane, viewer: &str) -> Vec<String> {
    let path = format!("/v1/namespaces/default/services/checkout/explain?address=127.0.0.1:8001{viewer}");
    let story: Value = plane.node("GET", &path, NOTHING).await.good();
    let reasons = story["reasons"].as_array().unwrap().iter();
    reasons.map(|because| because["why"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_is_not_named_registers_nothing_and_hears_why() {
    let plane = Plane::start().await;
    let root = token(&plane, "", json!({ "name": "root", "role": "admin" })).await;
    let hosts = token(&plane, &root, json!({ "name": "hosts", "role": "node" })).await;
    put(&plane, &root, "hosts", json!({ "services": "checkout", "register": ["token:hosts"] })).await;

    let opened = open(&plane, "guess").await;
    assert_eq!(opened.refused.iter().collect::<Vec<_>>(), [&instance("checkout", 8001).key]);
    let path = format!("/v1/sessions/{}/instances", opened.session);
    let refused =
        show(&plane, "", "PUT", &path, serde_json::to_value(instance("checkout", 8001)).unwrap()).await;
    let what = "whitelist hosts does not let 127.0.0.1 without a token register checkout";
    assert_eq!(refused.problem(), [format!("403 checkout: {what}")]);
    assert_eq!(why(&plane, "").await, ["not-allowed"]);

    assert!(open(&plane, &hosts).await.refused.is_empty());
    assert_eq!(why(&plane, "").await, Vec::<String>::new());
    // Its token opens nothing on the operators' listener.
    let bearer = format!("Bearer {hosts}");
    let looked = plane.admin("GET", "/v1/services", &[("authorization", &bearer)], NOTHING).await;
    assert_eq!(looked.status, StatusCode::FORBIDDEN);

    // It outlives the process and stands in the audit.
    let (directory, config) = plane.stop().await;
    let plane = Plane::over(directory, config).await;
    assert_eq!(open(&plane, "").await.refused.len(), 1);
    let bearer = format!("Bearer {root}");
    let lines: Value = plane.admin("GET", "/v1/audit", &[("authorization", &bearer)], NOTHING).await.good();
    let line =
        lines.as_array().unwrap().iter().find(|line| line["object"] == "whitelist hosts.default").unwrap();
    assert_eq!((&line["author"], &line["origin"]), (&json!("root"), &json!("127.0.0.1")), "{lines}");
    plane.stop().await;
}

#[tokio::test]
async fn who_may_not_subscribe_hears_of_nobody_and_who_may_not_edit_writes_nothing() {
    let plane = Plane::start().await;
    open(&plane, "").await;
    put(&plane, "", "deny", json!({ "services": "*", "subscribe": [], "edit": [] })).await;
    put(&plane, "", "mine", json!({ "services": "*.shop", "edit": ["address:127.0.0.0/8"] })).await;
    let held = api::Digest::of(b"never told");
    let watch = json!({ "node": "n1", "lists": { "checkout": held } });
    let mut stream = plane.watch(watch).await;
    let told = stream.list(|delta| delta.service.name.as_str() == "checkout").await;
    assert!(!told.known && told.complete && told.upsert.is_empty(), "{told:?}");
    let digests: Value = plane.node("POST", "/v1/digests", json!({ "lists": ["checkout"] })).await.good();
    assert_eq!(digests["lists"]["checkout"], json!(api::Digest::EMPTY));
    assert_eq!(plane.node("GET", LIST, NOTHING).await.status, StatusCode::FORBIDDEN);
    assert_eq!(why(&plane, "&viewer=n1").await, ["viewer-not-allowed"]);

    let policy = |space: &str| json!({ "name": "a", "namespace": space, "retry": { "attempts": 2 } });
    for (space, wanted) in [("default", 403), ("shop", 200)] {
        let path = format!("/v1/namespaces/{space}/policies/a");
        assert_eq!(plane.admin("PUT", &path, &[], policy(space)).await.status.as_u16(), wanted, "{space}");
    }
    let nothing = plane.admin("PUT", "/v1/whitelists/x", &[], json!({ "services": "*" })).await;
    assert_eq!(nothing.problem(), ["422 : it says nothing"]);

    for wanted in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
        assert_eq!(plane.admin("DELETE", "/v1/whitelists/deny", &[], NOTHING).await.status, wanted);
    }
    assert_eq!(plane.node("GET", LIST, NOTHING).await.status, StatusCode::OK);
    assert_eq!(why(&plane, "&viewer=n1").await, ["viewer-not-watching"], "it opens its watch anew");
    plane.stop().await;
}

#[tokio::test]
async fn a_held_watch_ends_when_a_whitelist_changes_what_it_may_hear_and_no_other_does() {
    let plane = Plane::start().await;
    open(&plane, "").await;
    let told = |delta: &api::Delta| (delta.known, delta.upsert.len());
    let watch = async |service: &str| {
        let claims = json!({ "lists": { service: api::Digest::of(b"never told") } });
        let mut stream = plane.watch(claims).await;
        let first = stream.list(|_| true).await;
        (stream, first)
    };
    let ends = async |stream: &mut Stream| while stream.next().await.is_some() {};

    let (mut stream, first) = watch("checkout").await;
    assert_eq!(told(&first), (true, 1));
    put(&plane, "", "deny", json!({ "services": "checkout", "subscribe": [] })).await;
    ends(&mut stream).await;
    let (mut denied, first) = watch("checkout").await;
    assert_eq!(told(&first), (false, 0), "whoever comes again hears of nobody");

    let (mut other, _) = watch("search").await;
    put(&plane, "", "deny", json!({ "services": "checkout", "subscribe": ["address:127.0.0.0/8"] })).await;
    ends(&mut denied).await;
    let (_again, first) = watch("checkout").await;
    assert_eq!(told(&first), (true, 1), "and of everybody once it may");
    plane.session("n2", 1, &[instance("search", 8002)]).await;
    assert_eq!(other.list(|delta| !delta.upsert.is_empty()).await.service.name.as_str(), "search");
    plane.stop().await;
}

#[tokio::test]
async fn who_may_not_edit_a_service_says_nothing_over_its_instances() {
    let plane = Plane::start().await;
    let root = token(&plane, "", json!({ "name": "root", "role": "admin" })).await;
    let ann = token(&plane, &root, json!({ "name": "ann", "role": "editor" })).await;
    open(&plane, "").await;
    put(&plane, &root, "mine", json!({ "services": "checkout", "edit": ["token:root"] })).await;
    let say = async |secret: &str, method: &str, path: &str, said: &Value| {
        let bearer = format!("Bearer {secret}");
        plane.admin(method, path, &[("authorization", &bearer)], said.clone()).await.status.as_u16()
    };
    let why = json!({ "owner": "ann", "reason": "disk", "ttl": "10m" });
    let with = |mut said: Value| {
        said.as_object_mut().unwrap().extend(why.as_object().unwrap().clone());
        said
    };
    let weigh = with(json!({ "instance": instance("checkout", 8001).key, "effect": "weight", "weight": 7 }));
    let node = with(json!({ "node": "n1", "effect": "weight", "weight": 7 }));
    let drain = with(json!({ "services": ["checkout"] }));
    let other = with(json!({ "services": ["search"] }));
    for (path, said) in [("overrides/a", weigh), ("overrides/b", node), ("drains/c", drain)] {
        let path = format!("/v1/{path}");
        assert_eq!(say(&ann, "PUT", &path, &said).await, 403, "{said}");
        assert_eq!(say(&root, "PUT", &path, &said).await, 204, "{said}");
        assert_eq!(say(&ann, "DELETE", &path, &Value::Null).await, 403, "{said}");
        assert_eq!(say(&root, "DELETE", &path, &Value::Null).await, 204, "{said}");
    }
    assert_eq!(say(&ann, "PUT", "/v1/drains/d", &other).await, 204, "of other services");
    plane.stop().await;
}
