//! `/healthz` and `/readyz`, for monitoring. Neither writes anything.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use serde_json::json;

use super::errors::ApiError;
use super::request::Context;
use super::respond::{self, Answer};
use crate::store::Health;

/// The process answers.
pub(super) fn alive() -> Answer {
    respond::private(StatusCode::OK, &json!({"status": "ok"}))
}

/// The process can serve: it is not going down, the clock is sane, and the last commit went well.
pub(super) fn ready(context: &Context) -> Result<Answer, ApiError> {
    let not_ready = |reason: &str| Err(ApiError::NotReady(reason.to_owned()));
    let app = &context.app;
    if context.is_stopping.load(Ordering::Relaxed) {
        return not_ready("The server is stopping.");
    }
    if let Err(behind) = app.moment() {
        return Err(ApiError::NotReady(format!(
            "The clock says {}, which lies behind the latest commit at {}. Set the clock, or stop \
             the server and run `latchkey clock accept` if the clock is right.",
            behind.wall, behind.mark
        )));
    }
    match app.store.health() {
        Health::Fine => Ok(alive()),
        Health::LowSpace => {
            not_ready("The disk has less free space than storage.min_free; writes are refused.")
        }
        Health::Away => not_ready("Storage failed and is being opened again; see the log."),
    }
}
