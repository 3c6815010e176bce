//! The client: keep-alive connections on one thread, each asking again as soon as it is answered
//! (or at a given pace), with as little work of its own as can be. It shares two cores with the
//! server, so what it costs is missing there.
//!
//! A [`Script`] says what each connection asks and looks at what it is told. Buffers are kept, and
//! nothing is allocated for a request.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, SocketType};

use crate::answer::Answer;
use crate::latency::Latency;
use crate::{Result, stopwatch};

/// The longest answer that is read.
const LONGEST_ANSWER: usize = 64 * 1024;
/// No answer at all for so long is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked, and what is expected.
pub(crate) trait Script {
    /// Writes the next request of a connection into `request`, which still holds the one before.
    fn request(&mut self, connection: usize, request: &mut Vec<u8>);

    /// Looks at the answer.
    ///
    /// # Errors
    /// What is wrong with it; it is counted.
    fn answer(&mut self, connection: usize, answer: &Answer<'_>)
    -> std::result::Result<(), String>;
}

impl<S: Script + ?Sized> Script for &mut S {
    fn request(&mut self, connection: usize, request: &mut Vec<u8>) {
        (**self).request(connection, request);
    }

    fn answer(
        &mut self,
        connection: usize,
        answer: &Answer<'_>,
    ) -> std::result::Result<(), String> {
        (**self).answer(connection, answer)
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// By each connection as soon as it is answered.
    ClosedLoop,
    /// One in each interval, by whichever connection is free. What has to wait for one counts as
    /// sent when it was due, so that a server that stands still looks as slow as it is.
    Every(Duration),
}

/// How a load went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// How long all answers took, those that came after the end among them.
    pub(crate) latency: Latency,
    /// How many were answered in time.
    pub(crate) answered: u64,
    /// For how long there was load.
    pub(crate) lasted: Duration,
    /// How many answers were wrong, or never came.
    pub(crate) errors: u64,
    /// What the first of these was.
    pub(crate) first_error: Option<String>,
    /// How many requests were due, but found no free connection before the end.
    pub(crate) unsent: u64,
}

impl Outcome {
    /// Answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.answered as f64 / self.lasted.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Adds another part of the same load.
    pub(crate) fn merge(&mut self, other: Self) {
        self.latency.merge(&other.latency);
        self.answered += other.answered;
        self.lasted += other.lasted;
        self.errors += other.errors;
        self.unsent += other.unsent;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn fail(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }
}

/// Connections to one server, which stay open from one load to the next.
pub(crate) struct Client {
    source: Ipv4Addr,
    address: SocketAddr,
    epoll: OwnedFd,
    connections: Vec<Connection>,
}

#[derive(Default)]
struct Connection {
    /// None before it has something to ask, and once it was lost.
    stream: Option<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
    filled: usize,
    /// Since when it waits for an answer.
    asked: Option<Instant>,
}

impl Client {
    /// For `count` connections, each opened when it first has something to ask.
    pub(crate) fn connect(address: SocketAddr, count: usize) -> Result<Self> {
        Self::connect_from(Ipv4Addr::LOCALHOST, address, count)
    }

    /// The same from a given address: each has ports for some twenty thousand. A server takes no
    /// more newcomers at once than its queue for them holds.
    pub(crate) fn connect_from(
        source: Ipv4Addr,
        address: SocketAddr,
        count: usize,
    ) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connections = (0..count).map(|_| Connection::default()).collect();
        Ok(Self { source, address, epoll, connections })
    }

