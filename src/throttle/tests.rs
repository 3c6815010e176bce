//! Promises 7, 8 and 10 as far as they depend on this module, through its public functions.

use std::sync::Barrier;

use super::*;
use crate::config::Config;

const START: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const LOCKOUT: Duration = Duration::from_secs(900);

/// The defaults, in smaller tables.
fn login_config() -> LoginConfig {
    let defaults = Config::load(None, &[]).unwrap().config.login;
    LoginConfig { limiter_entries: 1_000.try_into().unwrap(), ..defaults }
}

/// With three registrations an hour from one address.
fn throttle(login: &LoginConfig) -> Throttle {
    let defaults = Config::load(None, &[]).unwrap().config.registration;
    let registration = RegistrationConfig { per_address_per_hour: NonZeroU32::new(3), ..defaults };
    Throttle::new(login, &registration, [9; 16])
}

fn address(number: u32) -> AddressBlock {
    AddressBlock::of(std::net::Ipv4Addr::from(number).into())
}

fn after(seconds: u64) -> Timestamp {
    START.saturating_add(Duration::from_secs(seconds))
}

fn wait(result: Result<LoginPermit, LockedOut>) -> Duration {
    result.unwrap_err().retry_after
}

const EMAIL: &str = "margaret@example.com";
const HOME: u32 = 1;

/// Guesses wrong until locked out, at most `most` times; returns how many guesses were allowed.
fn guesses(throttle: &Throttle, email: &str, from: u32, most: u32, now: Timestamp) -> u32 {
    let guess = |_: &u32| throttle.begin_login(email, address(from), false, now);
    let permits = (0..most).map_while(|number| guess(&number).ok());
    permits.fold(0, |made, permit| {
        permit.fail(now);
        made + 1
    })
}

#[test]
fn the_fifth_failure_locks_that_pair_out_for_its_time_and_no_other() {
    let throttle = throttle(&login_config());
    let begin = |email, from, now| throttle.begin_login(email, address(from), false, now);
    for second in 0..5 {
        begin(EMAIL, HOME, after(second)).unwrap().fail(after(second));
    }
    assert_eq!(wait(begin(EMAIL, HOME, after(4))), LOCKOUT);
    assert_eq!(wait(begin(EMAIL, HOME, after(903))), SECOND);
    assert!(begin(EMAIL, 2, after(5)).is_ok());
    assert!(begin("other@example.com", HOME, after(5)).is_ok());
    let end = after(904);
    assert_eq!(guesses(&throttle, EMAIL, HOME, 99, end), 5, "the count starts anew");
    assert_eq!(wait(begin(EMAIL, HOME, end)), LOCKOUT);
}

#[test]
fn the_failure_that_locks_out_says_so_once_for_a_pair_and_once_for_an_email() {
    let config = LoginConfig { max_failures_per_email: NonZeroU32::new(8), ..login_config() };
    let throttle = throttle(&config);
    let fails = |from, is_known, times: usize| -> Vec<bool> {
        let begin = || throttle.begin_login(EMAIL, address(from), is_known, START);
        (0..times).map(|_| begin().unwrap().fail(START)).collect()
    };
    assert_eq!(fails(1, false, 5), [false, false, false, false, true]);
    assert_eq!(fails(2, false, 3), [false, false, true], "the eighth at this email");
    throttle.begin_login(EMAIL, address(3), false, START).unwrap().succeed();
    assert_eq!(fails(4, true, 5), [false, false, false, false, true], "the pair alone");
    // With the last two guesses under way at the same time, the second one reports it.
    let other = |from| throttle.begin_login("other@example.com", address(from), false, START);
    assert_eq!(guesses(&throttle, "other@example.com", 1, 3, START), 3);
    let (first, second) = (other(1).unwrap(), other(1).unwrap());
    assert_eq!((first.fail(START), second.fail(START)), (false, true));
}

