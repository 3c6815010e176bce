//! The floors of the house: imports point downwards only, and each engine stays behind its wall.
//!
//! The source is read as text, by the house's own manner: `crate::` and `super::` paths in code
//! that is not for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::all_below;

/// The floors, lowest first, each with the modules that live there.
const FLOORS: &[(&str, &[&str])] = &[
    ("values", &["clock", "random", "secret", "domain", "paths", "private_files"]),
    ("configuration", &["config"]),
    ("adapters", &["store", "hasher", "keys", "jwt", "throttle", "mail", "logging"]),
    ("application", &["app"]),
    ("flows", &["flows"]),
    ("edge", &["server", "http"]),
    ("start", &["serve", "cli", "commands", "main", "lib"]),
];

/// What only some modules may name, and which: each as a folder or file below `src`.
const WALLS: &[(&str, &[&str])] = &[
    ("redb", &["store/engine"]),
    ("hyper", &["http", "server", "serve"]),
    ("hyper_util", &["http", "server", "serve"]),
    ("http_body_util", &["http", "server", "serve"]),
    ("matchit", &["http"]),
    ("argon2", &["hasher"]),
    ("jsonwebtoken", &["jwt", "keys"]),
    ("lettre", &["mail", "config"]),
    ("toml", &["config"]),
    ("lexopt", &["cli"]),
];

/// What some modules must not name: the room, and the path.
const BARRED: &[(&str, &str)] = &[
    ("store/engine", "crate::store::rows"),
    ("store/engine", "crate::store::operations"),
    ("store/rows", "crate::store::operations"),
    ("store/operations", "Write<"),
    ("store/operations", "Read<"),
    ("store/operations", ".tables"),
];

/// A source file: its path below `src`, and its text.
type Source = (String, String);

/// One import: the file and line it stands in, and the modules it leads from and to.
#[derive(Debug)]
struct Import {
    place: String,
    from: String,
    to: String,
}

#[test]
fn imports_point_downwards_only() {
    let sources = sources();
    assert_eq!(upward_imports(&sources), Vec::<String>::new());
    // Every module has a floor, so that a new one cannot be overlooked.
    let known: BTreeSet<&str> = FLOORS.iter().flat_map(|(_, modules)| *modules).copied().collect();
    let present: BTreeSet<String> = sources.iter().map(|(path, _)| module_of(path)).collect();
    assert_eq!(present.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    let found = imports(&sources);
    assert!(found.len() > 100, "only {} imports were found", found.len());
}

#[test]
fn imports_on_one_floor_make_no_circle() {
    assert_eq!(circles(&imports(&sources())), Vec::<String>::new());
}

#[test]
fn each_engine_stays_behind_its_wall() {
    assert_eq!(breaches(&sources()), Vec::<String>::new());
}

#[test]
fn the_search_finds_what_it_is_there_to_find() {
    let source = |path: &str, text: &str| vec![(path.to_owned(), text.to_owned())];
    let outside = "#[cfg(test)]\nmod tests {\n    use crate::http;\n}\n\nuse crate::server::run;\n";
    // How many imports point upwards.
    for (count, path, text) in [
        (1, "store/users.rs", "use crate::flows::login;\n"),
        (1, "domain/user.rs", "use crate::{clock::Timestamp, config::Config};\n"),
        (1, "config.rs", "fn f() { crate::store::open() }\n"),
        (1, "jwt.rs", "use super::app::App;\n"),
        (1, "jwt/wire.rs", "use super::super::http;\n"),
        (1, "flows.rs", outside),
        (1, "mail.rs", "use crate::nowhere::Thing;\n"),
        (0, "flows/login.rs", "use crate::store::Store;\nuse super::super::app::App;\n"),
        (0, "store.rs", "// As crate::flows has it.\n/// See [`run`](crate::serve::run).\n"),
        (0, "store.rs", "#[cfg(test)]\nmod tests {\n    use crate::serve::run;\n}\n"),
        (0, "store/tests.rs", "use crate::serve::run;\n"),
    ] {
        assert_eq!(upward_imports(&source(path, text)).len(), count, "{path}: {text}");
    }
    let circle = [
        source("keys.rs", "use crate::jwt::Tokens;\n"),
        source("jwt.rs", "use crate::store::Store;\n"),
        source("store.rs", "use crate::keys::Keys;\n"),
    ];
    assert_eq!(circles(&imports(&circle.concat())).len(), 3);
    // How many walls are broken through.
    for (count, path, text) in [
        (1, "flows/login.rs", "use redb::Database;\n"),
        (1, "app.rs", "fn f(status: hyper::StatusCode) {}\n"),
        (1, "commands/list_keys.rs", "    redb::Builder::new();\n"),
        (1, "store.rs", "use redb::Database;\n"),
        (1, "store/rows/users.rs", "use redb::ReadableTable;\n"),
        (1, "store/rows/users.rs", "use crate::store::operations::Taken;\n"),
        (1, "store/engine/writer.rs", "use crate::store::rows::Tx;\n"),
        (1, "store/operations/account.rs", "fn f(tx: &mut Tx) { tx.tables.users.open() }\n"),
        (0, "store/engine.rs", "use redb::Database;\n"),
        (0, "store/engine/writer.rs", "use redb::Database;\n"),
    ] {
        assert_eq!(breaches(&source(path, text)).len(), count, "{path}: {text}");
    }
}

/// All source files.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    };
    let mut sources: Vec<_> = all_below(&root).into_iter().filter(is_source).map(read).collect();
    sources.sort();
    sources
}

