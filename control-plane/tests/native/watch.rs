//! Held streams and long polls.

use std::time::{Duration, Instant};

use api::message::News;
use api::{Cause, List};
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::plane::{NOTHING, Plane, config, from_nothing, instance};

#[tokio::test]
async fn a_stream_carries_each_change_with_its_cause() {
    let plane = Plane::start().await;
    let mut stream = plane.watch(from_nothing("checkout")).await;
    let unknown = stream.list(|_| true).await;
    assert!(!unknown.known);

    let session = plane.session("n1", 1, &[instance("checkout", 8001), instance("checkout", 8002)]).await;
    let whole = stream.list(|delta| delta.complete && delta.known).await;
    assert_eq!(whole.store, plane.running.store);

    let out = json!({ "key": instance("checkout", 8001).key, "cause": "drained" });
    plane.node("DELETE", &format!("/v1/sessions/{}/instances", session.session), out).await;
    let change = stream.list(|delta| !delta.remove.is_empty()).await;
    assert_eq!(change.remove[0].key, instance("checkout", 8001).key);
    assert_eq!(change.remove[0].cause, Cause::Drained);
    assert!(change.upsert.is_empty(), "a delta carries what changed: {change:?}");
    let list: List =
        plane.node("GET", "/v1/namespaces/default/services/checkout/instances", NOTHING).await.good();
    assert_eq!(change.digest, list.digest);
    plane.stop().await;
}

#[tokio::test]
async fn a_quiet_stream_pings_and_ends_when_the_process_stops() {
    let mut config = config();
    config.push.ping = api::Span::millis(20);
    let plane = Plane::with(config).await;
    let mut stream = plane.watch(json!({})).await;
    for _ in 0..2 {
        assert_eq!(stream.next().await, Some(News::Ping));
    }
    let (_, ended) = tokio::join!(plane.stop(), async move {
        while stream.next().await.is_some() {}
        true
    });
    assert!(ended);
}

#[tokio::test]
async fn a_poll_is_answered_by_the_change_it_waited_for() {
    let plane = Plane::start().await;
    let session = plane.session("n1", 1, &[instance("checkout", 8001)]).await;
    let held = api::List::new("checkout".parse().unwrap(), 0, vec![instance("checkout", 8001)]).digest;
    let poll = json!({ "lists": { "checkout": held }, "mode": "poll", "hold": "30s" });
    let path = format!("/v1/sessions/{}/instances", session.session);
    let change = serde_json::to_value(instance("checkout", 8002)).unwrap();
    let (answer, _) = tokio::join!(plane.node("POST", "/v1/watch", poll), plane.node("PUT", &path, change));
    let news: Vec<News> = answer.good();
    let [News::List(delta)] = &news[..] else { panic!("{news:?}") };
    assert_eq!(delta.upsert, [instance("checkout", 8002)]);
    plane.stop().await;
}

#[tokio::test]
async fn a_poll_without_news_ends_empty_and_not_before_a_second() {
    let plane = Plane::start().await;
    let start = Instant::now();
    let answer = plane.node("POST", "/v1/watch", json!({ "mode": "poll", "hold": "1ms" })).await;
    assert_eq!(answer.good::<Value>(), json!([]));
    assert!(start.elapsed() >= Duration::from_secs(1));
    plane.stop().await;
}

#[tokio::test]
async fn a_pushed_policy_reaches_its_watchers_with_its_store() {
    let plane = Plane::start().await;
    let mut stream = plane.watch(json!({ "policies": { "default": api::Digest::EMPTY } })).await;
    let policy = json!({ "name": "a", "timeout": { "total": "3s" } });
    let kept: Value = plane.admin("PUT", "/v1/namespaces/default/policies/a", &[], policy).await.good();
    let news = loop {
        match stream.next().await.unwrap() {
            News::Policies(news) if !news.documents.is_empty() => break news,
            _ => {}
        }
    };
    assert_eq!(json!({ "revision": news.revision, "digest": news.digest }), kept);
    assert_eq!((news.store.as_str(), news.adopted), (plane.running.store.as_str(), false));
    plane.admin("POST", "/v1/adopt", &[], NOTHING).await;
    let adopted = loop {
        if let News::Policies(news) = stream.next().await.unwrap() {
            break news.adopted;
        }
    };
    assert!(adopted);
    plane.stop().await;
}

#[tokio::test]
async fn held_watches_are_counted_capped_and_given_back() {
    let mut config = config();
    config.push.watches = api::schema::Switch::On(1);
    config.push.ping = api::Span::millis(20);
    let plane = Plane::with(config).await;
    let first = plane.watch(json!({})).await;
    let second = plane.node("POST", "/v1/watch", json!({ "mode": "poll", "hold": "1s" })).await;
    assert_eq!(second.problem(), ["503 too many watches"]);
    assert!(second.headers.contains_key("retry-after"));
    drop(first);
    // The server learns of it by the connection's end; how soon is the network's affair.
    while plane.node("POST", "/v1/watch", json!({ "mode": "poll", "hold": "1s" })).await.status
        != StatusCode::OK
    {}
    let page = plane.node("GET", "/metrics", NOTHING).await;
    assert!(String::from_utf8_lossy(&page.body).contains("outrigger_control_news_total"));
    plane.stop().await;
}
