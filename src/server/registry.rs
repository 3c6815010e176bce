//! Which connections there are, which may be opened, and which make room.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tokio::task::{AbortHandle, Id};
use tokio::time::Instant;

use super::activity::Activity;
use crate::config::ServerConfig;
use crate::domain::client::AddressBlock;

/// All connections. Only the accept loop uses it, so a request costs it nothing: requests are
/// recorded in each connection's own [`Activity`].
#[derive(Debug)]
pub(super) struct Registry {
    max_connections: usize,
    max_per_block: Option<usize>,
    /// Networks whose connections are not counted by address.
    exempt: Vec<IpNet>,
    connections: HashMap<Id, Connection>,
    /// The number of connections of each block that has any.
    per_block: HashMap<AddressBlock, usize>,
    /// The connections that were idle at the last scan, longest first. Those that are still idle
    /// have been idle longer than any that became idle later, so no scan is needed before these are
    /// used up.
    idle: VecDeque<(Instant, Id)>,
}

#[derive(Debug)]
struct Connection {
    /// The block it counts for; `None` if it is exempt.
    block: Option<AddressBlock>,
    activity: Arc<Activity>,
    task: AbortHandle,
}

/// What happens to a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// There is room.
    Welcome,
    /// There will be room as soon as an evicted idle connection has ended.
    AfterAnother,
    /// Its address has reached its limit.
    TooManyOfItsAddress,
    /// All connections are busy.
    Full,
}

impl Registry {
    pub(super) fn new(settings: &ServerConfig) -> Self {
        Self {
            max_connections: settings.max_connections.get(),
            max_per_block: settings.max_connections_per_address.map(Into::into),
            exempt: settings.trusted_proxies.clone(),
            connections: HashMap::new(),
            per_block: HashMap::new(),
            idle: VecDeque::new(),
        }
    }

    /// Decides about a new connection, and evicts another one for it if necessary.
    pub(super) fn admit(&mut self, address: IpAddr) -> Admission {
        let count = self.counted_block(address).and_then(|block| self.per_block.get(&block));
        let is_over = count.zip(self.max_per_block).is_some_and(|(count, max)| *count >= max);
        if is_over {
            Admission::TooManyOfItsAddress
        } else if !self.is_full() {
            Admission::Welcome
        } else if self.evict_longest_idle() {
            Admission::AfterAnother
        } else {
            Admission::Full
        }
    }

    /// Whether there is no room.
    pub(super) fn is_full(&self) -> bool {
        self.connections.len() >= self.max_connections
    }

    /// Adds a connection that is served by `task`.
    pub(super) fn insert(&mut self, address: IpAddr, activity: Arc<Activity>, task: AbortHandle) {
        let block = self.counted_block(address);
        if let Some(block) = block {
            *self.per_block.entry(block).or_default() += 1;
        }
        self.connections.insert(task.id(), Connection { block, activity, task });
    }

    /// Removes the connection that `task` served.
    pub(super) fn remove(&mut self, task: Id) {
        let block = self.connections.remove(&task).and_then(|connection| connection.block);
        if let Some(block) = block
            && let Some(count) = self.per_block.get_mut(&block)
        {
            *count -= 1;
            if *count == 0 {
                self.per_block.remove(&block);
            }
        }
    }

    /// Ends all idle connections, and lets the others end with the request under way.
    ///
    /// A request that is just arriving on an idle connection is lost, here and when a connection
    /// makes room. Clients have to expect that (RFC 9112, section 9.5).
    pub(super) fn drain(&self) {
        for connection in self.connections.values() {
            if connection.activity.drain() {
                connection.task.abort();
            }
        }
    }

    /// How many connections have a request under way.
    pub(super) fn busy(&self) -> usize {
        let is_busy = |connection: &&Connection| connection.activity.idle_since().is_none();
        self.connections.values().filter(is_busy).count()
    }

    fn counted_block(&self, address: IpAddr) -> Option<AddressBlock> {
        let address = address.to_canonical();
        let is_exempt = self.exempt.iter().any(|network| network.contains(&address));
        (!is_exempt).then(|| AddressBlock::of(address))
    }

    fn evict_longest_idle(&mut self) -> bool {
        self.evict_next() || {
            self.find_idle();
            self.evict_next()
        }
    }

