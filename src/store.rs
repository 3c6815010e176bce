//! Storage: one embedded database, and the operations on it.
//!
//! Each public method of [`Store`] runs one transaction. It takes values only, never a clock, a
//! generator or a future, and checks inside its transaction whatever it relies on. There are three
//! rooms, each of which knows only those below it:
//!
//! - `operations`: what is done, in the words of the domain, and in which order.
//! - `rows`: what is kept of each thing. A record and its index entries are written by one method,
//!   so that no operation can forget one. `Tx` is a transaction as operations see it.
//! - `engine`: the only one that knows redb. One thread collects writes and makes them durable
//!   together; reads go past it.

mod engine;
mod operations;
mod policy;
mod rows;

use std::fmt;
use std::sync::Arc;

use crate::clock::{Moment, Timestamp};
use engine::{Engine, Fault, Pending};
use operations::PendingEnds;
use rows::{RowCache, Tx, View};

pub use engine::{
    DataDirectory, DirectoryProblem, EngineSettings, Health, MAX_ROTATED, Medium, Memory,
    OpenError, Opening, StoreError, WriterThread,
};
pub use operations::{
    AccountChange, CancelOutcome, Changed, ConfirmChangeOutcome, DisownOutcome, EmailChange,
    FoundMail, LoginRecord, MailToSend, NewPasswordHash, NewSession, NewTicket, NewUser,
    PasswordChange, Presented, RedeemOutcome, Refused, RegisterOutcome, Requested, ResetOutcome,
    ResetRequest, SessionOfUser, Swept, Taken, UnreadableMail,
};
pub use policy::Policy;
#[cfg(any(test, fuzzing))]
pub use rows::hostile::check as check_record;
pub use rows::{Revocations, RevocationsVersion};

/// The database, shared by everyone who uses it.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
    shared: Arc<Shared>,
}

/// What all operations share.
struct Shared {
    /// The limits and lifetimes that they go by.
    policy: Policy,
    /// Users and sessions that were decoded before.
    cache: RowCache,
    /// Sessions that have to end as soon as storage can be written.
    pending: PendingEnds,
}

impl Store {
    /// Opens the database on `medium`, makes it if there is none, and starts the writer.
    ///
    /// # Errors
    /// [`OpenError`] says why it cannot be opened; nothing was changed then.
    pub fn open(
        medium: impl Medium,
        settings: EngineSettings,
        policy: Policy,
    ) -> Result<(Self, WriterThread), OpenError> {
        let (engine, thread) = Engine::open(medium, settings)?;
        let (cache, pending) = (RowCache::default(), PendingEnds::default());
        Ok((Self { engine, shared: Arc::new(Shared { policy, cache, pending }) }, thread))
    }

    /// The last commit time, with which the clock guard compares the clock.
    pub fn last_commit(&self) -> Timestamp {
        self.engine.last_commit()
    }

    /// How the last commit went. Reads nothing and writes nothing.
    pub fn health(&self) -> Health {
        self.engine.health()
    }

    /// Has the writer check again whether there is enough free space, though nothing is written.
    pub fn look_at_space(&self) {
        self.engine.look_at_space();
    }

    /// Waits until mail is queued, or was since the last wait.
    pub async fn mail_queued(&self) {
        self.engine.mail_queued().await;
    }

    /// Runs an operation at `at`, and waits until what it changed is durable.
    async fn write<T: Send + 'static>(
        &self,
        at: Moment,
        operation: impl FnMut(&mut Tx<'_, '_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.begin(at, operation)?.answer().await
    }

    /// Hands an operation to the writer.
    fn begin<T: Send + 'static>(
        &self,
        at: Moment,
        mut operation: impl FnMut(&mut Tx<'_, '_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Pending<T>, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.engine
            .begin(move |write| operation(&mut Tx::new(write, &shared.cache, &shared.policy, at)))
    }

    /// Reads from the state as of the last commit.
    fn read<T>(&self, look: impl FnOnce(View<'_>) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.engine.read(|read| look(View::new(read, &self.shared.cache)))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("health", &self.health()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
