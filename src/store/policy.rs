//! The limits and lifetimes that operations go by.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::engine::{EngineSettings, MAX_ROTATED};
use crate::config::{AuditConfig, Config, DataConfig, StorageConfig, TokenConfig};
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

impl From<&StorageConfig> for EngineSettings {
    fn from(config: &StorageConfig) -> Self {
        Self {
            cache: config.cache,
            min_free: config.min_free,
            write_queue: config.write_queue,
            max_rotated: MAX_ROTATED,
        }
    }
}

impl From<&Config> for Policy {
    fn from(config: &Config) -> Self {
        let data = Self::new(&config.tokens, &config.audit);
        Self {
            mails_per_mailbox: config.mail.per_mailbox_per_day,
            keep_failed_mail: config.mail.keep_failed,
            ..data
        }
    }
}

/// For a command, which neither queues mail nor sweeps any.
impl From<&DataConfig> for Policy {
    fn from(config: &DataConfig) -> Self {
        Self::new(&config.tokens, &config.audit)
    }
}

impl Policy {
    fn new(tokens: &TokenConfig, audit: &AuditConfig) -> Self {
        Self {
            sessions: tokens.sessions,
            access_lifetime: tokens.access_lifetime,
            sessions_per_user: tokens.sessions_per_user,
            mails_per_mailbox: None,
            keep_failed_mail: Duration::MAX,
            keep_events: audit.retention,
            max_events: audit.max_events,
        }
    }
}
