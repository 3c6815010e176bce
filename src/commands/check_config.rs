//! `latchkey check-config`: what is wrong with the configuration.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use super::configuration::environment;
use crate::config::Config;
use crate::serve;

/// Reads the configuration and checks what a start would, as far as that touches nothing. Warnings
/// go to the standard error.
///
/// # Errors
/// All problems of the configuration, or the first that the start would meet.
pub(super) fn check_config(file: Option<&Path>) -> Result<String, Box<dyn Error>> {
    let loaded = Config::load(file, &environment())?;
    for warning in loaded.warnings {
        writeln!(io::stderr(), "latchkey: warning: {warning}")?;
    }
    serve::check(&loaded.config)?;
    Ok("the configuration is fine\n".to_owned())
}
