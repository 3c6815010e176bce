//! Whether the time of an answer tells what its words do not: who has an account at login, and
//! which address has one where a mail is asked for.
//!
//! The measurement proves itself in every run. Among the kinds of request there are always two
//! more: the reference once again, which must not be told apart from itself, and the reference
//! with a millisecond that the client waits, which must be.

use std::fs;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use redb::{Database, ReadableDatabase, TableDefinition};

use super::asker::{Asker, Told, credentials, post};
use super::people::{PASSWORD, email};
use super::statistics::{Comparison, MARGIN};
use super::{Findings, Scale, people};
use crate::server::{Program, Running};
use crate::{Result, stopwatch};

const WRONG: &str = "wrong-Lamp 7 orchard";
/// What the client adds to one kind of request, for the measurement to find.
const PLANTED: Duration = Duration::from_millis(1);
/// The records of users in the database.
const USERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("users_1");

/// One kind of request: what it is called, and the request of each round.
struct Kind {
    name: &'static str,
    request: Box<dyn Fn(usize) -> Vec<u8>>,
    adds: Duration,
}

impl Kind {
    fn new(name: &'static str, request: impl Fn(usize) -> Vec<u8> + 'static) -> Self {
        Self { name, request: Box::new(request), adds: Duration::ZERO }
    }
}

/// How often all kinds are measured: in any case, and at most, if the machine is so busy that the
/// planted millisecond is not seen any sooner.
struct Rounds {
    least: usize,
    most: usize,
}

pub(super) fn attack(scale: Scale, findings: &mut Findings) -> Result<()> {
    // Cheap hashing drowns no difference there may be beside it; the default shows its own.
    let cheap = Rounds { least: scale.times(2_000, 400), most: 10_000 };
    logins("256KiB", "1", &cheap, findings)?;
    let as_shipped = Rounds { least: scale.times(400, 100), most: 3_000 };
    logins("19MiB", "2", &as_shipped, findings)?;
    mails("/api/forgot-password/", scale, findings)?;
    mails("/api/resend-verification/", scale, findings)
}

/// Logins, none of which succeeds.
fn logins(memory: &str, iterations: &str, rounds: &Rounds, findings: &mut Findings) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let program = Program::latchkey(directory.path())
        .with("PASSWORDS_MEMORY", memory)
        .with("PASSWORDS_ITERATIONS", iterations)
        .with("LOGIN_MAX_FAILURES", "1000")
        .with("LOGIN_MAX_FAILURES_PER_EMAIL", "0");
    let server = program.start()?;
    let (wrong, disabled) = (email(0), email(1));
    people::register(server.address, 2)?;
    server.stop()?;
    disable(&directory.path().join("data/latchkey.redb"), 2)?;
    let server = program.start()?;

    let login = |email: String, password: &'static str| {
        move |round| post("/api/login/", &client(round), &credentials(&email, password))
    };
    let kinds = [
        Kind::new("a wrong password", login(wrong.clone(), WRONG)),
        Kind::new("an unknown address", login("nobody@example.org".to_owned(), WRONG)),
        Kind::new("a disabled account, its password right", login(disabled.clone(), PASSWORD)),
        Kind::new("a disabled account, its password wrong", login(disabled, WRONG)),
        Kind::new(AGAIN, login(wrong.clone(), WRONG)),
        Kind { adds: PLANTED, ..Kind::new(SLOWER, login(wrong, WRONG)) },
    ];
    findings
        .tell(&format!("login, hashing with {memory}: the time of a wrong password against"))?;
    compare(&server, &kinds, 401, rounds, findings)?;
    server.stop()
}

