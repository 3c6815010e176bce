//! What each operation should do.

use super::{CHANGE, Expected, Letter, Login, Model, Person, REFRESH, RESET, Slip, VERIFICATION};
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
        match operation {
            Operation::Register { email, username, password } => {
                let is_taken = |model: &Self| model.user_of(email).is_some();
                if is_taken(before) || is_taken(self) {
                    return Expected::answer(400, false);
                }
                self.register(email, username.as_ref(), password);
                Expected::answer(201, true)
            }
            Operation::Confirm { ticket, .. } => self.confirm(*ticket),
            Operation::Resend { email } => {
                let user = self.user_of(email).filter(|(_, user)| !user.is_verified);
                let user = user.map(|(id, _)| id);
                let kind = ("verify_email", VERIFICATION);
                user.into_iter().for_each(|id| self.ask_for_link(id, kind));
                Expected::answer(200, user.is_some())
            }
            Operation::LogIn { email, password, former } => {
                let seen = before.user_of(email).filter(|(_, user)| user.password == *password);
                let version = |model: &Self, id| model.users.get(&id).map(|user| user.version);
                match seen {
                    Some((id, seen)) if version(self, id) == Some(seen.version) => {
                        if let Some((former, _)) = former {
                            self.log_out(*former);
                        }
                        self.sessions.push(Login {
                            user: id,
                            has_ended: false,
                            rotated_at: self.now,
                            bound: None,
                            id: None,
                            tokens: vec![(None, self.now)],
                            access: None,
                        });
                        Expected::answer(200, true)
                    }
                    _ => Expected::answer(401, false),
                }
            }
            Operation::Present { session, generation, .. } => self.present(*session, *generation),
            Operation::Forgot { email } => {
                let user = self.user_of(email).map(|(id, _)| id);
                let kind = ("reset_password", RESET);
                user.into_iter().for_each(|id| self.ask_for_link(id, kind));
                Expected::answer(200, user.is_some())
            }
            Operation::Reset { ticket, password, .. } => {
                let is_open = |model: &Self| model.is_open(&model.tickets[*ticket]);
                if !is_open(before) || !is_open(self) {
                    return Expected::answer(400, false);
                }
                let user = self.tickets[*ticket].user;
                self.set_password(user, password);
                self.tickets[*ticket].is_void = false;
                self.tickets[*ticket].is_redeemed = true;
                self.end_sessions(user, None);
                self.users.get_mut(&user).unwrap().is_verified = true;
                self.post("password_reset", user, None);
                Expected::answer(200, true)
            }
            Operation::ChangePassword { session, new, .. } => {
                let Some(user) = self.authorised(*session, before) else {
                    return Expected::answer(401, false);
                };
                self.set_password(user, new);
                self.end_sessions(user, Some(*session));
                self.post("password_changed", user, None);
                Expected::answer(200, true)
            }
            Operation::AskForAddress { session, email, .. } => {
                let Some(user) = self.authorised(*session, before) else {
                    return Expected::answer(401, false);
                };
                if self.user_of(email).is_some() {
                    return Expected::answer(400, false);
                }
                self.ask_for_address(user, email);
                Expected::answer(200, true)
            }
            Operation::ConfirmAddress { ticket, .. } => self.confirm_address(*ticket),
            Operation::CancelAddress { ticket, .. } => {
                let slip = &self.tickets[*ticket];
                let user = slip.user;
                if self.has_cancelled(slip) {
                    return Expected::answer(200, false);
                }
                if !self.is_open(slip) {
                    return Expected::answer(400, false);
                }
                self.call_off(user);
                self.tickets[*ticket].is_void = false;
                self.tickets[*ticket].is_redeemed = true;
                Expected::answer(200, true)
            }
            Operation::LogOut { session, .. } => Expected::answer(204, self.log_out(*session)),
            Operation::EndSession { session, ended, .. } => {
                if !self.can_act(*session, before) {
                    return Expected::answer(401, false);
                }
                if !self.is_live(&self.sessions[*ended]) {
                    return Expected::answer(404, false);
                }
                self.sessions[*ended].has_ended = true;
                Expected::answer(204, true)
            }
            Operation::LogOutEverywhere { session, .. } => {
                if !self.can_act(*session, before) {
                    return Expected::answer(401, false);
                }
                self.end_sessions(self.sessions[*session].user, None);
                Expected::answer(204, true)
            }
            Operation::Delete { session, .. } => {
                let Some(user) = self.authorised(*session, before) else {
                    return Expected::answer(401, false);
                };
                self.delete(user);
                Expected::answer(204, true)
            }
            Operation::Deliver => {
                before.outbox.keys().for_each(|number| drop(self.outbox.remove(number)));
                Expected { status: None, has_effect: !before.outbox.is_empty() }
            }
            Operation::Sweep => Expected { status: None, has_effect: false },
        }
    }

    /// Whether a session may act, now and when that was asked for.
    fn can_act(&self, session: usize, before: &Self) -> bool {
        [before, self].into_iter().all(|model| model.is_live(&model.sessions[session]))
    }

    /// The user of a session that may still act, on credentials that nobody has changed since.
    fn authorised(&self, session: usize, before: &Self) -> Option<u64> {
        let user = self.sessions[session].user;
        let version = |model: &Self| model.users.get(&user).map(|user| user.version);
        let is_same = version(self).is_some() && version(self) == version(before);
        (self.can_act(session, before) && is_same).then_some(user)
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
            pending: None,
        };
        self.users.insert(self.users_made, person);
        self.ask_for_link(self.users_made, ("verify_email", VERIFICATION));
    }

    fn confirm(&mut self, ticket: usize) -> Expected {
        let slip = &self.tickets[ticket];
        let (user, is_redeemed) = (slip.user, slip.is_redeemed);
        let is_there = !slip.is_void && self.now < slip.expires_at;
        let Some(person) = self.users.get_mut(&user).filter(|_| is_there) else {
            return Expected::answer(400, false);
        };
        let has_effect = !is_redeemed && !person.is_verified;
        if has_effect {
            person.is_verified = true;
            self.tickets[ticket].is_redeemed = true;
        }
        Expected::answer(200, has_effect)
    }

    /// Ends a session; says whether there was one.
    fn log_out(&mut self, session: usize) -> bool {
        let is_live = self.is_live(&self.sessions[session]);
        self.sessions[session].has_ended |= is_live;
        is_live
    }

    fn present(&mut self, session: usize, generation: usize) -> Expected {
        let now = self.now;
        let is_live = self.is_live(&self.sessions[session]);
        if !self.can_use_refresh(self.sessions[session].tokens[generation].1) || !is_live {
            return Expected::answer(401, false);
        }
        let is_late = self.is_late(&self.sessions[session]);
        let is_stale = self.is_stale(&self.sessions[session]);
        let login = &mut self.sessions[session];
        let current = login.tokens.len() - 1;
        if generation == current {
            login.tokens.push((None, now));
            login.rotated_at = now;
            return Expected::answer(200, true);
        }
        if generation + 1 == current && !is_stale {
            let binds = is_late && login.bound.is_none();
            if binds {
                login.bound = Some(login.tokens[0].1 + REFRESH);
            }
            return Expected::answer(200, binds);
        }
        login.has_ended = true;
        Expected::answer(401, true)
    }

    /// Mails a link of a purpose and lifetime to a user, the same again while it lives.
    fn ask_for_link(&mut self, user: u64, kind: (&'static str, u64)) {
        let email = self.users[&user].email.clone();
        let ticket = self.issue(user, kind, &email);
        self.post(kind.0, user, Some(ticket));
    }

    fn ask_for_address(&mut self, user: u64, email: &str) {
        let person = &self.users[&user];
        let old = person.email.clone();
        let is_same = person.pending.as_ref().is_some_and(|(pending, ticket)| {
            pending == email && self.now < self.tickets[*ticket].expires_at
        });
        if !is_same {
            self.call_off(user);
        }
        let confirm = self.issue(user, ("change_email", CHANGE), email);
        let cancel = self.issue(user, ("cancel_email_change", CHANGE), &old);
        self.users.get_mut(&user).unwrap().pending = Some((email.to_owned(), confirm));
        self.send("change_email", email, user, Some(confirm));
        self.send("email_change_requested", &old, user, Some(cancel));
    }

    fn confirm_address(&mut self, ticket: usize) -> Expected {
        let slip = &self.tickets[ticket];
        let (user, email) = (slip.user, slip.email.clone());
        if slip.is_void || self.now >= slip.expires_at || self.has_cancelled(slip) {
            return Expected::answer(400, false);
        }
        if slip.is_redeemed {
            return Expected::answer(200, false);
        }
        if self.user_of(&email).is_some() {
            self.call_off(user);
            return Expected::answer(400, true);
        }
        let person = self.users.get_mut(&user).unwrap();
        let old = std::mem::replace(&mut person.email, email);
        person.pending = None;
        person.is_verified = true;
        person.version += 1;
        self.void_tickets(user, |_| true);
        self.tickets[ticket].is_void = false;
        self.tickets[ticket].is_redeemed = true;
        self.send("email_changed", &old, user, None);
        Expected::answer(200, true)
    }

    /// Whether a click on this link has called a change of address off.
    fn has_cancelled(&self, slip: &Slip) -> bool {
        let is_made = self.users.get(&slip.user).is_some_and(|user| user.email == slip.email);
        let is_it =
            slip.purpose == "cancel_email_change" || slip.purpose == "change_email" && !is_made;
        is_it && slip.is_redeemed && !slip.is_void && self.now < slip.expires_at
    }

    /// Calls off whatever change of address was asked for.
    fn call_off(&mut self, user: u64) {
        self.users.get_mut(&user).unwrap().pending = None;
        self.void_tickets(user, |slip| {
            matches!(slip.purpose, "change_email" | "cancel_email_change")
        });
    }

    /// The ticket of a purpose for an address that can be redeemed; a new one where there is none.
    fn issue(&mut self, user: u64, kind: (&'static str, u64), email: &str) -> usize {
        let (purpose, lifetime) = kind;
        let is_it = |slip: &Slip| {
            (slip.user, slip.purpose, &*slip.email) == (user, purpose, email) && self.is_open(slip)
        };
        self.tickets.iter().position(is_it).unwrap_or_else(|| {
            self.tickets.push(Slip {
                user,
                purpose,
                email: email.to_owned(),
                expires_at: self.now + lifetime,
                is_redeemed: false,
                is_void: false,
                token: None,
            });
            self.tickets.len() - 1
        })
    }

    fn post(&mut self, kind: &'static str, user: u64, ticket: Option<usize>) {
        let to = self.users[&user].email.clone();
        self.send(kind, &to, user, ticket);
    }

    fn send(&mut self, kind: &'static str, to: &str, user: u64, ticket: Option<usize>) {
        self.mails_made += 1;
        self.outbox.insert(self.mails_made, Letter { kind, to: to.to_owned(), user, ticket });
    }

    fn void_tickets(&mut self, user: u64, is_chosen: impl Fn(&Slip) -> bool) {
        let owned = self.tickets.iter_mut().filter(|slip| slip.user == user && is_chosen(slip));
        owned.for_each(|slip| slip.is_void = true);
    }

    fn set_password(&mut self, user: u64, password: &str) {
        let person = self.users.get_mut(&user).unwrap();
        person.former_password = Some(std::mem::replace(&mut person.password, password.to_owned()));
        person.version += 1;
        person.pending = None;
        self.void_tickets(user, |slip| !(slip.is_redeemed && slip.purpose == "reset_password"));
    }

    fn end_sessions(&mut self, user: u64, kept: Option<usize>) {
        for (place, session) in self.sessions.iter_mut().enumerate() {
            session.has_ended |= session.user == user && Some(place) != kept;
        }
    }

    fn delete(&mut self, user: u64) {
        self.end_sessions(user, None);
        self.void_tickets(user, |_| true);
        self.outbox.retain(|_, letter| letter.user != user);
        self.post("account_deleted", user, None);
        self.users.remove(&user);
    }
}
