//! The transport of tests: mails are kept, and failures can be ordered.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Delivery;

/// Keeps what is delivered to it, for a test to look at. Clones share what they keep.
#[derive(Clone, Default)]
pub struct Collector {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told of every change.
    changed: Notify,
}

#[derive(Default)]
struct State {
    sent: Vec<SentMail>,
    attempts: usize,
    /// What becomes of the next attempts, in place of success.
    orders: VecDeque<Order>,
    /// How often those that were held were let go.
    releases: usize,
}

/// What becomes of an attempt.
enum Order {
    End(Delivery),
    Hold,
    Panic,
}

/// A mail that was delivered.
#[derive(Clone)]
pub struct SentMail {
    /// The recipient, as the mail server would be told.
    pub to: String,
    /// The subject, decoded.
    pub subject: String,
    /// The text part, as rendered.
    pub text: String,
    /// The HTML part, as rendered.
    pub html: String,
    /// The link that it carries.
    pub link: Option<String>,
    /// The `Message-ID` with its angle brackets.
    pub message_id: String,
    /// The whole message as it would have been sent.
    pub raw: String,
}

impl Collector {
    /// One that has nothing yet and accepts everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was delivered so far, in order.
    pub fn sent(&self) -> Vec<SentMail> {
        self.lock().sent.clone()
    }

    /// How often a delivery was attempted, failed ones included.
    pub fn attempts(&self) -> usize {
        self.lock().attempts
    }

    /// Lets the next `count` attempts end as `outcome`, after those already ordered.
    pub fn fail_next(&self, count: usize, outcome: Delivery) {
        let orders = std::iter::repeat_n(outcome, count).map(Order::End);
        self.lock().orders.extend(orders);
    }

    /// Lets the next attempt panic, after those already ordered.
    pub fn panic_next(&self) {
        self.lock().orders.push_back(Order::Panic);
    }

    /// Holds the next `count` attempts, after those already ordered, until
    /// [`release`](Self::release); then they succeed.
    pub fn hold_next(&self, count: usize) {
        self.lock().orders.extend(std::iter::repeat_with(|| Order::Hold).take(count));
    }

    /// Lets go of the attempts that are held now.
    pub fn release(&self) {
        self.lock().releases += 1;
        self.shared.changed.notify_waiters();
    }

    /// Waits until at least `count` mails were delivered, and returns all that were.
    pub async fn wait_for(&self, count: usize) -> Vec<SentMail> {
        self.wait_until(|state| state.sent.len() >= count).await;
        self.sent()
    }

    /// Waits until a delivery was attempted at least `count` times.
    pub async fn wait_for_attempts(&self, count: usize) {
        self.wait_until(|state| state.attempts >= count).await;
    }

    /// Takes a mail, or does with it as ordered.
    pub(super) async fn deliver(&self, mail: SentMail) -> Delivery {
        let (order, releases) = {
            let mut state = self.lock();
            state.attempts += 1;
            (state.orders.pop_front(), state.releases)
        };
        self.shared.changed.notify_waiters();
        let outcome = match order {
            None => Delivery::Sent,
            Some(Order::End(outcome)) => outcome,
            Some(Order::Hold) => {
                self.wait_until(|state| state.releases > releases).await;
                Delivery::Sent
            }
            Some(Order::Panic) => panicked(),
        };
        if outcome == Delivery::Sent {
            self.lock().sent.push(mail);
            self.shared.changed.notify_waiters();
        }
        outcome
    }

    async fn wait_until(&self, is_reached: impl Fn(&State) -> bool) {
        loop {
            // Made before looking: it sees every notice from here on, even before it is awaited.
            let changed = self.shared.changed.notified();
            if is_reached(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::panic, reason = "a test has ordered it")]
fn panicked() -> Delivery {
    panic!("as ordered")
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("attempts", &self.attempts()).finish_non_exhaustive()
    }
}

/// Shows neither the link nor the parts that carry it.
impl fmt::Debug for SentMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentMail")
            .field("to", &self.to)
            .field("subject", &self.subject)
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}
