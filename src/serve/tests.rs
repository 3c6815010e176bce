use std::future::{pending, ready};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::commands;
use crate::config::{DataConfig, SigningAlgorithm};
use crate::keys::{KeyId, KeyKind};
use crate::random::Random;
use crate::store::DataDirectory;

/// What a shutdown may take here. Where something hangs, a test waits for as long.
const SHORT: Duration = Duration::from_millis(200);
/// Longer than anything that does not hang.
const LONG: Duration = Duration::from_secs(60);

/// A configuration whose data is in `root`.
fn config(root: &Path) -> Config {
    let mut config = Config::load(None, &[]).unwrap().config;
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.server.shutdown_timeout = LONG;
    config.storage.directory = root.join("data");
    config.storage.keys = root.join("keys");
    config.passwords.memory_kib = 256;
    config.passwords.iterations = 1;
    config
}

/// What is different in a configuration.
type Change = fn(&mut Config);

/// Starts and stops a server.
fn serve_once(config: &Config) -> Result<(), StartError> {
    block_on(async {
        Server::start(config.clone(), NewDatabase::Refused).await?.run(ready(())).await;
        Ok(())
    })
    .unwrap()
}

/// Copies the files of a directory into a new one for their owner alone.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn now() -> Timestamp {
    Clock::system().read().wall
}

fn replace_keys(config: &Config) -> Result<String, KeysError> {
    let Config { storage, tokens, audit, .. } = config.clone();
    commands::replace_keys(&DataConfig { storage, tokens, audit }, now(), &Random::system())
}

fn schedule(config: &Config) -> Schedule {
    let signing = AccessSigning::of(&config.tokens, &config.storage.keys).unwrap();
    Schedule::of(&config.tokens, &signing)
}

fn key_names(config: &Config) -> Vec<String> {
    let keys = keys::list(&config.storage.keys, schedule(config), now()).unwrap();
    keys.iter().map(|(id, _)| id.to_string()).collect()
}

fn remove_keys(config: &Config, prefix: &str) {
    for entry in std::fs::read_dir(&config.storage.keys).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with(prefix) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn what_is_refused_before_the_data_leaves_no_directory() {
    let root = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let broken: [(&str, Change); 2] = [
        ("from", |config| config.mail.from = "nobody".to_owned()),
        ("nowhere", |config| config.mail.templates = Some("nowhere".into())),
    ];
    for (part, break_it) in broken {
        let mut config = config(root.path());
        config.mail.transport = MailTransport::File { directory: root.path().join("mails") };
        config.server.listen = taken.local_addr().unwrap();
        break_it(&mut config);
        // Before it listens, so that this is what is said and not that the port is taken.
        let error = serve_once(&config).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(check(&config).unwrap_err().to_string(), error);
    }
    let mut config = config(root.path());
    config.mail.transport = MailTransport::File { directory: root.path().join("mails") };
    assert!(check(&config).is_ok());
    config.server.listen = taken.local_addr().unwrap();
    let error = serve_once(&config).unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn what_a_start_refuses_of_the_mail_server_a_check_refuses_too() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("config.toml");
    let nowhere = root.path().join("nowhere.pem");
    let text = format!(
        "[mail]\ntransport = 'smtp'\nfrom = 'a@b.example'\nsmtp_host = 'mail.example'\n\
         smtp_ca_file = '{}'\n",
        nowhere.display()
    );
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file), &[]).unwrap().config;
    assert!(check(&config).unwrap_err().to_string().contains("nowhere.pem"));
    std::fs::write(&nowhere, "no certificate").unwrap();
    assert!(check(&config).unwrap_err().to_string().contains("no certificate in PEM"));
}

#[test]
fn beside_a_database_no_key_is_made_anew_without_a_word() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    serve_once(&config).unwrap();
    let names = key_names(&config);
    assert_eq!(names.len(), 3);
    serve_once(&config).unwrap();
    assert_eq!(key_names(&config), names);

    for (purpose, prefix) in [("access", "access-"), ("refresh", "refresh-"), ("ticket", "ticket-")]
    {
        let kept = root.path().join("kept");
        copy(&config.storage.keys, &kept);
        remove_keys(&config, prefix);
        let left = key_names(&config);
        let error = serve_once(&config).unwrap_err().to_string();
        assert!(error.contains(&format!("no {purpose} key")), "{error}");
        let ends_sessions = error.contains("latchkey keys rotate --compromised");
        assert_eq!(ends_sessions, purpose != "access", "{error}");
        assert_eq!(key_names(&config), left, "none was made");
        std::fs::remove_dir_all(&config.storage.keys).unwrap();
        std::fs::rename(kept, &config.storage.keys).unwrap();
        serve_once(&config).unwrap();
    }

    // The directory is not mounted: empty, or not there at all.
    remove_keys(&config, "");
    let error = serve_once(&config).unwrap_err().to_string();
    assert!(error.contains("no access, refresh, ticket key"), "{error}");
    std::fs::remove_dir(&config.storage.keys).unwrap();
    assert!(matches!(serve_once(&config), Err(StartError::KeysGone { .. })));
    assert!(!config.storage.keys.exists());

    // The operator's word.
    replace_keys(&config).unwrap();
    let new = key_names(&config);
    assert!(new.len() == 3 && new.iter().all(|name| !names.contains(name)), "{new:?}");
    serve_once(&config).unwrap();
    assert_eq!(key_names(&config), new);
}

