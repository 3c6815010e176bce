//! The waiting lines, and the thread that writes them.

use std::io::{self, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::line;
use crate::clock::{Clock, Timestamp};
use crate::config::LogFormat;

/// How many bytes of lines may wait while others are being written.
pub(super) const CAPACITY: usize = 1024 * 1024;

/// How much memory is kept while there are no lines, in bytes.
const KEPT: usize = 16 * 1024;

/// How long to wait before writing again to a non-blocking stderr that is full. Another program may
/// have made the terminal or pipe non-blocking.
const NONBLOCKING_PAUSE: Duration = Duration::from_millis(10);

/// How long lines are collected between two writes. Waking the thread for each line would cost more
/// than the line, and the delay is not noticeable.
const GATHERING: Duration = Duration::from_millis(2);

/// Which lines are dropped when there is little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Dropped when the queue is full.
    Ordinary,
    /// A mail, which would be lost with its line. It has the same amount of extra room.
    Mail,
}

/// Queued lines. Pushing never waits for the reader.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Notified when there is something to write.
    arrived: Condvar,
    /// Notified when everything has been written.
    done: Condvar,
    format: LogFormat,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines, one after the other.
    waiting: Vec<u8>,
    /// How many lines were dropped and not reported yet.
    dropped: u64,
    thread: Thread,
}

/// What the thread is doing.
#[derive(Debug, Default, PartialEq, Eq)]
enum Thread {
    /// It will look at the state next, or has not started.
    #[default]
    Underway,
    /// It waits for a line.
    Idle,
}

/// What the thread takes from the state at once.
struct Batch {
    lines: Vec<u8>,
    dropped: u64,
}

impl Queue {
    pub(super) fn new(format: LogFormat, clock: Clock) -> Self {
        let state = Mutex::new(State::default());
        Self { state, arrived: Condvar::new(), done: Condvar::new(), format, clock }
    }

