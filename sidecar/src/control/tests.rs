//! The control thread against a control plane on a real socket.

#![allow(clippy::unwrap_used, reason = "tests")]

mod clusters;
mod fake;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::config::{SidecarConfig, SidecarConfigWords};
use api::schema::Words;
use api::{Digest, Reason, Span, yaml};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::fake::Fake;
use super::*;
use crate::metrics::Meters;
use crate::publish::{ServiceView, Update};

/// Longer than anything here takes on the slowest machine; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// A control thread with one worker's inbox in the test's hand.
struct Sidecar {
    handle: Handle,
    updates: UnboundedReceiver<Update>,
    asks: UnboundedSender<Ask>,
    gate: Gate,
    in_flight: Arc<AtomicUsize>,
}

impl Sidecar {
    /// Starts one; `words` is more of its file.
    fn start(state: &TempDir, control: Option<SocketAddr>, words: &str) -> Self {
        let control =
            control.map(|at| format!("control: {{ urls: ['http://{at}'], retry_at_most: 50ms }}\n"));
        let state = state.path().display();
        let text = format!("node: web-1\nstate: {state}\n{}{words}", control.unwrap_or_default());
        let words: SidecarConfigWords = yaml::read_one(&text).unwrap();
        let config: SidecarConfig = words.settle();
        assert_eq!(check(&config), Ok(()));
        let (worker, updates) = unbounded_channel();
        let (asks, asked) = unbounded_channel();
        let (gate, in_flight) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let probe = in_flight.clone();
        let apps = config.apps.iter().map(|app| BoundApp { config: app.clone(), inbound: None }).collect();
        let parts = Parts {
            config: Arc::new(config),
            clock: Clock::start(),
            apps,
            own: Vec::new(),
            gate: gate.clone(),
            in_flight: Box::new(move || probe.load(Ordering::Relaxed)),
            open: Box::new(|| 0),
            inbound: Vec::new(),
            publisher: Publisher::new(vec![worker], Meters::new(Clock::start())),
            tls: Arc::default(),
            asks: asked,
        };
        let pace = Pace { every: Duration::from_millis(300), settle: Duration::from_millis(100) };
        Self { handle: spawn_at(parts, pace).unwrap(), updates, asks, gate, in_flight }
    }

    fn ask(&self, service: &str) {
        self.asks.send(Ask::Service(service.parse().unwrap())).unwrap();
    }

    /// Whether requests of other hosts are refused.
    fn refuses(&self) -> bool {
        self.gate.ask(&crate::accept::Way::Inbound("cart".parse().unwrap())).is_err()
    }

    /// The next update.
    async fn update(&mut self) -> Update {
        tokio::time::timeout(PATIENCE, self.updates.recv()).await.unwrap().unwrap()
    }

    /// The first view for which `wanted` holds.
    async fn view(&mut self, wanted: impl Fn(&ServiceView) -> bool) -> ServiceView {
        loop {
            match self.update().await {
                Update::Service(view) if wanted(&view) => return view,
                _ => {}
            }
        }
    }

    async fn missing(&mut self) -> Reason {
        match self.update().await {
            Update::Missing { reason, .. } => reason,
            Update::Gone(_) => panic!("hosts are gone"),
            Update::Service(view) | Update::Inbound(view) => panic!("{view:?}"),
        }
    }

    /// Until the status says what is wanted.
    async fn status(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let view = self.handle.status();
        until(move || Some(view.get()).filter(&wanted)).await
    }
}

async fn until<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            match ready() {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it never happened")
}

fn ports(view: &ServiceView) -> Vec<u16> {
    view.list.endpoints.iter().map(|endpoint| endpoint.instance.address.port()).collect()
}

