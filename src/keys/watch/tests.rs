use std::fs;
use std::time::Duration;

use super::*;
use crate::config::SigningAlgorithm::EdDsa;
use crate::keys::directory::KeyDirectory;
use crate::keys::tests::{Place, chmod};
use crate::keys::{replace_compromised, rotate};
use crate::random::Random;

const HOUR: u64 = 3_600;
const SCHEDULE: Schedule = Schedule {
    algorithm: EdDsa,
    activation: Duration::from_secs(HOUR),
    access_lifetime: Duration::from_secs(1_800),
    is_shared: false,
};

const fn at(second: u64) -> Timestamp {
    Timestamp::from_unix_seconds(1_733_479_200 + second)
}

/// A running server, as far as keys go.
struct Running {
    place: Place,
    keys: LiveKeys,
    watch: KeyWatch,
}

impl Running {
    fn new() -> Self {
        let place = Place::new();
        let keys = LiveKeys::new(place.load_at(EdDsa, at(0)).unwrap());
        let mut watch = KeyWatch::new(place.path(), SCHEDULE, keys.clone());
        watch.look(at(0), true);
        Self { place, keys, watch }
    }

    fn rotate(&self, second: u64) -> KeyId {
        rotate(&self.place.path(), SCHEDULE, at(second), &Random::system()).unwrap().new
    }

    fn look(&mut self, second: u64) {
        self.watch.look(at(second), true);
    }

    fn ids(&self) -> Vec<KeyId> {
        self.keys.current().ids.clone()
    }

    fn signing(&self, second: u64) -> KeyId {
        self.keys.current().access().signs(at(second)).id()
    }
}

#[test]
fn a_new_key_is_taken_up_and_signs_without_another_look() {
    let mut server = Running::new();
    let old = server.signing(0);
    let new = server.rotate(0);
    assert!(!server.ids().contains(&new));
    server.look(1);
    assert!(server.ids().contains(&new));
    assert_eq!(server.signing(HOUR - 1), old);
    assert_eq!(server.signing(HOUR), new);
    server.look(HOUR + 1_799);
    assert!(server.ids().contains(&old));
    server.look(HOUR + 1_800);
    assert!(!server.ids().contains(&old));
    assert_eq!(server.place.files().len(), 4);
}

#[test]
fn while_the_clock_is_in_doubt_nothing_is_removed() {
    let mut server = Running::new();
    server.rotate(0);
    server.watch.look(at(100 * HOUR), false);
    assert_eq!(server.place.files().len(), 6);
    server.watch.look(at(100 * HOUR), true);
    assert_eq!(server.place.files().len(), 4);
}

#[test]
fn nothing_is_read_again_while_nothing_has_changed() {
    let mut server = Running::new();
    server.look(1);
    let before = server.keys.current();
    server.look(2);
    assert!(std::sync::Arc::ptr_eq(&before, &server.keys.current()));
}

#[test]
fn what_changed_between_the_start_and_the_first_look_is_seen() {
    let place = Place::new();
    let keys = LiveKeys::new(place.load_at(EdDsa, at(0)).unwrap());
    let new = rotate(&place.path(), SCHEDULE, at(0), &Random::system()).unwrap().new;
    KeyWatch::new(place.path(), SCHEDULE, keys.clone()).look(at(1), true);
    assert!(keys.current().ids.contains(&new));
}

#[test]
fn compromised_keys_are_dropped_at_the_next_look() {
    let mut server = Running::new();
    let before = server.ids();
    let replaced =
        replace_compromised(&server.place.path(), SCHEDULE, at(5), &Random::system()).unwrap();
    server.look(6);
    for id in &replaced.forgotten {
        assert!(before.contains(id) && !server.ids().contains(id));
    }
    assert_eq!(server.signing(6), replaced.made[0]);
    assert_eq!(server.ids().len(), 3);
}

#[test]
fn keys_that_cannot_be_read_leave_those_in_use_until_they_can() {
    let mut server = Running::new();
    let before = server.ids();
    let new = server.rotate(0);
    let path = server.place.path().join(new.private_file());
    chmod(&path, 0o644);
    for second in 1..4 {
        server.look(second);
        assert_eq!(server.ids(), before);
        assert!(server.watch.problem.as_ref().unwrap().contains("chmod 600"));
    }
    // Mended, although neither names nor contents change.
    chmod(&path, 0o600);
    server.look(5);
    assert!(server.ids().contains(&new));
    assert_eq!(server.watch.problem, None);
}

#[test]
fn a_key_that_is_missed_is_not_replaced_while_the_server_runs() {
    let mut server = Running::new();
    let before = server.ids();
    let path = server.place.file("refresh-", ".secret");
    let text = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    server.look(1);
    assert_eq!(server.ids(), before);
    assert!(server.watch.problem.as_ref().unwrap().starts_with("there is no refresh key (HS256)"));
    assert_eq!(server.place.files().len(), 3);
    fs::write(&path, text).unwrap();
    chmod(&path, 0o600);
    server.look(2);
    assert_eq!(server.watch.problem, None);
    // The whole directory, too.
    let elsewhere = server.place.path().with_extension("away");
    fs::rename(server.place.path(), &elsewhere).unwrap();
    server.look(3);
    assert_eq!(server.ids(), before);
    assert!(server.watch.problem.is_some() && !server.place.path().exists());
    fs::rename(&elsewhere, server.place.path()).unwrap();
    server.look(4);
    assert_eq!(server.watch.problem, None);
}

/// A command that was stopped in the middle must not stop the server.
#[test]
fn a_directory_that_somebody_else_has_is_looked_at_later() {
    let mut server = Running::new();
    let new = server.rotate(0);
    let held = KeyDirectory::open(&server.place.path()).unwrap();
    server.look(1);
    assert!(!server.ids().contains(&new));
    assert_eq!(server.watch.problem, None);
    drop(held);
    server.look(2);
    assert!(server.ids().contains(&new));
}
