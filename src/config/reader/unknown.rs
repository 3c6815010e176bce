//! Reports unknown sections, keys and variables, with the name that was probably meant.

use super::{Key, Reader};
use crate::config::problems::{Problem, clipped, nearest, printable};
use crate::config::source::{PREFIX, WrittenSection};

impl Reader {
    /// The keys of the file that were not read, and the sections of which none was.
    pub(super) fn unknown_keys(&self, is_whole: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let Some(file) = &self.file else { return problems };
        for (name, section) in &file.sections {
            let is_read =
                |key: &str| self.keys.iter().any(|it| it.section == name && it.name == key);
            let is_section = self.keys.iter().any(|key| key.section == name);
            let messages = match &section.keys {
                _ if !is_section && !is_whole => vec![],
                _ if !is_section => vec![(section.line, self.about_unknown_section(name, section))],
                None => {
                    let name = clipped(name);
                    let message = format!(
                        "{name}: found a value, but it is a section: write [{name}] above its keys"
                    );
                    vec![(section.line, message)]
                }
                Some(keys) => keys
                    .iter()
                    .filter(|(key, _)| !is_read(key))
                    .map(|(key, (line, _))| (*line, self.about_unknown_key(name, key)))
                    .collect(),
            };
            let problem = |(line, message)| Problem::new(file.place(line), message);
            problems.extend(messages.into_iter().map(problem));
        }
        problems
    }

    fn about_unknown_key(&self, section: &str, name: &str) -> String {
        let full_name = format!("{section}.{}", clipped(name));
        let own = self.keys.iter().filter(|key| key.section == section).map(|key| key.name);
        let near = nearest(name, own.clone()).map(|near| format!("{section}.{near}"));
        if let Some(near) = near.or_else(|| self.key_like(name).map(Key::to_string)) {
            format!("{full_name}: no such key; did you mean {near}?")
        } else {
            let all = own.collect::<Vec<_>>().join(", ");
            format!("{full_name}: no such key; [{section}] takes {all}")
        }
    }

    fn about_unknown_section(&self, name: &str, section: &WrittenSection) -> String {
        let mut sections: Vec<_> = self.keys.iter().map(|key| key.section).collect();
        sections.dedup();
        let all = sections.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(", ");
        let shown = clipped(name);
        if let (None, Some(key)) = (&section.keys, self.key_like(name)) {
            format!("{shown}: no such key outside a section; did you mean {key}?")
        } else if let Some(near) = nearest(name, sections) {
            format!("{shown}: no such section; did you mean [{near}]?")
        } else {
            format!("{shown}: no such section; there are {all}")
        }
    }

    fn key_like(&self, name: &str) -> Option<&Key> {
        let near = nearest(name, self.keys.iter().map(|key| key.name))?;
        self.keys.iter().find(|key| key.name == near)
    }

    /// Warns of the variables that nobody asked for: something else may have set them, as
    /// Kubernetes does for a service of our name.
    pub(super) fn find_unknown_variables(&mut self) {
        let variables = self.keys.iter().map(Key::variable);
        let known: Vec<_> = variables.flat_map(|name| [format!("{name}_FILE"), name]).collect();
        for name in self.environment.0.keys().filter(|name| !known.contains(*name)) {
            let known = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
            let hint = nearest(name.trim_start_matches(PREFIX), known)
                .map(|near| format!("; did you mean {PREFIX}{near}?"))
                .unwrap_or_default();
            let shown = printable(&clipped(name));
            self.warnings.push(format!("{shown} is not a known variable and is ignored{hint}"));
        }
    }
}
