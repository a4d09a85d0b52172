//! What holds for every route.

use hyper::StatusCode;
use serde_json::json;

use crate::plane::{NOTHING, Plane};

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems() {
    let plane = Plane::start().await;
    assert_eq!(plane.node("GET", "/v1/nothing", NOTHING).await.problem(), ["404 no such path"]);
    assert_eq!(plane.node("GET", "/", NOTHING).await.problem(), ["404 no such path"]);
    let wrong = plane.node("DELETE", "/v1/services", NOTHING).await;
    assert_eq!(wrong.problem(), ["405 wrong method"]);
    assert_eq!(wrong.headers["allow"], "GET,HEAD");
    plane.stop().await;
}

#[tokio::test]
async fn whoever_may_read_may_not_write() {
    let plane = Plane::start().await;
    for (method, path) in [
        ("PUT", "/v1/namespaces/default/policies/a"),
        ("DELETE", "/v1/namespaces/default/policies/a"),
        ("PATCH", "/v1/namespaces/default/services/checkout"),
        ("POST", "/v1/namespaces/default/policies/a/rollback"),
        ("POST", "/v1/adopt"),
        ("GET", "/v1/audit"),
    ] {
        let status = plane.node(method, path, json!({ "name": "a" })).await.status;
        assert!(
            matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED),
            "{method} {path}: {status}"
        );
    }
    plane.stop().await;
}

#[tokio::test]
async fn a_page_of_another_site_may_not_write_through_an_operators_browser() {
    let plane = Plane::start().await;
    let adopt = async |origin: &str| plane.admin("POST", "/v1/adopt", &[("origin", origin)], NOTHING).await;
    assert_eq!(adopt("http://elsewhere.example").await.problem(), ["403 foreign page"]);
    assert_eq!(adopt("null").await.problem(), ["403 foreign page"]);
    // The client calls this host `control-plane`.
    assert_eq!(adopt("http://control-plane").await.status, StatusCode::NO_CONTENT);
    plane.stop().await;
}

#[tokio::test]
async fn machines_messages_are_strict_too() {
    let plane = Plane::start().await;
    for (body, wanted) in [
        ("nonsense", "400 : expected ident"),
        (r#"{"lists":["a"],"lists":["b"]}"#, "422 : duplicate field `lists`"),
        (r#"{"lsts":[]}"#, "422 lsts: unknown field `lsts`"),
        (r#"{"lists":["Not A Name"]}"#, "422 lists[0]: service \"Not A Name\" is not a name"),
        (r#"{"policies":["default"]} x"#, "400 : trailing characters"),
    ] {
        let told = plane.node("POST", "/v1/digests", body).await.problem();
        assert!(told.len() == 1 && told[0].starts_with(wanted), "{body}: {told:?}");
    }
    let bad = plane.node("GET", "/v1/namespaces/Shop/services/a/instances", NOTHING).await.problem();
    assert!(bad[0].starts_with("422 namespace: "), "{bad:?}");
    plane.stop().await;
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused() {
    let plane = Plane::start().await;
    let large = "x".repeat((8 << 20) + 1);
    assert_eq!(plane.node("POST", "/v1/digests", large.as_str()).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    plane.stop().await;
}

#[tokio::test]
async fn both_listeners_say_how_they_are() {
    let plane = Plane::start().await;
    for path in ["/livez", "/readyz", "/readyz?verbose", "/metrics"] {
        assert_eq!(plane.node("GET", path, NOTHING).await.status, StatusCode::OK, "{path}");
        let answer = plane.admin("GET", path, &[], NOTHING).await;
        assert_eq!(
            (answer.status, &answer.headers["x-outrigger-api"]),
            (StatusCode::OK, &"1".parse().unwrap())
        );
    }
    let verbose = plane.node("GET", "/readyz?verbose", NOTHING).await;
    assert!(String::from_utf8_lossy(&verbose.body).contains(&plane.running.store));
    assert_eq!(plane.admin("GET", "/", &[], NOTHING).await.status, StatusCode::OK);
    plane.stop().await;
}
