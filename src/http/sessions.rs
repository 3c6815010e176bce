//! `/api/sessions/` and `/api/logout/`

use hyper::StatusCode;
use serde::Serialize;

use super::bearer;
use super::cookies;
use super::errors::ApiError;
use super::request::{Context, Request};
use super::respond::{self, Answer};
use crate::domain::{Authorised, Session, SessionId, device};
use crate::flows::profile::NotAuthenticated;
use crate::flows::refresh::RefreshRefused;
use crate::flows::sessions::{self, EndRefused};
use crate::jwt::TokenError;
use crate::secret::Secret;

/// A session as its owner sees it.
#[derive(Serialize)]
struct SessionBody {
    id: SessionId,
    opened_at: String,
    /// To the day: enough to tell a forgotten device, too little to follow somebody around.
    last_used: String,
    address: String,
    user_agent: String,
    device: String,
    current: bool,
}

impl SessionBody {
    fn new(session: Session, current: SessionId) -> Self {
        Self {
            id: session.id,
            opened_at: session.opened_at.to_string(),
            last_used: session.rotated_at.to_string().chars().take("2024-12-06".len()).collect(),
            address: session.opened_by.address.to_string(),
            device: device::describe(&session.opened_by.user_agent),
            user_agent: session.opened_by.user_agent,
            current: session.id == current,
        }
    }
}

/// `GET /api/sessions/`: the caller's, newest first.
pub(super) fn list(context: &Context, request: &Request) -> Result<Answer, ApiError> {
    let (user, session) = bearer::authenticate(&context.app, request)?;
    let bodies: Vec<SessionBody> = sessions::list(&context.app, user.id)?
        .into_iter()
        .map(|found| SessionBody::new(found, session.id))
        .collect();
    Ok(respond::private(StatusCode::OK, &bodies))
}

/// `DELETE /api/sessions/{id}/`
pub(super) async fn end(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let by = authorised(context, &request)?;
    let id = session_of_path(request.head.uri.path()).ok_or(ApiError::NotFound)?;
    sessions::end(&context.app, by, id).await?;
    Ok(respond::no_content())
}

/// `POST /api/logout/`: by the refresh token in the body, which counts alone where there is one,
/// since clients send a stale `Authorization` along with everything; else by the one in the cookie
/// and the access token of the bearer, either or both. Both sessions end where they differ: a user
/// who logs out wants neither left open.
pub(super) async fn log_out(context: &Context, request: Request) -> Result<Answer, ApiError> {
    let app = &context.app;
    let fields = request.fields()?;
    let headers = &request.head.headers;
    if !fields.is_blank("refresh") {
        let token = fields.form(|form| form.token("refresh"))?;
        sessions::log_out_by_refresh_token(app, token.expose(), request.client).await?;
        return Ok(respond::no_content());
    }
    match context.cookies.refresh_token(headers)? {
        Some(token) => log_out_by_cookie(context, &token, &request).await,
        None => {
            let token = bearer::token(headers).map_err(|error| match error {
                // As at refresh: the cookie has run out, so the user is logged out.
                ApiError::NotAuthenticated if context.cookies.may_use(headers) => {
                    ApiError::RefreshToken(TokenError::Invalid)
                }
                other => other,
            })?;
            sessions::log_out_by_access_token(app, token, request.client).await?;
            Ok(respond::no_content())
        }
    }
}

/// The cookie is deleted unless its token could not be checked: one that is not valid now never
/// will be.
async fn log_out_by_cookie(
    context: &Context,
    token: &Secret<String>,
    request: &Request,
) -> Result<Answer, ApiError> {
    let (app, client) = (&context.app, &request.client);
    let by_cookie = sessions::log_out_by_refresh_token(app, token.expose(), client.clone()).await;
    let by_bearer = match bearer::token(&request.head.headers) {
        Ok(token) => {
            sessions::log_out_by_access_token(app, token, client.clone()).await.map(|()| true)
        }
        Err(_) => Ok(false),
    };
    Ok(cookies::clear(match (by_cookie, by_bearer) {
        (Err(RefreshRefused::Failed(failure)), _) | (_, Err(NotAuthenticated::Failed(failure))) => {
            return Err(failure.into());
        }
        (Ok(()), _) | (Err(_), Ok(true)) => respond::no_content(),
        (Err(refused), Ok(false) | Err(_)) => ApiError::from(refused).into_answer(),
    }))
}

