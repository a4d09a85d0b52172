//! Overrides and planned drains over the wire, over a restart, and in the audit.

use api::{Cause, List};
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::plane::{NOTHING, Plane, from_nothing, instance};

const LIST: &str = "/v1/namespaces/default/services/checkout/instances";

fn mask(port: u16) -> Value {
    let key = instance("checkout", port).key;
    json!({ "instance": key, "effect": "mask", "owner": "ann", "reason": "disk", "ttl": "10m" })
}

#[tokio::test]
async fn a_mask_is_pushed_with_its_cause_outlives_a_restart_and_is_ended() {
    let plane = Plane::start().await;
    let mut stream = plane.watch(from_nothing("checkout")).await;
    plane.session("n1", 1, &[instance("checkout", 8001), instance("checkout", 8002)]).await;
    let put = plane.admin("PUT", "/v1/overrides/disk", &[("x-author", "ann")], mask(8001)).await;
    assert_eq!(put.status, StatusCode::NO_CONTENT, "{put:?}");
    let change = stream.list(|delta| !delta.remove.is_empty()).await;
    assert_eq!(change.remove[0].cause, Cause::Masked);

    drop(stream);
    let (directory, config) = plane.stop().await;
    let plane = Plane::over(directory, config).await;
    let list: List = plane.node("GET", LIST, NOTHING).await.good();
    assert_eq!(list.instances, [instance("checkout", 8002)]);
    let force: Value = plane.node("GET", "/v1/overrides", NOTHING).await.good();
    assert_eq!((&force[0]["name"], &force[0]["said"]["reason"]), (&json!("disk"), &json!("disk")));

    for wanted in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
        let ended = plane.admin("DELETE", "/v1/overrides/disk", &[], NOTHING).await;
        assert_eq!(ended.status, wanted, "{ended:?}");
    }
    assert_eq!(plane.node("GET", LIST, NOTHING).await.good::<List>().instances.len(), 2);
    let audit: Value = plane.admin("GET", "/v1/audit", &[], NOTHING).await.good();
    let deeds: Vec<_> = audit.as_array().unwrap().iter().map(|line| line["deed"].as_str().unwrap()).collect();
    assert_eq!(deeds, ["delete", "put"]);
    plane.stop().await;
}

#[tokio::test]
async fn the_second_mask_at_once_needs_a_planned_drain() {
    let plane = Plane::start().await;
    let ports = 8001..8005;
    let all: Vec<_> = ports.map(|port| instance("checkout", port)).collect();
    plane.session("n1", 1, &all).await;
    let put = plane.admin("PUT", "/v1/overrides/a", &[], mask(8001)).await;
    assert_eq!(put.status, StatusCode::NO_CONTENT);
    let refused = plane.admin("PUT", "/v1/overrides/b", &[], mask(8002)).await;
    assert_eq!(refused.problem(), ["409 too much at once"]);
    let drain =
        json!({ "services": ["checkout"], "share": "50%", "owner": "ann", "reason": "move", "ttl": "10m" });
    let planned = plane.admin("PUT", "/v1/drains/move", &[], drain).await;
    assert_eq!(planned.status, StatusCode::NO_CONTENT, "{planned:?}");
    let put = plane.admin("PUT", "/v1/overrides/b", &[], mask(8002)).await;
    assert_eq!(put.status, StatusCode::NO_CONTENT, "{put:?}");
    let refused = plane.admin("PUT", "/v1/overrides/c", &[], mask(8003)).await;
    assert_eq!(refused.problem(), ["409 too much at once"], "two of four are half");
    plane.stop().await;
}

#[tokio::test]
async fn words_without_owner_or_end_are_refused_and_nodes_may_not_write() {
    let plane = Plane::start().await;
    let bare = json!({ "node": "n1", "effect": "weight", "owner": "", "reason": "x", "ttl": "0s" });
    let refused = plane.admin("PUT", "/v1/overrides/a", &[], bare).await.problem();
    assert_eq!(refused.len(), 3, "{refused:?}");
    let written = plane.node("PUT", "/v1/overrides/a", mask(8001)).await;
    assert_eq!(written.status, StatusCode::NOT_FOUND);
    plane.stop().await;
}
