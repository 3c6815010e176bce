//! The executable. `.ci/dependencies` counts the crates that it is made of.

use std::fs;

use crate::Result;
use crate::memory::mebibytes;
use crate::options::Options;
use crate::report::{Row, Target};
use crate::server::latchkey;

pub(crate) fn measure(_: &Options) -> Result<Vec<Row>> {
    let size = fs::metadata(latchkey())?.len();
    Ok(vec![Row::figure("executable", mebibytes(size), " MiB").target(Target::AtMost(8.0))])
}