/// `POST /api/logout/all/`: by bearer. A cookie goes with it.
pub(super) async fn log_out_everywhere(
    context: &Context,
    request: Request,
) -> Result<Answer, ApiError> {
    let by = authorised(context, &request)?;
    sessions::end_all(&context.app, by).await?;
    let answer = respond::no_content();
    let is_carried = context.cookies.is_carried(&request.head.headers);
    Ok(if is_carried { cookies::clear(answer) } else { answer })
}

fn authorised(context: &Context, request: &Request) -> Result<Authorised, ApiError> {
    let (user, session) = bearer::authenticate(&context.app, request)?;
    Ok(Authorised { user: user.id, session: session.id, client: request.client.clone() })
}

/// The session that a path ends in, with or without a slash.
fn session_of_path(path: &str) -> Option<SessionId> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (_, id) = path.rsplit_once('/')?;
    SessionId::parse(id)
}

impl From<EndRefused> for ApiError {
    fn from(refused: EndRefused) -> Self {
        match refused {
            EndRefused::NotFound => Self::NotFound,
            EndRefused::NotAuthenticated => Self::AccessToken(TokenError::Invalid),
            EndRefused::Failed(failure) => failure.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::domain::session::SessionLifetimes;
    use crate::domain::{Client, UserId};
    use serde_json::json;
    use std::time::Duration;

    const START: Timestamp = Timestamp::from_micros(1_733_479_200_123_456);

    #[test]
    fn a_session_is_shown_as_its_owner_may_know_it() {
        let lifetimes = SessionLifetimes {
            refresh: Duration::from_secs(86_400),
            session: None,
            reuse_grace: Duration::from_secs(30),
            keep_first: true,
        };
        let user_agent = "Mozilla/5.0 (Windows NT 10.0; rv:133.0) Gecko/20100101 Firefox/133.0";
        let client = Client::new("2001:db8::1".parse().unwrap(), user_agent);
        let id = SessionId::from_bytes([0xab; 16]);
        let mut session = Session::open(id, UserId(1), client, START, lifetimes);
        session.rotated_at = START.saturating_add(Duration::from_secs(15 * 3_600));
        let body = |current| serde_json::to_value(SessionBody::new(session.clone(), current));
        assert_eq!(
            body(id).unwrap(),
            json!({
                "id": "ab".repeat(16),
                "opened_at": "2024-12-06T10:00:00.123456Z",
                "last_used": "2024-12-07",
                "address": "2001:db8::1",
                "user_agent": user_agent,
                "device": "Firefox on Windows",
                "current": true,
            })
        );
        assert_eq!(body(SessionId::from_bytes([0; 16])).unwrap()["current"], false);
    }

    #[test]
    fn a_path_names_a_session_or_none() {
        let id = "0123456789abcdef0123456789abcdef";
        for path in [format!("/api/sessions/{id}"), format!("/api/sessions/{id}/")] {
            assert_eq!(session_of_path(&path).map(|id| id.to_string()).as_deref(), Some(id));
        }
        for path in [
            "/api/sessions/1/".to_owned(),
            "/api/sessions/%30123456789abcdef0123456789abcdef".to_owned(),
            format!("/api/sessions/{}", id.to_uppercase()),
            format!("/api/sessions/{id}//"),
            format!("/api/sessions/{id}0"),
        ] {
            assert_eq!(session_of_path(&path), None, "{path}");
        }
    }
}
