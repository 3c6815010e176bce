//! The plain model: what the server should hold after each operation, written without a look at
//! how it does so. `rules` says what each operation should do.

mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use latchkey::clock::Timestamp;
use latchkey::mail::SentMail;

use super::census::{Account, Census, View};
use super::operation::Operation;
use crate::support::{Reply, START, claims, ticket_of};

/// Lifetimes in seconds. Time passes in steps of ten, so that nothing ends just now.
pub(super) const ACCESS: u64 = 1_805;
pub(super) const REFRESH: u64 = 3_605;
pub(super) const GRACE: u64 = 35;
pub(super) const VERIFICATION: u64 = 7_205;
pub(super) const RESET: u64 = 3_605;
pub(super) const CHANGE: u64 = 7_205;

/// Everything that the server should hold, and what its clients know.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// Seconds since the start.
    pub(super) now: u64,
    pub(super) users: BTreeMap<u64, Person>,
    pub(super) sessions: Vec<Login>,
    pub(super) tickets: Vec<Slip>,
    pub(super) outbox: BTreeMap<u64, Letter>,
    users_made: u64,
    mails_made: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) email: String,
    pub(super) username: Option<String>,
    pub(super) password: String,
    pub(super) former_password: Option<String>,
    pub(super) is_verified: bool,
    version: u64,
    /// The address that was asked for, and the place of the ticket that was sent there.
    pending: Option<(String, usize)>,
}

