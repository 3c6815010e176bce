//! A sick disk, held against the same model: one access fails, the next ones of its kind too, and
//! in the end the disk is well again.

use std::io::ErrorKind;

use latchkey::flows::upkeep::Upkeep;
use latchkey::store::Health;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::census::Census;
use super::driver::together;
use super::model::Model;
use super::operation::Kind;
use super::plan::weighted;
use super::trial::configure;
use super::{choice, probe};
use crate::support::{Access, Disk, TestApp, until};

/// So many operations come between two illnesses.
const HEALTHY: usize = 4;
/// The most operations until an access fails.
const OPERATIONS: usize = 12;

const ACTIONS: [(usize, Kind); 8] = [
    (1, Kind::Register),
    (2, Kind::LogIn),
    (5, Kind::Refresh),
    (1, Kind::Repeat),
    (4, Kind::Reuse),
    (1, Kind::Forgot),
    (1, Kind::ChangePassword),
    (1, Kind::LogOut),
];

/// A server whose disk falls ill again and again.
struct Patient {
    app: TestApp,
    model: Model,
    chance: StdRng,
    passwords: u64,
    lost: Lost,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    pub(super) answers: usize,
    /// Those of them that showed a token which was superseded for good.
    pub(super) thefts: usize,
}

/// Lets accesses of a kind fail, from the first of them on, then from the second, and so on until
/// `last`. Returns what that cost.
pub(super) async fn run(access: Access, error: ErrorKind, last: usize) -> Result<Lost, String> {
    let app = TestApp::start_on(Disk::default(), |config| {
        configure(config);
        // Every read goes to the disk.
        config.storage.cache = 0;
    });
    let chance = StdRng::seed_from_u64(last as u64);
    let (model, lost) = (Model::default(), Lost::default());
    let mut patient = Patient { app, model, chance, passwords: 0, lost };
    for after in 0..last {
        let told = patient.fall_ill(access, error, after).await;
        told.map_err(|problem| format!("{access:?} fails after {after} others: {problem}"))?;
    }
    let Patient { app, model, lost, .. } = patient;
    let known = app.mails.sent().len();
    app.deliver().await;
    if probe::arrived(&app, known) != model.due_mail() {
        return Err("other mails arrived than were due".to_owned());
    }
    app.stop().await;
    Ok(lost)
}

impl Patient {
    async fn fall_ill(
        &mut self,
        access: Access,
        error: ErrorKind,
        after: usize,
    ) -> Result<(), String> {
        let disk = self.app.disk.clone();
        for _ in 0..HEALTHY {
            self.operate().await?;
        }
        disk.fail(access, after, error);
        for _ in 0..OPERATIONS {
            let (before, kind, is_refused) = self.operate().await?;
            if is_refused {
                self.lost.answers += 1;
                self.lost.thefts += usize::from(is_theft(kind));
                return self.recover(before, kind, access).await;
            }
        }
        disk.mend();
        Ok(())
    }

    /// Carries out one operation. Returns what the model was before it, what it was, and whether it
    /// was refused for the disk's sake; the model goes on as if it were not.
    async fn operate(&mut self) -> Result<(Model, Kind, bool), String> {
        self.passwords += 1;
        let any = usize::from(self.chance.random::<u16>());
        let kind = weighted(&ACTIONS, self.chance.random_range(0..16));
        let operation = choice::resolve(&self.model, (kind, any), self.passwords);
        let kind = operation.kind();
        let before = self.model.clone();
        let due = self.model.apply(&operation, &before);
        let ends = together(&self.app, std::slice::from_ref(&operation)).await;
        let reply = ends[0].as_ref().and_then(|ended| ended.reply.as_ref());
        let reply = reply.ok_or_else(|| format!("{kind:?} never ended"))?;
        if reply.status == 503 {
            if self.app.disk.faults() == 0 {
                return Err(format!("{kind:?} is refused, and nothing was wrong"));
            }
            let has_advice = reply.retry_after().is_some();
            return if has_advice { Ok((before, kind, true)) } else { Err("no advice".to_owned()) };
        }
        if Some(reply.status) != due.status {
            return Err(format!(
                "{kind:?}: {} was due, and is {}",
                due.status.unwrap(),
                reply.status
            ));
        }
        self.model.learn(&operation, reply)?;
        Ok((before, kind, false))
    }

    /// The disk is well again: so is the server, by itself, and nothing that was answered is lost.
    async fn recover(&mut self, before: Model, kind: Kind, access: Access) -> Result<(), String> {
        let (store, disk) = (self.app.app.store.clone(), self.app.disk.clone());
        // What does not need another length can be opened again at once.
        if access != Access::Resize {
            until(|| store.health() == Health::Away).await;
            let ready = self.app.get("/readyz").await;
            if (ready.status, self.app.get("/healthz").await.status) != (503, 200) {
                return Err("it says that it is ready".to_owned());
            }
        }
        disk.mend();
        until(|| store.health() == Health::Fine).await;
        let ready = self.app.get("/readyz").await.status;
        if ready != 200 {
            return Err(format!("it does not say that it is ready: {ready}"));
        }
        Upkeep::default().round(&self.app.app).await;
        let census = Census::take(&Disk::holding(&disk.image()), self.model.wall())?;
        // A theft that was seen ends its session, however long that takes.
        let may_not_have_been = !is_theft(kind);
        if self.model.agrees_with(&census) {
            self.model.learn_sessions(&census);
            Ok(())
        } else if may_not_have_been && before.agrees_with(&census) {
            self.model = before;
            Ok(())
        } else {
            let (after, before) = (self.model.view(), before.view());
            let found = census.view;
            Err(format!("{kind:?} left {found:?}, neither {before:?} nor {after:?}"))
        }
    }
}

const fn is_theft(kind: Kind) -> bool {
    matches!(kind, Kind::Reuse | Kind::Stale)
}
