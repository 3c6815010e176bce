//! What a history is made of, before anybody knows what will be there: choices that the model
//! turns into requests, so that a history that was cut shorter still makes sense.

use proptest::collection::vec;
use proptest::prelude::*;

/// One thing that somebody does. The number chooses among whom, or what, it can be done to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Register(usize),
    Confirm(usize),
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
    LogOut(usize),
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
    (0..32_u8, choice).prop_map(|(kind, choice)| match kind {
        0..4 => Action::Register(choice),
        4..6 => Action::Confirm(choice),
        6..9 => Action::LogIn(choice),
        9..14 => Action::Refresh(choice),
        14..16 => Action::Repeat(choice),
        16..18 => Action::Reuse(choice),
        18..22 => Action::Stale(choice),
        22..24 => Action::Forgot(choice),
        24..26 => Action::Reset(choice),
        26..28 => Action::ChangePassword(choice),
        28 => Action::LogOut(choice),
        29 => Action::LogOutEverywhere(choice),
        30 => Action::Delete(choice),
        _ => Action::Sweep,
    })
}
