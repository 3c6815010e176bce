//! The whole server on what a power cut left: what people notice.

use super::model::{Login, Model, Slip, kind_of};
use super::operation::{Operation, choose};
use crate::support::{Disk, PASSWORD, Reply, TestApp};

/// Starts the server on `disk` and asks it about what `model` says.
pub(super) async fn ask(
    beside: &TestApp,
    disk: Disk,
    model: &Model,
    number: usize,
) -> Result<(), String> {
    let app = beside.beside(disk);
    let ready = app.get("/readyz").await;
    expect("it is ready", &ready, 200)?;
    ask_for_mail(&app, model).await?;
    ask_about_people(&app, model, number).await?;
    ask_about_sessions(&app, model, number).await?;
    ask_about_addresses(&app, model).await?;
    let email = "newcomer@example.com";
    expect("a newcomer registers", &app.registration(email).await, 201)?;
    let newcomer = app.login(email, PASSWORD).await;
    expect("the newcomer logs in", &newcomer, 200)?;
    let id = newcomer.json()["user"]["id"].as_u64();
    if id != Some(model.next_user()) {
        return Err(format!("the newcomer is user {id:?} and not {}", model.next_user()));
    }
    app.stop().await;
    Ok(())
}

fn expect(what: &str, reply: &Reply, status: u16) -> Result<(), String> {
    if reply.status == status {
        return Ok(());
    }
    Err(format!("{what}: the answer is {} and not {status}", reply.status))
}

async fn ask_for_mail(app: &TestApp, model: &Model) -> Result<(), String> {
    app.deliver().await;
    let arrived = arrived(app, 0);
    let due = model.due_mail();
    if arrived != due {
        return Err(format!("these mails arrived: {arrived:?}, and these were due: {due:?}"));
    }
    let waiting = app.app.store.count_mail().map_err(|error| error.to_string())?;
    if waiting > 0 { Err(format!("{waiting} mails still wait")) } else { Ok(()) }
}

/// The mails that have arrived after the first `known`.
pub(super) fn arrived(app: &TestApp, known: usize) -> Vec<(String, &'static str)> {
    let sent = app.mails.sent();
    let mut arrived: Vec<_> =
        sent[known..].iter().map(|mail| (mail.to.clone(), kind_of(mail))).collect();
    arrived.sort_unstable();
    arrived
}

async fn ask_about_people(app: &TestApp, model: &Model, number: usize) -> Result<(), String> {
    let people: Vec<_> = model.users.iter().collect();
    let Some((id, person)) = choose(&people, number) else { return Ok(()) };
    let reply = app.login(&person.email, &person.password).await;
    expect("the right password", &reply, 200)?;
    if reply.json()["user"]["id"] != **id {
        return Err("somebody else's account opened".to_owned());
    }
    if let Some(former) = &person.former_password {
        expect("a former password", &app.login(&person.email, former).await, 401)?;
    }
    Ok(())
}

async fn ask_about_sessions(app: &TestApp, model: &Model, number: usize) -> Result<(), String> {
    let is_known = |session: &&Login| session.tokens.iter().any(|(token, _)| token.is_some());
    let known: Vec<&Login> = model.sessions.iter().filter(is_known).collect();
    // The latest ones are those that the power cut may have touched.
    for step in 0..known.len().min(3) {
        let latest = known[known.len() - 1 - step];
        ask_about_session(app, model, latest).await?;
    }
    match choose(&known[..known.len().saturating_sub(3)], number) {
        Some(session) => ask_about_session(app, model, session).await,
        None => Ok(()),
    }
}

/// Confirms with the latest tickets of a change of address, void and redeemed ones among them.
async fn ask_about_addresses(app: &TestApp, model: &Model) -> Result<(), String> {
    let mut model = model.clone();
    let is_known = |slip: &Slip| slip.purpose == "change_email" && slip.token.is_some();
    let known = model.tickets.iter().enumerate().filter(|(_, slip)| is_known(slip));
    let known: Vec<_> = known.map(|(place, slip)| (place, slip.token.clone())).collect();
    for (ticket, token) in known.into_iter().rev().take(2) {
        let token = token.unwrap_or_default();
        let reply = app.confirming(&token).await;
        let before = model.clone();
        let due = model.apply(&Operation::ConfirmAddress { ticket, token }, &before);
        expect("a ticket of a new address", &reply, due.status.unwrap_or_default())?;
    }
    Ok(())
}

async fn ask_about_session(app: &TestApp, model: &Model, session: &Login) -> Result<(), String> {
    let is_live = model.is_live(session);
    if let Some((access, _)) = session.access.as_ref().filter(|(_, at)| model.can_use_access(*at)) {
        let status = if is_live { 200 } else { 401 };
        expect("an access token", &app.profile(access).await, status)?;
    }
    let current = session.tokens.len() - 1;
    let (token, _) = &session.tokens[current];
    if !is_live {
        return match token {
            Some(token) => expect("an ended session", &app.refreshing(token).await, 401),
            None => Ok(()),
        };
    }
    let before = session.tokens[..current].last();
    let before = before.filter(|(_, issued_at)| model.can_use_refresh(*issued_at));
    let before = before.and_then(|(before, _)| before.as_ref());
    match (token, before) {
        // Nobody was told the current token: anyone who has the one before gets it, for a while.
        (None, Some(before)) => {
            let status = if model.is_stale(session) { 401 } else { 200 };
            expect("a token whose answer was lost", &app.refreshing(before).await, status)
        }
        (Some(token), Some(before)) if model.is_stale(session) => {
            expect("one superseded long ago", &app.refreshing(before).await, 401)?;
            expect("what the theft ended", &app.refreshing(token).await, 401)
        }
        (Some(token), before) => {
            let first = app.refreshing(token).await;
            expect("the current token", &first, 200)?;
            let second = app.refreshing(token).await;
            expect("the same again", &second, 200)?;
            if first.field("refresh") != second.field("refresh") {
                return Err("one refresh token has two successors".to_owned());
            }
            if let Some(before) = before {
                expect("one superseded for good", &app.refreshing(before).await, 401)?;
                expect("what the theft ended", &app.refreshing(token).await, 401)?;
            }
            Ok(())
        }
        (None, None) => Ok(()),
    }
}
