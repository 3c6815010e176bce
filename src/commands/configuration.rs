//! Which configuration file counts, and which variables.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where the configuration is looked for when none is named, in this order.
const PLACES: [&str; 2] = ["config.toml", "/etc/latchkey/config.toml"];

/// The file that was named with `--config`, else the first of `./config.toml` and
/// `/etc/latchkey/config.toml` that exists; `None` leaves the defaults and the environment.
pub fn find_config(named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| first_of(&PLACES.map(Path::new)))
}

/// The environment variables of this process.
pub(super) fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

fn first_of(places: &[&Path]) -> Option<PathBuf> {
    // One that cannot be looked at counts as there, so that it is not passed over silently.
    let exists = |place: &&&Path| place.try_exists().unwrap_or(true);
    places.iter().find(exists).map(|place| place.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_exists_counts_and_a_named_one_before_all() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("first"), root.path().join("second"));
        let places = [first.as_path(), second.as_path()];
        assert_eq!(first_of(&places), None);
        std::fs::write(&second, "").unwrap();
        assert_eq!(first_of(&places).as_ref(), Some(&second));
        std::fs::write(&first, "").unwrap();
        assert_eq!(first_of(&places).as_ref(), Some(&first));
        // It is read, and the error that follows names it.
        let below_a_file = first.join("config.toml");
        assert_eq!(first_of(&[&below_a_file, &second]).as_ref(), Some(&below_a_file));
        assert_eq!(find_config(Some("gone.toml".into())), Some("gone.toml".into()));
        assert_eq!(PLACES, ["config.toml", "/etc/latchkey/config.toml"]);
    }
}
