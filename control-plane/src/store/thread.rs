//! The one thread that touches the disk: it owns both stores, and everybody else asks it.
//!
//! One owner needs no lock, keeps writes in order, and keeps a slow fsync away from heartbeats.

use tokio::sync::{mpsc, oneshot};

use super::{InstanceStore, PolicyStore, StoreError};

/// Questions that may wait for the disk; beyond, askers wait for room.
const QUEUE: usize = 64;

/// What outlives the process, in one pair of hands.
pub struct Stores {
    /// Policies, service settings, audit.
    pub policies: Box<dyn PolicyStore>,
    /// Registrations.
    pub instances: Box<dyn InstanceStore>,
}

type Job = Box<dyn FnOnce(&mut Stores) + Send>;

/// A way to ask the store's thread; cheap to clone. The thread ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct StoreThread {
    jobs: mpsc::Sender<Job>,
}

impl StoreThread {
    /// Starts the thread that owns `stores`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(mut stores: Stores) -> std::io::Result<Self> {
        let (jobs, mut asked) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new().name("store".into()).spawn(move || {
            while let Some(job) = asked.blocking_recv() {
                job(&mut stores);
            }
        })?;
        Ok(Self { jobs })
    }

    /// Runs `job` on the store's thread. A job once queued runs to its end, also when the asker is gone.
    ///
    /// # Errors
    /// What the job says; [`StoreError::Closed`] when the thread has ended.
    pub async fn ask<R, E>(
        &self,
        job: impl FnOnce(&mut Stores) -> Result<R, E> + Send + 'static,
    ) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |stores| {
            // An asker that went away misses only the answer.
            let _missed = answer.send(job(stores));
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}
