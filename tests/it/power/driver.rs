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
use crate::support::{Place, Reply, TestApp, WRONG};

/// Turns that are given to all tasks, so that whatever can go on without the writer has done so.
const SETTLING: usize = 24;

#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) reply: Option<Reply>,
    /// How many entries the disk's journal had when the writer next waited, or had nothing left to
    /// do: the same however fast either of them is.
    pub(super) position: usize,
}

/// The place of an operation among the others, and its reply.
type Reported = (usize, Option<Reply>);

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
    let mut tasks = begin(app, operations).await;
    gate.hold_flushes(true);
    gate.open();
    // Delivery would go on asking for the disk for ever.
    let mut never_ends = operations.iter().any(|operation| operation.kind() == Kind::Deliver);
    let mut ends = vec![None; operations.len()];
    let mut replies = Vec::new();
    let mut is_over = false;
    loop {
        if tasks.is_empty() && !is_over {
            // What the writer still has to do comes before this.
            is_over = true;
            gate.hold_next_look();
            app.app.store.look_at_space();
        }
        tokio::select! {
            biased;
            place = gate.arrival() => {
                settle().await;
                replies.extend(std::iter::from_fn(|| tasks.try_join_next()).filter_map(unwrap));
                for (operation, reply) in replies.drain(..) {
                    ends[operation] = Some(Ended { reply, position: app.disk.position() });
                }
                if place == Place::Look {
                    break;
                }
                gate.open();
            }
            () = gate.darkness(), if never_ends => {
                settle().await;
                tasks.abort_all();
                never_ends = false;
            }
            reply = tasks.join_next(), if !tasks.is_empty() => {
                replies.extend(reply.and_then(unwrap));
            }
        }
    }
    gate.hold_flushes(false);
    gate.open();
    ends
}

/// Begins operations, each once the one before waits for the writer, which is held before it looks
/// at the free space.
async fn begin(app: &TestApp, operations: &[Operation]) -> JoinSet<Reported> {
    app.disk.gate().hold_next_look();
    app.app.store.look_at_space();
    app.disk.gate().arrival().await;
    let mut tasks = JoinSet::new();
    for (place, operation) in operations.iter().enumerate() {
        let under_way = operation.start(app);
        tasks.spawn(async move { (place, under_way.await) });
        settle().await;
        for _ in 0..operation.hashes() {
            hashed(app).await;
            settle().await;
        }
    }
    tasks
}

/// What a task reports; `None` if it was broken off.
fn unwrap(ended: Result<Reported, JoinError>) -> Option<Reported> {
    match ended {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        ended => ended.ok(),
    }
}

/// Waits until the passwords are hashed that were to be by now: there is one thread for that, and
/// it takes them in their order.
async fn hashed(app: &TestApp) {
    let from = Client::new([192, 0, 2, 1].into(), "").block();
    let wrong = Secret::new(WRONG.to_owned());
    app.app.hasher.verify(wrong, None, from).await.unwrap();
}

async fn settle() {
    for _ in 0..SETTLING {
        yield_now().await;
    }
}
