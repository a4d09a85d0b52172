//! What documents in shadow would hold for the requests of one route and caller, compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::Label;
use api::policy::{Breaker, LimitKey, Retry, Shadowed};

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
}

/// What goes on counting under the same words, and what the terms that are compiled share.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) limits: Vec<Arc<LimitWords>>,
    pub(super) bulkheads: Vec<Bulkhead>,
    pub(super) breakers: Vec<(Option<Label>, Arc<Watched>)>,
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
            breaker: shadowed.route_breaker.as_ref().map(|settings| (self.breaker(route), settings.clone())),
        }
    }

    fn breaker(&mut self, route: Option<&Label>) -> Arc<Watched> {
        if let Some((_, known)) = self.breakers.iter().find(|(name, _)| name.as_ref() == route) {
            return known.clone();
        }
        self.breakers.push((route.cloned(), Arc::default()));
        self.breakers[self.breakers.len() - 1].1.clone()
    }
}

impl Watched {
    /// It would have refused a request.
    pub(super) fn tell_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}
