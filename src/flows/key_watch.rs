//! The watch over the key directory: what `latchkey keys` changes there, the server takes up
//! within a second, and keys whose last token has died go.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use crate::app::App;
use crate::keys::{KeyWatch, Schedule};

/// How often the directory is looked at. It takes some microseconds.
const PERIOD: Duration = Duration::from_secs(1);

/// Watches until `stop`.
pub async fn run(app: &App, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let mut watch = start(app);
    loop {
        let now = app.clock.read().wall;
        // While the clock is behind, or ahead unconfirmed, nobody knows what is dead.
        let may_remove = app.moment().is_ok_and(|at| at.confirmed);
        let looked = tokio::task::spawn_blocking(move || {
            watch.look(now, may_remove);
            watch
        });
        // One that panicked has been reported by the panic itself; the keys in use stay.
        watch = looked.await.unwrap_or_else(|_| start(app));
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

fn start(app: &App) -> KeyWatch {
    let directory = app.config.storage.keys.clone();
    let schedule = Schedule::of(&app.config.tokens, app.keys.current().signing());
    KeyWatch::new(directory, schedule, app.keys.clone())
}
