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

pub use limits::Limit;
pub use service::{EndpointMeters, RouteMeters};
pub use sheet::Sheet;
pub use worker::{ENDPOINTS_MAX, SERVICES_MAX, WorkerMeters};

use self::levels::Published;
use self::worker::WorkerCells;
use crate::clock::Clock;

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
    published: Arc<Mutex<BTreeMap<ServiceKey, Published>>>,
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
        let (workers, published, sources) = Default::default();
        let cells = Arc::new(Cells { clock, workers, published, sources });
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
        WorkerMeters::new(cells, Arc::clone(&self.cells.published))
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
        for (service, published) in &*lock(&self.cells.published) {
            published.collect(&service.to_string(), self.cells.clock.now(), &mut sheet);
        }
        process::collect(&mut sheet);
        for source in &*lock(&self.cells.sources) {
            source(&mut sheet);
        }
        sheet.families()
    }
}
