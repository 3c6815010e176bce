//! Guessing one password, trying one password everywhere, and bombing a mailbox. Each meets a
//! limit of the shipped configuration, and the owner gets in from elsewhere all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use latchkey::clock::Timestamp;
use latchkey::config::Config;
use latchkey::domain::AddressBlock;
use latchkey::throttle::Throttle;

use super::asker::{Asker, Told, credentials, post};
use super::people::{HOME, PASSWORD, email};
use super::{Findings, Scale, people};
use crate::memory::{Memory, mebibytes};
use crate::server::Program;
use crate::{Result, stopwatch};

const WRONG: &str = "wrong-Lamp 7 orchard";
const PEOPLE: usize = 20;
/// What the limiter's tables may take with the shipped number of entries.
const LIMITER_MEMORY: u64 = 100 << 20;

pub(super) fn attack(scale: Scale, findings: &mut Findings) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mails = directory.path().join("mails");
    // The limits as they are shipped, and the cheapest hashing: it is not what is attacked here.
    let server = Program::latchkey(directory.path())
        .with("LOGIN_PER_ADDRESS_PER_MINUTE", "60")
        .with("PASSWORDS_MEMORY", "256KiB")
        .with("PASSWORDS_ITERATIONS", "1")
        .with("MAIL_TRANSPORT", "file")
        .with("MAIL_DIRECTORY", &mails.display().to_string())
        .start()?;
    people::register(server.address, PEOPLE)?;
    people::log_in(server.address, PEOPLE)?;
    let mut attacker = Attacker { asker: Asker::connect(server.address)?, findings };
    attacker.guess_from_one_address(scale)?;
    attacker.guess_from_everywhere(scale)?;
    attacker.spray(scale)?;
    attacker.bomb(scale, &mails)?;
    server.stop()?;
    flood_the_tables(findings)
}

/// A million accounts and as many addresses beside a guesser who hopes to be forgotten over them.
/// Over HTTP that would take hours, so here the limiter is asked itself.
fn flood_the_tables(findings: &mut Findings) -> Result<()> {
    const ROUNDS: u32 = 10;
    const KEYS: u32 = 100_000;
    let config = Config::load(None, &[])?.config;
    let before = Memory::of(std::process::id())?.resident;
    let throttle = Throttle::new(&config.login, &config.registration, [7; 16]);
    let block = |number: u32| AddressBlock::of(Ipv4Addr::from(number).into());
    let now = |round: u32| Timestamp::from_unix_seconds(1_800_000_000 + u64::from(round));
    let (mut guesses, mut attempts) = (0, 0);
    for round in 0..ROUNDS {
        for _ in 0..10 {
            attempts += u32::from(throttle.login_attempt(block(1), now(0)).is_ok());
            if let Ok(permit) =
                throttle.begin_login("victim@example.org", block(1), false, now(round))
            {
                permit.fail(now(round));
                guesses += 1;
            }
        }
        for key in 0..KEYS {
            let number = 1_000 + round * KEYS + key;
            let email = format!("{number}@example.org");
            let _ = throttle.login_attempt(block(number), now(0));
            if let Ok(permit) = throttle.begin_login(&email, block(number), false, now(round)) {
                permit.fail(now(round));
            }
        }
    }
    let grown = Memory::of(std::process::id())?.resident.saturating_sub(before);
    findings.tell(&format!(
        "a million keys: {guesses} guesses and {attempts} attempts of one address, {:.0} MiB of limiter tables",
        mebibytes(grown)
    ))?;
    findings.holds(
        guesses == config.login.max_failures.get(),
        format!("{guesses} guesses were made"),
    )?;
    let most = config.login.per_address_per_minute.map_or(0, NonZeroU32::get);
    findings.holds((1..=most).contains(&attempts), format!("{attempts} attempts were made"))?;
    findings.holds(grown < LIMITER_MEMORY, format!("the tables take {:.0} MiB", mebibytes(grown)))
}

struct Attacker<'a> {
    asker: Asker,
    findings: &'a mut Findings,
}

/// How often each status came.
type Counts = BTreeMap<u16, usize>;

