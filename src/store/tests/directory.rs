//! The data directory, and the file in it.

use super::*;

#[test]
fn a_newer_schema_is_refused() {
    let memory = Memory::default();
    let database = memory.open(1 << 20, Opening::First).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(list::META).unwrap().insert(list::meta::SCHEMA, 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(Store::open(memory, SETTINGS, POLICY), Err(OpenError::OtherSchema(99))));
}

#[tokio::test]
async fn a_directory_holds_one_process_and_keeps_its_data() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let (store, writer) =
        Store::open(DataDirectory::open(&path).unwrap(), SETTINGS, POLICY).unwrap();
    assert!(matches!(DataDirectory::open(&path), Err(DirectoryProblem::InUse(_))));
    let user = registered(&store, "ann@example.com", 1).await;
    drop(store);
    writer.join();
    let store = open(DataDirectory::open(&path).unwrap());
    assert_eq!(store.find_user(user.id).unwrap(), Some(user));
}

#[test]
fn a_directory_that_others_may_look_into_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o750)).unwrap();
    let problem = DataDirectory::open(path).unwrap_err().to_string();
    assert!(problem.ends_with(&format!("chmod 700 {}", path.display())), "{problem}");
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

#[tokio::test]
async fn a_database_that_others_may_read_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let (store, writer) =
        Store::open(DataDirectory::open(&path).unwrap(), SETTINGS, POLICY).unwrap();
    registered(&store, "ann@example.com", 1).await;
    drop(store);
    writer.join();
    let database = path.join("latchkey.redb");
    for mode in [0o640, 0o604, 0o602, 0o610] {
        std::fs::set_permissions(&database, std::fs::Permissions::from_mode(mode)).unwrap();
        let problem = DataDirectory::open(&path).unwrap_err().to_string();
        assert!(problem.ends_with(&format!("chmod 600 {}", database.display())), "{problem}");
    }
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o600)).unwrap();
    let store = open(DataDirectory::open(&path).unwrap());
    assert_eq!(store.count_users(), Ok(1));
}

#[test]
fn a_half_made_database_is_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    drop(DataDirectory::open(&path).unwrap());
    std::fs::write(path.join("latchkey.redb.new"), b"half").unwrap();
    let (_store, _writer) =
        Store::open(DataDirectory::open(&path).unwrap(), SETTINGS, POLICY).unwrap();
    assert!(!path.join("latchkey.redb.new").exists());
}

#[tokio::test]
async fn a_database_that_is_gone_after_a_failure_is_not_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let directory = DataDirectory::open(&path).unwrap();
    drop(directory.open(1 << 20, Opening::First).unwrap());
    std::fs::rename(path.join("latchkey.redb"), path.join("away")).unwrap();
    assert!(directory.open(1 << 20, Opening::Again).is_err());
    assert!(!path.join("latchkey.redb").exists());
    std::fs::write(path.join("latchkey.redb"), b"").unwrap();
    let opened = directory.open(1 << 20, Opening::Again);
    let prepared = opened.and_then(|database| engine::prepare(&database, Opening::Again));
    assert!(prepared.is_err());
}