    /// Evicts the first connection of the last scan that is still idle.
    fn evict_next(&mut self) -> bool {
        while let Some((since, id)) = self.idle.pop_front() {
            if let Some(connection) = self.connections.get(&id)
                && connection.activity.evict(since)
            {
                connection.task.abort();
                return true;
            }
        }
        false
    }

    fn find_idle(&mut self) {
        let idle = self.connections.iter().filter_map(|(id, connection)| {
            connection.activity.idle_since().map(|since| (since, *id))
        });
        self.idle = idle.collect();
        self.idle.make_contiguous().sort_unstable_by_key(|(since, _)| *since);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::super::activity::Patience;
    use super::super::tests::settings;
    use super::*;

    fn registry(max: usize, per_address: Option<usize>) -> Registry {
        let mut settings = settings();
        settings.max_connections = NonZeroUsize::new(max).unwrap();
        settings.max_connections_per_address = per_address.and_then(NonZeroUsize::new);
        settings.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
        Registry::new(&settings)
    }

    /// Adds a connection that became idle `seconds` after `start`.
    fn connect(
        registry: &mut Registry,
        address: &str,
        start: Instant,
        seconds: u64,
    ) -> (Arc<Activity>, Id) {
        let since = start + Duration::from_secs(seconds);
        let activity = Arc::new(Activity::new(Patience::of_an_hour(), since));
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        let id = task.id();
        registry.insert(address.parse().unwrap(), activity.clone(), task);
        (activity, id)
    }

    fn is_evicted(activity: &Activity) -> bool {
        activity.request_begins().is_err()
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room_and_the_busy_never_do() {
        let mut registry = registry(4, None);
        let start = Instant::now();
        let newcomer = "10.0.0.9".parse().unwrap();
        let (second, _) = connect(&mut registry, "10.0.0.1", start, 20);
        let (first, first_id) = connect(&mut registry, "10.0.0.2", start, 10);
        let (busy, _) = connect(&mut registry, "10.0.0.3", start, 0);
        assert_eq!(registry.admit(newcomer), Admission::Welcome);
        let (third, _) = connect(&mut registry, "10.0.0.4", start, 30);
        busy.bytes_came().unwrap();

        assert_eq!(registry.admit(newcomer), Admission::AfterAnother);
        assert!(is_evicted(&first) && registry.is_full());
        registry.remove(first_id);
        assert!(!registry.is_full());
        let (late, _) = connect(&mut registry, "10.0.0.2", start, 40);

        // The second has worked since the last look; the third is next, then the late one.
        second.bytes_came().unwrap();
        assert_eq!(registry.admit(newcomer), Admission::AfterAnother);
        assert!(is_evicted(&third));
        assert_eq!(registry.admit(newcomer), Admission::AfterAnother);
        assert!(is_evicted(&late));
        assert_eq!(registry.admit(newcomer), Admission::Full);
        assert!(!is_evicted(&busy) && !is_evicted(&second));
    }

    #[tokio::test]
    async fn an_address_has_its_share_and_a_proxy_is_exempt() {
        let mut registry = registry(100, Some(2));
        let start = Instant::now();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (_, id) = connect(&mut registry, "2001:db8::1", start, 0);
        connect(&mut registry, "2001:db8::2", start, 0);
        assert_eq!(registry.admit(address("2001:db8::3")), Admission::TooManyOfItsAddress);
        assert_eq!(registry.admit(address("2001:db8:0:1::3")), Admission::Welcome);
        registry.remove(id);
        assert_eq!(registry.admit(address("2001:db8::3")), Admission::Welcome);
        for _ in 0..5 {
            assert_eq!(registry.admit(address("::ffff:192.0.2.1")), Admission::Welcome);
            connect(&mut registry, "::ffff:192.0.2.1", start, 0);
        }
    }

    #[tokio::test]
    async fn nothing_is_kept_of_those_who_left() {
        let mut registry = registry(100, Some(2));
        for _ in 0..10 {
            let (_, id) = connect(&mut registry, "10.0.0.1", Instant::now(), 0);
            registry.remove(id);
        }
        assert!(registry.connections.is_empty() && registry.per_block.is_empty());
    }
}