    /// Puts load on the server for `lasts`, and waits for the answers that are still due then.
    ///
    /// # Errors
    /// If the server is gone, or silent. Wrong answers and lost connections are counted instead.
    pub(crate) fn run(
        &mut self,
        lasts: Duration,
        pace: Pace,
        script: &mut dyn Script,
    ) -> Result<Outcome> {
        let begins = stopwatch::now();
        let mut load = Load {
            has_begun: false,
            ends: begins + lasts,
            pace,
            due: begins,
            free: (0..self.connections.len()).collect(),
            outcome: Outcome { lasted: lasts, ..Outcome::default() },
        };
        let mut events = Vec::with_capacity(self.connections.len().clamp(1, 1024));
        let mut heard = begins;
        self.forget_closed(&mut load, script)?;
        loop {
            let now = stopwatch::now();
            self.send_what_is_due(now, &mut load, script)?;
            let is_over = now >= load.ends;
            if is_over && load.free.len() == self.connections.len() {
                break;
            }
            if now.duration_since(heard) > PATIENCE {
                return Err(format!("no answer for {PATIENCE:?}").into());
            }
            let wait = match pace {
                Pace::Every(_) if !is_over && !load.free.is_empty() => {
                    load.due.min(load.ends).saturating_duration_since(now)
                }
                _ if !is_over => load.ends.saturating_duration_since(now).min(PATIENCE),
                _ => PATIENCE,
            };
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timespec(wait)))?;
            for event in events.drain(..) {
                let data = event.data;
                let index = usize::try_from(data.u64())?;
                if self.receive(index, &mut load, script)? {
                    heard = stopwatch::now();
                }
            }
        }
        if let Pace::Every(interval) = pace {
            while load.due < load.ends {
                load.due += interval;
                load.outcome.unsent += 1;
            }
        }
        Ok(load.outcome)
    }

    /// Has every connection ask once, and waits for all answers.
    pub(crate) fn ask_once(&mut self, script: &mut dyn Script) -> Result<Outcome> {
        self.run(Duration::from_nanos(1), Pace::ClosedLoop, script)
    }

    /// Notices what a server has closed because it was idle for too long.
    fn forget_closed(&mut self, load: &mut Load, script: &mut dyn Script) -> Result<()> {
        let mut events = Vec::with_capacity(self.connections.len().max(1));
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timespec(Duration::ZERO)))?;
        for event in events {
            let data = event.data;
            self.receive(usize::try_from(data.u64())?, load, script)?;
        }
        Ok(())
    }

    fn send_what_is_due(
        &mut self,
        now: Instant,
        load: &mut Load,
        script: &mut dyn Script,
    ) -> Result<()> {
        if let Pace::Every(interval) = load.pace {
            while load.due <= now
                && load.due < load.ends
                && let Some(index) = load.free.pop_front()
            {
                let asked = load.due;
                load.due += interval;
                self.send(index, asked, load, script)?;
            }
        } else {
            // The first request of each is sent whatever the time is.
            let is_due = !std::mem::replace(&mut load.has_begun, true) || now < load.ends;
            while is_due && let Some(index) = load.free.pop_front() {
                self.send(index, stopwatch::now(), load, script)?;
            }
        }
        Ok(())
    }

    fn send(
        &mut self,
        index: usize,
        asked: Instant,
        load: &mut Load,
        script: &mut dyn Script,
    ) -> Result<()> {
        if self.connection(index)?.stream.is_none() {
            let stream = self.open(index)?;
            self.connection(index)?.stream = Some(stream);
        }
        let connection = self.connection(index)?;
        script.request(index, &mut connection.request);
        connection.asked = Some(asked);
        // A request that does not fit into the socket's buffer is no request of ours.
        let sent = connection.stream.as_mut().map(|stream| stream.write_all(&connection.request));
        if let Some(Err(error)) = sent {
            self.lose(index, format!("a request could not be sent: {error}"), load)?;
        }
        Ok(())
    }

    /// Reads what has come for a connection; says whether that made an answer whole.
    fn receive(&mut self, index: usize, load: &mut Load, script: &mut dyn Script) -> Result<bool> {
        let connection = self.connection(index)?;
        if connection.answer.len() == connection.filled {
            if connection.filled >= LONGEST_ANSWER {
                self.lose(index, "an answer is too long".to_owned(), load)?;
                return Ok(false);
            }
            connection.answer.resize((connection.filled * 2).max(2048), 0);
        }
        let room = connection.answer.get_mut(connection.filled..).unwrap_or_default();
        let Some(stream) = connection.stream.as_mut() else { return Ok(false) };
        let count = match stream.read(room) {
            Ok(0) => {
                self.lose(index, "a connection was closed".to_owned(), load)?;
                return Ok(false);
            }
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => {
                self.lose(index, format!("a connection was lost: {error}"), load)?;
                return Ok(false);
            }
        };
        connection.filled += count;
        let bytes = connection.answer.get(..connection.filled).unwrap_or_default();
        let (answer, length) = match Answer::read(bytes) {
            Ok(Some(whole)) => whole,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.lose(index, error.to_owned(), load)?;
                return Ok(false);
            }
        };
        let Some(asked) = connection.asked.take() else {
            self.lose(index, "an answer that nobody asked for".to_owned(), load)?;
            return Ok(false);
        };
        let now = stopwatch::now();
        load.outcome.latency.record(now.saturating_duration_since(asked));
        load.outcome.answered += u64::from(now <= load.ends);
        let judged = if length == bytes.len() {
            script.answer(index, &answer)
        } else {
            Err("more than one answer to one request".to_owned())
        };
        connection.filled = 0;
        if let Err(error) = judged {
            load.outcome.fail(error);
        }
        if matches!(load.pace, Pace::ClosedLoop) && now < load.ends {
            self.send(index, now, load, script)?;
        } else {
            load.free.push_back(index);
        }
        Ok(true)
    }

    /// Gives a connection up; it counts as an error if it owed an answer.
    fn lose(&mut self, index: usize, error: String, load: &mut Load) -> Result<()> {
        let connection = self.connection(index)?;
        connection.stream = None;
        connection.filled = 0;
        if connection.asked.take().is_some() {
            load.outcome.fail(error);
            load.free.push_back(index);
        }
        Ok(())
    }

    fn connection(&mut self, index: usize) -> Result<&mut Connection> {
        self.connections.get_mut(index).ok_or_else(|| "no such connection".into())
    }

    fn open(&self, index: usize) -> Result<TcpStream> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        if self.source != Ipv4Addr::LOCALHOST {
            rustix::net::bind(&socket, &SocketAddr::from((self.source, 0)))?;
        }
        rustix::net::connect(&socket, &self.address)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(u64::try_from(index)?);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        Ok(stream)
    }
}

/// What a load remembers while it runs.
struct Load {
    has_begun: bool,
    ends: Instant,
    pace: Pace,
    /// When the next request is due, where a pace is given.
    due: Instant,
    /// The connections that wait for no answer.
    free: VecDeque<usize>,
    outcome: Outcome,
}

fn timespec(wait: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(wait.subsec_nanos()),
    }
}
