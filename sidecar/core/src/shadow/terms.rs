//! What documents in shadow would hold for the requests of one route and caller, compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Label;
use api::policy::{Breaker, Hedge, LimitKey, Retry, Shadowed};

use super::beside::Hedged;
use crate::bulkhead::Bulkhead;
use crate::limits::LimitWords;
use crate::route_breaker::RouteBreaker;

/// A breaker that acts on nobody, and how often it would have refused.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) breaker: Arc<RouteBreaker>,
    pub(super) refused: AtomicU64,
}

/// The terms; only what differs from what is in force.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) limits: Vec<Arc<LimitWords>>,
    pub(super) per_service: Option<u32>,
    pub(super) bulkheads: Vec<Bulkhead>,
    pub(super) of_endpoints: Vec<Bulkhead>,
    pub(super) total: Option<Duration>,
    pub(super) retry: Option<Retry>,
    pub(super) breaker: Option<(Arc<Watched>, Breaker)>,
    pub(super) hedge: Option<(Arc<Hedged>, Hedge)>,
}

/// What goes on counting under the same words, and what the terms that are compiled share.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) limits: Vec<Arc<LimitWords>>,
    pub(super) bulkheads: Vec<Bulkhead>,
    pub(super) breakers: Vec<(Option<Label>, Arc<Watched>)>,
    pub(super) hedges: Vec<(Option<Label>, Arc<Hedged>)>,
}

impl Known {
    pub(super) fn compile(&mut self, shadowed: &Shadowed, route: Option<&Label>) -> Terms {
        let bulkheads = shadowed.bulkheads.iter();
        let bulkheads = bulkheads.map(|words| Bulkhead::compile(words, route, &mut self.bulkheads));
        let (of_endpoints, bulkheads) = bulkheads.partition(Bulkhead::is_of_endpoints);
        Terms {
            limits: shadowed
                .limits
                .iter()
                .map(|limit| {
                    let route = route.filter(|_| limit.key == LimitKey::Route);
                    let same = |old: &&Arc<LimitWords>| old.limit == *limit && old.route.as_ref() == route;
                    let found = self.limits.iter().find(same).cloned();
                    let words = found.unwrap_or_else(|| Arc::new(LimitWords::new(limit, route, None)));
                    self.limits.push(words.clone());
                    words
                })
                .collect(),
            per_service: shadowed.per_service,
            bulkheads,
            of_endpoints,
            total: shadowed.total.map(|total| total.duration()),
            retry: shadowed.retry.clone(),
            breaker: shadowed
                .route_breaker
                .as_ref()
                .map(|settings| (of_route(&mut self.breakers, route), settings.clone())),
            hedge: shadowed
                .hedge
                .as_ref()
                .map(|settings| (of_route(&mut self.hedges, route), settings.clone())),
        }
    }
}

/// What the route has of `known`, which gets one where it has none.
fn of_route<T: Default>(known: &mut Vec<(Option<Label>, Arc<T>)>, route: Option<&Label>) -> Arc<T> {
    if let Some((_, one)) = known.iter().find(|(name, _)| name.as_ref() == route) {
        return one.clone();
    }
    let one = Arc::<T>::default();
    known.push((route.cloned(), one.clone()));
    one
}

impl Watched {
    /// It would have refused a request.
    pub(super) fn tell_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}