/// Requests for mail, each round to addresses that were never asked for.
fn mails(path: &'static str, scale: Scale, findings: &mut Findings) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let rounds = scale.times(1_000, 300);
    let server = Program::latchkey(directory.path())
        .with("PASSWORDS_MEMORY", "256KiB")
        .with("PASSWORDS_ITERATIONS", "1")
        .with("MAIL_TRANSPORT", "file")
        .with("MAIL_DIRECTORY", "mails")
        .start()?;
    people::register(server.address, 3 * rounds)?;
    wait_for_mails(&directory.path().join("mails"), 3 * rounds)?;
    let request = |address: fn(usize) -> String, from: usize| {
        move |round| {
            let body = format!(r#"{{"email":"{}"}}"#, address(from + round));
            post(path, &client(round), &body)
        }
    };
    let kinds = [
        Kind::new("a known address", request(email, 0)),
        Kind::new("an unknown address", request(nobody, 0)),
        Kind::new(AGAIN, request(email, rounds)),
        Kind { adds: PLANTED, ..Kind::new(SLOWER, request(email, 2 * rounds)) },
    ];
    findings.tell(&format!("{path}: the time of a known address against"))?;
    compare(&server, &kinds, 200, &Rounds { least: rounds, most: rounds }, findings)?;
    server.stop()
}

const AGAIN: &str = "itself";
const SLOWER: &str = "itself and a millisecond";

/// Measures all kinds against the first, and the words of all answers against each other.
fn compare(
    server: &Running,
    kinds: &[Kind],
    status: u16,
    rounds: &Rounds,
    findings: &mut Findings,
) -> Result<()> {
    let mut asker = Asker::connect(server.address)?;
    let mut differences: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    let mut luck = StdRng::seed_from_u64(1);
    let planted = kinds.iter().position(|kind| !kind.adds.is_zero()).unwrap_or(0);
    for round in 0..rounds.most {
        let mut order: Vec<usize> = (0..kinds.len()).collect();
        order.shuffle(&mut luck);
        let mut took = vec![0.0; kinds.len()];
        let mut told: Vec<Option<Told>> = vec![None; kinds.len()];
        for index in order {
            let Some(kind) = kinds.get(index) else { continue };
            let (answer, seconds) = measure(&mut asker, kind, round)?;
            if let (Some(took), Some(told)) = (took.get_mut(index), told.get_mut(index)) {
                *took = seconds;
                *told = Some(without_what_differs(answer));
            }
        }
        let reference = took.first().copied().unwrap_or(0.0);
        for (differences, took) in differences.iter_mut().zip(&took) {
            differences.push(took - reference);
        }
        let words: Vec<Told> = told.into_iter().flatten().collect();
        let is_one = words.first().is_some_and(|first| {
            first.status == status && words.iter().all(|other| other == first)
        });
        findings.holds(is_one, format!("answers differ in their words: {words:?}"))?;
        if !is_one {
            return Ok(());
        }
        let is_due = (round + 1) % rounds.least == 0;
        let found = differences.get(planted).filter(|_| is_due);
        if found.is_some_and(|differences| Comparison::of(differences).tells_apart()) {
            break;
        }
    }
    for (kind, differences) in kinds.iter().zip(&differences).skip(1) {
        judge(kind, &Comparison::of(differences), differences.len(), findings)?;
    }
    Ok(())
}

/// Asks once, and says how long that took, in seconds.
fn measure(asker: &mut Asker, kind: &Kind, round: usize) -> Result<(Told, f64)> {
    let request = (kind.request)(round);
    let begun = stopwatch::now();
    let answer = asker.ask(&request)?;
    if !kind.adds.is_zero() {
        let answered = stopwatch::now();
        while answered.elapsed() < kind.adds {
            std::hint::spin_loop();
        }
    }
    Ok((answer, begun.elapsed().as_secs_f64()))
}

fn judge(kind: &Kind, found: &Comparison, rounds: usize, findings: &mut Findings) -> Result<()> {
    let is_apart = found.tells_apart();
    findings.tell(&format!(
        "  {}: {:+.0} µs in the median of {rounds}, {} ({:+.1} standard deviations beyond {:.0} µs)",
        kind.name,
        found.median * 1e6,
        if is_apart { "told apart" } else { "not told apart" },
        found.evidence,
        MARGIN * 1e6,
    ))?;
    match kind.name {
        SLOWER => findings
            .holds(is_apart, "the measurement does not find the millisecond that was planted"),
        AGAIN => {
            findings.holds(!is_apart, "the measurement finds a difference where there is none")
        }
        name => findings.holds(!is_apart, format!("time tells {name}")),
    }
}

/// An answer without the two headers that differ in every answer: its name, and the time of day.
fn without_what_differs(told: Told) -> Told {
    let differs = |line: &&str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("x-request-id: ") || line.starts_with("date: ")
    };
    let head: Vec<&str> = told.head.split("\r\n").filter(|line| !differs(line)).collect();
    Told { head: head.join("\r\n"), ..told }
}

fn nobody(number: usize) -> String {
    format!("nobody-{number}@example.org")
}

/// Another address for each round, so that no limit is met.
fn client(round: usize) -> String {
    format!("10.9.{}.{}", round / 256 % 256, round % 256)
}

/// Waits until the mails of the registrations are out, which would be in the way.
fn wait_for_mails(mails: &std::path::Path, count: usize) -> Result<()> {
    let begun = stopwatch::now();
    while fs::read_dir(mails)?.count() < count {
        if begun.elapsed() > Duration::from_secs(120) {
            return Err("the mails of the registrations do not come".into());
        }
        stopwatch::let_pass(Duration::from_millis(50));
    }
    Ok(())
}

/// Disables the account with this number in the database of a server that is stopped: nothing in
/// the server does that yet.
fn disable(database: &std::path::Path, number: u64) -> Result<()> {
    let database = Database::open(database)?;
    let enabled = {
        let read = database.begin_read()?;
        let users = read.open_table(USERS)?;
        let record = users.get(number)?.ok_or("there is no such user")?;
        String::from_utf8(record.value().to_vec())?
    };
    let disabled = enabled.replace(r#""is_disabled":false"#, r#""is_disabled":true"#);
    if disabled == enabled {
        return Err("a user's record has changed: say here how an account is disabled".into());
    }
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    {
        let mut users = write.open_table(USERS)?;
        users.insert(number, disabled.as_bytes())?;
    }
    write.commit()?;
    Ok(())
}
