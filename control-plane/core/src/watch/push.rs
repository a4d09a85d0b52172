//! Pushes in progress: who of a topic's followers is told at this turn, within the budget and the notify share.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use api::message::News;

use super::held::Sources;
use super::pacer::{Pacer, ROTATION};
use super::wave::{ADDITIONS_LATER, Wave};
use super::{Begun, FORECAST_FROM, Follower, Pace, Topic, WatcherId, Watches, made};

impl Watches {
    /// The news that are due and within the budget. Equal news are one value, so that a shell encodes them once.
    pub(crate) fn news(&mut self, sources: &Sources<'_>, now: Moment) -> BTreeMap<WatcherId, Vec<Arc<News>>> {
        let mut told: BTreeMap<WatcherId, Vec<Arc<News>>> = BTreeMap::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, topic)) = self.due.pop_first() else { break };
            self.begin(topic, sources, now);
        }
        self.roll(sources, now, &mut told);
        while self.resting.first().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, id, topic)) = self.resting.pop_first() else { break };
            let held = self.watchers.get_mut(&id).and_then(|watcher| watcher.topics.get_mut(&topic));
            if let Some(news) = held.and_then(|held| held.catch_up(&topic, sources)) {
                self.pacer.spend(news.wire_bytes());
                told.entry(id).or_default().push(Arc::new(news));
            }
        }
        told
    }

    /// A push of `topic` is due: all its followers are to be told, also those whom a push in progress has told.
    fn begin(&mut self, topic: Topic, sources: &Sources<'_>, now: Moment) {
        let urgent = self.pace.get(&topic).is_some_and(|pace| pace.urgent);
        self.pace.insert(topic.clone(), Pace { last: Some(now), ..Pace::default() });
        let deadline = if urgent { now } else { now + ADDITIONS_LATER };
        let Some(followers) = self.followers.get(&topic) else { return };
        let count = followers.len();
        self.turns.ripen(now);
        if let Some(wave) = self.waves.get_mut(&topic) {
            wave.again(deadline, count);
            self.turns.put(&topic, wave, now);
            return;
        }
        let first = followers.first().and_then(|(_, id)| self.watchers.get(id)?.topics.get(&topic));
        let made = first.map(|held| made(held, &topic, sources));
        let bytes = made.as_ref().map_or(0, |made| made.bytes);
        let mut wave = Wave::new(now, deadline, count, bytes, sources.says(&topic));
        wave.sent = self.level;
        wave.made = first.copied().zip(made).into_iter().collect();
        if let (Topic::List(service), true) = (&topic, count >= FORECAST_FROM) {
            let bytes = wave.bytes_left();
            let forecast = self.pacer.forecast(count, bytes, self.turns.ahead(urgent));
            self.begun.push(Begun { service: service.clone(), followers: count, bytes, forecast });
        }
        self.turns.put(&topic, &wave, now);
        self.waves.insert(topic, wave);
    }

    /// Tells as many as the budget and the notify share allow. Waves whose deadline has come share what may leave in equal
    /// parts, whoever is large or never rests; the others get what is left of it.
    fn roll(&mut self, sources: &Sources<'_>, now: Moment, told: &mut BTreeMap<WatcherId, Vec<Arc<News>>>) {
        if self.waves.is_empty() || !self.pacer.turn(now) {
            return;
        }
        self.turns.ripen(now);
        // Who may tell nobody more at this turn.
        let mut rest = Vec::new();
        for due in [true, false] {
            while self.pacer.has_room(now)
                && let Some((sent, topic, next)) = self.turns.pop(due)
            {
                self.level = self.level.max(sent);
                let part = next.map_or(u64::MAX, |next| next.saturating_sub(sent));
                let goes_on = self.roll_one(&topic, part, sources, now, told);
                match self.waves.get(&topic) {
                    Some(wave) if wave.deadline().is_none() => drop(self.waves.remove(&topic)),
                    Some(wave) if goes_on => self.turns.put(&topic, wave, now),
                    Some(_) => rest.push(topic),
                    None => {}
                }
            }
        }
        for topic in rest {
            if let Some(wave) = self.waves.get(&topic) {
                self.turns.put(&topic, wave, now);
            }
        }
    }

    /// Tells followers of `topic` until `part` bytes have left, one at least. Returns whether it could go on.
    fn roll_one(
        &mut self,
        topic: &Topic,
        part: u64,
        sources: &Sources<'_>,
        now: Moment,
        told: &mut BTreeMap<WatcherId, Vec<Arc<News>>>,
    ) -> bool {
        let Self { waves, watchers, followers, pacer, .. } = self;
        let (Some(wave), Some(followers)) = (waves.get_mut(topic), followers.get(topic)) else {
            return false;
        };
        if wave.says != sources.says(topic) {
            wave.made.clear();
            wave.says = sources.says(topic);
        }
        let most = pacer.may_be_told(wave.followers, now.since(wave.began));
        let until = wave.sent.saturating_add(part.max(1));
        while wave.deadline().is_some() && wave.told < most && pacer.has_room(now) {
            let Some(follower) = after(followers, wave.cursor) else { return false };
            wave.tell(follower);
            let id = follower.1;
            let Some(held) = watchers.get_mut(&id).and_then(|w| w.topics.get_mut(topic)) else {
                continue;
            };
            let made = wave.made.entry(*held).or_insert_with_key(|held| made(held, topic, sources));
            *held = made.after;
            if let Some(news) = &made.news {
                pacer.spend(made.bytes);
                told.entry(id).or_default().push(news.clone());
                wave.sent += made.bytes as u64;
            }
            if wave.sent >= until {
                return true;
            }
        }
        false
    }

    /// When the next of a push in progress may be told. Asked after every question, so it looks at the waves only where
    /// a share holds them back.
    pub(super) fn rolls_at(&self) -> Option<Moment> {
        let room = self.pacer.room_at();
        if !self.pacer.has_share() {
            return (!self.waves.is_empty()).then_some(room);
        }
        let rolls = self.waves.values().map(|wave| {
            let held_back = self.pacer.may_be_told(wave.followers, Duration::ZERO) < wave.followers;
            let rotation = held_back.then(|| wave.began + next_rotation(wave, &self.pacer));
            room.max(rotation.unwrap_or(Moment::ZERO))
        });
        rolls.min()
    }
}

/// How long after its beginning `wave` may go on telling.
fn next_rotation(wave: &Wave, pacer: &Pacer) -> Duration {
    let each = pacer.may_be_told(wave.followers, Duration::ZERO).max(1);
    ROTATION * u32::try_from(wave.told / each).unwrap_or(u32::MAX)
}

/// Whose turn comes after `cursor`; the first one's after the last one's.
fn after(followers: &BTreeSet<Follower>, cursor: Option<Follower>) -> Option<Follower> {
    let next = cursor.and_then(|at| followers.range((Bound::Excluded(at), Bound::Unbounded)).next());
    next.or(followers.first()).copied()
}
