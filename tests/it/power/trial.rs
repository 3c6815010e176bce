//! One history: the server runs it, and at every place where the power could go its disk is held
//! against the model.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use latchkey::config::Config;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::census::Census;
use super::driver::{Ended, together};
use super::model::{self, Expected, Model};
use super::operation::{Kind, Operation};
use super::plan::{Action, Step};
use super::platter::{Fate, Platter};
use super::stretch::{Stretch, Tally, check_answer};
use super::{choice, probe};
use crate::support::{Disk, Entry, TestApp};

/// Of so many cuts one is looked at through the whole server, and all of them in the file.
const PROBE_EVERY: usize = 6;
/// Of so many writes between flushes one is cut at.
const CUT_EVERY: u32 = 8;
/// So much mail waits at most: all of it leaves side by side, and is gone in one commit.
const MOST_MAIL: usize = 6;

struct Trial<'t> {
    seed: u64,
    /// None only while it is taken down and started again.
    server: Option<TestApp>,
    model: Model,
    /// The disk as far as its journal has been looked at, and how far that is.
    platter: Platter,
    passed: usize,
    /// A digest of everything that was written, to tell whether a seed repeats.
    written: DefaultHasher,
    /// How many passwords were chosen: none is chosen twice.
    passwords: u64,
    cuts: usize,
    tally: &'t mut Tally,
}

/// Runs a history. Gives a digest of everything that was written to its disks.
pub(super) async fn run(seed: u64, steps: &[Step], tally: &mut Tally) -> Result<u64, String> {
    let disk = Disk::default();
    disk.record();
    let mut trial = Trial {
        seed,
        server: Some(TestApp::start_on(disk, configure)),
        model: Model::default(),
        platter: Platter::new(Vec::new()),
        passed: 0,
        written: DefaultHasher::new(),
        passwords: 0,
        cuts: 0,
        tally,
    };
    for (number, step) in steps.iter().enumerate() {
        trial.step(step).await.map_err(|problem| format!("step {}: {problem}", number + 1))?;
    }
    trial.server.take().unwrap().stop().await;
    Ok(trial.written.finish())
}

pub(super) fn configure(config: &mut Config) {
    let seconds = std::time::Duration::from_secs;
    config.tokens.access_lifetime = seconds(model::ACCESS);
    config.tokens.sessions.refresh = seconds(model::REFRESH);
    config.tokens.sessions.reuse_grace = seconds(model::GRACE);
    config.registration.ticket_lifetime = seconds(model::VERIFICATION);
    config.recovery.ticket_lifetime = seconds(model::RESET);
    config.email_change.ticket_lifetime = seconds(model::CHANGE);
    config.mail.per_mailbox_per_day = None;
    // One thread hashes in the order of the requests (`driver`).
    config.passwords.threads = NonZeroUsize::new(1);
    config.audit.retention = seconds(3_600);
}

