use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::config::SigningAlgorithm;
use crate::config::SigningAlgorithm::{EdDsa, Es256, Hs256};
use crate::domain::{Purpose, TicketId};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_733_479_200);
const LATER: Timestamp = Timestamp::from_unix_seconds(1_733_482_800);
const ALGORITHMS: [SigningAlgorithm; 3] = [EdDsa, Es256, Hs256];

/// A place for a key directory that is not there yet.
pub(super) struct Place {
    root: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.root.path().join("data/keys")
    }

    fn load(&self, algorithm: SigningAlgorithm) -> Result<Keys, KeysError> {
        self.load_at(algorithm, NOW)
    }

    pub(super) fn load_at(
        &self,
        algorithm: SigningAlgorithm,
        now: Timestamp,
    ) -> Result<Keys, KeysError> {
        Keys::load_or_create(&self.path(), algorithm, now, &Random::system())
    }

    /// The message of a start that must not succeed; and nothing may have changed by it.
    fn refusal(&self, algorithm: SigningAlgorithm) -> String {
        let before = self.files();
        let message = self.load_at(algorithm, LATER).unwrap_err().to_string();
        assert_eq!(self.files(), before);
        assert_eq!(message.lines().count(), 1, "{message}");
        message
    }

    /// Names, rights and contents, sorted by name.
    pub(super) fn files(&self) -> Vec<(String, u32, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let mode = fs::metadata(entry.path()).unwrap().mode() & 0o7777;
                let text = fs::read(entry.path()).unwrap_or_default();
                (entry.file_name().into_string().unwrap(), mode, text)
            })
            .collect();
        files.sort();
        files
    }

    /// The path of the one file whose name begins and ends so.
    pub(super) fn file(&self, prefix: &str, suffix: &str) -> PathBuf {
        let files = self.files();
        let mut names = files.iter().map(|(name, ..)| name).filter(|name| {
            name.starts_with(prefix)
                && name.ends_with(suffix)
                && (suffix.contains(".pub") || !name.contains(".pub"))
        });
        let name = names.next().unwrap();
        assert_eq!(names.next(), None);
        self.path().join(name)
    }
}

pub(super) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Whether both sign alike and check each other's signatures.
fn are_same(one: &Keys, other: &Keys) -> bool {
    let message = b"a message";
    let ticket = |keys: &Keys| {
        keys.ticket().seal(Purpose::VerifyEmail, TicketId::from_bytes([1; 16])).expose().clone()
    };
    let crossed =
        |key: fn(&Keys) -> &Arc<JwtKey>| key(other).verify(message, &key(one).sign(message));
    format!("{one:?}") == format!("{other:?}")
        && ticket(one) == ticket(other)
        && crossed(|keys| keys.access().signs(NOW))
        && crossed(|keys| keys.refresh().signs())
}

#[test]
fn a_first_start_makes_one_key_of_each_use_for_its_owner_alone() {
    for (algorithm, expected) in ALGORITHMS.into_iter().zip([
        &[("access-eddsa-", ".pem", 0o600), ("access-eddsa-", ".pub.pem", 0o644)][..],
        &[("access-es256-", ".pem", 0o600), ("access-es256-", ".pub.pem", 0o644)][..],
        &[("access-hs256-", ".secret", 0o600)][..],
    ]) {
        let place = Place::new();
        place.load(algorithm).unwrap();
        for directory in [place.path(), place.path().parent().unwrap().to_owned()] {
            assert_eq!(fs::metadata(directory).unwrap().mode() & 0o7777, 0o700);
        }
        let mut expected = expected.to_vec();
        expected.push(("refresh-hs256-", ".secret", 0o600));
        expected.push(("ticket-hmac-", ".secret", 0o600));
        let files = place.files();
        assert_eq!(files.len(), expected.len());
        for ((name, mode, text), (prefix, suffix, expected_mode)) in files.iter().zip(expected) {
            let middle = name.strip_prefix(prefix).unwrap().strip_suffix(suffix).unwrap();
            assert!(middle.starts_with("1733479200-") && middle.len() == 19, "{name}");
            assert_eq!(*mode, expected_mode, "{name}");
            let lines = str::from_utf8(text).unwrap();
            assert!(lines.ends_with('\n'));
            if suffix == ".secret" {
                assert_eq!(lines.len(), 44, "32 bytes as base64url and the line's end");
            }
        }
    }
}

