//! What a history is made of, before anybody knows what will be there: choices that the model
//! turns into requests, so that a history that was cut shorter still makes sense.

use proptest::collection::vec;
use proptest::prelude::*;

use super::operation::Kind;

/// One thing that somebody does. The number chooses among whom, or what, it can be done to.
pub(super) type Action = (Kind, usize);

const ACTIONS: [(usize, Kind); 19] = [
    (3, Kind::Register),
    (2, Kind::Confirm),
    (1, Kind::Resend),
    (2, Kind::LogIn),
    (5, Kind::Refresh),
    (2, Kind::Repeat),
    (3, Kind::Reuse),
    (4, Kind::Stale),
    (1, Kind::Forgot),
    (2, Kind::Reset),
    (2, Kind::ChangePassword),
    (2, Kind::AskForAddress),
    (4, Kind::ConfirmAddress),
    (2, Kind::CancelAddress),
    (1, Kind::LogOut),
    (1, Kind::EndSession),
    (1, Kind::LogOutEverywhere),
    (1, Kind::Delete),
    (1, Kind::Sweep),
];

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Several tasks at once, whose writes come together in one commit. The power goes before so
    /// many more writes and flushes, if there are as many.
    Together(Vec<Action>, Option<usize>),
    /// Everything that waits is mailed.
    Deliver(Option<usize>),
    /// Time passes, in seconds.
    Wait(u64),
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
    (0..40_u8, choice).prop_map(|(kind, choice)| (weighted(&ACTIONS, kind.into()), choice))
}

/// The kind that a number below the sum of the weights stands for.
pub(super) fn weighted(weights: &[(usize, Kind)], number: usize) -> Kind {
    let each = |(weight, kind): &(usize, Kind)| std::iter::repeat_n(*kind, *weight);
    weights.iter().flat_map(each).nth(number).unwrap()
}
