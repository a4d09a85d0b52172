//! Waiting until a thing is so.

use std::time::{Duration, Instant};

/// What is not so by then is broken: two cores shared by a whole test run are slow, but not that slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until `look` finds something.
///
/// # Panics
/// When it finds nothing in a minute; `what` names what was waited for.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "still not so after {} s: {what}", PATIENCE.as_secs());
        std::thread::park_timeout(PAUSE);
    }
}
