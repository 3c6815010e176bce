//! How many writes may wait for the writer.

use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;

use redb::Database;

use super::*;

/// A medium whose writer stands still before its first batch, until the other end of `gate` is
/// dropped.
struct Gated {
    memory: Memory,
    gate: Receiver<()>,
    reached: Sender<()>,
}

impl Medium for Gated {
    fn open(&self, cache: usize, opening: Opening) -> Result<Database, OpenError> {
        self.memory.open(cache, opening)
    }

    fn free_space(&self) -> io::Result<u64> {
        let _ = self.reached.send(());
        let _ = self.gate.recv();
        Ok(u64::MAX)
    }
}

#[tokio::test]
async fn a_write_that_finds_the_queue_full_is_refused_at_once() {
    let (closed, gate) = channel();
    let (reached, has_reached) = channel();
    let medium = Gated { memory: Memory::default(), gate, reached };
    let settings = EngineSettings { write_queue: NonZeroUsize::new(8).unwrap(), ..SETTINGS };
    let store = Store::open(medium, settings, POLICY).unwrap().0;
    let write = |number: u8| {
        let user = new_user(&format!("user{number}@example.com"), None, number);
        Box::pin(store.register_user(user, at(START)))
    };
    let mut writes = vec![write(0)];
    assert!(begun(&mut writes[0]).await.is_pending());
    has_reached.recv().unwrap();
    // The writer has the first in its hands; the queue is empty, and takes eight.
    for number in 1..=8 {
        writes.push(write(number));
        assert!(begun(writes.last_mut().unwrap()).await.is_pending(), "{number}");
    }
    let refused = begun(&mut write(9)).await;
    assert!(matches!(refused, Poll::Ready(Err(StoreError::Unavailable))), "{refused:?}");
    drop(closed);
    for write in writes {
        assert!(matches!(write.await, Ok(RegisterOutcome::Registered(_))));
    }
    assert_eq!(store.count_users(), Ok(9));
}

/// Has a future begin, and says what it comes to if it does not have to wait.
async fn begun<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}
