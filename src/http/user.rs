//! A user as the API shows one.

use serde::Serialize;

use crate::domain::User;

/// `USER` of the contract.
#[derive(Serialize)]
pub(super) struct UserBody {
    id: u64,
    email: String,
    username: String,
    is_email_verified: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_email: Option<String>,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id.0,
            email: user.email.as_str().to_owned(),
            username: user.username.map(|name| name.as_str().to_owned()).unwrap_or_default(),
            is_email_verified: user.is_email_verified,
            created_at: user.created_at.to_string(),
            pending_email: user.pending_email.map(|pending| pending.email.as_str().to_owned()),
        }
    }
}
