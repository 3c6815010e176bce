//! What one connection is doing and how long it may take. Kept by the connection itself, and read
//! by the registry to decide which connection must make room.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::config::ServerConfig;

/// How long a closed connection is still read from, so that a client that is still sending receives
/// the answer before a reset (RFC 9112, section 9.6).
const MAX_LINGER: Duration = Duration::from_secs(2);

/// How long a silent connection, or one with an unfinished head, keeps its buffers. Getting them
/// back takes some microseconds.
const REST_AFTER: Duration = Duration::from_millis(20);

/// How long a connection may stay in each phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a head, from its first byte; for the first one, from the start of the connection.
    head: Duration,
    /// For the first byte of the next head.
    idle: Duration,
    /// For a client to read more of its answer.
    stall: Duration,
    /// For a client to close its side after we have closed ours.
    linger: Duration,
}

impl From<&ServerConfig> for Patience {
    fn from(settings: &ServerConfig) -> Self {
        Self {
            head: settings.header_timeout,
            idle: settings.idle_timeout,
            stall: settings.request_timeout,
            linger: settings.header_timeout.min(MAX_LINGER),
        }
    }
}

/// What a connection is doing.
///
/// Its own task moves it through its phases; the accept loop may only [`evict`](Self::evict) it or
/// tell it to [`drain`](Self::drain). One lock keeps the two apart: a connection whose next
/// request has begun is never evicted, and one that was evicted begins no request.
#[derive(Debug)]
pub(super) struct Activity {
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The server is stopping: this connection ends with the request under way.
    is_draining: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing of the first head has arrived.
    New { since: Instant },
    /// Everything is answered and nothing of the next head has arrived.
    Idle { since: Instant },
    /// A head has begun; for the first one, time counts from the start of the connection.
    Head { since: Instant },
    /// The body is read, then the handler runs: both have limits of their own.
    Request,
    /// The answer is being sent; `since` advances whenever the client reads some of it.
    Answer { since: Instant },
    /// Everything is sent and our side is closed; what still arrives is discarded.
    Lingering { since: Instant },
    /// The connection had to make room; its task is being stopped.
    Evicted,
}

/// The connection was told to make room for another.
#[derive(Debug, Error)]
#[error("the connection had to make room for another")]
pub(super) struct Evicted;

impl Activity {
    /// A connection accepted at `now`.
    pub(super) fn new(patience: Patience, now: Instant) -> Self {
        let state = State { phase: Phase::New { since: now }, is_draining: false };
        Self { patience, state: Mutex::new(state) }
    }

    /// The deadline of the current phase; `None` while a request is handled.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lock().deadline(self.patience)
    }

    /// When the connection has been silent long enough to be paused, but not before `earliest`; or
    /// the deadline of its phase, if that is earlier. `None` while a request is handled.
    pub(super) fn pause(&self, earliest: Instant) -> Option<Instant> {
        let state = self.lock();
        let deadline = state.deadline(self.patience)?;
        Some(match state.phase {
            Phase::New { since } | Phase::Idle { since } | Phase::Head { since } => {
                deadline.min(earliest.max(since + REST_AFTER))
            }
            _ => deadline,
        })
    }

    /// Since when the connection has been idle; `None` if it is not.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.lock().phase.idle_since()
    }

    /// Whether part of an answer has not been sent yet.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.lock().phase, Phase::Answer { .. })
    }

    /// Marks the connection as evicted if it has been idle since `since` without interruption. The
    /// caller stops its task.
    pub(super) fn evict(&self, since: Instant) -> bool {
        let mut state = self.lock();
        let is_still_idle = state.phase.idle_since() == Some(since);
        if is_still_idle {
            state.phase = Phase::Evicted;
        }
        is_still_idle
    }

    /// Makes the request under way the connection's last. If there is none, the connection is
    /// evicted and the result is true: the caller stops its task.
    pub(super) fn drain(&self) -> bool {
        let mut state = self.lock();
        state.is_draining = true;
        let is_idle = state.phase.idle_since().is_some();
        if is_idle {
            state.phase = Phase::Evicted;
        }
        is_idle
    }

    /// Whether the next answer is the connection's last.
    pub(super) fn is_draining(&self) -> bool {
        self.lock().is_draining
    }

    /// Bytes have arrived.
    pub(super) fn bytes_came(&self) -> Result<(), Evicted> {
        let mut state = self.lock();
        match state.phase {
            Phase::New { since } => state.phase = Phase::Head { since },
            Phase::Idle { .. } => state.phase = Phase::Head { since: Instant::now() },
            Phase::Evicted => return Err(Evicted),
            _ => {}
        }
        Ok(())
    }

    /// A head is complete. It may have arrived together with the previous request, unnoticed.
    pub(super) fn request_begins(&self) -> Result<(), Evicted> {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Evicted) {
            return Err(Evicted);
        }
        state.phase = Phase::Request;
        Ok(())
    }

    /// The handler has answered.
    pub(super) fn answer_begins(&self) {
        self.lock().phase = Phase::Answer { since: Instant::now() };
    }

    /// The client does not read any more at present. The answer may be hyper's own to an unreadable
    /// head, which was not announced.
    pub(super) fn answer_blocks(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::New { .. } | Phase::Idle { .. } | Phase::Head { .. }) {
            state.phase = Phase::Answer { since: Instant::now() };
        }
    }

    /// The client has read more after not reading.
    pub(super) fn answer_moved(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Answer { .. }) {
            state.phase = Phase::Answer { since: Instant::now() };
        }
    }

    /// Everything written so far has been sent.
    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Answer { .. }) {
            state.phase = Phase::Idle { since: Instant::now() };
        }
    }

    /// Our side is closed.
    pub(super) fn lingers(&self) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Evicted) {
            state.phase = Phase::Lingering { since: Instant::now() };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deadline(&self, patience: Patience) -> Option<Instant> {
        let (since, patience) = match self.phase {
            Phase::Idle { since } if self.is_draining => (since, Duration::ZERO),
            Phase::Idle { since } => (since, patience.idle),
            Phase::New { since } | Phase::Head { since } => (since, patience.head),
            Phase::Answer { since } => (since, patience.stall),
            Phase::Lingering { since } => (since, patience.linger),
            Phase::Request | Phase::Evicted => return None,
        };
        since.checked_add(patience)
    }
}

