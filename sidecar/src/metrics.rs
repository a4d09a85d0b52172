//! What is counted, and how it is scraped.
//!
//! Each worker counts in cells of its own, with plain loads and stores; a scrape sums them. Handles are
//! resolved when a plan or a list is published, never by a request. Nothing here decides anything.

pub mod catalogue;
pub mod cell;
pub mod control;
mod finished;
mod levels;
mod limits;
mod process;
mod service;
mod sheet;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::ServiceKey;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

pub use levels::ENDPOINTS_MAX;
pub use limits::Limit;
pub use service::RouteMeters;
pub use sheet::Sheet;
pub use worker::{SERVICES_MAX, WorkerMeters};

use self::cell::Count;
use self::levels::Levels;
use self::worker::WorkerCells;
use crate::clock::Clock;
use crate::publish::{ServiceView, Update};

/// Fills in what is not counted but looked at: called at each scrape.
type Source = Box<dyn Fn(&mut Sheet) + Send + Sync>;

/// The meters of the whole process.
pub struct Meters {
    cells: Arc<Cells>,
    registry: Registry,
}

struct Cells {
    clock: Clock,
    workers: Mutex<Vec<Arc<WorkerCells>>>,
    published: Mutex<BTreeMap<ServiceKey, ServiceView>>,
    /// The lines before the local apps.
    inbound: Mutex<BTreeMap<ServiceKey, ServiceView>>,
    endpoints_overflow: Count,
    sources: Mutex<Vec<Source>>,
}

/// Takes a lock that is held for moments and never by a request. Whoever panicked while holding one left nothing
/// half-done.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meters {
    /// Meters that count nothing yet.
    pub fn new(clock: Clock) -> Arc<Self> {
        let (workers, published, inbound, endpoints_overflow, sources) = Default::default();
        let cells = Cells { clock, workers, published, inbound, endpoints_overflow, sources };
        let cells = Arc::new(cells);
        let registry = Registry::new();
        let scraped = Scraped { descs: descs(), cells: Arc::clone(&cells) };
        // Refused only when two families share a name, which a test of the catalogue rules out.
        if let Err(error) = registry.register(Box::new(scraped)) {
            tracing::error!(%error, "metrics cannot be scraped");
        }
        let meters = Self { cells, registry };
        meters.limit(Limit::Labels, SERVICES_MAX as f64);
        Arc::new(meters)
    }

    /// The meters of one more worker.
    pub fn worker(&self) -> WorkerMeters {
        let cells = Arc::new(WorkerCells::default());
        lock(&self.cells.workers).push(Arc::clone(&cells));
        WorkerMeters::new(cells)
    }

    /// The workers are told this. Said by one thread, which tells everything.
    pub(crate) fn publish(&self, update: &Update) {
        let (published, view) = match update {
            Update::Service(view) => (&self.cells.published, view),
            Update::Inbound(view) => (&self.cells.inbound, view),
            Update::Gone(_) | Update::Missing { .. } => return,
        };
        let over = |view: &ServiceView| view.list.endpoints.len().saturating_sub(ENDPOINTS_MAX) as u64;
        let before = lock(published).insert(view.key.clone(), view.clone());
        let more = over(view).saturating_sub(before.as_ref().map_or(0, over));
        self.cells.endpoints_overflow.add(more);
    }

    /// Has `source` looked at with each scrape.
    pub fn watch(&self, source: impl Fn(&mut Sheet) + Send + Sync + 'static) {
        lock(&self.cells.sources).push(Box::new(source));
    }

    /// Says what a limit is set to.
    pub fn limit(&self, limit: Limit, value: f64) {
        self.watch(move |sheet| sheet.set(&catalogue::LIMIT, &[limit.as_str()], value));
    }

    /// Everything as Prometheus' text format 0.0.4.
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_else(|why| format!("# {why}\n"))
    }
}

fn descs() -> Vec<Desc> {
    let desc = |family: &&catalogue::Family| {
        let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(family.name.to_owned(), family.help.to_owned(), labels, Default::default()).ok()
    };
    catalogue::CATALOGUE.iter().filter_map(desc).collect()
}

/// All families, summed when they are asked for.
struct Scraped {
    descs: Vec<Desc>,
    cells: Arc<Cells>,
}

impl Collector for Scraped {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut sheet = Sheet::default();
        sheet.set(&catalogue::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        for worker in &*lock(&self.cells.workers) {
            worker.collect(&mut sheet);
        }
        let overflow = self.cells.endpoints_overflow.get() as f64;
        sheet.add(&catalogue::LABEL_OVERFLOW, &[catalogue::ATTEMPTS.name], overflow);
        sheet.add(&catalogue::LIMIT_HITS, &[Limit::Labels.as_str()], overflow);
        for (service, view) in &*lock(&self.cells.published) {
            let service = service.to_string();
            Levels::of(&service, view).collect(self.cells.clock.now(), &mut sheet);
            Levels::of(&service, view).collect_attempts(&mut sheet);
        }
        for (service, view) in &*lock(&self.cells.inbound) {
            let service = service.to_string();
            let levels = Levels::of(&service, view);
            levels.collect_app(self.cells.clock.now(), &mut sheet);
            levels.collect_attempts(&mut sheet);
        }
        process::collect(&mut sheet);
        for source in &*lock(&self.cells.sources) {
            source(&mut sheet);
        }
        sheet.families()
    }
}
