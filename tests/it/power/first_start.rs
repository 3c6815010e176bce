//! The first start, cut off anywhere: a real directory with what the power left there, and the
//! whole server started on it.
//!
//! A first start makes the keys, one file after the other and each under another name first, then
//! the database under another name, and moves that into place when it is whole. What can be left
//! of the database is cut out of the journal of making one.

use std::fs::{self, Permissions};
use std::future::ready;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use latchkey::config::{Config, SigningAlgorithm};
use latchkey::keys::Keys;
use latchkey::random::Random;
use latchkey::serve::{NewDatabase, Server};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::census::Census;
use super::operation::Kind;
use super::platter::{Fate, Platter};
use super::stretch::Tally;
use crate::support::{Disk, Entry, START, TestApp};

type File = (String, Vec<u8>);

const DATABASE: &str = "data/latchkey.redb";
const NEW_DATABASE: &str = "data/latchkey.redb.new";

/// Starts the server on everything that a cut in a first start can leave.
pub(super) async fn run(tally: &mut Tally) {
    let keys = keys();
    let mut states = half_the_keys(&keys);
    for database in databases().await {
        let mut state = keys.clone();
        state.push((NEW_DATABASE.to_owned(), database));
        states.push(state);
    }
    let whole = states[states.len() - 1][keys.len()].1.clone();
    states.push([&keys[..], &[(DATABASE.to_owned(), whole)]].concat());
    for (number, state) in states.iter().enumerate() {
        start_on(number, state).await;
        tally.count(&[Kind::FirstStart]);
    }
}

/// The key files of a server, in the order in which they are made.
fn keys() -> Vec<File> {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("keys");
    let random = Random::seeded(1);
    Keys::load_or_create(&directory, SigningAlgorithm::Es256, START, &random).unwrap();
    let mut files: Vec<File> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (format!("data/keys/{name}"), fs::read(entry.path()).unwrap())
        })
        .collect();
    // `access-….pem`, its `.pub.pem`, `refresh-…`, `ticket-…`: the order they are made in.
    files.sort();
    assert_eq!(files.len(), 4);
    files
}

/// None of the keys, the first, the first two… and of the next one nothing, a part or all, not
/// yet under its name.
fn half_the_keys(keys: &[File]) -> Vec<Vec<File>> {
    let mut states = vec![Vec::new()];
    for (made, (path, text)) in keys.iter().enumerate() {
        for length in [0, 1, text.len() / 2, text.len()] {
            let unfinished = path.replace("data/keys/", "data/keys/.new-");
            let mut state = keys[..made].to_vec();
            state.push((unfinished, text[..length].to_vec()));
            states.push(state);
        }
        states.push(keys[..=made].to_vec());
    }
    states
}

/// What a cut can leave of a database that is being made; the last one is whole.
async fn databases() -> Vec<Vec<u8>> {
    let disk = Disk::default();
    disk.record();
    TestApp::start_on(disk.clone(), |_| {}).stop().await;
    let mut platter = Platter::new(Vec::new());
    let mut chance = StdRng::seed_from_u64(1);
    let mut left = vec![Vec::new()];
    for entry in disk.entries(0) {
        let fates = [Fate::Nothing, Fate::Everything, Fate::Torn(chance.random())];
        let fates = if entry == Entry::Flush { &fates[..] } else { &fates[2..] };
        left.extend(fates.iter().map(|fate| platter.cut(*fate)));
        platter.pass(&entry);
    }
    platter.pass(&Entry::Flush);
    left.push(platter.cut(Fate::Everything));
    left
}

/// Starts and stops the server twice on what is left, and looks at what it made of it.
async fn start_on(number: usize, left: &[File]) {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), left);
    let mut config = Config::load(None, &[]).unwrap().config;
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.storage.directory = root.path().join("data");
    config.storage.keys = root.path().join("data/keys");
    for start in ["first", "second"] {
        let names: Vec<&str> = left.iter().map(|(path, _)| path.as_str()).collect();
        match Server::start(config.clone(), NewDatabase::Refused).await {
            Ok(server) => server.run(ready(())).await,
            Err(error) => panic!("cut {number}, {start} start on {names:?}: {error}"),
        }
    }
    for (path, text) in left.iter().filter(|(path, _)| is_key(path)) {
        assert_eq!(fs::read(root.path().join(path)).unwrap(), *text, "another key: {path}");
    }
    assert!(!root.path().join(NEW_DATABASE).exists());
    let database = Disk::holding(&fs::read(root.path().join(DATABASE)).unwrap());
    let census = Census::take(&database, START).unwrap();
    assert!(census.view.users.is_empty() && census.view.next_user == 1, "{census:?}");
}

fn lay_out(root: &Path, left: &[File]) {
    for directory in ["data", "data/keys"] {
        fs::create_dir(root.join(directory)).unwrap();
        fs::set_permissions(root.join(directory), Permissions::from_mode(0o700)).unwrap();
    }
    for (path, bytes) in left {
        fs::write(root.join(path), bytes).unwrap();
        let mode = if path.ends_with(".pub.pem") { 0o644 } else { 0o600 };
        fs::set_permissions(root.join(path), Permissions::from_mode(mode)).unwrap();
    }
}

fn is_key(path: &str) -> bool {
    path.contains("/keys/") && !path.contains("/.new-")
}
