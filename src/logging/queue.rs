//! The queue of lines, and the thread that writes them.

use std::io::{self, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::line;
use crate::clock::Clock;
use crate::config::LogFormat;

/// How many bytes of lines may wait. A line beyond that is dropped.
pub(super) const CAPACITY: usize = 1024 * 1024;

/// The same for lines that are mails: a dropped one would be a lost mail.
pub(super) const MAIL_CAPACITY: usize = 2 * CAPACITY;

/// How much memory is kept for lines while there are none.
const KEPT: usize = 16 * 1024;

/// How long to wait when a non-blocking stderr is full. Another program that shares the terminal or
/// pipe may have made it non-blocking.
const NONBLOCKING_PAUSE: Duration = Duration::from_millis(10);

/// How long lines gather after a write, before the next one. Waking the thread for each line costs
/// more than the line.
const GATHERING: Duration = Duration::from_millis(2);

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Signalled when an idle writer has something to write.
    arrived: Condvar,
    /// Signalled when everything has been written.
    done: Condvar,
    format: LogFormat,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines, one after the other.
    waiting: Vec<u8>,
    /// How many lines were dropped and not reported yet.
    dropped: usize,
    /// Whether the thread waits for a line. Otherwise it writes, or has not started.
    is_writer_idle: bool,
}

impl Queue {
    pub(super) fn new(format: LogFormat, clock: Clock) -> Self {
        let state = Mutex::new(State::default());
        Self { state, arrived: Condvar::new(), done: Condvar::new(), format, clock }
    }

    /// Adds a line, if no more than `capacity` bytes wait with it.
    pub(super) fn push(&self, line: &str, capacity: usize) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > capacity {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        // Notifying costs a system call, even if nobody waits.
        if mem::take(&mut state.is_writer_idle) {
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Waits until all lines have been written or lost, or `timeout` has passed.
    pub(super) fn flush(&self, timeout: Duration) {
        let is_writing = |state: &mut State| !state.is_writer_idle;
        // After a timeout there is nothing more to do.
        let _ = self.done.wait_timeout_while(self.lock(), timeout, is_writing);
    }

    /// The writing thread: writes lines to `output` for as long as the process lives.
    pub(super) fn write(&self, output: impl Write) -> ! {
        let mut output = Output { output, is_mid_line: false };
        let mut lines = Vec::new();
        loop {
            let dropped = self.next_batch(&mut lines);
            let lost = output.write(&lines);
            let is_reported = lost == 0 && (dropped == 0 || self.report(&mut output, dropped));
            if !is_reported {
                self.lock().dropped += lost + dropped;
            }
            lines.clear();
            lines.shrink_to(KEPT);
            thread::park_timeout(GATHERING);
        }
    }

    /// Waits for lines, moves them into the empty `lines`, and returns how many others were dropped
    /// meanwhile. Those are reported after the lines and never alone: each failed report would
    /// cause another.
    fn next_batch(&self, lines: &mut Vec<u8>) -> usize {
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.is_writer_idle = true;
            self.done.notify_all();
        }
        let mut state = self
            .arrived
            .wait_while(state, |state| state.waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.is_writer_idle = false;
        mem::swap(&mut state.waiting, lines);
        mem::take(&mut state.dropped)
    }

    /// Writes that lines were dropped; returns whether that succeeded.
    fn report(&self, output: &mut Output<impl Write>, dropped: usize) -> bool {
        let line = line::dropped(self.format, self.clock.read().wall, dropped);
        output.write(line.as_bytes()) == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where lines are written to.
struct Output<W> {
    output: W,
    /// Whether the last write failed in the middle of a line.
    is_mid_line: bool,
}

impl<W: Write> Output<W> {
    /// Writes lines as far as possible, and returns how many were not written whole.
    fn write(&mut self, lines: &[u8]) -> usize {
        if self.is_mid_line {
            self.is_mid_line = self.write_some(b"\n") == 0;
        }
        let written = if self.is_mid_line { 0 } else { self.write_some(lines) };
        let (written, rest) = lines.split_at_checked(written).unwrap_or((lines, &[]));
        if let Some(last) = written.last() {
            self.is_mid_line = *last != b'\n';
        }
        rest.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Writes until nothing more can be written, and returns the number of bytes written.
    fn write_some(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while let Some(rest @ [_, ..]) = bytes.get(written..) {
            match self.output.write(rest) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::park_timeout(NONBLOCKING_PAUSE);
                }
                Err(_) => break,
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::clock::Timestamp;

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
            self.queue.push(&format!("{line}\n"), CAPACITY);
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

    const NOTICE: &str = "1970-01-01T00:00:00.000000Z  WARN log lines were dropped: stderr was too \
                          slow or closed";

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
        test.queue.push("mail\n", MAIL_CAPACITY);
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
        for _ in 0..MAIL_CAPACITY / 1_024 + 3 {
            test.queue.push(&"x".repeat(1_024), MAIL_CAPACITY);
        }
        let state = test.queue.lock();
        assert_eq!((state.waiting.len(), state.dropped), (MAIL_CAPACITY, 3));
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
        assert!(!test.queue.lock().is_writer_idle);
    }
}
