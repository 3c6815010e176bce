//! The executable and what it is made of.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::Result;
use crate::memory::mebibytes;
use crate::options::Options;
use crate::report::{Row, Target};
use crate::server::latchkey;

pub(crate) fn measure(_: &Options) -> Result<Vec<Row>> {
    let size = fs::metadata(latchkey())?.len();
    Ok(vec![
        Row::figure("executable", mebibytes(size), " MiB").target(Target::AtMost(8.0)),
        Row::figure("crates in the default build", f64::from(crates()?), "")
            .target(Target::AtMost(150.0)),
    ])
}

/// How many crates are compiled for the executable and to build it, Latchkey itself left out.
fn crates() -> Result<u32> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--no-dedupe"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>());
    let crates: BTreeSet<_> = names.filter(|name| name.first() != Some(&"latchkey")).collect();
    Ok(u32::try_from(crates.len())?)
}
