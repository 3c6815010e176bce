//! Where a test makes the storage writer wait, so that it decides what comes together in one
//! commit, and sees what is answered before a flush.

use std::sync::{Condvar, Mutex, MutexGuard};

use tokio::sync::Notify;

/// Two places where the writer asks the disk: for its free space, which it does on
/// `Store::look_at_space` between two batches, and for a flush.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<Shut>,
    opened: Condvar,
    /// Told when the writer has come to the gate, or the power is gone.
    arrived: Notify,
}

/// Where the writer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before it looks at the free space.
    Look,
    /// Before it flushes.
    Flush,
}

#[derive(Default)]
struct Shut {
    /// Whether the next look at the free space waits.
    at_space: bool,
    /// Whether every flush waits.
    at_flushes: bool,
    /// Where somebody waits.
    waiting: Option<Place>,
    is_out: bool,
}

impl Gate {
    /// Lets the next look at the free space wait.
    pub(crate) fn hold_next_look(&self) {
        self.lock().at_space = true;
    }

    /// Lets every flush wait, or none any more.
    pub(crate) fn hold_flushes(&self, holds: bool) {
        self.lock().at_flushes = holds;
    }

    /// Waits until the writer waits here, and says where.
    pub(crate) async fn arrival(&self) -> Place {
        self.until(|state| state.waiting).await
    }

    /// Waits until the power is gone.
    pub(crate) async fn darkness(&self) {
        self.until(|state| state.is_out.then_some(())).await;
    }

    /// Lets the writer that waits here go on.
    pub(crate) fn open(&self) {
        self.lock().waiting = None;
        self.opened.notify_all();
    }

    /// Lets the writer that waits for its look at the free space, or would have, go on.
    pub(super) fn let_go(&self) {
        self.lock().at_space = false;
        self.open();
    }

    pub(super) fn power_is_out(&self) {
        self.lock().is_out = true;
        self.arrived.notify_waiters();
    }

    pub(super) fn pass_space(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.at_space) {
            self.wait(state, Place::Look);
        }
    }

    pub(super) fn pass_flush(&self) {
        let state = self.lock();
        if state.at_flushes {
            self.wait(state, Place::Flush);
        }
    }

    fn wait(&self, mut state: MutexGuard<'_, Shut>, place: Place) {
        state.waiting = Some(place);
        self.arrived.notify_waiters();
        drop(self.opened.wait_while(state, |state| state.waiting.is_some()).unwrap());
    }

    async fn until<T>(&self, look: impl Fn(&Shut) -> Option<T>) -> T {
        loop {
            // Made before looking: it sees every notice from here on, even before it is awaited.
            let arrived = self.arrived.notified();
            let seen = look(&self.lock());
            if let Some(seen) = seen {
                return seen;
            }
            arrived.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shut> {
        self.state.lock().unwrap()
    }
}
