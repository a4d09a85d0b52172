//! Two clusters of control planes that share nothing.

use super::*;

/// The file's words for a first cluster and another.
fn two(first: SocketAddr, other: SocketAddr, more: &str) -> String {
    format!(
        "control: {{ urls: ['http://{first}'], retry_at_most: 50ms, alert_after: 400ms, \
         also: [{{ name: twin, urls: ['http://{other}']{more} }}] }}\n"
    )
}

fn lost(status: &Status) -> [bool; 2] {
    [status.control.as_ref().unwrap().lost, status.also[0].lost]
}

/// The services in each watch that was opened.
fn watched(fake: &Fake) -> Vec<String> {
    let watches = fake.heard("POST /v1/watch");
    let services = watches.iter().flat_map(|watch| watch["lists"].as_object().unwrap().keys().cloned());
    services.collect()
}

#[tokio::test]
async fn two_registries_are_one_list_and_the_loss_of_either_or_both_takes_nothing() {
    let (state, a, b) = (folder(), Fake::start("a").await, Fake::start("b").await);
    a.list("checkout", &[1, 2]);
    b.list("checkout", &[2, 3]);
    let words = two(a.address, b.address, "") + "services: { checkout: {} }\n";
    let mut sidecar = Sidecar::start(&state, None, &words);
    sidecar.view(|view| ports(view) == [1, 2, 3]).await;
    let (at_a, at_b) = (a.address, b.address);
    drop(a);
    let status = sidecar.status(|status| lost(status) == [true, false]).await;
    assert_eq!((status.services[0].endpoints, status.services[0].held), (3, 0));
    b.list("checkout", &[2, 3, 4]);
    sidecar.view(|view| ports(view) == [1, 2, 3, 4]).await;
    drop(b);
    let status = sidecar.status(|status| lost(status) == [true, true]).await;
    assert_eq!((status.services[0].endpoints, status.services[0].held), (4, 0));
    // One that lost its memory takes nothing of what the other told.
    let a = Fake::at(at_a, "a2").await;
    a.list("checkout", &[5]);
    sidecar.view(|view| ports(view) == [2, 3, 4, 5]).await;
    // And all of it outlives this process, each cluster's part by itself.
    sidecar.handle.drain().start();
    sidecar.handle.ended().await;
    drop((sidecar, a));
    let mut sidecar = Sidecar::start(&state, None, &words);
    let Ok(Update::Service(view)) = sidecar.updates.try_recv() else { panic!("not published at the start") };
    assert_eq!(ports(&view), [2, 3, 4, 5]);
    let _b = Fake::at(at_b, "b2").await;
    sidecar.status(|status| status.also[0].connected && status.services[0].endpoints == 4).await;
}

#[tokio::test]
async fn an_app_is_registered_in_both_and_one_is_enough_to_be_registered() {
    let (state, b, nobody) = (folder(), Fake::start("b").await, nobody().await);
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = open.local_addr().unwrap();
    let sidecar = Sidecar::start(&state, None, &(two(nobody, b.address, "") + &app(at)));
    sidecar.status(|status| status.instances[0].registered).await;
    let a = Fake::at(nobody, "a").await;
    let listed = |fake: &Fake| {
        let opened = fake.heard("POST /v1/sessions").into_iter();
        let opened = opened.flat_map(|open| open["instances"].as_array().unwrap().clone());
        opened
            .chain(fake.heard("PUT /v1/sessions/s1/instances"))
            .any(|said| said["address"] == at.to_string())
    };
    until(|| (listed(&a) && listed(&b)).then_some(())).await;
    sidecar.status(|status| lost(status) == [false, false]).await;
    sidecar.handle.drain().start();
    assert_eq!(sidecar.handle.ended().await, Ended::Drained { forced: false });
    for fake in [&a, &b] {
        assert_eq!(fake.heard("DELETE /v1/sessions/s1/instances")[0]["cause"], "drained");
    }
}

#[tokio::test]
async fn a_service_of_another_business_is_asked_of_its_own_cluster_alone() {
    let (state, a, b) = (folder(), Fake::start("a").await, Fake::start("b").await);
    a.list("checkout", &[1]);
    a.list("search", &[2]);
    b.list("checkout", &[3]);
    b.list("search", &[4]);
    a.policy(1, "3s");
    b.policy(1, "9s");
    let mut sidecar = Sidecar::start(&state, None, &two(a.address, b.address, ", serves: [search]"));
    sidecar.ask("search");
    let view = sidecar.view(|view| ports(view) == [4]).await;
    assert_eq!(total(&view), Span::secs(3), "the policies of its namespace are the first cluster's");
    sidecar.ask("checkout");
    sidecar.view(|view| ports(view) == [1]).await;
    until(|| watched(&a).contains(&"checkout".into()).then_some(())).await;
    until(|| watched(&b).contains(&"search".into()).then_some(())).await;
    assert!(!watched(&a).contains(&"search".into()) && !watched(&b).contains(&"checkout".into()));
}

#[tokio::test]
async fn a_service_is_unknown_once_all_clusters_say_so() {
    let (state, a, b) = (folder(), Fake::start("a").await, Fake::start("b").await);
    b.list("checkout", &[1]);
    let mut sidecar = Sidecar::start(&state, None, &two(a.address, b.address, ""));
    sidecar.ask("checkout");
    let Update::Service(view) = sidecar.update().await else {
        panic!("the first that was asked knew it not")
    };
    assert_eq!(ports(&view), [1]);
    sidecar.ask("cart");
    assert_eq!(sidecar.missing().await, Reason::NoSuchService);
    drop(b);
    sidecar.status(|status| lost(status) == [false, true]).await;
    sidecar.ask("mail");
    assert_eq!(sidecar.missing().await, Reason::NoSnapshot, "who cannot be asked may know it");
}
