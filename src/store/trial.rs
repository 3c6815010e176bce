//! What is kept of the day that has to confirm a jump of the clock.

use std::time::Duration;

use redb::ReadableTable as _;

use super::tables::{META, meta};
use super::{Fault, Store, StoreError};
use crate::clock::{Moment, Timestamp, Trial};

impl Store {
    /// What was noted of the clock's trial since the mark last moved. Storage that does not say
    /// counts as nothing noted: the day begins anew then.
    pub fn clock_trial(&self) -> Option<Trial> {
        let read = self.read(|read| {
            let table = read.open(META)?;
            let number = |key| Ok::<_, Fault>(table.get(key)?.map(|value| value.value()));
            if number(meta::TRIAL_MARK)? != number(meta::MARK)? {
                return Ok(None);
            }
            let wall = number(meta::TRIAL_WALL)?;
            Ok(wall.zip(number(meta::TRIAL_STOOD_FOR)?))
        });
        let (wall, stood_for) = read.ok().flatten()?;
        let stood_for = Duration::from_micros(stood_for);
        Some(Trial { wall: Timestamp::from_micros(wall), stood_for })
    }

    /// Notes how far the clock's trial has come.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_clock_trial(&self, trial: Trial) -> Result<(), StoreError> {
        self.write(move |write| {
            write.change(Moment { now: trial.wall, confirmed: false });
            let table = write.meta.open()?;
            let mark = table.get(meta::MARK)?.map_or(0, |value| value.value());
            let stood_for = u64::try_from(trial.stood_for.as_micros()).unwrap_or(u64::MAX);
            table.insert(meta::TRIAL_MARK, mark)?;
            table.insert(meta::TRIAL_WALL, trial.wall.as_micros())?;
            table.insert(meta::TRIAL_STOOD_FOR, stood_for)?;
            Ok(())
        })
        .await
    }
}