/// In a process of its own, since a umask is the whole process's.
#[test]
fn an_open_umask_opens_nothing() {
    let test = "keys::tests::a_first_start_makes_one_key_of_each_use_for_its_owner_alone";
    let output = std::process::Command::new("sh")
        .args(["-c", "umask 0 && exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_second_start_finds_the_same_keys_and_writes_nothing() {
    for algorithm in ALGORITHMS {
        let place = Place::new();
        let first = place.load(algorithm).unwrap();
        let files = place.files();
        let second = place.load_at(algorithm, LATER).unwrap();
        assert!(are_same(&first, &second));
        assert_eq!(place.files(), files);
    }
    assert!(!are_same(&Place::new().load(EdDsa).unwrap(), &Place::new().load(EdDsa).unwrap()));
}

#[test]
fn a_read_only_directory_that_is_complete_will_do() {
    let place = Place::new();
    let first = place.load(EdDsa).unwrap();
    for (name, ..) in place.files() {
        chmod(&place.path().join(name), 0o400);
    }
    chmod(&place.path(), 0o500);
    assert!(are_same(&first, &place.load(EdDsa).unwrap()));
    chmod(&place.path(), 0o700);
}

#[test]
fn after_a_change_of_algorithm_the_new_key_signs_and_the_old_one_verifies() {
    let place = Place::new();
    let first = place.load(EdDsa).unwrap();
    let old = first.access().signs(NOW);
    let changed = place.load_at(Es256, LATER).unwrap();
    assert!(changed.access().signs(LATER).id().to_string().starts_with("access-es256-1733482800-"));
    let kept = changed.access().iter().find(|key| key.id() == old.id()).unwrap();
    assert!(kept.verify(b"a message", &old.sign(b"a message")));
    assert_eq!(changed.access().iter().count(), 2);
    assert_eq!(changed.refresh().signs().id(), first.refresh().signs().id());
    // And back again: a third key, or nobody would know when the second signed last.
    let back = place.load_at(EdDsa, LATER).unwrap();
    assert_eq!(back.access().iter().count(), 3);
    let third = back.access().signs(LATER.saturating_add(Duration::from_secs(1))).id();
    assert!(third.to_string().starts_with("access-eddsa-1733482801-"), "{third}");
    // Until the second turns, the first signs: it is known to all.
    assert_eq!(back.access().signs(LATER).id(), old.id());
}

#[test]
fn the_newest_key_of_a_use_signs_and_all_verify() {
    let (old, new) = (Place::new(), Place::new());
    let old_keys = old.load_at(Hs256, NOW).unwrap();
    let new_keys = new.load_at(Hs256, LATER).unwrap();
    for (name, ..) in old.files() {
        fs::copy(old.path().join(&name), new.path().join(&name)).unwrap();
    }
    let both = new.load_at(Hs256, LATER).unwrap();
    assert_eq!(both.access().signs(LATER).id(), new_keys.access().signs(LATER).id());
    assert_eq!(both.refresh().signs().id(), new_keys.refresh().signs().id());
    assert_eq!(both.refresh().iter().count(), 2);
    let id = TicketId::from_bytes([1; 16]);
    let seal = |keys: &Keys| keys.ticket().seal(Purpose::ResetPassword, id).expose().clone();
    assert_eq!(seal(&both), seal(&new_keys));
    assert_eq!(
        both.ticket().open(&[Purpose::ResetPassword], &seal(&old_keys)),
        Some((Purpose::ResetPassword, id))
    );
}

#[test]
fn rights_of_others_are_refused_with_the_command_that_mends_them() {
    let place = Place::new();
    place.load(EdDsa).unwrap();
    let (pair, secret) = (place.file("access-", ".pem"), place.file("refresh-", ".secret"));
    for (path, mode, mend) in [
        (&pair, 0o640, "600"),
        (&secret, 0o604, "600"),
        (&secret, 0o620, "600"),
        (&secret, 0o601, "600"),
        (&place.path(), 0o755, "700"),
        (&place.path(), 0o710, "700"),
    ] {
        let good = fs::metadata(path).unwrap().mode() & 0o777;
        chmod(path, mode);
        let message = place.refusal(EdDsa);
        let path_text = path.display();
        assert!(message.starts_with(&path_text.to_string()), "{message}");
        assert!(message.contains(&format!("(mode {mode:04o})")), "{message}");
        assert!(message.ends_with(&format!("; run: chmod {mend} {path_text}")), "{message}");
        chmod(path, good);
        place.load(EdDsa).unwrap();
    }
}

/// Only root can give a file away. CI must run as root, so that this is tested somewhere.
#[test]
fn a_file_of_another_owner_is_refused() {
    let us = rustix::process::geteuid().as_raw();
    if us != 0 {
        assert!(std::env::var_os("CI").is_none(), "CI has to run this test as root");
        return;
    }
    let place = Place::new();
    place.load(EdDsa).unwrap();
    for path in [place.file("ticket-", ".secret"), place.path()] {
        std::os::unix::fs::chown(&path, Some(4_242), None).unwrap();
        let message = place.refusal(EdDsa);
        assert!(message.contains("belongs to user 4242, but latchkey runs as user 0"), "{message}");
        assert!(message.ends_with(&format!("run: chown -R 0 {}", path.display())), "{message}");
        std::os::unix::fs::chown(&path, Some(us), None).unwrap();
    }
    place.load(EdDsa).unwrap();
}

#[test]
fn a_damaged_file_stops_the_start_and_no_new_key_is_made() {
    let place = Place::new();
    place.load(EdDsa).unwrap();
    let pair = fs::read_to_string(place.file("access-", ".pem")).unwrap();
    let half = &pair[..pair.len() / 2];
    for (prefix, suffix, text, problem) in [
        ("access-", ".pem", "", "it is empty"),
        ("access-", ".pem", "\n", "it is empty"),
        ("access-", ".pem", half, "its PEM block has no end"),
        ("access-", ".pem", "\0\0\0\0", "it holds no PEM block"),
        ("refresh-", ".secret", "", "it is empty"),
        ("refresh-", ".secret", "AAAA\n", "its secret is shorter than 32 bytes"),
        ("ticket-", ".secret", "not base64!\n", "it is not base64url without padding"),
        ("ticket-", ".secret", &"A".repeat(20_000), "it is too long for a key"),
    ] {
        let path = place.file(prefix, suffix);
        let good = fs::read(&path).unwrap();
        fs::write(&path, text).unwrap();
        let message = place.refusal(EdDsa);
        let begin = format!("key file {} is damaged: {problem}; ", path.display());
        assert!(message.starts_with(&begin), "{message}");
        assert!(!text.is_empty() || message.contains("restore it from a backup, or remove it"));
        fs::write(&path, good).unwrap();
    }
    place.load(EdDsa).unwrap();
}

#[test]
fn what_is_no_file_is_refused() {
    let place = Place::new();
    place.load(EdDsa).unwrap();
    let path = place.file("ticket-", ".secret");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(place.refusal(EdDsa).contains("is damaged: it is not a file"));
    fs::remove_dir(&path).unwrap();
    symlink("/nowhere", &path).unwrap();
    let message = place.load(EdDsa).unwrap_err().to_string();
    assert!(message.starts_with(&format!("cannot read {}: ", path.display())));
}

#[test]
fn a_lost_public_half_is_written_anew_and_a_wrong_one_is_refused() {
    let place = Place::new();
    place.load(EdDsa).unwrap();
    let files = place.files();
    let public = place.file("access-", ".pub.pem");
    fs::remove_file(&public).unwrap();
    place.load_at(EdDsa, LATER).unwrap();
    assert_eq!(place.files(), files);

    let other = Place::new();
    other.load(EdDsa).unwrap();
    for (text, problem) in [
        (fs::read(other.file("access-", ".pub.pem")).unwrap(), "it belongs to another key"),
        (Vec::new(), "it holds no PEM block"),
    ] {
        fs::write(&public, text).unwrap();
        let message = place.refusal(EdDsa);
        assert!(message.contains(&format!("{}", public.display())), "{message}");
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn a_pair_that_lost_its_private_half_is_missed() {
    let place = Place::new();
    place.load(EdDsa).unwrap();
    let private = place.file("access-", ".pem");
    let public = place.file("access-", ".pub.pem");
    fs::remove_file(&private).unwrap();
    let message = place.refusal(EdDsa);
    assert!(message.starts_with(&format!("key file {} is missing; ", private.display())));
    assert!(message.contains(&format!("or remove {} too", public.display())), "{message}");
    fs::remove_file(&public).unwrap();
    place.load(EdDsa).unwrap();
}

/// A crash between a file's writing and its naming leaves it under its first name.
#[test]
fn what_a_crash_left_behind_is_removed() {
    let place = Place::new();
    place.load(EdDsa).unwrap();
    let files = place.files();
    let unfinished = place.path().join(".new-access-eddsa-1733479200-0a1b2c3d.pem");
    fs::write(&unfinished, "-----BEGIN PRIV").unwrap();
    place.load(EdDsa).unwrap();
    assert_eq!(place.files(), files);
    // A crash in the first start, after some of the keys: the rest is made.
    fs::remove_file(place.file("ticket-", ".secret")).unwrap();
    fs::write(&unfinished, "").unwrap();
    place.load(EdDsa).unwrap();
    assert_eq!(place.files().len(), files.len());
}

#[test]
fn files_that_are_no_keys_are_left_alone() {
    let place = Place::new();
    fs::create_dir_all(place.path()).unwrap();
    chmod(&place.path(), 0o700);
    for name in ["README", "mine.pem", "access-eddsa-1733479200-0a1b2c3d.pem.bak", ".hidden"] {
        fs::write(place.path().join(name), "a note").unwrap();
    }
    place.load(EdDsa).unwrap();
    let files = place.files();
    assert_eq!(files.len(), 8);
    assert_eq!(files.iter().filter(|(_, _, text)| text == b"a note").count(), 4);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let place = Place::new();
    fs::write(place.root.path().join("data"), "a file").unwrap();
    let message = place.load(EdDsa).unwrap_err().to_string();
    let path = place.path();
    assert!(message.starts_with(&format!("cannot create {}", path.display())));
}

#[test]
fn threads_that_start_at_once_come_to_the_same_keys() {
    let place = Place::new();
    let load = || place.load(EdDsa).unwrap();
    let (one, other) = std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(load), scope.spawn(load));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert!(are_same(&one, &other));
}

/// Promises 5 and 6.
#[test]
fn debug_shows_names_only() {
    let place = Place::new();
    let keys = place.load(Hs256).unwrap();
    let name = |prefix| {
        let path = place.file(prefix, ".secret");
        path.file_stem().unwrap().to_str().unwrap().to_owned()
    };
    let (access, refresh, ticket) = (name("access-"), name("refresh-"), name("ticket-"));
    assert_eq!(
        format!("{keys:?}"),
        format!(
            "Keys {{ access: [JwtKey({access})], refresh: [JwtKey({refresh})], ticket: \
             [KeyId({ticket})] }}"
        )
    );
}
