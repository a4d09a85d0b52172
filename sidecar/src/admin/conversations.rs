//! Who is talked with: so many at a time, and the process ends once the last of them was answered.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// Connections at a time, over both listeners: a scraper, a prober, and room for people.
pub const CONNECTIONS_MAX: usize = 64;
/// How long the end waits for them: an answer takes a thousandth of it, and who does not read its answer holds up nobody's end for
/// longer.
const AT_THE_END: Duration = Duration::from_secs(1);

/// The connections of the admin thread.
#[derive(Clone, Debug)]
pub struct Conversations {
    room: Arc<Semaphore>,
    /// Whether they are to end.
    ending: watch::Sender<bool>,
}

/// One connection's place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _room: OwnedSemaphorePermit,
    ending: watch::Receiver<bool>,
}

impl Default for Conversations {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(CONNECTIONS_MAX)), ending: watch::Sender::new(false) }
    }
}

impl Conversations {
    /// Room for one more; `None` when [`CONNECTIONS_MAX`] are open.
    pub(super) fn begin(&self) -> Option<Place> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some(Place { _room: room, ending: self.ending.subscribe() })
    }

    /// Lets each end with the answer under way, at once where there is none: a scraper that keeps its connection finds the process
    /// that comes after this one.
    pub(super) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Ends them and waits until nobody is talked with, a second at most: who gave the order that ends this process hears what came
    /// of it.
    pub(crate) async fn over(&self) {
        self.end();
        // Whoever is left is cut by the end.
        _ = timeout(AT_THE_END, self.room.acquire_many(CONNECTIONS_MAX as u32)).await;
    }
}

impl Place {
    /// Waits until the conversation is to end.
    pub(super) async fn ending(&mut self) {
        // An error says that nobody is left who could end it: then the process ends.
        _ = self.ending.wait_for(|ending| *ending).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_the_last_answer_and_for_nobody_who_just_stays() {
        let conversations = Conversations::default();
        let place = conversations.begin();
        assert!(place.is_some(), "there is room for one");
        {
            let mut over = pin!(conversations.over());
            assert!(over.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(place);
            assert!(over.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }
        let _stays = conversations.begin();
        let begun = tokio::time::Instant::now();
        conversations.over().await;
        assert_eq!(begun.elapsed(), AT_THE_END);
    }
}