#[test]
fn success_forgives_the_pair_and_a_permit_without_verdict_changes_nothing() {
    let throttle = throttle(&login_config());
    let begin = || throttle.begin_login(EMAIL, address(HOME), false, START);
    assert_eq!(guesses(&throttle, EMAIL, HOME, 4, START), 4);
    for _ in 0..10 {
        drop(begin().unwrap());
    }
    begin().unwrap().succeed();
    assert_eq!(guesses(&throttle, EMAIL, HOME, 99, START), 5);
}

#[test]
fn a_failure_counts_for_the_window() {
    let throttle = throttle(&login_config());
    assert_eq!(guesses(&throttle, EMAIL, HOME, 4, START), 4);
    assert_eq!(guesses(&throttle, EMAIL, HOME, 1, after(86_400)), 1);
    assert_eq!(guesses(&throttle, EMAIL, HOME, 1, after(86_401)), 0, "that was the fifth");
    let throttle = self::throttle(&login_config());
    assert_eq!(guesses(&throttle, EMAIL, HOME, 4, START), 4);
    assert_eq!(guesses(&throttle, EMAIL, HOME, 99, after(95_000)), 5);
}

#[test]
fn guesses_under_way_take_places_too() {
    let throttle = throttle(&login_config());
    let begin = || throttle.begin_login(EMAIL, address(HOME), false, START);
    begin().unwrap().fail(START);
    let mut under_way: Vec<_> = (0..4).map(|_| begin().unwrap()).collect();
    assert_eq!(wait(begin()), SECOND);
    under_way.pop();
    under_way.push(begin().unwrap());
    assert_eq!(wait(begin()), SECOND);
    under_way.pop().unwrap().succeed();
    assert!(begin().is_ok(), "the earlier failure is forgiven");
    for permit in under_way.drain(..) {
        permit.fail(START);
    }
    assert_eq!(guesses(&throttle, EMAIL, HOME, 99, START), 2);
}

#[test]
fn of_many_guesses_at_one_time_five_are_made() {
    let throttle = throttle(&login_config());
    let all_tried = Barrier::new(16);
    let guess = || {
        let begin = |_| throttle.begin_login(EMAIL, address(1), false, START).ok();
        let permits: Vec<_> = (0..50).filter_map(begin).collect();
        all_tried.wait();
        permits.into_iter().map(|permit| permit.fail(START)).collect::<Vec<_>>().len()
    };
    let made: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(guess)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(made, 5);
    assert_eq!(wait(throttle.begin_login(EMAIL, address(1), false, START)), LOCKOUT);
}

#[test]
fn above_the_days_failures_strangers_are_admitted_at_a_slow_pace() {
    let throttle = throttle(&login_config());
    for from in 0..25 {
        assert_eq!(guesses(&throttle, EMAIL, from, 4, after(10)), 4);
    }
    let stranger = |from, now| throttle.begin_login(EMAIL, address(from), false, now);
    let known = |now| throttle.begin_login(EMAIL, address(501), true, now);
    for from in 100..106 {
        for _ in 0..2 {
            stranger(from, after(10)).unwrap().fail(after(10));
        }
        assert!(stranger(from, after(10)).unwrap_err().is_slowed, "two from one address");
    }
    let slowed = stranger(500, after(10)).unwrap_err();
    assert!(slowed.is_slowed, "twelve from all");
    assert!(slowed.retry_after <= HOUR * 12 / 11, "{slowed:?}");
    known(after(10)).unwrap().succeed();
    for _ in 0..5 {
        known(after(10)).unwrap().fail(after(10));
    }
    let locked = known(after(10)).unwrap_err();
    assert_eq!(locked, LockedOut { retry_after: LOCKOUT, is_slowed: false });
    assert!(throttle.begin_login("other@example.com", address(500), false, after(10)).is_ok());
    let free = after(10).saturating_add(slowed.retry_after);
    assert!(stranger(500, free.saturating_sub(SECOND)).is_err());
    stranger(500, free).unwrap().succeed();
    throttle.clear(EMAIL);
    assert_eq!(guesses(&throttle, EMAIL, 600, 99, free), 5, "a reset ends the pace");
}