    /// The time, for the lines that the log writes about itself.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.read().wall
    }

    /// Adds a line if there is room.
    pub(super) fn push(&self, line: &str, urgency: Urgency) {
        let capacity = match urgency {
            Urgency::Ordinary => CAPACITY,
            Urgency::Mail => 2 * CAPACITY,
        };
        let mut state = self.lock();
        if state.waiting.len() + line.len() > capacity {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        // Waking a thread costs a system call, even if it is awake.
        if mem::take(&mut state.thread) == Thread::Idle {
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Waits until all lines have been written or given up, at most `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let is_under_way = |state: &mut State| state.thread == Thread::Underway;
        // There is nothing left to do, whether it was in time or not.
        let _ = self.done.wait_timeout_while(self.lock(), patience, is_under_way);
    }

    /// The body of the thread: writes to `output` until the process ends.
    pub(super) fn write(&self, output: impl Write) -> ! {
        let mut output = Output { output, is_mid_line: false };
        let mut kept = Vec::new();
        loop {
            let Batch { mut lines, dropped } = self.next_batch(mem::take(&mut kept));
            let mut lost = output.write(&lines);
            if lost == 0 && dropped > 0 {
                let notice = line::dropped(self.format, self.now(), dropped);
                lost = if output.write(notice.as_bytes()) == 0 { 0 } else { dropped };
            } else {
                lost = lost.saturating_add(dropped);
            }
            if lost > 0 {
                let mut state = self.lock();
                state.dropped = state.dropped.saturating_add(lost);
            }
            lines.clear();
            lines.shrink_to(KEPT);
            kept = lines;
            thread::park_timeout(GATHERING);
        }
    }

    /// Waits for lines. Dropped lines are reported after the next ones, never alone, so that a
    /// stderr that is gone is not retried for ever.
    fn next_batch(&self, room: Vec<u8>) -> Batch {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.thread = Thread::Idle;
            self.done.notify_all();
        }
        let mut state = self
            .arrived
            .wait_while(state, |state| state.waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.thread = Thread::Underway;
        let lines = mem::replace(&mut state.waiting, room);
        Batch { lines, dropped: mem::take(&mut state.dropped) }
    }

    /// How many bytes wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The output.
struct Output<W> {
    output: W,
    /// Whether the last write stopped inside a line.
    is_mid_line: bool,
}

impl<W: Write> Output<W> {
    /// Writes as many lines as possible, and returns how many could not be written in full.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if lines.is_empty() {
            return 0;
        }
        if self.is_mid_line {
            self.is_mid_line = !self.rest_of(b"\n").is_empty();
        }
        let rest = if self.is_mid_line { lines } else { self.rest_of(lines) };
        let written = lines.len() - rest.len();
        if let Some(last) = written.checked_sub(1).and_then(|last| lines.get(last)) {
            self.is_mid_line = *last != b'\n';
        }
        let ends = rest.iter().filter(|byte| **byte == b'\n');
        u64::try_from(ends.count()).unwrap_or(u64::MAX)
    }

    /// The rest of `bytes` that cannot be written.
    fn rest_of<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !bytes.is_empty() {
            match self.output.write(bytes) {
                Ok(0) => break,
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::park_timeout(NONBLOCKING_PAUSE);
                }
                Err(_) => break,
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Longer than anything here takes.
    const LONG: Duration = Duration::from_secs(60);

    /// What a call of `write` comes to: at most so many bytes, or an error.
    type Step = io::Result<usize>;

    /// A stderr that does what a test tells it, and blocks until it is told.
    struct Scripted {
        steps: Receiver<Step>,
        asked: Sender<Vec<u8>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.asked.send(bytes.to_vec());
            self.steps.recv().unwrap_or(Ok(usize::MAX)).map(|most| most.min(bytes.len()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Test {
        queue: Arc<Queue>,
        steps: Sender<Step>,
        asked: Receiver<Vec<u8>>,
    }

    impl Test {
        fn start(format: LogFormat) -> Self {
            let queue = Arc::new(Queue::new(format, Clock::manual(Timestamp::EPOCH)));
            let (steps, taken) = channel();
            let (asking, asked) = channel();
            let writing = Arc::clone(&queue);
            thread::spawn(move || writing.write(Scripted { steps: taken, asked: asking }));
            Self { queue, steps, asked }
        }

        fn push(&self, line: &str) {
            self.queue.push(&format!("{line}\n"), Urgency::Ordinary);
        }

        /// What is being written at this moment.
        fn asked(&self) -> String {
            String::from_utf8(self.asked.recv_timeout(LONG).unwrap()).unwrap()
        }

        /// Lets what is being written through.
        fn goes_through(&self) {
            self.steps.send(Ok(usize::MAX)).unwrap();
        }

        fn fails(&self, kind: io::ErrorKind) {
            self.steps.send(Err(kind.into())).unwrap();
        }
    }

    const NOTICE: &str = "1970-01-01T00:00:00.000000Z  WARN log lines were dropped: stderr is too \
                          slow, or was away";

    #[test]
    fn lines_are_written_in_order_while_others_wait() {
        let test = Test::start(LogFormat::Text);
        test.push("1");
        assert_eq!(test.asked(), "1\n");
        test.push("2");
        test.push("3");
        test.goes_through();
        assert_eq!(test.asked(), "2\n3\n");
        test.goes_through();
        test.queue.flush(LONG);
        test.push("4");
        assert_eq!(test.asked(), "4\n");
    }

    #[test]
    fn a_stalled_reader_blocks_nobody_and_learns_how_many_lines_it_missed() {
        let test = Test::start(LogFormat::Text);
        test.push("first");
        assert_eq!(test.asked(), "first\n");
        let line = "x".repeat(1_023);
        for _ in 0..CAPACITY / 1_024 + 7 {
            test.push(&line);
        }
        test.queue.push("mail\n", Urgency::Mail);
        test.goes_through();
        let waited = test.asked();
        assert_eq!(waited.len(), CAPACITY + 5);
        assert!(waited.ends_with("x\nmail\n"));
        test.goes_through();
        assert_eq!(test.asked(), format!("{NOTICE} lines=7\n"));
        test.goes_through();
        test.queue.flush(LONG);
        test.push("next");
        assert_eq!(test.asked(), "next\n");
        assert!(test.queue.lock().waiting.capacity() <= KEPT, "memory is given back");
    }

    #[test]
    fn mail_has_a_limit_too() {
        let test = Test::start(LogFormat::Text);
        test.push("first");
        assert_eq!(test.asked(), "first\n");
        for _ in 0..2 * CAPACITY / 1_024 + 3 {
            test.queue.push(&"x".repeat(1_024), Urgency::Mail);
        }
        let state = test.queue.lock();
        assert_eq!((state.waiting.len(), state.dropped), (2 * CAPACITY, 3));
    }

    #[test]
    fn a_reader_that_died_ends_nothing_and_the_next_one_learns_of_it() {
        let test = Test::start(LogFormat::Json);
        for _ in 0..3 {
            test.push("lost");
            assert_eq!(test.asked(), "lost\n");
            test.fails(io::ErrorKind::BrokenPipe);
            // It is not asked again before there is something new.
            test.queue.flush(LONG);
        }
        test.push("again");
        assert_eq!(test.asked(), "again\n");
        test.goes_through();
        let notice: serde_json::Value = serde_json::from_str(&test.asked()).unwrap();
        assert_eq!((&notice["level"], &notice["lines"]), (&"WARN".into(), &3.into()));
        // Nor is the notice lost if that very line cannot be written.
        test.fails(io::ErrorKind::StorageFull);
        test.queue.flush(LONG);
        test.push("and again");
        assert_eq!(test.asked(), "and again\n");
        test.goes_through();
        let notice: serde_json::Value = serde_json::from_str(&test.asked()).unwrap();
        assert_eq!(notice["lines"], 3);
    }

    #[test]
    fn a_write_that_breaks_off_inside_a_line_spoils_that_one_only() {
        let test = Test::start(LogFormat::Text);
        test.push("one");
        assert_eq!(test.asked(), "one\n");
        test.push("two");
        test.push("three");
        test.goes_through();
        assert_eq!(test.asked(), "two\nthree\n");
        test.steps.send(Ok(6)).unwrap();
        assert_eq!(test.asked(), "ree\n");
        test.fails(io::ErrorKind::StorageFull);
        test.queue.flush(LONG);
        test.push("four");
        assert_eq!(test.asked(), "\n");
        test.goes_through();
        assert_eq!(test.asked(), "four\n");
        test.goes_through();
        assert_eq!(test.asked(), format!("{NOTICE} lines=1\n"));
    }

    #[test]
    fn a_write_that_would_block_or_was_interrupted_is_tried_again() {
        let test = Test::start(LogFormat::Text);
        test.push("one");
        assert_eq!(test.asked(), "one\n");
        test.fails(io::ErrorKind::WouldBlock);
        assert_eq!(test.asked(), "one\n");
        test.fails(io::ErrorKind::Interrupted);
        assert_eq!(test.asked(), "one\n");
        test.goes_through();
        test.queue.flush(LONG);
        assert_eq!(test.queue.lock().dropped, 0);
    }

    #[test]
    fn flushing_a_stalled_reader_is_given_up() {
        let test = Test::start(LogFormat::Text);
        test.push("one");
        assert_eq!(test.asked(), "one\n");
        test.queue.flush(Duration::from_millis(1));
        assert_eq!(test.queue.lock().thread, Thread::Underway);
    }
}
