//! The templates of mails: the built-in ones, which an operator can replace file by file.
//!
//! A mail has three: `PURPOSE.subject.txt` (one line), `PURPOSE.txt` and `PURPOSE.html`. The last
//! may extend `layout.html`, as the built-in ones do.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use minijinja::{Environment, Error, UndefinedBehavior, Value};

use super::MailSetupError;
use super::messages::{self, MailLink, Medium};
use crate::config::PublicUrl;
use crate::domain::QueuedMail;

/// The longest subject, in characters; longer ones are cut. This is far more than mail programs
/// show.
const MAX_SUBJECT: usize = 200;

/// The built-in template of a file.
macro_rules! built_in {
    ($($file:literal),+ $(,)?) => {
        [$(($file, include_str!(concat!("../templates/mail/", $file)))),+]
    };
}

/// Every template: the name of the file that can replace it, and the built-in text.
const BUILT_IN: [(&str, &str); 25] = built_in![
    "layout.html",
    "verify_email.subject.txt",
    "verify_email.txt",
    "verify_email.html",
    "reset_password.subject.txt",
    "reset_password.txt",
    "reset_password.html",
    "change_email.subject.txt",
    "change_email.txt",
    "change_email.html",
    "email_change_requested.subject.txt",
    "email_change_requested.txt",
    "email_change_requested.html",
    "email_changed.subject.txt",
    "email_changed.txt",
    "email_changed.html",
    "password_reset.subject.txt",
    "password_reset.txt",
    "password_reset.html",
    "password_changed.subject.txt",
    "password_changed.txt",
    "password_changed.html",
    "account_deleted.subject.txt",
    "account_deleted.txt",
    "account_deleted.html",
];

/// The compiled templates.
pub(super) struct Templates {
    environment: Environment<'static>,
    /// The name of each file in the environment: the path it was read from, so that errors name it.
    names: BTreeMap<&'static str, String>,
}

/// A rendered mail.
#[derive(Clone)]
pub(super) struct Rendered {
    /// One line without control characters.
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// A template that failed to render, reported without the values it was given.
#[derive(Debug)]
pub(super) struct RenderError {
    file: String,
    line: Option<usize>,
    kind: String,
    /// The template's exact error; it may quote the values it was given.
    detail: Option<String>,
}

impl Templates {
    /// Compiles all templates; those in `directory` replace the built-in ones.
    pub(super) fn load(directory: Option<&Path>) -> Result<Self, MailSetupError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // So that an error names the undefined variable.
        environment.set_debug(true);
        let mut names = BTreeMap::new();
        if let Some(directory) = directory {
            warn_of_unknown_files(directory)?;
        }
        for (file, built_in) in BUILT_IN {
            let replacement = match directory {
                Some(directory) => read_replacement(&directory.join(file))?,
                None => None,
            };
            let (name, source) =
                replacement.unwrap_or_else(|| (format!("built-in {file}"), built_in.to_owned()));
            environment
                .add_template_owned(name.clone(), source)
                .map_err(|error| RenderError::new(&name, &error).at_setup())?;
            names.insert(file, name);
        }
        // A template refers to another by its file name; the environment knows it by its path.
        let known = names.clone();
        environment.set_path_join_callback(move |file, _| {
            known.get(file).cloned().unwrap_or_else(|| file.to_owned()).into()
        });
        Ok(Self { environment, names })
    }

    /// Renders the three parts of one mail.
    pub(super) fn render(
        &self,
        mail: &QueuedMail,
        link: Option<&MailLink>,
        public_url: &PublicUrl,
    ) -> Result<Rendered, RenderError> {
        let purpose = mail.kind.purpose();
        let text_values = messages::context(mail, link, public_url, Medium::Text);
        let html_values = messages::context(mail, link, public_url, Medium::Html);
        let subject_file = format!("{purpose}.subject.txt");
        let subject = self.render_file(&subject_file, text_values.clone())?;
        Ok(Rendered {
            subject: one_line(&subject).ok_or_else(|| RenderError {
                file: self.name(&subject_file).to_owned(),
                line: None,
                kind: "a subject is one line".to_owned(),
                detail: None,
            })?,
            text: self.render_file(&format!("{purpose}.txt"), text_values)?,
            html: self.render_file(&format!("{purpose}.html"), html_values)?,
        })
    }

    fn render_file(&self, file: &str, values: Value) -> Result<String, RenderError> {
        let name = self.name(file);
        self.environment
            .get_template(name)
            .and_then(|template| template.render(values))
            .map(with_final_newline)
            .map_err(|error| RenderError::new(name, &error))
    }

    fn name<'a>(&'a self, file: &'a str) -> &'a str {
        self.names.get(file).map_or(file, String::as_str)
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.values()).finish()
    }
}

impl RenderError {
    fn new(name: &str, error: &Error) -> Self {
        Self {
            file: error.name().unwrap_or(name).to_owned(),
            line: error.line(),
            kind: error.kind().to_string(),
            detail: error.detail().map(str::to_owned),
        }
    }

    /// The same with all details, for when it can only quote sample values.
    pub(super) fn at_setup(self) -> MailSetupError {
        let problem = match self.detail {
            Some(detail) => format!("{}: {detail}", self.kind),
            None => self.kind,
        };
        MailSetupError::Template { file: self.file, line: self.line, problem }
    }

    /// The error without any value, suitable for a log while real mail is rendered.
    pub(super) fn reason(&self) -> String {
        format!("template {}: {}", place(&self.file, self.line), self.kind)
    }
}

/// Where in a template something is, as far as the engine can tell.
pub(super) fn place(file: &str, line: Option<usize>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}, line {line}"))
}

/// The replacement at `path`, named by its path; `None` if there is no such file.
fn read_replacement(path: &Path) -> Result<Option<(String, String)>, MailSetupError> {
    match std::fs::read_to_string(path) {
        Ok(source) => Ok(Some((path.display().to_string(), source))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(MailSetupError::Unreadable { path: path.to_owned(), source }),
    }
}

/// Other files are ignored, but one that looks like a template is most likely misspelt.
fn warn_of_unknown_files(directory: &Path) -> Result<(), MailSetupError> {
    let unreadable = |source| MailSetupError::Unreadable { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.file_name();
        let file = file.to_string_lossy();
        let looks_like_a_template = file.ends_with(".txt") || file.ends_with(".html");
        let is_known = BUILT_IN.iter().any(|(known, _)| *known == file);
        if looks_like_a_template && !is_known {
            let known = BUILT_IN.map(|(known, _)| known).join(", ");
            tracing::warn!(
                target: "latchkey::mail",
                file = %directory.join(&*file).display(),
                %known,
                "no mail uses this template"
            );
        }
    }
    Ok(())
}

/// `subject` as a header value; `None` if it is empty or has more than one line.
fn one_line(subject: &str) -> Option<String> {
    let subject = subject.trim();
    if subject.is_empty() || subject.contains(['\r', '\n']) {
        return None;
    }
    Some(subject.chars().filter(|character| !character.is_control()).take(MAX_SUBJECT).collect())
}

fn with_final_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
