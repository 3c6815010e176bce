//! What each operation should do.

use super::{Expected, Letter, Login, Model, Person, RESET, Slip, VERIFICATION};
use crate::power::operation::Operation;

impl Model {
    /// What is there after each of several operations that are begun at the same time and whose
    /// transactions come in their order, what was there before them first; and what each should
    /// lead to.
    pub(in crate::power) fn stages(&self, operations: &[Operation]) -> (Vec<Self>, Vec<Expected>) {
        let (mut stages, mut expected) = (vec![self.clone()], Vec::new());
        for operation in operations {
            let mut after = stages[stages.len() - 1].clone();
            expected.push(after.apply(operation, self));
            stages.push(after);
        }
        (stages, expected)
    }

    /// Does what an operation should do, if its transaction comes next. What it saw before that,
    /// when it was begun, is in `before`.
    pub(in crate::power) fn apply(&mut self, operation: &Operation, before: &Self) -> Expected {
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
}