/// The module of the first level that a file belongs to.
fn module_of(path: &str) -> String {
    path.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
}

/// How many modules deep a file lies: 1 for `store.rs`, 2 for `store/users.rs`.
fn depth_of(path: &str) -> usize {
    path.split('/').count()
}

/// The lines of code outside tests, with their numbers.
fn code((path, text): &Source) -> Vec<(usize, &str)> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let mut code = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            // An item ends with the first line that ends it on its own level.
            let indent = &line[..line.len() - line.trim_start().len()];
            let end = format!("{indent}}}");
            lines.by_ref().find(|(_, line)| {
                *line == end || (line.ends_with(';') && !line.starts_with(&format!("{indent} ")))
            });
        } else if !line.trim_start().starts_with("//") {
            code.push((number + 1, line));
        }
    }
    code
}

/// Every path in code that leads to a module of the first level.
fn imports(sources: &[Source]) -> Vec<Import> {
    let mut found = Vec::new();
    for source in sources {
        let from = module_of(&source.0);
        for (number, line) in code(source) {
            let to_root = "super::".repeat(depth_of(&source.0));
            for prefix in ["crate::", to_root.as_str(), "latchkey::"] {
                for (at, _) in line.match_indices(prefix) {
                    let is_whole = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == ':');
                    if !is_whole {
                        continue;
                    }
                    for to in targets(&line[at + prefix.len()..]) {
                        let place = format!("src/{}:{number}", source.0);
                        found.push(Import { place, from: from.clone(), to });
                    }
                }
            }
        }
    }
    found
}

/// The first words of what follows `crate::`: one, or several in braces.
fn targets(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let mut depth = 0_usize;
    let mut items = vec![String::new()];
    for character in group.chars() {
        match character {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            other => {
                depth = match other {
                    '{' => depth + 1,
                    '}' => depth - 1,
                    _ => depth,
                };
                items.last_mut().unwrap().push(other);
            }
        }
    }
    items.iter().map(|item| word(item)).filter(|word| !word.is_empty()).collect()
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|(_, modules)| modules.contains(&module))
}

fn upward_imports(sources: &[Source]) -> Vec<String> {
    let is_upward = |import: &Import| match (floor_of(&import.from), floor_of(&import.to)) {
        (Some(from), Some(to)) => to > from,
        _ => true,
    };
    let complaint =
        |import: &Import| format!("{}: {} must not know {}", import.place, import.from, import.to);
    imports(sources).iter().filter(|import| is_upward(import)).map(complaint).collect()
}

/// The modules that, by way of others, import themselves.
fn circles(imports: &[Import]) -> Vec<String> {
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for import in imports.iter().filter(|import| import.from != import.to) {
        known.entry(&import.from).or_default().insert(&import.to);
    }
    let reaches_itself = |module: &&str| {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![*module];
        while let Some(next) = waiting.pop() {
            for to in known.get(next).into_iter().flatten() {
                if reached.insert(*to) {
                    waiting.push(to);
                }
            }
        }
        reached.contains(module)
    };
    known
        .keys()
        .filter(|module| reaches_itself(module))
        .map(|module| (*module).to_owned())
        .collect()
}

/// Whether a file is that of a module, or lies below it.
fn is_in(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn breaches(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let path = &source.0;
        for (number, line) in code(source) {
            for (room, barred) in BARRED {
                if is_in(path, room) && line.contains(barred) {
                    found.push(format!("src/{path}:{number}: {room} must not name {barred}"));
                }
            }
            for (name, allowed) in WALLS {
                let is_named = line.match_indices(&format!("{name}::")).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c))
                });
                if is_named && !allowed.iter().any(|room| is_in(path, room)) {
                    found.push(format!("src/{path}:{number}: it must not name {name}"));
                }
            }
        }
    }
    found
}
