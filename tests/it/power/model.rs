//! The plain model: what the server should hold after each operation, written without a look at
//! how it does so.

use std::collections::BTreeMap;
use std::time::Duration;

use latchkey::clock::Timestamp;

use super::census::{Census, View};
use super::operation::Operation;
use crate::support::{Reply, START, claims};

/// Lifetimes in seconds. Time passes in steps of ten, so that nothing ends just now.
pub(super) const ACCESS: u64 = 1_805;
pub(super) const REFRESH: u64 = 3_605;
pub(super) const GRACE: u64 = 35;
pub(super) const VERIFICATION: u64 = 7_205;
pub(super) const RESET: u64 = 3_605;

/// Everything that the server should hold, and what its clients know.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// Seconds since the start.
    pub(super) now: u64,
    pub(super) users: BTreeMap<u64, Person>,
    /// Every session there ever was.
    pub(super) sessions: Vec<Login>,
    /// Every ticket there ever was.
    pub(super) tickets: Vec<Slip>,
    pub(super) outbox: BTreeMap<u64, Letter>,
    users_made: u64,
    mails_made: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) email: String,
    username: Option<String>,
    pub(super) password: String,
    pub(super) former_password: Option<String>,
    is_verified: bool,
    version: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) user: u64,
    pub(super) has_ended: bool,
    pub(super) rotated_at: u64,
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
    expires_at: u64,
    is_redeemed: bool,
    is_void: bool,
    /// What was mailed.
    pub(super) token: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Letter {
    kind: &'static str,
    pub(super) to: String,
    user: u64,
    ticket: Option<usize>,
}

/// What an operation should lead to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The answer's status; none where there is no answer.
    pub(super) status: Option<u16>,
    /// Whether anything changes.
    pub(super) has_effect: bool,
}

impl Model {
    /// The time by the clock.
    pub(super) fn wall(&self) -> Timestamp {
        START.saturating_add(Duration::from_secs(self.now))
    }

    pub(super) const fn next_user(&self) -> u64 {
        self.users_made + 1
    }

    pub(super) fn user_of(&self, email: &str) -> Option<(u64, &Person)> {
        self.users.iter().find(|(_, user)| user.email == email).map(|(id, user)| (*id, user))
    }

    /// Whether a session can be used.
    pub(super) fn is_live(&self, session: &Login) -> bool {
        !session.has_ended && self.now < session.rotated_at + REFRESH
    }

    /// Whether the grace after a session's last rotation is over.
    pub(super) const fn is_late(&self, session: &Login) -> bool {
        self.now > session.rotated_at + GRACE
    }

    /// Whether a refresh token that was issued then has not expired.
    pub(super) const fn can_use_refresh(&self, issued_at: u64) -> bool {
        self.now < issued_at + REFRESH
    }

    /// Whether an access token that was issued then has not expired.
    pub(super) const fn can_use_access(&self, issued_at: u64) -> bool {
        self.now < issued_at + ACCESS
    }

