//! Taking turns: system and ceiling each get a slice of time, again and again, so that whatever
//! else the machine does meanwhile falls on both alike. What counts is the median of the ratios
//! of neighbouring slices.

use std::net::SocketAddr;
use std::time::Duration;

use crate::Result;
use crate::answer::Answer;
use crate::argon::{Hashing, Library};
use crate::client::{Client, Outcome, Pace, Script};

/// One of those who take turns.
pub(crate) trait Side {
    /// Works for one slice.
    fn slice(&mut self, lasts: Duration) -> Result<Outcome>;
}

/// How long the turns are, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    pub(crate) rounds: usize,
    pub(crate) slice: Duration,
}

/// What a side did in all its slices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) total: Outcome,
    /// Answers a second, slice by slice.
    pub(crate) rates: Vec<f64>,
    /// The median and the 99th percentile of latency in seconds, slice by slice.
    pub(crate) medians: Vec<f64>,
    pub(crate) p99s: Vec<f64>,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        self.rates.push(outcome.per_second());
        self.medians.push(outcome.latency.median().as_secs_f64());
        self.p99s.push(outcome.latency.p99().as_secs_f64());
        self.total.merge(outcome);
    }

    pub(crate) fn rate(&self) -> f64 {
        median(self.rates.clone())
    }

    pub(crate) fn median_latency(&self) -> f64 {
        median(self.medians.clone())
    }
}

/// Has all sides take turns, first to last and then last to first, after a short slice each that
/// counts only for its errors.
pub(crate) fn alternate(turns: Turns, sides: &mut [&mut dyn Side]) -> Result<Vec<Tally>> {
    let mut tallies = vec![Tally::default(); sides.len()];
    for (side, tally) in sides.iter_mut().zip(&mut tallies) {
        let warming_up = side.slice(turns.slice / 4)?;
        tally.total.errors += warming_up.errors;
        tally.total.first_error = warming_up.first_error;
    }
    for round in 0..turns.rounds {
        let mut order: Vec<_> = sides.iter_mut().zip(&mut tallies).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (side, tally) in order {
            tally.add(side.slice(turns.slice)?);
        }
    }
    Ok(tallies)
}

/// The median of the ratios of `ours` to `theirs`, slice by slice.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
    median(ratios.collect())
}

/// The one in the middle; zero if there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    f64::midpoint(at(low), at(high))
}

/// A server under load: a closed loop, unless it is told otherwise.
pub(crate) struct Loaded<'s> {
    client: Client,
    pace: Pace,
    script: Box<dyn Script + Send + 's>,
}

impl<'s> Loaded<'s> {
    pub(crate) fn new(
        server: SocketAddr,
        connections: usize,
        script: impl Script + Send + 's,
    ) -> Result<Self> {
        let client = Client::connect(server, connections)?;
        Ok(Self { client, pace: Pace::ClosedLoop, script: Box::new(script) })
    }

    /// The same at a given pace.
    pub(crate) fn paced(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }
}

impl Side for Loaded<'_> {
    fn slice(&mut self, lasts: Duration) -> Result<Outcome> {
        self.client.run(lasts, self.pace, &mut *self.script)
    }
}

/// The same while another load goes on, which begins before it and ends after it.
pub(crate) struct Beside<'a, 's> {
    pub(crate) measured: &'a mut dyn Side,
    pub(crate) other: &'a mut Loaded<'s>,
    /// What became of the other load.
    pub(crate) others: Outcome,
}

/// For how long the other load goes on alone, before and after.
const MARGIN: Duration = Duration::from_millis(250);

impl Side for Beside<'_, '_> {
    fn slice(&mut self, lasts: Duration) -> Result<Outcome> {
        let other = &mut *self.other;
        let (measured, others) = std::thread::scope(|scope| {
            let other = scope.spawn(move || other.slice(lasts + 2 * MARGIN));
            crate::stopwatch::let_pass(MARGIN);
            let measured = self.measured.slice(lasts);
            (measured, other.join())
        });
        self.others.merge(others.unwrap_or_else(|_| Err("a client panicked".into()))?);
        measured
    }
}

impl Side for Hashing {
    fn slice(&mut self, lasts: Duration) -> Result<Outcome> {
        self.run(lasts)
    }
}

impl Side for Library {
    fn slice(&mut self, lasts: Duration) -> Result<Outcome> {
        self.run(lasts)
    }
}

/// redb without HTTP, in the process of the commit ceiling.
pub(crate) struct Alone {
    client: Client,
    callers: usize,
}

impl Alone {
    pub(crate) fn new(ceiling: SocketAddr, callers: usize) -> Result<Self> {
        Ok(Self { client: Client::connect(ceiling, 1)?, callers })
    }
}

impl Side for Alone {
    fn slice(&mut self, lasts: Duration) -> Result<Outcome> {
        let mut question = AloneFor { callers: self.callers, lasts, told: Outcome::default() };
        let asked = self.client.ask_once(&mut question)?;
        let mut told = question.told;
        (told.errors, told.first_error, told.lasted) = (asked.errors, asked.first_error, lasts);
        Ok(told)
    }
}

struct AloneFor {
    callers: usize,
    lasts: Duration,
    told: Outcome,
}

impl Script for AloneFor {
    fn request(&mut self, _: usize, request: &mut Vec<u8>) {
        let path = format!("/alone/{}/{}", self.callers, self.lasts.as_millis());
        *request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> std::result::Result<(), String> {
        let text = String::from_utf8_lossy(answer.body);
        let mut numbers = text.split(' ').map_while(|number| number.parse::<u64>().ok());
        self.told.answered = numbers.next().ok_or("the ceiling did not say what it did")?;
        // Sixty at the median, 39 at the 99th percentile and the longest have those quantiles.
        for (nanos, times) in numbers.zip([60, 39, 1]) {
            (0..times).for_each(|_| self.told.latency.record(Duration::from_nanos(nanos)));
        }
        Ok(())
    }
}
