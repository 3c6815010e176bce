//! The limits and lifetimes that operations go by.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::engine::{EngineSettings, MAX_ROTATED};
use crate::config::Config;
use crate::domain::session::SessionLifetimes;

/// The limits and lifetimes that operations go by, as configured.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long sessions and their refresh tokens live.
    pub sessions: SessionLifetimes,
    /// How long an access token lives, and so for how long a session that was ended is listed as
    /// revoked.
    pub access_lifetime: Duration,
    /// The most sessions of one user; a login above it ends another.
    pub sessions_per_user: NonZeroUsize,
    /// The most mails of one purpose to one mailbox in a day; `None` for no limit.
    pub mails_per_mailbox: Option<NonZeroU32>,
    /// How long mail that was given up is kept.
    pub keep_failed_mail: Duration,
    /// How long audit events are kept.
    pub keep_events: Duration,
    /// The most audit events that are kept.
    pub max_events: u64,
}

impl From<&Config> for EngineSettings {
    fn from(config: &Config) -> Self {
        Self {
            cache: config.storage.cache,
            min_free: config.storage.min_free,
            write_queue: config.storage.write_queue,
            max_rotated: MAX_ROTATED,
        }
    }
}

impl From<&Config> for Policy {
    fn from(config: &Config) -> Self {
        Self {
            sessions: config.tokens.sessions,
            access_lifetime: config.tokens.access_lifetime,
            sessions_per_user: config.tokens.sessions_per_user,
            mails_per_mailbox: config.mail.per_mailbox_per_day,
            keep_failed_mail: config.mail.keep_failed,
            keep_events: config.audit.retention,
            max_events: config.audit.max_events,
        }
    }
}
