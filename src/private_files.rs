//! Directories and files that only their owner may use, and how such files are replaced.
//!
//! Whatever the umask, a directory has mode 0700 and a file 0600. A file is written under another
//! name, flushed and renamed, so that a crash leaves the old file or the new one, and its
//! directory is flushed before the write counts as done. An `io::Error` is the system's own.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The mode of a private directory.
pub const DIRECTORY_MODE: u32 = 0o700;
/// The mode of a private file.
pub const FILE_MODE: u32 = 0o600;

/// How the name of a file that is still being written begins; the name that it will have follows.
pub const UNFINISHED: &str = ".new-";

/// Why a private file or directory cannot be used. Each message is one line, names the path and
/// says what to do.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system refused an operation.
    #[error("cannot {action} {path}: {source}{}", access_hint(source))]
    Io {
        /// The operation, as in "cannot … PATH".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner have rights to it.
    #[error(
        "{path} must be private, but other users have access to it (mode {mode:04o}); run: chmod \
         {required_mode:o} {}",
        Quoted(path)
    )]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode that it needs.
        required_mode: u32,
    },
    /// It belongs to another user.
    #[error(
        "{path} belongs to user {owner}, but latchkey runs as user {user}; run it as user {owner}, \
         or run: chown -R {user} {}",
        Quoted(path)
    )]
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// The user that it belongs to.
        owner: u32,
        /// The user of this process.
        user: u32,
    },
}

impl FileError {
    /// Wraps what the system said to `action` on `path`, for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Who needs access to what the system refused.
fn access_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (the user that latchkey runs as needs read and write access)"
        }
        _ => "",
    }
}

/// Creates the directory `path` and those above it that are missing, each private and its entry
/// flushed. One that exists is left as it is; see [`check`].
pub fn create_directory(path: &Path) -> Result<(), FileError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    for directory in missing.into_iter().rev() {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created.map_err(FileError::io("create", directory))?,
        }
        // The umask may have taken rights from the owner.
        fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))
            .and_then(|()| sync_parent(directory))
            .map_err(FileError::io("create", directory))?;
    }
    if !path.is_dir() {
        return Err(FileError::io("create", path)(io::ErrorKind::NotADirectory.into()));
    }
    Ok(())
}

/// Refuses a file or directory that does not belong to the user of this process, or that others
/// have any rights to.
///
/// # Errors
/// [`FileError::ForeignOwner`] or [`FileError::TooOpen`]
pub fn check(path: &Path, metadata: &Metadata, required_mode: u32) -> Result<(), FileError> {
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return Err(FileError::ForeignOwner { path: path.to_owned(), owner, user });
    }
    let mode = metadata.mode() & 0o7777;
    let is_open_to_others = mode & 0o077 != 0;
    if is_open_to_others {
        return Err(FileError::TooOpen { path: path.to_owned(), mode, required_mode });
    }
    Ok(())
}

/// Opens a directory and checks that it is private. The handle can be locked and flushed.
pub fn open_directory(path: &Path) -> Result<File, FileError> {
    let directory = File::open(path).map_err(FileError::io("read", path))?;
    let metadata = directory.metadata().map_err(FileError::io("read", path))?;
    check(path, &metadata, DIRECTORY_MODE)?;
    Ok(directory)
}

/// Creates the file `path`, private and empty. Where there is one already it fails, so that nothing
/// is written through a link that somebody else put there.
pub fn create_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

/// Writes the file `name` in `directory`, in place of the one that may be there. Whatever happens it
/// is there whole or not at all, and once this returns it outlasts a power cut.
pub fn replace(directory: &Path, name: &str, content: &[u8], mode: u32) -> Result<(), FileError> {
    let path = directory.join(name);
    let unfinished = directory.join(format!("{UNFINISHED}{name}"));
    let write = || {
        // A crash may have left one behind.
        remove_if_exists(&unfinished)?;
        let mut file = create_file(&unfinished)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_directory(&File::open(directory)?)
    };
    write().map_err(|error| {
        // If even that fails, the next attempt removes it.
        let _ = fs::remove_file(&unfinished);
        FileError::io("write", &path)(error)
    })
}

/// Removes a file; one that is not there is fine.
pub fn remove_if_exists(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Flushes the entry of `path` in the directory above it.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(&File::open(".")?),
        Some(parent) => sync_directory(&File::open(parent)?),
        None => Ok(()),
    }
}

/// Flushes the entries of a directory.
pub fn sync_directory(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        // Some network file systems cannot flush a directory; nothing more can be done there.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        flushed => flushed,
    }
}

/// A path as one word of a shell command.
struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string_lossy();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
        if !path.starts_with('-') && path.bytes().all(is_plain) {
            return f.write_str(&path);
        }
        let dashed = if path.starts_with('-') { "./" } else { "" };
        write!(f, "'{dashed}{}'", path.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn missing_directories_are_made_private_and_others_are_left() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let path = root.path().join("a/b");
        create_directory(&path).unwrap();
        create_directory(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o700));
        assert_eq!(mode(root.path()), 0o755);
        open_directory(&path).unwrap();
        let message = open_directory(root.path()).unwrap_err().to_string();
        let command = format!("(mode 0755); run: chmod 700 {}", root.path().display());
        assert!(message.ends_with(&command), "{message}");
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let message = create_directory(&path).unwrap_err().to_string();
            assert!(message.starts_with(&format!("cannot create {}: ", path.display())));
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_what_a_crash_left_is_in_nobodys_way() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(".new-a"), "half").unwrap();
        for content in ["first", "second"] {
            replace(root.path(), "a", content.as_bytes(), FILE_MODE).unwrap();
            assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), content);
        }
        assert_eq!(mode(&root.path().join("a")), 0o600);
        replace(root.path(), "a", b"", 0o644).unwrap();
        assert_eq!(mode(&root.path().join("a")), 0o644);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        let message = replace(&root.path().join("a"), "b", b"", 0o600).unwrap_err().to_string();
        assert!(message.starts_with("cannot write "), "{message}");
    }

    #[test]
    fn another_owner_is_told_with_both_remedies() {
        let error = FileError::ForeignOwner { path: "my data".into(), owner: 7, user: 8 };
        assert_eq!(
            error.to_string(),
            "my data belongs to user 7, but latchkey runs as user 8; run it as user 7, or run: \
             chown -R 8 'my data'"
        );
    }

    #[test]
    fn the_command_can_be_pasted_into_a_shell() {
        for (path, quoted) in
            [("data/keys", "data/keys"), ("my data/it's", "'my data/it'\\''s'"), ("-R", "'./-R'")]
        {
            assert_eq!(Quoted(Path::new(path)).to_string(), quoted);
        }
    }
}
