//! What a restart keeps, and what it refuses.

use api::List;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::plane::{NOTHING, Plane, config, instance};

const LIST: &str = "/v1/namespaces/default/services/checkout/instances";

#[tokio::test]
async fn policies_settings_and_instances_outlive_the_process() {
    let plane = Plane::start().await;
    let store = plane.running.store.clone();
    let session = plane.session("n1", 1, &[instance("checkout", 8001)]).await;
    let policy = json!({ "name": "a", "timeout": { "total": "3s" } });
    let kept: Value = plane.admin("PUT", "/v1/namespaces/default/policies/a", &[], policy).await.good();
    plane.admin("PATCH", "/v1/namespaces/default/services/checkout", &[], json!({ "owner": "shop" })).await;
    plane.admin("POST", "/v1/adopt", &[], NOTHING).await;

    let (directory, config) = plane.stop().await;
    let plane = Plane::over(directory, config).await;
    assert_eq!(plane.running.store, store);
    let list: List = plane.node("GET", LIST, NOTHING).await.good();
    assert_eq!(list.instances, [instance("checkout", 8001)]);
    let policies: Value = plane.node("GET", "/v1/namespaces/default/policies", NOTHING).await.good();
    assert_eq!((&policies["digest"], &policies["adopted"]), (&kept["digest"], &json!(true)));
    let service: Value = plane.node("GET", "/v1/namespaces/default/services/checkout", NOTHING).await.good();
    assert_eq!(service["settings"]["owner"], "shop");
    // What the snapshot says of a session may be older than its sidecar's last word: it has to say it again.
    let beat = plane.node("PUT", &format!("/v1/sessions/{}", session.session), json!({})).await;
    assert_eq!(beat.status, StatusCode::NOT_FOUND, "{beat:?}");
    let again = plane.session("n1", 1, &[instance("checkout", 8001)]).await;
    assert_eq!(again.session, session.session, "the same boot has the same session");
    let list: List = plane.node("GET", LIST, NOTHING).await.good();
    assert_eq!(list.instances, [instance("checkout", 8001)]);
    plane.stop().await;
}

#[tokio::test]
async fn a_torn_snapshot_is_refused_and_the_registry_rebuilt_by_sidecars() {
    let plane = Plane::start().await;
    let session = plane.session("n1", 1, &[instance("checkout", 8001)]).await;
    let (directory, config) = plane.stop().await;
    let path = directory.path().join("registry.snapshot");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();

    let plane = Plane::over(directory, config).await;
    assert_eq!(plane.node("GET", LIST, NOTHING).await.status, StatusCode::NOT_FOUND);
    let beat = plane.node("PUT", &format!("/v1/sessions/{}", session.session), json!({})).await;
    assert_eq!(beat.status, StatusCode::NOT_FOUND, "the sidecar opens a new session");
    plane.session("n1", 1, &[instance("checkout", 8001)]).await;
    assert_eq!(plane.node("GET", LIST, NOTHING).await.good::<List>().instances.len(), 1);
    plane.stop().await;
}

#[tokio::test]
async fn a_restart_with_an_empty_disk_removes_nothing_at_first() {
    let mut config = config();
    config.lease.expiry = api::Span::secs(3600);
    let plane = Plane::with(config).await;
    let held = List::new(
        "checkout".parse().unwrap(),
        7,
        vec![instance("checkout", 8001), instance("checkout", 8002)],
    );
    let mut stream = plane.watch(json!({ "lists": { "checkout": held.digest } })).await;
    plane.session("n2", 1, &[instance("checkout", 8002)]).await;
    let news = stream.list(|_| true).await;
    assert!(!news.complete && news.remove.is_empty(), "{news:?}");
    assert_eq!(news.upsert, [instance("checkout", 8002)]);
    plane.stop().await;
}

#[tokio::test]
async fn one_directory_and_one_port_serve_one_process() {
    let plane = Plane::start().await;
    let told = control_plane::start(&plane.config).await.err().unwrap().to_string();
    assert!(told.contains("another process keeps its state in"), "{told}");
    let mut other = plane.config.clone();
    let directory = tempfile::tempdir().unwrap();
    other.data = directory.path().to_owned();
    other.listen = plane.running.listen;
    let told = control_plane::start(&other).await.err().unwrap().to_string();
    assert!(told.contains(&format!("process {}", std::process::id())), "{told}");
    plane.stop().await;
}