impl Attacker<'_> {
    fn log_in(&mut self, client: &str, email: &str, password: &str) -> Result<Told> {
        self.asker.ask(&post("/api/login/", client, &credentials(email, password)))
    }

    /// Counts an answer; a refusal must say when to come back.
    fn count(&mut self, counts: &mut Counts, told: &Told) -> Result<()> {
        *counts.entry(told.status).or_default() += 1;
        let is_known = matches!(told.status, 200 | 401) || told.status == 429 && told.says_when();
        self.findings
            .holds(is_known, format!("a guess was answered {} without Retry-After", told.status))
    }

    fn owner_gets_in(&mut self, client: &str, email: &str) -> Result<()> {
        let told = self.log_in(client, email, PASSWORD)?;
        self.findings.holds(told.status == 200, format!("the owner was answered {}", told.status))
    }

    fn guess_from_one_address(&mut self, scale: Scale) -> Result<()> {
        let (victim, mut counts) = (email(0), Counts::new());
        for _ in 0..scale.times(1_000, 200) {
            let told = self.log_in("198.51.100.1", &victim, WRONG)?;
            self.count(&mut counts, &told)?;
        }
        self.findings.tell(&format!("guesses from one address: {counts:?}"))?;
        let made = counts.get(&401).copied().unwrap_or(0);
        self.findings.holds(made == 5, format!("{made} guesses were made"))?;
        // Neither where they were before nor where they never were is the owner kept out.
        self.owner_gets_in(HOME, &victim)?;
        self.owner_gets_in("192.0.2.99", &victim)
    }

    fn guess_from_everywhere(&mut self, scale: Scale) -> Result<()> {
        let (victim, mut counts) = (email(1), Counts::new());
        for number in 0..scale.times(2_000, 300) {
            let told = self.log_in(&address(1, number)?, &victim, WRONG)?;
            self.count(&mut counts, &told)?;
        }
        self.findings.tell(&format!("guesses from everywhere: {counts:?}"))?;
        let made = counts.get(&401).copied().unwrap_or(0);
        self.findings.holds(made == 100, format!("{made} guesses were made"))?;
        self.owner_gets_in(HOME, &victim)
    }

    /// One password for each of many accounts, which there may be or not: from one address, whose
    /// limit it is, and then from an address each, which locks nobody out.
    fn spray(&mut self, scale: Scale) -> Result<()> {
        let mut counts = Counts::new();
        let begun = stopwatch::now();
        let many = scale.times(2_000, 500);
        for number in 0..many {
            let told = self.log_in("198.51.100.2", &email(number), WRONG)?;
            self.count(&mut counts, &told)?;
        }
        let minutes = begun.elapsed().as_secs() / 60 + 1;
        self.findings.tell(&format!("one password for {many} accounts: {counts:?}"))?;
        let made = counts.get(&401).copied().unwrap_or(0);
        let most = 60 * usize::try_from(minutes)?.saturating_add(1);
        self.findings
            .holds(made <= most, format!("{made} guesses were made in {minutes} minutes"))?;
        for number in 0..PEOPLE {
            let told = self.log_in(&address(2, number)?, &email(number), WRONG)?;
            self.count(&mut counts, &told)?;
        }
        for number in 2..PEOPLE {
            self.owner_gets_in("192.0.2.100", &email(number))?;
        }
        Ok(())
    }

    /// Requests for a reset from everywhere: all are answered alike, few are mailed.
    fn bomb(&mut self, scale: Scale, mails: &Path) -> Result<()> {
        let many = scale.times(1_000, 200);
        let mut answers = BTreeSet::new();
        for (nth, mailbox) in [email(3), "nobody@example.org".to_owned()].iter().enumerate() {
            for number in 0..many {
                let client = address(u8::try_from(3 + nth)?, number)?;
                let body = format!(r#"{{"email":"{mailbox}"}}"#);
                let told = self.asker.ask(&post("/api/forgot-password/", &client, &body))?;
                answers.insert((told.status, told.body));
            }
        }
        let text = format!("resets were answered in different ways: {answers:?}");
        self.findings
            .holds(answers.len() == 1 && answers.iter().all(|(status, _)| *status == 200), text)?;
        // Another mailbox gets its mail, and by then all that was queued before has come as well.
        let body = format!(r#"{{"email":"{}"}}"#, email(4));
        self.asker.ask(&post("/api/forgot-password/", HOME, &body))?;
        let begun = stopwatch::now();
        while resets(mails, &email(4))? == 0 && begun.elapsed() < Duration::from_secs(30) {
            stopwatch::let_pass(Duration::from_millis(20));
        }
        self.findings.holds(resets(mails, &email(4))? == 1, "another mailbox got no mail")?;
        let (sent, to_nobody) = (resets(mails, &email(3))?, resets(mails, "nobody@example.org")?);
        self.findings.tell(&format!("{many} requests for a reset of one mailbox: {sent} mails"))?;
        let most = 2 + usize::try_from(begun.elapsed().as_secs() / 60)?;
        self.findings.holds((1..=most).contains(&sent), format!("{sent} mails were sent"))?;
        self.findings.holds(to_nobody == 0, format!("{to_nobody} mails went to nobody"))
    }
}

/// The address of a client: another for every number.
fn address(nth: u8, number: usize) -> Result<String> {
    let [.., high, low] = u32::try_from(number)?.to_be_bytes();
    Ok(Ipv4Addr::new(10, nth, high, low).to_string())
}

/// How many mails with a reset there are to `mailbox`.
fn resets(mails: &Path, mailbox: &str) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(mails)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            let mail = fs::read_to_string(path)?;
            let is_it = mail.contains(&format!("To: {mailbox}\r\n"))
                && mail.contains("Subject: Choose a new password");
            count += usize::from(is_it);
        }
    }
    Ok(count)
}
