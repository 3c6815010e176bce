//! Turns what somebody is to do into a request that makes sense now.

use super::model::{Login, Model, Person, Slip};
use super::operation::{Kind, Operation, choose, instead};
use super::plan::Action;

const ADDRESSES: usize = 6;

/// The request by which `action` is done; something like it where that cannot be done now.
/// `number` names the password that is chosen, if one is.
pub(super) fn resolve(model: &Model, action: Action, number: u64) -> Operation {
    let (mut kind, any) = action;
    loop {
        if let Some(operation) = find(model, kind, any, number) {
            return operation;
        }
        kind = instead(kind);
    }
}

fn find(model: &Model, kind: Kind, any: usize, number: u64) -> Option<Operation> {
    let password = format!("tide-Lamp {number} orchard");
    Some(match kind {
        Kind::Register => register(model, any, password),
        Kind::Confirm => {
            let (ticket, slip) = choose(&open_slips(model, &["verify_email"]), any).copied()?;
            Operation::Confirm { ticket, token: slip.token.clone()? }
        }
        Kind::Resend => {
            let people: Vec<&Person> =
                model.users.values().filter(|person| !person.is_verified).collect();
            Operation::Resend { email: choose(&people, any)?.email.clone() }
        }
        Kind::LogIn => {
            let person = person(model, any)?;
            let former = if any.is_multiple_of(2) { None } else { held(model, any / 2) };
            let (email, password) = (person.email.clone(), person.password.clone());
            Operation::LogIn { email, password, former }
        }
        Kind::Refresh => {
            let current = |session: &Login| Some(session.tokens.len() - 1);
            present(model, any, Kind::Refresh, current)?
        }
        Kind::Repeat => present(model, any, Kind::Repeat, |session| {
            session.tokens.len().checked_sub(2).filter(|_| !model.is_late(session))
        })?,
        Kind::Reuse => {
            present(model, any, Kind::Reuse, |session| session.tokens.len().checked_sub(3))?
        }
        Kind::Stale => present(model, any, Kind::Stale, |session| {
            session.tokens.len().checked_sub(2).filter(|_| model.is_late(session))
        })?,
        Kind::Forgot => Operation::Forgot { email: person(model, any)?.email.clone() },
        Kind::Reset => {
            let (ticket, slip) = choose(&open_slips(model, &["reset_password"]), any).copied()?;
            Operation::Reset { ticket, token: slip.token.clone()?, password }
        }
        Kind::ChangePassword => {
            let (session, access, current) = bearer(model, any)?;
            Operation::ChangePassword { session, access, current, new: password }
        }
        Kind::AskForAddress => {
            let (session, access, password) = bearer(model, any)?;
            let email = address(free_place(model, any / 7)?);
            Operation::AskForAddress { session, access, password, email }
        }
        Kind::ConfirmAddress => {
            let (ticket, slip) = choose(&open_slips(model, &["change_email"]), any).copied()?;
            Operation::ConfirmAddress { ticket, token: slip.token.clone()? }
        }
        Kind::CancelAddress => {
            let either = open_slips(model, &["change_email", "cancel_email_change"]);
            let (ticket, slip) = choose(&either, any).copied()?;
            Operation::CancelAddress { ticket, token: slip.token.clone()? }
        }
        Kind::LogOut => {
            let (session, token) = held(model, any)?;
            Operation::LogOut { session, token }
        }
        Kind::EndSession => {
            let (session, access, _) = bearer(model, any)?;
            let user = model.sessions[session].user;
            let own = live(model, |login| login.user == user && login.id.is_some());
            let (ended, login) = choose(&own, any / 7).copied()?;
            Operation::EndSession { session, access, ended, id: login.id.clone()? }
        }
        Kind::LogOutEverywhere => {
            let (session, access, _) = bearer(model, any)?;
            Operation::LogOutEverywhere { session, access }
        }
        Kind::Delete => {
            let (session, access, password) = bearer(model, any)?;
            Operation::Delete { session, access, password }
        }
        _ => Operation::Sweep,
    })
}

/// Someone with an address of their own where one is free, and every other one with a name.
fn register(model: &Model, any: usize, password: String) -> Operation {
    let place = free_place(model, any).unwrap_or(any);
    let name = format!("name{}", place % ADDRESSES);
    // Its owner may have moved to another address since.
    let is_taken = model.users.values().any(|person| person.username.as_ref() == Some(&name));
    let username = (place.is_multiple_of(2) && !is_taken).then_some(name);
    Operation::Register { email: address(place), username, password }
}

fn address(place: usize) -> String {
    format!("user{}@example.com", place % ADDRESSES)
}

/// The place of an address that nobody has, though somebody may be about to get it.
fn free_place(model: &Model, any: usize) -> Option<usize> {
    (any..any + ADDRESSES).find(|place| model.user_of(&address(*place)).is_none())
}

fn person(model: &Model, any: usize) -> Option<&Person> {
    let people: Vec<&Person> = model.users.values().collect();
    choose(&people, any).copied()
}

/// The tickets of some purposes that can be redeemed and have been mailed.
fn open_slips<'m>(model: &'m Model, purposes: &[&str]) -> Vec<(usize, &'m Slip)> {
    let all = model.tickets.iter().enumerate();
    let is_fit = |slip: &Slip| purposes.contains(&slip.purpose) && slip.token.is_some();
    all.filter(|(_, slip)| is_fit(slip) && model.is_open(slip)).collect()
}

/// A session with the latest token of it that somebody was told.
fn held(model: &Model, any: usize) -> Option<(usize, String)> {
    let is_known = |session: &Login| session.tokens.iter().any(|(token, _)| token.is_some());
    let (session, login) = choose(&live(model, is_known), any).copied()?;
    let token = login.tokens.iter().rev().find_map(|(token, _)| token.clone())?;
    Some((session, token))
}

fn live(model: &Model, is_fit: impl Fn(&Login) -> bool) -> Vec<(usize, &Login)> {
    let all = model.sessions.iter().enumerate();
    all.filter(|(_, session)| model.is_live(session) && is_fit(session)).collect()
}

/// Shows the refresh token of the generation that is chosen of a session.
fn present(
    model: &Model,
    any: usize,
    kind: Kind,
    generation: impl Fn(&Login) -> Option<usize>,
) -> Option<Operation> {
    let known = |session: &Login| {
        let generation = generation(session)?;
        let (token, issued_at) = &session.tokens[generation];
        let token = token.clone().filter(|_| model.can_use_refresh(*issued_at))?;
        Some((generation, token))
    };
    let (session, login) = choose(&live(model, |login| known(login).is_some()), any).copied()?;
    let (generation, token) = known(login)?;
    Some(Operation::Present { session, generation, token, kind })
}

/// A session with an access token that has not expired, and its user's password.
fn bearer(model: &Model, any: usize) -> Option<(usize, String, String)> {
    let access = |session: &Login| {
        let (token, issued_at) = session.access.clone()?;
        model.can_use_access(issued_at).then_some(token)
    };
    let (session, login) = choose(&live(model, |login| access(login).is_some()), any).copied()?;
    Some((session, access(login)?, model.users[&login.user].password.clone()))
}
