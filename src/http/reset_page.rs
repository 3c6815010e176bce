//! `/reset-password/`: the page behind a mailed reset link, where there is no frontend.

use std::sync::Arc;

use super::errors::ApiError;
use super::pages::{Notice, Pages};
use super::respond::Answer;
use super::router::Request;
use crate::app::App;

/// `GET /reset-password/{token}`
pub(super) fn open(_app: &Arc<App>, pages: &Pages, _request: &Request) -> Result<Answer, ApiError> {
    Ok(pages.notice(Notice::BadLink))
}

/// `POST /reset-password/`
pub(super) async fn answer(
    _app: &Arc<App>,
    pages: &Pages,
    _request: Request,
) -> Result<Answer, ApiError> {
    Ok(pages.notice(Notice::BadLink))
}
