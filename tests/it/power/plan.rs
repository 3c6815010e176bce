//! What a history is made of, before anybody knows what will be there: choices that the model
//! turns into requests, so that a history that was cut shorter still makes sense.

use proptest::collection::vec;
use proptest::prelude::*;

/// One thing that somebody does. The number chooses among whom, or what, it can be done to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Register(usize),
    Confirm(usize),
    Resend(usize),
    LogIn(usize),
    /// Shows a current refresh token.
    Refresh(usize),
    /// Shows one that was just superseded, from elsewhere.
    Repeat(usize),
    /// Shows one whose successor was used.
    Reuse(usize),
    /// Shows one that was superseded too long ago.
    Stale(usize),
    Forgot(usize),
    Reset(usize),
    ChangePassword(usize),
    /// Asks for another address.
    AskForAddress(usize),
    /// Confirms it, by the link that was mailed there.
    ConfirmAddress(usize),
    /// Calls it off, by either link.
    CancelAddress(usize),
    LogOut(usize),
    /// Ends one of the own sessions.
    EndSession(usize),
    LogOutEverywhere(usize),
    Delete(usize),
    Sweep,
}

/// One step of a history.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Several tasks at once, whose writes come together in one commit. The power goes before so
    /// many more writes and flushes, if there are as many.
    Together(Vec<Action>, Option<usize>),
    /// Everything that waits is mailed.
    Deliver(Option<usize>),
    /// Time passes, in seconds.
    Wait(u64),
    /// The server stops and starts.
    Restart,
}

/// A history of up to so many steps.
pub(super) fn history(length: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..=length)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (vec(action(), 1..=5), power_cut()).prop_map(|(actions, cut)| {
            Step::Together(actions, cut)
        }),
        3 => power_cut().prop_map(Step::Deliver),
        // Multiples of ten seconds: no lifetime ends at one.
        4 => prop_oneof![2 => Just(10), 4 => Just(40), 2 => Just(1_200), 1 => Just(3_700)]
            .prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

fn power_cut() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![3 => Just(None), 1 => (0..50_usize).prop_map(Some)]
}

fn action() -> impl Strategy<Value = Action> {
    let choice = any::<u16>().prop_map(usize::from);
    (0..40_u8, choice).prop_map(|(kind, choice)| match kind {
        0..3 => Action::Register(choice),
        3..5 => Action::Confirm(choice),
        5 => Action::Resend(choice),
        6..8 => Action::LogIn(choice),
        8..13 => Action::Refresh(choice),
        13..15 => Action::Repeat(choice),
        15..18 => Action::Reuse(choice),
        18..22 => Action::Stale(choice),
        22 => Action::Forgot(choice),
        23..25 => Action::Reset(choice),
        25..27 => Action::ChangePassword(choice),
        27..29 => Action::AskForAddress(choice),
        29..33 => Action::ConfirmAddress(choice),
        33..35 => Action::CancelAddress(choice),
        35 => Action::LogOut(choice),
        36 => Action::EndSession(choice),
        37 => Action::LogOutEverywhere(choice),
        38 => Action::Delete(choice),
        _ => Action::Sweep,
    })
}