#[test]
fn guesses_under_way_count_for_the_email_too() {
    let config = LoginConfig { max_failures_per_email: NonZeroU32::new(3), ..login_config() };
    let throttle = throttle(&config);
    let begin = |from, is_known| throttle.begin_login(EMAIL, address(from), is_known, START);
    let under_way: Vec<_> = (0..3).map(|from| begin(from, false).unwrap()).collect();
    assert_eq!(wait(begin(9, false)), SECOND);
    assert!(begin(10, true).is_ok());
    under_way.into_iter().for_each(LoginPermit::succeed);
    assert!(begin(9, false).is_ok());
}

#[test]
fn a_reset_clears_the_lockouts_of_that_email_alone() {
    let throttle = throttle(&login_config());
    let other = "other@example.com";
    for email in [EMAIL, other] {
        for from in 0..20 {
            assert_eq!(guesses(&throttle, email, from, 99, START), 5);
        }
    }
    let begin = |email, from| throttle.begin_login(email, address(from), false, START);
    let under_way = throttle.begin_login(EMAIL, address(99), true, START).unwrap();
    throttle.clear(EMAIL);
    for from in [0, 19] {
        assert!(begin(EMAIL, from).is_ok());
        assert!(begin(other, from).is_err());
    }
    under_way.fail(START);
    assert_eq!(guesses(&throttle, EMAIL, 0, 99, START), 5);
    throttle.clear(EMAIL);
    assert_eq!(guesses(&throttle, EMAIL, 0, 99, START), 5, "a second reset clears again");
}

#[test]
fn limits_that_are_off_limit_nothing() {
    let config = LoginConfig {
        per_address_per_minute: None,
        max_failures_per_email: None,
        ..login_config()
    };
    let throttle = throttle(&config);
    for from in 0..1_000 {
        assert_eq!(throttle.login_attempt(address(1), START), Ok(()));
        assert_eq!(guesses(&throttle, EMAIL, from, 1, START), 1);
    }
}

#[test]
fn an_address_has_so_many_attempts_in_its_time() {
    let throttle = throttle(&login_config());
    for _ in 0..3 {
        assert_eq!(throttle.registration(address(1), START), Ok(()));
    }
    let RetryAfter(wait) = throttle.registration(address(1), START).unwrap_err();
    assert!(wait >= HOUR && wait <= HOUR * 12 / 11, "{wait:?}");
    assert_eq!(throttle.registration(address(2), START), Ok(()));
    let free = START.saturating_add(wait);
    assert!(throttle.registration(address(1), free.saturating_sub(SECOND)).is_err());
    assert_eq!(throttle.registration(address(1), free), Ok(()), "refusals were not counted");
    for second in 0..60 {
        assert_eq!(throttle.login_attempt(address(1), after(second)), Ok(()));
    }
    let RetryAfter(wait) = throttle.login_attempt(address(1), after(59)).unwrap_err();
    assert!(wait <= Duration::from_secs(7), "the first of them are nearly a minute old: {wait:?}");
}

/// In a table that forgets what it has no room for, alternating guesses with floods of other keys
/// would allow unlimited guesses. (`cargo bench -- attack guessing` tries a million keys.)
#[test]
fn a_flood_of_other_keys_gains_no_guess() {
    let config = LoginConfig { max_failures_per_email: None, ..login_config() };
    for flood in [10_000, 30_000] {
        let throttle = throttle(&config);
        let mut made = 0;
        for round in 0..8 {
            made += guesses(&throttle, EMAIL, HOME, 1, after(round));
            for key in 0..flood {
                let other = format!("{round}-{key}@example.com");
                guesses(&throttle, &other, HOME, 1, after(round));
            }
        }
        assert!((1..=5).contains(&made), "{made}");
        assert!(lock(&throttle.logins).strangers.len() <= 1_000);
    }
}

