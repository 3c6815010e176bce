//! A million accounts and as many addresses beside a guesser who hopes to be forgotten over them.
//! Over HTTP that would take hours, so the limiter is asked itself, with the shipped configuration.
//! What it does for requests is held by `tests/it/limits.rs`.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use latchkey::clock::Timestamp;
use latchkey::config::Config;
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
    findings.holds(grown < LIMITER_MEMORY, format!("the tables take {:.0} MiB", mebibytes(grown)))
}