#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) user: u64,
    pub(super) has_ended: bool,
    pub(super) rotated_at: u64,
    /// When it ends at the latest, once its first token was shown after the grace.
    pub(super) bound: Option<u64>,
    /// Its identifier, once somebody has been told.
    pub(super) id: Option<String>,
    /// Each generation's refresh token, where somebody has been told it, and when it was issued.
    pub(super) tokens: Vec<(Option<String>, u64)>,
    /// The latest access token, and when it was issued.
    pub(super) access: Option<(String, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Slip {
    pub(super) user: u64,
    pub(super) purpose: &'static str,
    email: String,
    expires_at: u64,
    is_redeemed: bool,
    is_void: bool,
    pub(super) token: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Letter {
    kind: &'static str,
    pub(super) to: String,
    user: u64,
    ticket: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The answer's status; `None` if there is no answer.
    pub(super) status: Option<u16>,
    pub(super) has_effect: bool,
}

impl Expected {
    pub(super) const fn answer(status: u16, has_effect: bool) -> Self {
        Self { status: Some(status), has_effect }
    }
}

impl Model {
    pub(super) fn wall(&self) -> Timestamp {
        START.saturating_add(Duration::from_secs(self.now))
    }

    pub(super) const fn next_user(&self) -> u64 {
        self.users_made + 1
    }

    pub(super) fn user_of(&self, email: &str) -> Option<(u64, &Person)> {
        self.users.iter().find(|(_, user)| user.email == email).map(|(id, user)| (*id, user))
    }

    pub(super) fn is_live(&self, session: &Login) -> bool {
        session.is_live(self.now)
    }

    /// Whether the grace after a session's last rotation is over.
    pub(super) const fn is_late(&self, session: &Login) -> bool {
        self.now > session.rotated_at + GRACE
    }

    /// Whether the token before the current one is theft by now. The first one is not, since the
    /// second was never used.
    pub(super) const fn is_stale(&self, session: &Login) -> bool {
        self.is_late(session) && session.tokens.len() != 2
    }

    pub(super) const fn can_use_refresh(&self, issued_at: u64) -> bool {
        self.now < issued_at + REFRESH
    }

    pub(super) const fn can_use_access(&self, issued_at: u64) -> bool {
        self.now < issued_at + ACCESS
    }

    pub(super) fn is_open(&self, slip: &Slip) -> bool {
        !slip.is_void && !slip.is_redeemed && self.now < slip.expires_at
    }

    /// The mails that are due to arrive: to whom, and what link is in them.
    pub(super) fn due_mail(&self) -> Vec<(String, &'static str)> {
        let can_come =
            |letter: &&Letter| letter.ticket.is_none_or(|slip| self.is_open(&self.tickets[slip]));
        let mut due: Vec<_> = self.outbox.values().filter(can_come).map(Letter::seen).collect();
        due.sort_unstable();
        due
    }

    /// Everything that could be noticed of it.
    pub(super) fn view(&self) -> View {
        let users = self.users.iter().map(|(id, user)| {
            let Person { email, username, is_verified, version, pending, .. } = user.clone();
            let pending = pending.map(|(email, _)| email);
            (*id, Account { email, username, is_verified, version, pending })
        });
        let live = self.sessions.iter().filter(|session| self.is_live(session));
        let mut sessions: Vec<_> =
            live.map(|session| (session.user, session.generation())).collect();
        sessions.sort_unstable();
        let there = |slip: &&Slip| !slip.is_void && self.now < slip.expires_at;
        let tickets = self.tickets.iter().filter(there);
        let mut tickets: Vec<_> =
            tickets.map(|slip| (slip.user, slip.purpose.to_owned(), slip.is_redeemed)).collect();
        tickets.sort_unstable();
        let mails = self.outbox.iter().map(|(number, letter)| {
            (*number, (letter.kind.to_owned(), letter.to.clone(), letter.user))
        });
        View {
            users: users.collect(),
            sessions,
            tickets,
            outbox: mails.collect(),
            next_user: self.users_made + 1,
            next_mail: self.mails_made + 1,
        }
    }

    /// Whether a database holds just this.
    pub(super) fn agrees_with(&self, census: &Census) -> bool {
        let is_as_known = |session: &Login| {
            let found = session.id.as_ref().map(|id| census.sessions.get(id));
            let due = self.is_live(session).then_some((session.generation(), session.user));
            found.is_none_or(|found| found.copied() == due)
        };
        self.view() == census.view && self.sessions.iter().all(is_as_known)
    }

    /// Learns the names of sessions that nobody was told because the power went.
    pub(super) fn learn_sessions(&mut self, census: &Census) {
        let now = self.now;
        for (id, (generation, user)) in &census.sessions {
            let is_known = self.sessions.iter().any(|session| session.id.as_ref() == Some(id));
            let nameless = self.sessions.iter_mut().find(|session| {
                session.is_live(now)
                    && session.id.is_none()
                    && (session.user, session.generation()) == (*user, *generation)
            });
            if let Some(session) = nameless.filter(|_| !is_known) {
                session.id = Some(id.clone());
            }
        }
    }

    /// Learns what an answer to an operation told its client.
    pub(super) fn learn(&mut self, operation: &Operation, reply: &Reply) -> Result<(), String> {
        if reply.status != 200 {
            return Ok(());
        }
        let now = self.now;
        let (session, generation) = match operation {
            Operation::LogIn { .. } => {
                let id = claims(&reply.field("refresh"))["sid"].as_str().unwrap().to_owned();
                let user = claims(&reply.field("refresh"))["user_id"].as_u64().unwrap();
                let fresh = |session: &Login| {
                    session.user == user && session.id.is_none() && session.tokens[0] == (None, now)
                };
                let known = self.sessions.iter().position(|known| known.id.as_ref() == Some(&id));
                let place = known.or_else(|| self.sessions.iter().position(fresh));
                let place = place.ok_or("a login opened a session that there should not be")?;
                self.sessions[place].id = Some(id);
                (place, 0)
            }
            Operation::Present { session, generation, .. } => (*session, generation + 1),
            _ => return Ok(()),
        };
        let login = &mut self.sessions[session];
        let token = reply.field("refresh");
        let slot = login.tokens.get_mut(generation).ok_or("a token of no generation was issued")?;
        // Once its session is bound it expires earlier, and is the same all the same.
        let name = |token: &String| claims(token)["jti"].clone();
        if slot.0.as_ref().is_some_and(|known| name(known) != name(&token)) {
            return Err("a refresh token has two successors".to_owned());
        }
        slot.0 = Some(token);
        login.access = Some((reply.field("access"), now));
        Ok(())
    }

    pub(super) fn read_mail(&mut self, mail: &SentMail) {
        if mail.link.is_none() {
            return;
        }
        let purpose = match kind_of(mail) {
            "email_change_requested" => "cancel_email_change",
            kind => kind,
        };
        let open = |slip: &Slip| slip.email == mail.to && slip.purpose == purpose && !slip.is_void;
        if let Some(slip) = self.tickets.iter_mut().rev().find(|slip| open(slip)) {
            slip.token = Some(ticket_of(mail));
        }
    }
}

impl Login {
    pub(super) fn is_live(&self, now: u64) -> bool {
        let is_bound_over = self.bound.is_some_and(|end| now >= end);
        !self.has_ended && now < self.rotated_at + REFRESH && !is_bound_over
    }

    pub(super) fn generation(&self) -> u64 {
        u64::try_from(self.tokens.len() - 1).unwrap()
    }
}

impl Letter {
    fn seen(&self) -> (String, &'static str) {
        (self.to.clone(), if self.ticket.is_some() { self.kind } else { "notice" })
    }
}

pub(super) fn kind_of(mail: &SentMail) -> &'static str {
    match &mail.link {
        None => "notice",
        Some(link) if !link.contains("verify-email") => "reset_password",
        Some(_) if mail.subject.contains("new email address") => "change_email",
        Some(_) if mail.subject.contains("about to change") => "email_change_requested",
        Some(_) => "verify_email",
    }
}
