//! Something that happens once and that many wait for: state is loaded, the process stops.

use tokio::sync::watch;

/// The end that waits; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Signal(watch::Receiver<bool>);

/// The end that raises it.
#[derive(Debug)]
pub(crate) struct Raise(watch::Sender<bool>);

/// A signal that is not raised yet.
pub(crate) fn signal() -> (Raise, Signal) {
    let (raise, signal) = watch::channel(false);
    (Raise(raise), Signal(signal))
}

impl Raise {
    /// Raises it, for good.
    pub(crate) fn raise(&self) {
        self.0.send_replace(true);
    }
}

impl Signal {
    /// Whether it was raised.
    pub(crate) fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is raised, or nobody can raise it any more.
    pub(crate) async fn raised(&mut self) {
        // A sender that is gone belongs to a process that stops.
        let _gone = self.0.wait_for(|raised| *raised).await.is_err();
    }
}