    /// Whether a ticket can be redeemed.
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
            let Person { email, username, is_verified, version, .. } = user.clone();
            (*id, (email, username, is_verified, version))
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
                let is_live = !session.has_ended && now < session.rotated_at + REFRESH;
                is_live
                    && session.id.is_none()
                    && (session.user, session.generation()) == (*user, *generation)
            });
            if let Some(session) = nameless.filter(|_| !is_known) {
                session.id = Some(id.clone());
            }
        }
    }

    /// Does what an operation should do, if its transaction comes next. What it saw before that,
    /// when it was begun, is in `before`.
    pub(super) fn apply(&mut self, operation: &Operation, before: &Self) -> Expected {
        let answer = |status, has_effect| Expected { status: Some(status), has_effect };
        match operation {
            Operation::Register { email, username, password } => {
                let is_taken = |model: &Self| model.user_of(email).is_some();
                if is_taken(before) || is_taken(self) {
                    return answer(400, false);
                }
                self.register(email, username.as_ref(), password);
                answer(201, true)
            }
            Operation::Confirm { ticket, .. } => self.confirm(*ticket),
            Operation::LogIn { email, password } => {
                let seen = before.user_of(email).filter(|(_, user)| user.password == *password);
                let version = |model: &Self, id| model.users.get(&id).map(|user| user.version);
                match seen {
                    Some((id, seen)) if version(self, id) == Some(seen.version) => {
                        self.sessions.push(Login {
                            user: id,
                            has_ended: false,
                            rotated_at: self.now,
                            id: None,
                            tokens: vec![(None, self.now)],
                            access: None,
                        });
                        answer(200, true)
                    }
                    _ => answer(401, false),
                }
            }
            Operation::Present { session, generation, .. } => self.present(*session, *generation),
            Operation::Forgot { email } => {
                let user = self.user_of(email).map(|(id, _)| id);
                user.into_iter().for_each(|id| self.ask_for_reset(id));
                answer(200, user.is_some())
            }
            Operation::Reset { ticket, password, .. } => {
                let is_open = |model: &Self| model.is_open(&model.tickets[*ticket]);
                if !is_open(before) || !is_open(self) {
                    return answer(400, false);
                }
                let user = self.tickets[*ticket].user;
                self.set_password(user, password);
                self.end_sessions(user, None);
                self.users.get_mut(&user).unwrap().is_verified = true;
                self.post("password_reset", user, None);
                answer(200, true)
            }
            Operation::ChangePassword { session, new, .. } => {
                let Some(user) = self.authorised(*session, before) else {
                    return answer(401, false);
                };
                self.set_password(user, new);
                self.end_sessions(user, Some(*session));
                self.post("password_changed", user, None);
                answer(200, true)
            }
            Operation::LogOut { session, .. } => {
                let has_effect = self.is_live(&self.sessions[*session]);
                self.sessions[*session].has_ended |= has_effect;
                answer(204, has_effect)
            }
            Operation::LogOutEverywhere { session, .. } => {
                let can_act = [before, self]
                    .into_iter()
                    .all(|model| model.is_live(&model.sessions[*session]));
                if !can_act {
                    return answer(401, false);
                }
                self.end_sessions(self.sessions[*session].user, None);
                answer(204, true)
            }
            Operation::Delete { session, .. } => {
                let Some(user) = self.authorised(*session, before) else {
                    return answer(401, false);
                };
                self.delete(user);
                answer(204, true)
            }
            Operation::Deliver => {
                before.outbox.keys().for_each(|number| drop(self.outbox.remove(number)));
                Expected { status: None, has_effect: !before.outbox.is_empty() }
            }
            Operation::Sweep => Expected { status: None, has_effect: false },
        }
    }

    /// The user of a session that may still act, on credentials that nobody has changed since.
    fn authorised(&self, session: usize, before: &Self) -> Option<u64> {
        let can_act = |model: &Self| model.is_live(&model.sessions[session]);
        let user = self.sessions[session].user;
        let version = |model: &Self| model.users.get(&user).map(|user| user.version);
        let is_same = version(self).is_some() && version(self) == version(before);
        (can_act(before) && can_act(self) && is_same).then_some(user)
    }

    fn register(&mut self, email: &str, username: Option<&String>, password: &str) {
        self.users_made += 1;
        let person = Person {
            email: email.to_owned(),
            username: username.cloned(),
            password: password.to_owned(),
            former_password: None,
            is_verified: false,
            version: 0,
        };
        self.users.insert(self.users_made, person);
        let ticket = self.issue(self.users_made, "verify_email", VERIFICATION);
        self.post("verify_email", self.users_made, Some(ticket));
    }

    fn confirm(&mut self, ticket: usize) -> Expected {
        let slip = &self.tickets[ticket];
        let (user, is_redeemed) = (slip.user, slip.is_redeemed);
        if slip.is_void || self.now >= slip.expires_at {
            return Expected { status: Some(400), has_effect: false };
        }
        let Some(person) = self.users.get_mut(&user) else {
            return Expected { status: Some(400), has_effect: false };
        };
        let has_effect = !is_redeemed && !person.is_verified;
        if has_effect {
            person.is_verified = true;
            self.tickets[ticket].is_redeemed = true;
        }
        Expected { status: Some(200), has_effect }
    }

    fn present(&mut self, session: usize, generation: usize) -> Expected {
        let refused = |has_effect| Expected { status: Some(401), has_effect };
        let now = self.now;
        let is_live = self.is_live(&self.sessions[session]);
        if !self.can_use_refresh(self.sessions[session].tokens[generation].1) || !is_live {
            return refused(false);
        }
        let is_late = self.is_late(&self.sessions[session]);
        let login = &mut self.sessions[session];
        let current = login.tokens.len() - 1;
        if generation == current {
            login.tokens.push((None, now));
            login.rotated_at = now;
            return Expected { status: Some(200), has_effect: true };
        }
        if generation + 1 == current && !is_late {
            return Expected { status: Some(200), has_effect: false };
        }
        login.has_ended = true;
        refused(true)
    }

    fn ask_for_reset(&mut self, user: u64) {
        let open = self.tickets.iter().position(|slip| {
            slip.user == user && slip.purpose == "reset_password" && self.is_open(slip)
        });
        let ticket = open.unwrap_or_else(|| self.issue(user, "reset_password", RESET));
        self.post("reset_password", user, Some(ticket));
    }

    fn issue(&mut self, user: u64, purpose: &'static str, lifetime: u64) -> usize {
        let expires_at = self.now + lifetime;
        let slip =
            Slip { user, purpose, expires_at, is_redeemed: false, is_void: false, token: None };
        self.tickets.push(slip);
        self.tickets.len() - 1
    }

    fn post(&mut self, kind: &'static str, user: u64, ticket: Option<usize>) {
        self.mails_made += 1;
        let to = self.users[&user].email.clone();
        self.outbox.insert(self.mails_made, Letter { kind, to, user, ticket });
    }

    fn void_tickets(&mut self, user: u64) {
        let owned = self.tickets.iter_mut().filter(|slip| slip.user == user);
        owned.for_each(|slip| slip.is_void = true);
    }

    fn set_password(&mut self, user: u64, password: &str) {
        let person = self.users.get_mut(&user).unwrap();
        person.former_password = Some(std::mem::replace(&mut person.password, password.to_owned()));
        person.version += 1;
        self.void_tickets(user);
    }

    fn end_sessions(&mut self, user: u64, kept: Option<usize>) {
        for (place, session) in self.sessions.iter_mut().enumerate() {
            session.has_ended |= session.user == user && Some(place) != kept;
        }
    }

    fn delete(&mut self, user: u64) {
        self.end_sessions(user, None);
        self.void_tickets(user);
        self.outbox.retain(|_, letter| letter.user != user);
        self.post("account_deleted", user, None);
        self.users.remove(&user);
    }

    /// Learns what an answer to an operation told its client.
    ///
    /// # Errors
    /// If it told two clients different things.
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
        if slot.0.as_ref().is_some_and(|known| *known != token) {
            return Err("a refresh token has two successors".to_owned());
        }
        slot.0 = Some(token);
        login.access = Some((reply.field("access"), now));
        Ok(())
    }

    /// Learns what is in a mail that has arrived.
    pub(super) fn read_mail(&mut self, to: &str, link: &str) {
        let (_, token) = link.rsplit_once("token=").unwrap_or_default();
        let token = if token.is_empty() {
            link.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
        } else {
            token
        };
        let Some((user, _)) = self.user_of(to) else { return };
        let purpose = link_kind(Some(link));
        let open = |slip: &Slip| slip.user == user && slip.purpose == purpose && !slip.is_void;
        if let Some(slip) = self.tickets.iter_mut().rev().find(|slip| open(slip)) {
            slip.token = Some(token.to_owned());
        }
    }
}

impl Login {
    pub(super) fn generation(&self) -> u64 {
        u64::try_from(self.tokens.len() - 1).unwrap()
    }
}

impl Letter {
    fn seen(&self) -> (String, &'static str) {
        (self.to.clone(), if self.ticket.is_some() { self.kind } else { "notice" })
    }
}

/// What a mail's link is for.
pub(super) fn link_kind(link: Option<&str>) -> &'static str {
    match link {
        Some(link) if link.contains("verify-email") => "verify_email",
        Some(_) => "reset_password",
        None => "notice",
    }
}