impl Phase {
    fn idle_since(self) -> Option<Instant> {
        match self {
            Self::New { since } | Self::Idle { since } | Self::Lingering { since } => Some(since),
            Self::Head { .. } | Self::Request | Self::Answer { .. } | Self::Evicted => None,
        }
    }
}

#[cfg(test)]
impl Patience {
    /// An hour for everything.
    pub(super) fn of_an_hour() -> Self {
        let hour = Duration::from_secs(3_600);
        Self { head: hour, idle: 2 * hour, stall: hour, linger: hour }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn the_first_head_is_timed_from_the_start_and_later_ones_from_their_first_byte() {
        let start = Instant::now();
        let activity = Activity::new(Patience::of_an_hour(), start);
        assert_eq!(activity.deadline(), Some(start + HOUR));
        activity.bytes_came().unwrap();
        assert_eq!(activity.deadline(), Some(start + HOUR));
        activity.request_begins().unwrap();
        assert_eq!(activity.deadline(), None);
        activity.answer_begins();
        activity.flushed();
        let idle_since = activity.idle_since().unwrap();
        assert_eq!(activity.deadline(), Some(idle_since + 2 * HOUR));
        activity.bytes_came().unwrap();
        assert!(activity.deadline().unwrap() < idle_since + 2 * HOUR);
        assert_eq!(activity.idle_since(), None);
    }

    #[test]
    fn what_is_idle_or_in_a_head_is_put_aside_and_nothing_else_is() {
        let start = Instant::now();
        let activity = Activity::new(Patience::of_an_hour(), start);
        assert_eq!(activity.pause(start), Some(start + REST_AFTER));
        assert_eq!(activity.pause(start + HOUR / 2), Some(start + HOUR / 2));
        assert_eq!(activity.pause(start + 2 * HOUR), Some(start + HOUR));
        activity.bytes_came().unwrap();
        assert_eq!(activity.pause(start), Some(start + REST_AFTER));
        activity.request_begins().unwrap();
        assert_eq!(activity.pause(start), None);
        activity.answer_begins();
        assert_eq!(activity.pause(start), activity.deadline());
        activity.flushed();
        assert_eq!(activity.pause(start), activity.idle_since().map(|since| since + REST_AFTER));
        activity.drain();
        activity.lingers();
        assert_eq!(activity.pause(start), None, "it makes room");
    }

    #[test]
    fn a_connection_at_work_is_not_evicted_and_an_evicted_one_does_no_work() {
        let start = Instant::now();
        let busy = Activity::new(Patience::of_an_hour(), start);
        busy.bytes_came().unwrap();
        assert!(!busy.evict(start));
        busy.request_begins().unwrap();
        assert!(!busy.evict(start));

        let idle = Activity::new(Patience::of_an_hour(), start);
        assert!(!idle.evict(start + HOUR), "idle, but not since then");
        assert!(idle.evict(start));
        assert!(idle.bytes_came().is_err());
        assert!(idle.request_begins().is_err());
    }

    #[test]
    fn an_answer_that_blocks_is_one_whoever_gives_it() {
        let start = Instant::now();
        let activity = Activity::new(Patience::of_an_hour(), start);
        activity.bytes_came().unwrap();
        activity.answer_blocks();
        assert!(activity.is_answering());
        activity.request_begins().unwrap();
        activity.answer_blocks();
        assert!(!activity.is_answering(), "an interim answer is none");
    }

    #[test]
    fn a_client_that_takes_some_of_its_answer_gets_more_time() {
        let activity = Activity::new(Patience::of_an_hour(), Instant::now());
        activity.request_begins().unwrap();
        activity.answer_begins();
        let before = Instant::now();
        activity.answer_moved();
        assert!(activity.deadline().unwrap() >= before + HOUR);
        activity.flushed();
        activity.answer_moved();
        assert!(activity.deadline().unwrap() >= before + 2 * HOUR, "it is idle, not answering");
    }

    #[test]
    fn an_answer_that_is_out_when_the_server_goes_down_is_the_last() {
        let activity = Activity::new(Patience::of_an_hour(), Instant::now());
        activity.request_begins().unwrap();
        assert!(!activity.drain());
        activity.answer_begins();
        activity.flushed();
        assert_eq!(activity.deadline(), activity.idle_since());
    }
}
