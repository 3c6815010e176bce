use std::fs;

use super::*;
use crate::config::SigningAlgorithm::{self, EdDsa, Es256, Hs256};
use crate::keys::id::FORGOTTEN;
use crate::keys::tests::{Place, chmod};
use crate::keys::{Keys, TicketKey};

const START: u64 = 1_733_479_200;
const HOUR: u64 = 3_600;

const fn at(second: u64) -> Timestamp {
    Timestamp::from_unix_seconds(START + second)
}

const fn schedule(algorithm: SigningAlgorithm) -> Schedule {
    let activation = Duration::from_secs(HOUR);
    let access_lifetime = Duration::from_secs(1_800);
    Schedule { algorithm, activation, access_lifetime, is_shared: false }
}

impl Place {
    fn rotate_at(&self, second: u64) -> Result<Rotated, KeysError> {
        rotate(&self.path(), schedule(EdDsa), at(second), &Random::system())
    }

    fn replace_at(&self, second: u64) -> Result<Replaced, KeysError> {
        replace_compromised(&self.path(), schedule(EdDsa), at(second), &Random::system())
    }

    /// What each key does, by list.
    fn states(&self, second: u64) -> Vec<(KeyId, KeyState)> {
        list(&self.path(), schedule(EdDsa), at(second)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.files().into_iter().map(|(name, ..)| name).collect()
    }
}

/// Whether `new` takes what the access, refresh and ticket keys of `old` sign at the start.
fn takes(new: &Keys, old: &Keys) -> [bool; 3] {
    use crate::domain::{Purpose, TicketId};
    let (access, refresh) = (old.access().signs(at(0)), old.refresh().signs());
    let by_access = access.sign(b"a message");
    let by_refresh = refresh.sign(b"a message");
    let ticket = |keys: &Keys| -> std::sync::Arc<TicketKey> { keys.ticket().clone() };
    let link = ticket(old).seal(Purpose::VerifyEmail, TicketId::from_bytes([1; 16]));
    [
        new.access().iter().any(|key| key.verify(b"a message", &by_access)),
        new.refresh().iter().any(|key| key.verify(b"a message", &by_refresh)),
        ticket(new).open(&[Purpose::VerifyEmail], link.expose()).is_some(),
    ]
}

#[test]
fn a_new_key_is_published_then_signs_and_the_old_one_goes() {
    let place = Place::new();
    let old = place.load_at(EdDsa, at(0)).unwrap().access().signs(at(0)).id();
    let rotated = place.rotate_at(10).unwrap();
    assert_eq!(rotated.signing, Some(old));
    let new = rotated.new;
    // A second more than the hour: what is promised is kept in full.
    let begins = at(10 + HOUR);
    assert_eq!(new.signs_from(), begins);
    let keys = place.load_at(EdDsa, at(20)).unwrap();
    assert_eq!(keys.access().signs(at(9 + HOUR)).id(), old);
    assert_eq!(keys.access().signs(begins).id(), new);
    let access = |second| place.states(second)[..2].to_vec();
    let published = KeyState::Published { signs_from: begins };
    assert_eq!(access(10), [(old, KeyState::Signing), (new, published)]);
    let until = KeyState::Verifying { until: Some(at(10 + HOUR + 1_800)) };
    assert_eq!(access(10 + HOUR), [(old, until), (new, KeyState::Signing)]);
    assert_eq!(access(10 + HOUR + 1_800)[0], (old, KeyState::Dead));

    let remove = |second| remove_dead(&place.path(), schedule(EdDsa), at(second)).unwrap();
    assert_eq!(remove(10 + HOUR + 1_799), []);
    assert_eq!(place.names().len(), 6);
    assert_eq!(remove(10 + HOUR + 1_800), [old]);
    assert_eq!(place.names().len(), 4);
    assert!(!place.names().iter().any(|name| name.starts_with(&old.to_string())));
    place.load_at(EdDsa, at(10 + HOUR + 1_800)).unwrap();
}

#[test]
fn part_of_a_second_never_shortens_the_time_of_publication() {
    let place = Place::new();
    place.load_at(EdDsa, at(0)).unwrap();
    let now = at(10).saturating_add(Duration::from_micros(1));
    let new = rotate(&place.path(), schedule(EdDsa), now, &Random::system()).unwrap().new;
    assert_eq!(new.signs_from(), at(11 + HOUR));
}

/// A name says when its key signs; no setting that is changed later moves it.
#[test]
fn a_change_of_the_activation_moves_no_key_that_is_there() {
    let place = Place::new();
    let old = place.load_at(EdDsa, at(0)).unwrap().access().signs(at(0)).id();
    let new = place.rotate_at(0).unwrap().new;
    for activation in [Duration::ZERO, Duration::from_secs(30 * 86_400)] {
        let schedule = Schedule { activation, ..schedule(EdDsa) };
        let signing = |second| {
            let states = list(&place.path(), schedule, at(second)).unwrap();
            states.into_iter().find(|(_, state)| *state == KeyState::Signing).unwrap().0
        };
        assert_eq!(signing(HOUR - 1), old);
        assert_eq!(signing(HOUR), new);
    }
}

#[test]
fn without_an_activation_the_new_key_signs_at_once_and_two_of_a_second_follow_one_another() {
    let place = Place::new();
    place.load_at(EdDsa, at(0)).unwrap();
    let schedule = Schedule { activation: Duration::ZERO, ..schedule(EdDsa) };
    let rotate = || rotate(&place.path(), schedule, at(0), &Random::system()).unwrap().new;
    // The first key has this second; the next ones may not tie with the one that signs.
    assert_eq!(rotate().signs_from(), at(1));
    assert_eq!(rotate().signs_from(), at(1));
    let keys = place.load_at(EdDsa, at(1)).unwrap();
    assert_eq!(keys.access().iter().count(), 3);
    assert_eq!(keys.access().signs(at(1)).id().signs_from(), at(1));
}

#[test]
fn a_command_makes_no_keys_where_there_are_none() {
    let place = Place::new();
    let missing = |message: String| {
        let path = place.path();
        let expected = format!("there are no keys in {} (storage.keys); ", path.display());
        assert!(message.starts_with(&expected), "{message}");
    };
    for is_there in [false, true] {
        if is_there {
            fs::create_dir_all(place.path()).unwrap();
            chmod(&place.path(), 0o700);
        }
        missing(place.rotate_at(0).unwrap_err().to_string());
        missing(list(&place.path(), schedule(EdDsa), at(0)).unwrap_err().to_string());
        assert_eq!(place.path().exists(), is_there);
    }
    assert!(place.names().is_empty());
}

#[test]
fn a_replacement_makes_what_is_lost() {
    let place = Place::new();
    assert_eq!(place.replace_at(0).unwrap().made.len(), 3);
    let ticket = place.file("ticket-", ".secret");
    fs::remove_file(&ticket).unwrap();
    let replaced = place.replace_at(HOUR).unwrap();
    assert_eq!((replaced.made.len(), replaced.forgotten.len()), (3, 2));
    assert_eq!(place.load_at(EdDsa, at(HOUR)).unwrap().ids.len(), 3);
}

#[test]
fn damage_stops_a_command_before_it_changes_anything() {
    let place = Place::new();
    place.load_at(EdDsa, at(0)).unwrap();
    fs::write(place.file("refresh-", ".secret"), "").unwrap();
    let before = place.files();
    assert!(place.rotate_at(0).unwrap_err().to_string().contains("is damaged: it is empty"));
    assert!(place.replace_at(0).unwrap_err().to_string().contains("is damaged: it is empty"));
    assert_eq!(place.files(), before);
}

#[test]
fn a_clock_that_contradicts_the_key_that_signs_stops_a_rotation() {
    let place = Place::new();
    place.load_at(EdDsa, at(10 * HOUR)).unwrap();
    let before = place.files();
    let message = place.rotate_at(0).unwrap_err().to_string();
    assert!(message.starts_with("the clock says 2024-12-06T10:00:00.000000Z, but the signing key"));
    assert!(message.contains("--compromised"), "{message}");
    assert_eq!(place.files(), before);
    // The way out that the message names.
    place.replace_at(0).unwrap();
    assert_eq!(place.rotate_at(0).unwrap().new.signs_from(), at(HOUR));
}

#[test]
fn after_a_change_of_algorithm_that_no_start_has_seen_the_new_key_waits_for_it() {
    let place = Place::new();
    let old = place.load_at(EdDsa, at(0)).unwrap().access().signs(at(0)).id();
    let rotated = rotate(&place.path(), schedule(Es256), at(0), &Random::system()).unwrap();
    assert_eq!(rotated.signing, None);
    // The server that runs publishes it, and goes on as it is.
    let running = place.load_at(EdDsa, at(0)).unwrap();
    assert!(running.access().iter().any(|key| key.id() == rotated.new));
    assert_eq!(running.access().signs(at(0)).id(), old);
    let restarted = place.load_at(Es256, at(10)).unwrap();
    assert_eq!(restarted.access().signs(at(10)).id(), rotated.new);
}

#[test]
fn compromised_keys_are_replaced_and_gone() {
    let place = Place::new();
    let old = place.load_at(EdDsa, at(0)).unwrap();
    place.rotate_at(0).unwrap();
    let replaced = place.replace_at(100).unwrap();
    assert_eq!(replaced.forgotten.len(), 4, "that which signs, the next, and the other two");
    assert!(replaced.leftover.is_none());
    assert_eq!(replaced.made.len(), 3);
    let new = place.load_at(EdDsa, at(100)).unwrap();
    assert_eq!(takes(&new, &old), [false; 3]);
    assert_eq!(new.access().signs(at(100)).id(), replaced.made[0]);
    assert_eq!(new.refresh().signs().id(), replaced.made[1]);
    assert_eq!(place.names().len(), 4);
    assert_eq!(new.access().iter().count() + new.refresh().iter().count(), 2);
}

#[test]
fn each_algorithm_that_had_a_key_gets_a_new_one() {
    let place = Place::new();
    let running = place.load_at(EdDsa, at(0)).unwrap();
    let random = Random::system();
    // The configuration has been changed, and the server not yet restarted.
    replace_compromised(&place.path(), schedule(Hs256), at(10), &random).unwrap();
    let reloaded = Keys::reload(&place.path(), EdDsa.into()).unwrap().unwrap();
    assert_eq!(takes(&reloaded, &running), [false; 3]);
    let names = place.names();
    let restarted = place.load_at(Hs256, at(11)).unwrap();
    assert_eq!(place.names(), names);
    assert!(restarted.access().signs(at(11)).id().to_string().starts_with("access-hs256-"));
}

/// `kill -9` between any two steps of a rotation.
#[test]
fn a_rotation_that_was_cut_short_leaves_a_whole_key_or_none() {
    let place = Place::new();
    place.load_at(EdDsa, at(0)).unwrap();
    let new = place.rotate_at(0).unwrap().new;
    let public = place.path().join(new.public_file().unwrap());
    let private = place.path().join(new.private_file());
    let whole = place.files();
    fs::remove_file(&public).unwrap();
    fs::write(place.path().join(format!(".new-{new}.pub.pem")), "-----BEG").unwrap();
    assert!(Keys::reload(&place.path(), EdDsa.into()).unwrap().is_some());
    assert_eq!(place.files(), whole);
    fs::remove_file(&public).unwrap();
    let unfinished = place.path().join(format!(".new-{new}.pem"));
    fs::rename(&private, &unfinished).unwrap();
    assert!(Keys::reload(&place.path(), EdDsa.into()).unwrap().is_some());
    assert_eq!(place.names().len(), 4);
}

/// `kill -9` between any two steps of removing what is dead: the public half goes first.
#[test]
fn a_removal_that_was_cut_short_is_done_again() {
    let place = Place::new();
    let old = place.load_at(EdDsa, at(0)).unwrap().access().signs(at(0)).id();
    place.rotate_at(0).unwrap();
    fs::remove_file(place.path().join(old.public_file().unwrap())).unwrap();
    let late = at(10 * HOUR);
    place.load_at(EdDsa, late).unwrap();
    assert_eq!(remove_dead(&place.path(), schedule(EdDsa), late).unwrap(), [old]);
    assert_eq!(place.names().len(), 4);
}

/// `kill -9` between any two steps of replacing compromised keys, and then a restart or a reload.
#[test]
fn a_replacement_that_was_cut_short_is_finished_or_was_not_begun() {
    let place = Place::new();
    let old = place.load_at(EdDsa, at(0)).unwrap();
    let old_files = place.files();
    let restore = |name: &str| {
        let (_, mode, text) = old_files.iter().find(|(known, ..)| known == name).unwrap();
        fs::write(place.path().join(name), text).unwrap();
        chmod(&place.path().join(name), *mode);
    };
    let replaced = place.replace_at(100).unwrap();
    let new_files = place.files();
    let gone: Vec<&String> = old_files.iter().map(|(name, ..)| name).collect();
    assert_eq!(gone.len(), 4);

    // The new keys are there, and the list is not: the old ones still count, and so it was not
    // reported.
    for name in &gone {
        restore(name);
    }
    assert_eq!(takes(&place.load_at(EdDsa, at(101)).unwrap(), &old), [true; 3]);
    assert_eq!(place.replace_at(102).unwrap().forgotten.len(), 6);
    assert_eq!(place.names().len(), 4);

    // The list is there: whatever lies beside it, the old ones are out of use.
    let list: String = replaced.forgotten.iter().map(|id| format!("{id}\n")).collect();
    for left in 0..(1 << gone.len()) {
        for reload in [false, true] {
            for name in place.names() {
                fs::remove_file(place.path().join(name)).unwrap();
            }
            for (name, mode, text) in &new_files {
                fs::write(place.path().join(name), text).unwrap();
                chmod(&place.path().join(name), *mode);
            }
            for (bit, name) in gone.iter().enumerate() {
                if left & (1 << bit) != 0 {
                    restore(name);
                }
            }
            let forgotten = place.path().join(FORGOTTEN);
            fs::write(&forgotten, &list).unwrap();
            chmod(&forgotten, 0o600);
            assert_eq!(place.states(103).len(), 3, "a listing shows none of them");
            let new = if reload {
                Keys::reload(&place.path(), EdDsa.into()).unwrap().unwrap()
            } else {
                place.load_at(EdDsa, at(103)).unwrap()
            };
            assert_eq!(takes(&new, &old), [false; 3], "{left:b} {reload}");
            assert_eq!(place.files(), new_files, "{left:b} {reload}");
        }
    }
}

#[test]
fn a_list_of_forgotten_keys_that_cannot_be_read_stops_everything() {
    let place = Place::new();
    place.load_at(EdDsa, at(0)).unwrap();
    let forgotten = place.path().join(FORGOTTEN);
    fs::write(&forgotten, "access-eddsa-17334\n").unwrap();
    chmod(&forgotten, 0o600);
    for message in [
        place.load_at(EdDsa, at(0)).unwrap_err().to_string(),
        place.rotate_at(0).unwrap_err().to_string(),
        list(&place.path(), schedule(EdDsa), at(0)).unwrap_err().to_string(),
    ] {
        assert!(message.starts_with(&forgotten.display().to_string()), "{message}");
        assert!(message.contains("remove it and run `latchkey keys rotate --compromised` again"));
    }
}
