//! What watchers hear.

use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use api::message::{News, Watch};

use super::ControlCore;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::watch::{Begun, Sources, WatcherId};

/// Topics one watcher may follow; a host that calls more services than this calls a registry's worth.
const TOPICS_PER_WATCH_MAX: usize = 10_000;

impl ControlCore {
    /// Somebody watches from now on, by held stream or long poll alike. Returns the news it does not hold yet;
    /// what comes later is told by [`ControlCore::news`] under the id.
    ///
    /// # Errors
    /// [`Refusal::Full`] names the limit that is reached.
    pub fn subscribe(&mut self, watch: &Watch, now: Moment) -> Result<(WatcherId, Vec<Arc<News>>), Refusal> {
        self.loaded()?;
        let most = self.config.push.watches.on().map_or(usize::MAX, |most| most as usize);
        if self.watches.len() >= most {
            return Err(Refusal::Full("push.watches"));
        }
        if watch.lists.len() + watch.policies.len() > TOPICS_PER_WATCH_MAX {
            return Err(Refusal::Full("topics per watch"));
        }
        self.watches.pacer.admit(now).map_err(Refusal::ComeBack)?;
        let (watches, sources) = self.split(now);
        Ok(watches.subscribe(watch, &sources, now))
    }

    /// Somebody stopped watching.
    pub fn unsubscribe(&mut self, watcher: WatcherId) {
        self.watches.unsubscribe(watcher);
        self.whitelists.let_go(watcher);
    }

    /// The news that are due. Equal news share one value, so that a shell encodes them once.
    pub fn news(&mut self, now: Moment) -> Vec<(WatcherId, Vec<Arc<News>>)> {
        let (watches, sources) = self.split(now);
        let news = watches.news(&sources, now).into_iter().collect();
        let begun = watches.take_begun();
        self.told(begun.into_iter().map(Event::from), now);
        news
    }

    /// A push of `bytes` to `followers` took so long: forecasts learn from it.
    pub fn tell_push_took(&mut self, followers: usize, bytes: usize, took: Duration) {
        self.watches.pacer.tell_took(followers, bytes, took);
    }

    /// The watches, and what there is to tell them.
    fn split(&mut self, now: Moment) -> (&mut crate::watch::Watches, Sources<'_>) {
        let Self { watches, registry, policies, commands, store, adopted, phase, .. } = self;
        let (adopted, complete) = (*adopted, phase.is_ready());
        (watches, Sources { registry, policies, commands, now, store, adopted, complete })
    }
}

impl From<Begun> for Event {
    fn from(begun: Begun) -> Self {
        let Begun { service, followers, bytes, forecast } = begun;
        Self::PushBegan { service, followers, bytes, forecast }
    }
}
