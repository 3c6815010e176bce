//! What a login has shown before there is a session.

use super::{User, UserId};

/// Somebody who has shown who they are: what stands between the verdict on a password and the
/// session that is opened for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Who it is.
    pub user: UserId,
    /// The credentials that were looked at; they must still be the user's when the session is
    /// opened.
    pub credential_version: u64,
    /// What was shown.
    pub factors: Vec<Factor>,
}

/// What somebody can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// The password of the account.
    Password,
}

impl Authentication {
    /// Of the `user` whose password was right.
    pub fn by_password(user: &User) -> Self {
        let credential_version = user.credential_version;
        Self { user: user.id, credential_version, factors: vec![Factor::Password] }
    }

    /// Whether it lets `user` in, as they are now.
    pub fn is_valid_for(&self, user: &User) -> bool {
        user.id == self.user
            && user.credential_version == self.credential_version
            && !user.is_disabled
            && self.factors.contains(&Factor::Password)
    }
}