#[test]
fn where_there_is_no_database_no_lost_key_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    let error = replace_keys(&config).unwrap_err().to_string();
    assert!(error.starts_with("there are no keys in "), "{error}");
    assert!(!config.storage.keys.exists());
}

#[test]
fn a_change_of_algorithm_is_no_loss_of_keys() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    serve_once(&config).unwrap();
    config.tokens.algorithm = Some(SigningAlgorithm::EdDsa);
    serve_once(&config).unwrap();
    assert_eq!(key_names(&config).len(), 4);
}

/// The algorithm of the newest access key.
fn algorithm(config: &Config) -> SigningAlgorithm {
    AccessSigning::of(&config.tokens, &config.storage.keys).unwrap().algorithm()
}

#[test]
fn a_new_directory_signs_with_es256_and_one_that_is_there_keeps_its_algorithm() {
    for (first, expected) in [
        (None, SigningAlgorithm::Es256),
        (Some(SigningAlgorithm::EdDsa), SigningAlgorithm::EdDsa),
        (Some(SigningAlgorithm::Hs256), SigningAlgorithm::Hs256),
    ] {
        let root = tempfile::tempdir().unwrap();
        let mut config = config(root.path());
        config.tokens.algorithm = first;
        serve_once(&config).unwrap();
        config.tokens.algorithm = None;
        assert_eq!(algorithm(&config), expected);
        serve_once(&config).unwrap();
        assert_eq!(key_names(&config).len(), 3);
        // So do a rotation, and a replacement of all keys.
        let Config { storage, tokens, audit, .. } = config.clone();
        let data = DataConfig { storage, tokens, audit };
        commands::rotate_keys(&data, now(), &Random::system()).unwrap();
        assert_eq!(key_names(&config).len(), 4);
        assert_eq!(algorithm(&config), expected);
        replace_keys(&config).unwrap();
        assert_eq!(key_names(&config).len(), 3);
        assert_eq!(algorithm(&config), expected);
        serve_once(&config).unwrap();
    }
}

#[test]
fn with_a_shared_secret_a_new_database_needs_the_operators_word() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    config.tokens.shared_secret = Some("0123456789abcdef0123456789abcdef".to_owned().into());
    let error = serve_once(&config).unwrap_err();
    assert!(matches!(error, StartError::NoDatabase(_)), "{error}");
    assert!(error.to_string().contains("--new-database"), "{error}");
    assert!(!DataDirectory::holds_database(&config.storage.directory));
    assert!(!config.storage.keys.exists());
    for new_database in [NewDatabase::Allowed, NewDatabase::Refused, NewDatabase::Allowed] {
        let server = block_on(async {
            Server::start(config.clone(), new_database).await?.run(ready(())).await;
            Ok::<_, StartError>(())
        });
        server.unwrap().unwrap();
    }
    // No key for access tokens was made, and none is missed.
    let files = keys::list(&config.storage.keys, schedule(&config), now()).unwrap();
    let in_directory: Vec<KeyKind> = files.iter().map(|(id, _)| id.kind()).collect();
    assert_eq!(in_directory, [KeyId::SHARED.kind(), KeyKind::Refresh, KeyKind::Ticket]);
    // Without the secret there is no access key. The advice makes one, and keeps the others.
    config.tokens.shared_secret = None;
    let names = key_names(&config);
    let error = serve_once(&config).unwrap_err().to_string();
    assert!(error.contains("`latchkey keys rotate` makes a key"), "{error}");
    let Config { storage, tokens, audit, .. } = config.clone();
    commands::rotate_keys(&DataConfig { storage, tokens, audit }, now(), &Random::system())
        .unwrap();
    serve_once(&config).unwrap();
    assert!(names.iter().all(|name| key_names(&config).contains(name)));
    // A lost key is noticed as ever.
    remove_keys(&config, "refresh-");
    assert!(matches!(serve_once(&config), Err(StartError::KeysGone { .. })));
}

#[test]
fn keys_of_a_first_start_that_was_cut_off_are_completed() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    let signing = AccessSigning::of(&config.tokens, &config.storage.keys).unwrap();
    Keys::load_or_create(&config.storage.keys, signing, now(), &Random::system()).unwrap();
    remove_keys(&config, "ticket-");
    assert!(!DataDirectory::holds_database(&config.storage.directory));
    serve_once(&config).unwrap();
    assert_eq!(key_names(&config).len(), 3);
}

#[test]
fn a_database_that_does_not_close_holds_nobody_up() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    config.server.shutdown_timeout = SHORT;
    // Were it waited for, here or when the runtime goes, this would never end: the database stays
    // open for as long as there is a store.
    let store = block_on(async {
        let server = Server::start(config, NewDatabase::Refused).await.unwrap();
        let store = server.app.store.clone();
        server.run(ready(())).await;
        store
    });
    assert!(store.unwrap().health() == crate::store::Health::Fine);
}

#[test]
fn what_hangs_in_the_background_is_cut_off_and_the_database_closed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    let config = config(root.path());
    let (store, writer) = Store::open(
        DataDirectory::open(&path).unwrap(),
        (&config.storage).into(),
        (&config).into(),
    )
    .unwrap();
    block_on(async move {
        let mut background = JoinSet::new();
        background.spawn(async move {
            // As a mail that is under way keeps everything.
            let _store = store;
            pending().await
        });
        stop::finish(&mut background, Instant::now()).await;
        stop::close(writer).await;
    })
    .unwrap();
    // Its lock went with the writer, which ends when the database is closed.
    assert!(DataDirectory::open(&path).is_ok());
}