fn total(view: &ServiceView) -> Span {
    view.plan.routes[0].everyone.settings.timeout.total
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn app(at: SocketAddr) -> String {
    format!("apps: [{{ service: cart, app: '{at}', allow_loopback: true, check_every: 50ms }}]")
}

#[tokio::test]
async fn a_first_call_is_answered_with_list_and_policies() {
    let (state, fake) = (folder(), Fake::start("a").await);
    fake.list("checkout", &[1, 2]);
    fake.policy(1, "3s");
    let mut sidecar = Sidecar::start(&state, Some(fake.address), "");
    sidecar.ask("checkout");
    let Update::Service(view) = sidecar.update().await else { panic!("missing") };
    assert_eq!((ports(&view), total(&view)), (vec![1, 2], Span::secs(3)));
    // Afterwards the held watch brings what changes.
    sidecar.status(|status| status.control.as_ref().unwrap().connected).await;
    until(|| {
        fake.heard("POST /v1/watch")
            .iter()
            .any(|watch| watch["lists"].get("checkout").is_some())
            .then_some(())
    })
    .await;
    fake.list("checkout", &[1, 2, 3]);
    let cell = view.cell;
    let view = sidecar.view(|view| ports(view) == [1, 2, 3]).await;
    assert!(Arc::ptr_eq(&cell, &view.cell), "what is counted of the service was forgotten");
    fake.policy(2, "7s");
    sidecar.view(|view| total(view) == Span::secs(7)).await;
}

#[tokio::test]
async fn an_unknown_service_is_said_to_be_none_and_published_once_it_appears() {
    let (state, fake) = (folder(), Fake::start("a").await);
    let mut sidecar = Sidecar::start(&state, Some(fake.address), "");
    sidecar.ask("checkout");
    assert_eq!(sidecar.missing().await, Reason::NoSuchService);
    until(|| {
        fake.heard("POST /v1/watch")
            .iter()
            .any(|watch| watch["lists"].as_object().unwrap().len() == 1)
            .then_some(())
    })
    .await;
    fake.list("checkout", &[1]);
    sidecar.view(|view| ports(view) == [1]).await;
}

#[tokio::test]
async fn without_an_answer_nothing_is_known_until_one_comes() {
    let (state, address) = (folder(), nobody().await);
    let mut sidecar = Sidecar::start(&state, Some(address), "outbound: { first_call: 100ms }\n");
    sidecar.ask("checkout");
    assert_eq!(sidecar.missing().await, Reason::NoSnapshot);
    assert!(!sidecar.handle.status().get().informed());
    let fake = Fake::at(address, "a").await;
    assert_eq!(sidecar.missing().await, Reason::NoSuchService);
    fake.list("checkout", &[1]);
    sidecar.view(|view| ports(view) == [1]).await;
}

#[tokio::test]
async fn the_file_is_all_there_is_without_a_control_plane() {
    let state = folder();
    let policy = state.path().join("policy.yaml");
    std::fs::write(&policy, "name: all\ntimeout: { total: 4s }\n").unwrap();
    let words =
        format!("policy: {}\nservices: {{ checkout: {{ endpoints: [10.0.0.1:7] }} }}\n", policy.display());
    let mut sidecar = Sidecar::start(&state, None, &words);
    // What is fixed is there before anything runs.
    let Ok(Update::Service(view)) = sidecar.updates.try_recv() else { panic!("not published at the start") };
    assert_eq!((ports(&view), total(&view)), (vec![7], Span::secs(4)));
    sidecar.ask("cart");
    assert_eq!(sidecar.missing().await, Reason::NoSuchService);
    assert!(sidecar.handle.status().get().informed());
    sidecar.handle.stop();
}

#[tokio::test]
async fn a_bad_policy_leaves_the_old_in_force_and_says_so() {
    let (state, fake) = (folder(), Fake::start("a").await);
    fake.list("checkout", &[1]);
    fake.policy(1, "3s");
    let mut sidecar = Sidecar::start(&state, Some(fake.address), "");
    sidecar.ask("checkout");
    sidecar.view(|view| total(view) == Span::secs(3)).await;
    fake.policy(2, "soon");
    let said = |beat: &Value| beat["rejected"]["default"]["why"].as_str().map(ToOwned::to_owned);
    let rejected = until(|| fake.heard("PUT /v1/sessions").iter().find_map(said)).await;
    assert!(rejected.contains("timeout.total"), "{rejected}");
    let status =
        sidecar.status(|status| status.policies.iter().any(|policy| !policy.rejected.is_empty())).await;
    assert_eq!(status.policies[0].revision, 1);
    fake.policy(3, "5s");
    sidecar.view(|view| total(view) == Span::secs(5)).await;
}

#[tokio::test]
async fn a_control_plane_that_returns_empty_takes_nothing_away() {
    let (state, fake) = (folder(), Fake::start("a").await);
    fake.list("checkout", &[1, 2, 3]);
    fake.policy(1, "3s");
    let mut sidecar = Sidecar::start(&state, Some(fake.address), "");
    sidecar.ask("checkout");
    sidecar.view(|view| ports(view) == [1, 2, 3] && total(view) == Span::secs(3)).await;
    let address = fake.address;
    drop(fake);
    let fake = Fake::at(address, "b").await;
    let status = sidecar.status(|status| status.services.iter().any(|service| service.held > 0)).await;
    assert_eq!((status.services[0].endpoints, status.services[0].held), (3, 3));
    assert_eq!(status.control.unwrap().store, "b");
    let status =
        sidecar.status(|status| status.policies.iter().any(|p| p.rejected.contains("adopted"))).await;
    assert_eq!((status.policies[0].revision, status.policies[0].store.as_str()), (1, "a"));
    // And one that then says otherwise by somebody's will is heard.
    fake.list("checkout", &[1, 2, 3, 4]);
    let view = sidecar.view(|view| ports(view) == [1, 2, 3, 4]).await;
    assert_eq!(total(&view), Span::secs(3));
}

/// Stops and starts a sidecar whose file has these words too, the second time without a control plane.
async fn restart(words: &str) {
    let (state, fake) = (folder(), Fake::start("a").await);
    fake.list("checkout", &[1, 2]);
    fake.policy(1, "3s");
    let mut sidecar = Sidecar::start(&state, Some(fake.address), words);
    sidecar.ask("checkout");
    // A list waits for its policies for a moment only.
    sidecar.view(|view| ports(view) == [1, 2] && total(view) == Span::secs(3)).await;
    sidecar.handle.drain().start();
    assert_eq!(sidecar.handle.ended().await, Ended::Drained { forced: false });
    let address = fake.address;
    drop((sidecar, fake));
    let mut sidecar = Sidecar::start(&state, Some(address), words);
    let Ok(Update::Service(view)) = sidecar.updates.try_recv() else { panic!("not published at the start") };
    assert_eq!((ports(&view), total(&view)), (vec![1, 2], Span::secs(3)), "{words}");
    let status = sidecar.handle.status().get();
    assert!(status.informed() && status.services[0].from == "snapshot", "{status:?}");
}

#[tokio::test]
async fn a_restart_without_a_control_plane_serves_from_the_snapshot() {
    restart("").await;
}

#[tokio::test]
async fn policies_of_the_snapshot_hold_for_a_service_that_the_file_names() {
    restart("services: { checkout: { listen: '127.0.0.1:7999' } }").await;
}

#[tokio::test]
async fn an_app_is_registered_once_its_port_is_open_and_again_on_every_new_session() {
    let (state, fake) = (folder(), Fake::start("a").await);
    let at = nobody().await;
    let sidecar = Sidecar::start(&state, Some(fake.address), &app(at));
    sidecar.status(|status| status.instances[0].waits_for.contains("takes no connection")).await;
    assert_eq!(fake.heard("PUT /v1/sessions/s1/instances").len(), 0);
    let _open = TcpListener::bind(at).await.unwrap();
    let registered = until(|| fake.heard("PUT /v1/sessions/s1/instances").pop()).await;
    assert_eq!(registered["address"], at.to_string());
    sidecar.status(|status| status.instances[0].registered).await;
    fake.forget();
    let again = until(|| fake.heard("POST /v1/sessions").into_iter().nth(1)).await;
    assert_eq!(again["instances"][0]["address"], at.to_string());
    assert_eq!(again["boot"], fake.heard("POST /v1/sessions")[0]["boot"]);
}

#[tokio::test]
async fn a_control_plane_that_returns_empty_hears_of_instances_long_before_the_next_beat() {
    for no_streams in [false, true] {
        let start = |address, store| async move {
            let fake = Fake::at(address, store).await;
            // Longer than the test's patience, also after a beat that failed.
            (fake.world().beat_every, fake.world().no_streams) = (Some(Span::secs(240)), no_streams);
            fake
        };
        let (state, fake) = (folder(), start("127.0.0.1:0".parse().unwrap(), "a").await);
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sidecar = Sidecar::start(&state, Some(fake.address), &app(open.local_addr().unwrap()));
        sidecar.status(|status| status.instances[0].registered).await;
        sidecar.status(|status| status.control.as_ref().unwrap().connected).await;
        let address = fake.address;
        drop(fake);
        let fake = start(address, "b").await;
        let opened = until(|| fake.heard("POST /v1/sessions").pop()).await;
        assert_eq!(opened["instances"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn with_several_control_planes_the_next_one_is_spoken_to() {
    let (state, second) = (folder(), Fake::start("a").await);
    second.list("checkout", &[1]);
    let words = format!(
        "control: {{ urls: ['http://{}', 'http://{}'] }}\nservices: {{ checkout: {{}} }}\n",
        nobody().await,
        second.address
    );
    let mut sidecar = Sidecar::start(&state, None, &words);
    sidecar.view(|view| ports(view) == [1]).await;
    let status = sidecar.status(|status| !status.control.as_ref().unwrap().session.is_empty()).await;
    assert_eq!(status.control.unwrap().url, second.address.to_string());
}

#[tokio::test]
async fn beats_go_on_and_say_what_is_in_force() {
    let (state, fake) = (folder(), Fake::start("a").await);
    fake.policy(1, "3s");
    let _sidecar = Sidecar::start(&state, Some(fake.address), "");
    let digest = Digest::of(b"3s").to_string();
    let says = |beat: &Value| beat["policies"]["default"] == digest.as_str();
    until(|| (fake.heard("PUT /v1/sessions").iter().filter(|beat| says(beat)).count() > 3).then_some(()))
        .await;
    assert_eq!(fake.heard("POST /v1/sessions").len(), 1);
}

#[tokio::test]
async fn an_app_whose_check_fails_is_listed_as_unready() {
    let (state, fake) = (folder(), Fake::start("a").await);
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = open.local_addr().unwrap();
    let _sidecar = Sidecar::start(&state, Some(fake.address), &app(at));
    until(|| fake.heard("PUT /v1/sessions/s1/instances").pop()).await;
    drop(open);
    let unready = |said: &Value| said["readiness"] == "unready";
    until(|| fake.heard("PUT /v1/sessions/s1/instances").into_iter().find(unready)).await;
}

#[tokio::test]
async fn a_new_node_that_cannot_register_exits_where_its_file_says_so() {
    let state = folder();
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let words = app(open.local_addr().unwrap());
    let words = words.replace(" }]", ", on_register_failure: exit, register_within: 100ms }]");
    let sidecar = Sidecar::start(&state, Some(nobody().await), &words);
    let Ended::CannotRegister(why) = sidecar.handle.ended().await else { panic!("drained") };
    assert!(why.contains("cart is not registered after 100ms"), "{why}");
}

#[tokio::test]
async fn leaving_tells_first_refuses_later_and_waits_for_what_is_in_flight() {
    let (state, fake) = (folder(), Fake::start("a").await);
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = Sidecar::start(&state, Some(fake.address), &app(open.local_addr().unwrap()));
    sidecar.status(|status| status.instances[0].registered).await;
    sidecar.in_flight.store(1, Ordering::Relaxed);
    let drain = sidecar.handle.drain();
    drain.start();
    let out = until(|| fake.heard("DELETE /v1/sessions/s1/instances").pop()).await;
    assert_eq!(out["cause"], "drained");
    let said = fake.heard("PUT /v1/sessions/s1/instances");
    assert_eq!(
        said.last().unwrap()["readiness"],
        "draining",
        "a control plane that warms up passes on no removal"
    );
    assert!(drain.progress().step <= Step::Tell && !sidecar.refuses(), "refused before callers heard");
    until(|| (drain.progress().step == Step::Wait).then_some(())).await;
    assert!(sidecar.refuses());
    sidecar.in_flight.store(0, Ordering::Relaxed);
    assert_eq!(sidecar.handle.ended().await, Ended::Drained { forced: false });
    assert_eq!(drain.progress().step, Step::Stop);
    // The instance left by its drain, then the session; nothing came back.
    assert_eq!(fake.heard("POST /v1/sessions").len(), 1);
}

#[tokio::test]
async fn leaving_is_forced_when_the_time_runs_out() {
    let state = folder();
    let words = "drain: 50ms\nservices: { checkout: { endpoints: [10.0.0.1:7] } }\n";
    let sidecar = Sidecar::start(&state, None, words);
    sidecar.in_flight.store(3, Ordering::Relaxed);
    sidecar.handle.drain().start();
    assert_eq!(sidecar.handle.ended().await, Ended::Drained { forced: true });
    assert_eq!(sidecar.handle.drain().progress().step, Step::Forced);
}

#[tokio::test]
async fn where_streams_are_refused_news_are_polled() {
    let (state, fake) = (folder(), Fake::start("a").await);
    fake.world().no_streams = true;
    let words = "services: { checkout: {} }\n";
    let mut sidecar = Sidecar::start(&state, Some(fake.address), words);
    sidecar.status(|status| status.control.as_ref().unwrap().mode == "poll").await;
    fake.list("checkout", &[1]);
    sidecar.view(|view| ports(view) == [1]).await;
}

#[tokio::test]
async fn news_that_were_lost_are_found_by_their_digest() {
    let (state, fake) = (folder(), Fake::start("a").await);
    fake.list("checkout", &[1]);
    let mut sidecar = Sidecar::start(&state, Some(fake.address), "services: { checkout: {} }\n");
    sidecar.view(|view| ports(view) == [1]).await;
    fake.list_unheard("checkout", &[1, 2]);
    let resyncs = |status: &Status| status.control.as_ref().unwrap().resyncs;
    assert_eq!(resyncs(&sidecar.handle.status().get()), 0);
    sidecar.view(|view| ports(view) == [1, 2]).await;
    assert_eq!(resyncs(&sidecar.status(|status| resyncs(status) > 0).await), 1);
}

#[tokio::test]
async fn a_sidecar_says_where_it_calls_from_and_hears_where_all_do() {
    let (state, fake) = (folder(), Fake::start("a").await);
    let service: api::ServiceKey = "checkout".parse().unwrap();
    let mut list = fake::list("checkout", &[1, 2]);
    list.instances[0].zone = "east".into();
    fake.world().lists.insert(service.clone(), api::List::new(service.clone(), 1, list.instances));
    let words = "zone: east\nservices: { checkout: {} }\n";
    let mut sidecar = Sidecar::start(&state, Some(fake.address), words);
    let zones = |view: &ServiceView| view.list.parts.zones().as_str();
    sidecar.view(|view| zones(view) == "callers' zones unknown").await;
    let callers = [("east".to_owned(), 3), ("west".to_owned(), 1)].into();
    fake.world().callers.insert(service, callers);
    sidecar.view(|view| zones(view) == "own-first").await;
    let said = fake.heard("POST /v1/digests").pop().unwrap();
    assert_eq!((&said["caller"]["zone"], &said["caller"]["asked"]["checkout"]), (&"east".into(), &0.into()));
    sidecar.status(|status| status.services.iter().any(|line| line.zones == "own-first")).await;
}