impl Trial<'_> {
    fn app(&self) -> &TestApp {
        self.server.as_ref().unwrap()
    }

    async fn move_to(&mut self, disk: Disk) {
        let app = self.server.take().unwrap();
        self.server = Some(app.move_to(disk).await);
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Wait(seconds) => {
                self.app().advance(*seconds);
                self.model.now += seconds;
                Ok(())
            }
            Step::Restart => self.restart().await,
            Step::Deliver(cut) => self.deliver(*cut).await,
            Step::Together(actions, cut) => {
                let mut operations = self.operations(actions);
                let queued: usize = operations.iter().map(Operation::mails).sum();
                if self.model.outbox.len() + queued > MOST_MAIL {
                    self.deliver(None).await?;
                    // Who has read that mail may do something else.
                    operations = self.operations(actions);
                }
                self.wave(&operations, *cut).await
            }
        }
    }

    async fn deliver(&mut self, cut: Option<usize>) -> Result<(), String> {
        if self.model.outbox.is_empty() {
            return Ok(());
        }
        self.wave(&[Operation::Deliver], cut).await
    }

    fn operations(&mut self, actions: &[Action]) -> Vec<Operation> {
        let mut operations: Vec<Operation> = Vec::new();
        for action in actions {
            self.passwords += 1;
            let operation = choice::resolve(&self.model, *action, self.passwords);
            let kind = operation.kind();
            // A sweep is several commits, and a change of address two mails.
            let comes_once = matches!(kind, Kind::Sweep | Kind::AskForAddress);
            if !comes_once || operations.iter().all(|other| other.kind() != kind) {
                operations.push(operation);
            }
        }
        operations
    }

    /// Runs operations at the same time, with the power going before so many more entries of the
    /// journal, and holds every cut against the model.
    async fn wave(&mut self, operations: &[Operation], cut: Option<usize>) -> Result<(), String> {
        let before = self.model.clone();
        let (mut stages, expected) = before.stages(operations);
        let disk = self.app().disk.clone();
        let from = disk.position();
        disk.lose_power_at(cut.map_or(usize::MAX, |entries| from + entries));
        let known_mails = self.app().mails.sent().len();
        let ends = together(self.app(), operations).await;
        let to = disk.position();
        disk.lose_power_at(usize::MAX);
        self.tally.operations += operations.len();

        let is_out = disk.is_out();
        for ((operation, due), ended) in operations.iter().zip(&expected).zip(&ends) {
            check_answer(operation, *due, ended.as_ref(), is_out)?;
        }
        self.learn(operations, &ends, &mut stages)?;
        if operations[..] == [Operation::Deliver] && !is_out {
            self.read_mail(known_mails, &before, &mut stages)?;
        }
        let answered: Vec<_> = operations
            .iter()
            .zip(&ends)
            .map(|(operation, ended)| {
                let answered = ended.as_ref().filter(|ended| ended.is_answer(is_out));
                (operation.kind(), answered.map(|ended| ended.position))
            })
            .collect();
        let stretch = Stretch {
            from,
            to,
            stages: &stages,
            expected: &expected,
            operations: &answered,
            is_dense: false,
        };
        self.cut_along(&stretch).await?;
        if is_out {
            return self.reboot(&stretch).await;
        }
        self.model = stages.pop().unwrap();
        let has_swept = operations.iter().any(|operation| operation.kind() == Kind::Sweep);
        if has_swept {
            let image = self.platter.cut(Fate::Everything);
            let left = Census::take(&Disk::holding(&image), self.model.wall())?.over;
            if left > 0 {
                return Err(format!("a sweep left {left} sessions and tickets that are over"));
            }
        }
        Ok(())
    }

    fn learn(
        &self,
        operations: &[Operation],
        ends: &[Option<Ended>],
        stages: &mut [Model],
    ) -> Result<(), String> {
        for (place, (operation, ended)) in operations.iter().zip(ends).enumerate() {
            let Some(reply) = ended.as_ref().and_then(|ended| ended.reply.as_ref()) else {
                continue;
            };
            for stage in &mut stages[place + 1..] {
                stage.learn(operation, reply)?;
            }
        }
        Ok(())
    }

    fn read_mail(&self, known: usize, before: &Model, stages: &mut [Model]) -> Result<(), String> {
        let (arrived, due) = (probe::arrived(self.app(), known), before.due_mail());
        if arrived != due {
            return Err(format!("these mails arrived: {arrived:?}, and these were due: {due:?}"));
        }
        for mail in &self.app().mails.sent()[known..] {
            stages.iter_mut().for_each(|stage| stage.read_mail(mail));
        }
        Ok(())
    }

    /// Stops and starts, and cuts the closing and the opening everywhere.
    async fn restart(&mut self) -> Result<(), String> {
        let disk = self.app().disk.clone();
        let from = disk.position();
        self.move_to(disk.clone()).await;
        let (opened, to) = (disk.opened_at(), disk.position());
        self.idle(from, opened, Kind::Close).await?;
        self.idle(opened, to, Kind::Reopen).await
    }

    /// Cuts a stretch in which nothing changes.
    async fn idle(&mut self, from: usize, to: usize, kind: Kind) -> Result<(), String> {
        let stages = [self.model.clone()];
        // It is under way to its very end.
        let operations = [(kind, None)];
        let expected = [Expected { status: None, has_effect: true }];
        let stretch = Stretch {
            from,
            to,
            stages: &stages,
            expected: &expected,
            operations: &operations,
            is_dense: true,
        };
        self.cut_along(&stretch).await
    }

    /// Cuts a stretch of the journal in many places, and each in several ways.
    async fn cut_along(&mut self, stretch: &Stretch<'_>) -> Result<(), String> {
        let disk = self.app().disk.clone();
        let entries = disk.entries(self.passed);
        let mut chance = StdRng::seed_from_u64(self.seed ^ (stretch.from as u64) << 32);
        let mut fates = |entry: Option<&Entry>| -> Vec<Fate> {
            let mut any = || chance.random();
            match entry {
                Some(Entry::Flush) => vec![
                    Fate::Nothing,
                    Fate::Everything,
                    Fate::Some(any()),
                    Fate::Torn(any()),
                    Fate::Torn(any()),
                ],
                _ => vec![Fate::Some(any()), Fate::Torn(any())],
            }
        };
        let mut here = StdRng::seed_from_u64(self.seed.wrapping_add(stretch.from as u64));
        for (entry, position) in entries.iter().zip(self.passed..stretch.to) {
            let is_chosen = stretch.is_dense || here.random_ratio(1, CUT_EVERY);
            if position >= stretch.from && (*entry == Entry::Flush || is_chosen) {
                for fate in fates(Some(entry)) {
                    self.check(stretch, position, fate).await?;
                }
            }
            entry.hash(&mut self.written);
            self.platter.pass(entry);
        }
        self.passed = stretch.to;
        let last = if self.platter.has_pending() { fates(None) } else { vec![Fate::Nothing] };
        for fate in last {
            self.check(stretch, stretch.to, fate).await?;
        }
        Ok(())
    }

    /// Holds what one cut leaves against what may be left.
    async fn check(
        &mut self,
        stretch: &Stretch<'_>,
        position: usize,
        fate: Fate,
    ) -> Result<(), String> {
        let image = self.platter.cut(fate);
        let under_way = stretch.under_way(position);
        let place = format!(
            "a power cut before entry {position} of the journal, {fate:?} of what was not flushed \
             surviving, while {under_way:?} were under way"
        );
        let stage = Census::take(&Disk::holding(&image), self.model.wall())
            .and_then(|census| stretch.stage_of(&census, position))
            .map_err(|problem| format!("{place}: {problem}"))?;
        self.tally.count(&under_way);
        self.cuts += 1;
        if self.cuts.is_multiple_of(PROBE_EVERY) {
            self.tally.probed += 1;
            let disk = Disk::holding(&image);
            let asked = probe::ask(self.app(), disk, &stretch.stages[stage], self.cuts).await;
            asked.map_err(|problem| format!("{place}: {problem}"))?;
        }
        Ok(())
    }

    /// Starts again on what the power cut left, and goes on from there.
    async fn reboot(&mut self, stretch: &Stretch<'_>) -> Result<(), String> {
        self.tally.live += 1;
        let number = self.seed ^ (stretch.to as u64) << 16;
        let fate = match number % 4 {
            0 => Fate::Nothing,
            1 => Fate::Everything,
            2 => Fate::Some(number),
            _ => Fate::Torn(number),
        };
        let image = self.platter.cut(fate);
        let census = Census::take(&Disk::holding(&image), self.model.wall())?;
        let stage = stretch.stage_of(&census, stretch.to)?;
        self.model = stretch.stages[stage].clone();
        self.model.learn_sessions(&census);
        let disk = Disk::holding(&image);
        disk.record();
        self.platter = Platter::new(image);
        self.passed = 0;
        self.move_to(disk.clone()).await;
        self.idle(0, disk.position(), Kind::Recover).await
    }
}
