//! The limit on open files, which is the system's limit on connections.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ServerConfig;

/// Files reserved for everything that is not a client's connection: the database, keys, the
/// listener, mail being sent, and a connection that is being turned away.
const RESERVE: u64 = 64;

/// Raises this process's soft limit on open files so that `max_connections` fit. If the hard limit
/// forbids that, `max_connections` is lowered to what fits, with a warning.
pub fn raise_open_file_limit(settings: &mut ServerConfig) {
    let wanted = files_for(settings.max_connections);
    let limit = raise_to(wanted);
    let fitting = connections_within(limit);
    if fitting < settings.max_connections {
        tracing::warn!(
            max_connections = settings.max_connections,
            open_files_limit = limit,
            lowered_to = fitting,
            "the limit on open files is too low for max_connections"
        );
        settings.max_connections = fitting;
    }
}

/// Raises the soft limit to `wanted`, or as close as the hard limit allows, and returns the limit
/// now in force. A higher limit is not changed.
fn raise_to(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current else {
        return u64::MAX;
    };
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if allowed <= current {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), ..limit }) {
        Ok(()) => allowed,
        Err(error) => {
            tracing::warn!(%error, wanted, "cannot raise the limit on open files");
            current
        }
    }
}

fn files_for(connections: NonZeroUsize) -> u64 {
    u64::try_from(connections.get()).unwrap_or(u64::MAX).saturating_add(RESERVE)
}

/// How many connections fit under a limit of `files`; at least one, so that the server can serve.
fn connections_within(files: u64) -> NonZeroUsize {
    let connections = usize::try_from(files.saturating_sub(RESERVE)).unwrap_or(usize::MAX);
    NonZeroUsize::new(connections).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    fn some(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    #[test]
    fn the_reserve_is_kept_and_one_connection_always_fits() {
        assert_eq!(files_for(some(4096)), 4160);
        assert_eq!(connections_within(4160), some(4096));
        assert_eq!(connections_within(1024), some(960));
        assert_eq!(connections_within(10), some(1));
        assert_eq!(connections_within(files_for(NonZeroUsize::MAX)), some(usize::MAX - 64));
    }

    #[test]
    fn the_number_is_clamped_to_the_hard_limit() {
        let mut settings = settings();
        settings.max_connections = some(1);
        raise_open_file_limit(&mut settings);
        assert_eq!(settings.max_connections, some(1));

        let Some(hard) = getrlimit(Resource::Nofile).maximum else { return };
        settings.max_connections = NonZeroUsize::MAX;
        raise_open_file_limit(&mut settings);
        assert_eq!(settings.max_connections, connections_within(hard));
        assert_eq!(getrlimit(Resource::Nofile).current, Some(hard));
    }
}