#[test]
fn a_flood_of_other_emails_does_not_free_an_email() {
    let config = LoginConfig {
        max_failures: 1_000.try_into().unwrap(),
        max_failures_per_email: NonZeroU32::new(20),
        ..login_config()
    };
    let throttle = throttle(&config);
    let mut made = 0;
    for round in 0..30 {
        made += guesses(&throttle, EMAIL, round, 1, START);
        for key in 0..2_000 {
            guesses(&throttle, &format!("{round}-{key}@example.com"), round, 1, START);
        }
    }
    assert!((1..=20 + 12).contains(&made), "{made}");
    assert!(lock(&throttle.logins).emails.as_ref().unwrap().table.len() <= 1_000);
}

#[test]
fn a_flood_of_other_addresses_gains_no_attempt() {
    let config = LoginConfig { limiter_entries: 16.try_into().unwrap(), ..login_config() };
    let throttle = throttle(&config);
    let attempts = |from, most: usize| {
        (0..most).filter(|_| throttle.login_attempt(address(from), START).is_ok()).count()
    };
    let mut made = 0;
    for round in 1..=10 {
        made += attempts(HOME, 7);
        for other in 0..40 {
            // They count higher than the one in question, which would be the first to leave.
            attempts(round * 1_000 + other, 60);
        }
    }
    assert!((7..=60).contains(&made), "{made}");
    assert!(lock(&throttle.login_attempts.as_ref().unwrap().table).len() <= 16);
}

/// What other users notice of a flood, as the module's documentation describes.
#[test]
fn honest_people_are_spared_until_the_flood_is_many_times_the_table() {
    let throttle = throttle(&login_config());
    for (flood, least_with_all_guesses) in [(1_000, 100), (5_000, 90), (10_000, 75)] {
        for key in 0..flood {
            guesses(&throttle, &format!("{flood}-{key}@example.com"), key, 1, START);
        }
        let honest = |number: &u32| {
            let email = format!("honest-{flood}-{number}@example.com");
            guesses(&throttle, &email, HOME, 5, START) == 5
        };
        let spared = (0..100).filter(honest).count();
        assert!(spared >= least_with_all_guesses, "{flood}: {spared}");
    }
    for key in 0..50_000 {
        guesses(&throttle, &format!("more-{key}@example.com"), key, 5, START);
    }
    for number in 0..100 {
        let email = format!("known-{number}@example.com");
        for _ in 0..5 {
            throttle.begin_login(&email, address(HOME), true, START).unwrap().fail(START);
        }
    }
}

#[test]
fn a_clock_set_back_neither_frees_nor_locks_for_longer() {
    let throttle = throttle(&login_config());
    let begin = |now| throttle.begin_login(EMAIL, address(HOME), false, now);
    let far = START.saturating_add(DAY * 365);
    assert_eq!(guesses(&throttle, EMAIL, HOME, 99, far), 5);
    assert_eq!(wait(begin(START)), LOCKOUT, "from now, not from a year ahead");
    assert!(begin(START.saturating_add(LOCKOUT - SECOND)).is_err());
    assert!(begin(START.saturating_add(LOCKOUT)).is_ok());

    assert_eq!(guesses(&throttle, EMAIL, 2, 4, far), 4);
    assert_eq!(guesses(&throttle, EMAIL, 2, 99, START), 1, "the four still count");
    for now in [far, START, Timestamp::EPOCH, Timestamp::from_micros(u64::MAX), START] {
        let _ = throttle.login_attempt(address(HOME), now);
        let _ = throttle.registration(address(HOME), now);
        guesses(&throttle, EMAIL, 3, 1, now);
    }
    let later = START.saturating_add(DAY * 2);
    assert_eq!(throttle.login_attempt(address(HOME), later), Ok(()));
    assert_eq!(guesses(&throttle, EMAIL, 3, 99, later), 5);
}

#[test]
fn debug_shows_nobody() {
    let throttle = throttle(&login_config());
    guesses(&throttle, EMAIL, HOME, 1, START);
    let shown = format!("{throttle:?}");
    assert!(!shown.contains("margaret") && !shown.contains("0.0.0.1"), "{shown}");
}
