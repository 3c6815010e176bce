//! Upkeep: what happens without anyone asking. Sweeping, ending what could not be ended, and
//! telling the operator about the clock.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::app::App;
use crate::clock::Moment;

/// How often upkeep is done while there is nothing much to do.
const PERIOD: Duration = Duration::from_secs(10);
/// How soon it goes on after a sweep that was not finished; other writes go between.
const PAUSE: Duration = Duration::from_millis(20);
/// The most entries of each kind in one sweep: short enough not to be felt by other writes.
const BATCH: usize = 100;
/// How often it is noted how far the clock's trial has come; so much of it a restart may lose.
const NOTE_PERIOD: Duration = Duration::from_secs(10 * 60);

/// What upkeep has to remember between rounds.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// Whether the clock was behind in the last round, so that the log says it once.
    was_behind: bool,
    /// Whether a jump forward was unconfirmed in the last round.
    was_unconfirmed: bool,
    /// For how long the clock had stood its trial when that was last noted.
    noted: Duration,
}

impl Upkeep {
    /// One round; says whether there is more to do already.
    pub async fn round(&mut self, app: &App) -> bool {
        app.store.look_at_space();
        let Some(at) = self.look_at_clock(app) else { return false };
        // What storage cannot do now, a later round will; its own log says what is wrong.
        let _ = app.store.write_pending_ends(at).await;
        self.note_trial(app).await;
        app.store.sweep(BATCH, at).await.is_ok_and(|swept| swept.is_unfinished)
    }

    async fn note_trial(&mut self, app: &App) {
        let trial = app.guard.trial(app.clock.read());
        let Some(trial) = trial else {
            self.noted = Duration::ZERO;
            return;
        };
        if trial.stood_for < self.noted {
            // Another jump, another day.
            self.noted = Duration::ZERO;
        }
        let is_due = trial.stood_for >= self.noted.saturating_add(NOTE_PERIOD);
        if is_due && app.store.note_clock_trial(trial).await.is_ok() {
            self.noted = trial.stood_for;
        }
    }

    fn look_at_clock(&mut self, app: &App) -> Option<Moment> {
        match app.moment() {
            Err(behind) => {
                if !self.was_behind {
                    error!(
                        clock = %behind.wall, latest_commit = %behind.mark,
                        "the clock lies behind the latest commit; requests are refused until it \
                         has caught up; set the clock, or stop the server and run `latchkey \
                         clock accept` if the clock is right"
                    );
                }
                self.was_behind = true;
                None
            }
            Ok(at) => {
                if self.was_behind {
                    info!("the clock has caught up; requests are served again");
                }
                self.was_behind = false;
                if !at.confirmed && !self.was_unconfirmed {
                    warn!(
                        clock = %at.now,
                        latest_commit = %app.store.last_commit(),
                        "the clock jumped forward by more than a day, or the server was off for \
                         longer; nothing is swept until a day of running has confirmed it; set \
                         the clock if it is wrong"
                    );
                }
                self.was_unconfirmed = !at.confirmed;
                Some(at)
            }
        }
    }
}

/// Does upkeep until `stop`.
pub async fn run(app: &App, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut upkeep = Upkeep::default();
    loop {
        let wait = if upkeep.round(app).await { PAUSE } else { PERIOD };
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
