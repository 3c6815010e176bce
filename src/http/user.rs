//! A user as the API shows one.

use serde::Serialize;

use crate::domain::User;

/// `USER` of the contract.
#[derive(Serialize)]
pub(super) struct UserBody<'u> {
    id: u64,
    email: &'u str,
    username: &'u str,
    is_email_verified: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_email: Option<&'u str>,
}

impl<'u> From<&'u User> for UserBody<'u> {
    fn from(user: &'u User) -> Self {
        Self {
            id: user.id.0,
            email: user.email.as_str(),
            username: user.username.as_ref().map_or("", |name| name.as_str()),
            is_email_verified: user.is_email_verified,
            created_at: user.created_at.to_string(),
            pending_email: user.pending_email.as_ref().map(|pending| pending.email.as_str()),
        }
    }
}
