//! What clients learn: from answers, from mail, and from what a power cut left.

use latchkey::mail::SentMail;

use super::{Login, Model, Slip};
use crate::power::census::Census;
use crate::power::operation::Operation;
use crate::support::{Reply, claims, ticket_of};

impl Model {
    /// Learns the names of sessions that nobody was told because the power went.
    pub(in crate::power) fn learn_sessions(&mut self, census: &Census) {
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
    pub(in crate::power) fn learn(
        &mut self,
        operation: &Operation,
        reply: &Reply,
    ) -> Result<(), String> {
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

    pub(in crate::power) fn read_mail(&mut self, mail: &SentMail) {
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

pub(in crate::power) fn kind_of(mail: &SentMail) -> &'static str {
    match &mail.link {
        None => "notice",
        Some(link) if !link.contains("verify-email") => "reset_password",
        Some(_) if mail.subject.contains("new email address") => "change_email",
        Some(_) if mail.subject.contains("about to change") => "email_change_requested",
        Some(_) => "verify_email",
    }
}
