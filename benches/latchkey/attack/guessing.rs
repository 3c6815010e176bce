//! A million accounts and as many addresses beside a guesser who hopes to be forgotten over them.
//! Over HTTP that would take hours, so the limiter is asked itself, with the shipped configuration.
//! What it does for requests is held by `tests/it/limits.rs`.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use latchkey::clock::Timestamp;
use latchkey::config::{Config, LoginConfig};
use latchkey::domain::AddressBlock;
use latchkey::throttle::Throttle;

use super::{Findings, Scale};
use crate::Result;
use crate::memory::{Memory, mebibytes};

/// What the limiter's tables may take with the shipped number of entries.
const LIMITER_MEMORY: u64 = 100 << 20;

pub(super) fn attack(_: Scale, findings: &mut Findings) -> Result<()> {
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
    findings
        .holds(grown < LIMITER_MEMORY, format!("the tables take {:.0} MiB", mebibytes(grown)))?;
    patient_guesser(&config.login, &throttle, findings)
}

/// A simulated week of guesses at one account, one every five seconds, each from an address that
/// the account does not know.
fn patient_guesser(
    limits: &LoginConfig,
    throttle: &Throttle,
    findings: &mut Findings,
) -> Result<()> {
    const DAYS: u64 = 7;
    const START: u64 = 1_900_000_000;
    let most_a_day = u64::from(limits.max_failures_per_email.map_or(0, NonZeroU32::get))
        + 24 * u64::from(limits.slowed_per_hour.get());
    let (mut guesses, mut longest_wait) = (0, Duration::ZERO);
    for (second, number) in (0..DAYS * 86_400).step_by(5).zip(20_000_000..) {
        let now = Timestamp::from_unix_seconds(START + second);
        let from = AddressBlock::of(Ipv4Addr::from(number).into());
        match throttle.begin_login("patient@example.org", from, false, now) {
            Ok(permit) => {
                permit.fail(now);
                guesses += 1;
            }
            Err(lockout) => longest_wait = longest_wait.max(lockout.retry_after),
        }
    }
    findings.tell(&format!(
        "a week at one account from ever new addresses: {guesses} guesses of at most {}, the longest wait {} min",
        DAYS * most_a_day,
        longest_wait.as_secs() / 60
    ))?;
    findings
        .holds(guesses <= DAYS * most_a_day, format!("{guesses} guesses were made in a week"))?;
    findings.holds(
        longest_wait <= Duration::from_secs(2 * 60 * 60),
        format!("a stranger is told to wait for {longest_wait:?}"),
    )
}
