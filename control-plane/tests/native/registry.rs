//! Register, beat, query, deregister.

use api::List;
use api::message::{BeatHeard, Digests, Registered};
use api::story::InstanceStory;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::plane::{NOTHING, Plane, instance};

const LIST: &str = "/v1/namespaces/default/services/checkout/instances";

#[tokio::test]
async fn an_instance_is_listed_from_registration_to_deregistration() {
    let plane = Plane::start().await;
    let session = plane.session("n1", 1, &[instance("checkout", 8001)]).await;
    let path = format!("/v1/sessions/{}/instances", session.session);
    let second = serde_json::to_value(instance("checkout", 8002)).unwrap();
    let registered: Registered = plane.node("PUT", &path, second).await.good();
    assert_eq!(registered.expires_after, plane.config.lease.expiry);

    let list: List = plane.node("GET", LIST, NOTHING).await.good();
    assert_eq!(list.instances, [instance("checkout", 8001), instance("checkout", 8002)]);

    let beat = plane.node("PUT", &format!("/v1/sessions/{}", session.session), json!({})).await;
    assert_eq!(beat.good::<BeatHeard>().instances, 2);

    let out = json!({ "key": instance("checkout", 8001).key, "cause": "drained" });
    for _ in ["once", "again"] {
        assert_eq!(plane.node("DELETE", &path, out.clone()).await.status, StatusCode::NO_CONTENT);
    }
    let list: List = plane.node("GET", LIST, NOTHING).await.good();
    assert_eq!(list.instances, [instance("checkout", 8002)]);

    let check = json!({ "lists": ["checkout"], "policies": ["default"] });
    let digests: Digests = plane.node("POST", "/v1/digests", check).await.good();
    assert_eq!(digests.lists[&"checkout".parse().unwrap()], list.digest);

    let closed = plane.node("DELETE", &format!("/v1/sessions/{}", session.session), NOTHING).await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT);
    assert!(plane.node("GET", LIST, NOTHING).await.good::<List>().instances.is_empty());
    plane.stop().await;
}

#[tokio::test]
async fn what_does_not_exist_is_said_to_be_absent() {
    let plane = Plane::start().await;
    for (method, path, body) in [
        ("GET", LIST, NOTHING),
        ("PUT", "/v1/sessions/unknown", "{}"),
        ("GET", "/v1/namespaces/default/services/checkout", NOTHING),
        ("GET", "/v1/namespaces/default/policies/checkout", NOTHING),
        ("GET", "/v1/namespaces/default/policies/checkout/history", NOTHING),
    ] {
        assert_eq!(plane.node(method, path, body).await.problem(), ["404 not found"], "{method} {path}");
    }
    plane.stop().await;
}

#[tokio::test]
async fn a_newer_boot_of_a_node_owns_its_instances() {
    let plane = Plane::start().await;
    let old = plane.session("n1", 1, &[instance("checkout", 8001)]).await;
    let new = plane.session("n1", 2, &[instance("checkout", 8001)]).await;
    assert_ne!(old.session, new.session);
    let out = json!({ "key": instance("checkout", 8001).key, "cause": "deregistered" });
    plane.node("DELETE", &format!("/v1/sessions/{}/instances", old.session), out).await;
    assert_eq!(plane.node("GET", LIST, NOTHING).await.good::<List>().instances.len(), 1);
    let sessions: Value = plane.node("GET", "/v1/sessions", NOTHING).await.good();
    let newest = sessions.as_array().unwrap().iter().find(|s| s["session"] == *new.session).unwrap();
    assert_eq!((&newest["node"], &newest["instances"]), (&json!("n1"), &json!(1)));
    plane.stop().await;
}

#[tokio::test]
async fn operators_set_a_service_and_its_instances_hear_of_it() {
    let plane = Plane::start().await;
    let session = plane.session("n1", 1, &[instance("checkout", 8001)]).await;
    let path = "/v1/namespaces/default/services/checkout";
    let set = plane.admin("PATCH", path, &[], json!({ "expiry": "30s", "owner": "shop" })).await;
    assert_eq!(set.good::<Value>()["settings"], json!({ "expiry": "30s", "owner": "shop" }));
    let kept = plane.admin("PATCH", path, &[], json!({ "expiry": "60s" })).await;
    assert_eq!(kept.good::<Value>()["settings"], json!({ "expiry": "1m", "owner": "shop" }));
    let beat = plane.node("PUT", &format!("/v1/sessions/{}", session.session), json!({})).await;
    assert_eq!(beat.good::<BeatHeard>().beat_every, api::Span::secs(20));
    let reset = plane.admin("PATCH", path, &[], json!({ "expiry": null, "owner": null })).await;
    assert_eq!(reset.good::<Value>()["settings"]["owner"], Value::Null);
    let services: Value = plane.node("GET", "/v1/services", NOTHING).await.good();
    assert_eq!(services[0]["service"], "checkout");
    plane.stop().await;
}

#[tokio::test]
async fn an_absent_instance_is_explained() {
    let plane = Plane::start().await;
    plane.session("n1", 1, &[instance("checkout", 8001)]).await;
    let base = "/v1/namespaces/default/services/checkout/explain?address=";
    for (asked, listed, whys) in [
        ("127.0.0.1:8001", true, vec![]),
        ("127.0.0.1:8002", false, vec!["not-registered"]),
        ("127.0.0.1:8001&viewer=n1", true, vec!["viewer-not-watching"]),
        ("127.0.0.1:8001&viewer=n2", true, vec!["viewer-unknown"]),
    ] {
        let story: InstanceStory = plane.node("GET", &format!("{base}{asked}"), NOTHING).await.good();
        let told: Vec<_> = story.reasons.iter().map(|because| because.why.as_str()).collect();
        assert_eq!((story.listed, told), (listed, whys), "{asked}");
    }
    let wrong = plane.node("GET", &format!("{base}here"), NOTHING).await;
    assert_eq!(wrong.problem(), ["422 address: expected IP:PORT"]);
    plane.stop().await;
}
