//! Notices clusters that fell silent, says so, and lets the words of others count. Ends nothing: a sidecar serves on
//! without any control plane.

use std::collections::BTreeSet;
use std::time::Duration;

use super::hub::Hub;

/// A silence is noticed this long after its time at most.
const LOOK: Duration = Duration::from_secs(1);

/// Looks for as long as the process lives.
pub(crate) async fn run(hub: &Hub) {
    let after = hub.config.control.alert_after;
    let mut before = BTreeSet::new();
    loop {
        hub.beat(LOOK.min(after.duration() / 4)).await;
        let now = hub.clock.now();
        let lost = hub.clusters.iter().filter(|cluster| cluster.judge(now, after));
        let lost: BTreeSet<_> = lost.map(|cluster| cluster.teller).collect();
        if lost != before {
            let updates = hub.state.borrow_mut().lose(&lost, now);
            hub.publish(&updates);
            hub.touched.notify_one();
            before = lost;
        }
    }
}
