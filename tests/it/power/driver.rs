//! Several tasks at once, in an order that a seed repeats.
//!
//! The writer commits whatever waits for it, which is chance where tasks run free. So it is held
//! between two batches while the tasks begin, one after the other, each until it waits for the
//! writer; then it takes all of them together. It is held again before each flush, so that an
//! answer that does not wait for the flush is seen to come before it.

use latchkey::domain::Client;
use latchkey::secret::Secret;
use tokio::task::{JoinError, JoinSet, yield_now};

use super::operation::{Kind, Operation};
use crate::support::{Reply, TestApp};

/// Turns that are given to all tasks, so that whatever can go on without the writer has done so.
const SETTLING: usize = 24;

/// How an operation ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// The answer; none for what has none.
    pub(super) reply: Option<Reply>,
    /// How many entries the disk's journal had by then.
    pub(super) position: usize,
}

impl Ended {
    /// Whether somebody was told that it is done, or refused for good. Without a reply it is so
    /// unless the power `is_out`.
    pub(super) fn is_answer(&self, is_out: bool) -> bool {
        self.reply.as_ref().map_or(!is_out, |reply| reply.status != 503)
    }
}

/// Carries out operations at the same time, their writes in their order and in one batch. Says of
/// each how it ended; none of those that a power cut left hanging.
pub(super) async fn together(app: &TestApp, operations: &[Operation]) -> Vec<Option<Ended>> {
    let gate = app.disk.gate();
    gate.hold_next_look();
    app.app.store.look_at_space();
    gate.arrival().await;
    let mut tasks = JoinSet::new();
    for (place, operation) in operations.iter().enumerate() {
        let under_way = operation.start(app);
        let disk = app.disk.clone();
        tasks.spawn(async move {
            let reply = under_way.await;
            (place, Ended { reply, position: disk.position() })
        });
        settle().await;
        for _ in 0..operation.hashes() {
            hashed(app).await;
            settle().await;
        }
    }
    gate.hold_flushes(true);
    gate.open();
    // Delivery would go on asking for the disk for ever.
    let never_ends = operations.iter().any(|operation| operation.kind() == Kind::Deliver);
    let mut ends = vec![None; operations.len()];
    let mut note = |ended: Result<(usize, Ended), JoinError>| match ended {
        Ok((place, ended)) => ends[place] = Some(ended),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => {}
    };
    while !tasks.is_empty() {
        tokio::select! {
            biased;
            ended = tasks.join_next() => ended.into_iter().for_each(&mut note),
            () = gate.darkness(), if never_ends => {
                settle().await;
                tasks.abort_all();
                while let Some(ended) = tasks.join_next().await {
                    note(ended);
                }
            }
            () = gate.arrival() => {
                settle().await;
                gate.open();
            }
        }
    }
    gate.hold_flushes(false);
    gate.open();
    ends
}

/// Waits until the passwords are hashed that were to be by now: there is one thread for that, and
/// it takes them in their order.
async fn hashed(app: &TestApp) {
    let from = Client::new([192, 0, 2, 1].into(), "").block();
    let wrong = Secret::new("wrong-Lamp 7 orchard".to_owned());
    app.app.hasher.verify(wrong, None, from).await.unwrap();
}

async fn settle() {
    for _ in 0..SETTLING {
        yield_now().await;
    }
}
