//! Time as a measurement needs it. The program itself takes time as a parameter; a bench is about
//! nothing else.

use std::time::{Duration, Instant};

/// This instant.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Leaves the machine to the others for `wait`, where passing time is what is measured.
#[expect(clippy::disallowed_methods, reason = "there is no event: time itself is waited for")]
pub(crate) fn let_pass(wait: Duration) {
    std::thread::sleep(wait);
}
