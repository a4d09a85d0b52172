//! What is counted, and how it is scraped.
//!
//! Each worker counts in cells of its own, with plain loads and stores; a scrape sums them. Handles are
//! resolved when a plan or a list is published, never by a request. Nothing here decides anything.

pub mod catalogue;
pub mod cell;
mod control;
mod finished;
mod limits;
mod process;
mod service;
mod sheet;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

pub use control::ControlMeters;
pub use limits::Limit;
pub use service::{EndpointMeters, RouteMeters};
pub use sheet::Sheet;
pub use worker::{ENDPOINTS_MAX, SERVICES_MAX, WorkerMeters};

use self::worker::WorkerCells;

/// Fills in what is not counted but looked at: called at each scrape.
type Source = Box<dyn Fn(&mut Sheet) + Send + Sync>;

/// The meters of the whole process.
pub struct Meters {
    cells: Arc<Cells>,
    registry: Registry,
}

#[derive(Default)]
struct Cells {
    workers: Mutex<Vec<Arc<WorkerCells>>>,
    control: ControlMeters,
    sources: Mutex<Vec<Source>>,
}

impl Meters {
    /// Meters that count nothing yet.
    pub fn new() -> Arc<Self> {
        let cells = Arc::new(Cells::default());
        let registry = Registry::new();
        let scraped = Scraped { descs: descs(), cells: Arc::clone(&cells) };
        // Refused only when two families share a name, which a test of the catalogue rules out.
        if let Err(error) = registry.register(Box::new(scraped)) {
            tracing::error!(%error, "metrics cannot be scraped");
        }
        Arc::new(Self { cells, registry })
    }

    /// The meters of one more worker.
    pub fn worker(&self) -> WorkerMeters {
        let cells = Arc::new(WorkerCells::default());
        self.cells.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&cells));
        WorkerMeters::new(cells)
    }

    /// The meters of the control thread, and of no other.
    pub fn control(&self) -> &ControlMeters {
        &self.cells.control
    }

    /// Has `source` looked at with each scrape.
    pub fn watch(&self, source: impl Fn(&mut Sheet) + Send + Sync + 'static) {
        self.cells.sources.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(source));
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
        for worker in &*self.cells.workers.lock().unwrap_or_else(PoisonError::into_inner) {
            worker.collect(&mut sheet);
        }
        self.cells.control.collect(&mut sheet);
        process::collect(&mut sheet);
        for source in &*self.cells.sources.lock().unwrap_or_else(PoisonError::into_inner) {
            source(&mut sheet);
        }
        sheet.families()
    }
}
