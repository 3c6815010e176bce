//! What is kept of the clock: the day that has to confirm a jump, and the operator's word that it
//! is right.

use std::time::Duration;

use crate::clock::{Moment, Timestamp, Trial};
use crate::store::{Store, StoreError};

impl Store {
    /// What was noted of the clock's trial since the last commit time last moved. Storage that does
    /// not say counts as nothing noted: the day begins anew then.
    pub fn clock_trial(&self) -> Option<Trial> {
        let (wall, stood_for) = self.read(|view| view.clock_trial()).ok().flatten()?;
        let stood_for = Duration::from_micros(stood_for);
        Some(Trial { wall: Timestamp::from_micros(wall), stood_for })
    }

    /// Notes how far the clock's trial has come.
    pub async fn note_clock_trial(&self, trial: Trial) -> Result<(), StoreError> {
        let at = Moment { now: trial.wall, confirmed: false };
        let stood_for = u64::try_from(trial.stood_for.as_micros()).unwrap_or(u64::MAX);
        self.write(at, move |tx| tx.note_clock_trial(stood_for)).await
    }

    /// Sets the last commit time to `now` and ends all sessions: the operator's word that the
    /// clock, which lies behind what was committed, is right.
    pub async fn accept_clock(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(Moment { now, confirmed: false }, |tx| {
            tx.end_every_session()?;
            tx.reset_last_commit()
        })
        .await
    }
}
