//! What came out: one table for people, the same as JSON for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;
use crate::contest::Tally;
use crate::machine::Machine;
use crate::memory::mebibytes;

/// What a figure is to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_reached_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(target) => figure >= target,
            Self::AtMost(target) => figure <= target,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtLeast(target) => format!(">= {target}{unit}"),
            Self::AtMost(target) => format!("<= {target}{unit}"),
        }
    }
}

/// Median, 99th percentile and longest, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Times([f64; 3]);

impl Times {
    fn of(tally: &Tally) -> Self {
        let latency = &tally.total.latency;
        let times = [latency.median(), latency.p99(), latency.longest()];
        Self(times.map(|took| took.as_secs_f64() * 1000.0))
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    system: f64,
    ceiling: Option<f64>,
    /// What is held against the target, and its unit.
    verdict: Option<(f64, &'static str)>,
    target: Option<Target>,
    times: Option<Times>,
    ceiling_times: Option<Times>,
    errors: u64,
    first_error: Option<String>,
    memory: Option<u64>,
}

impl Row {
    /// A figure by itself.
    pub(crate) fn figure(name: impl Into<String>, system: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            unit,
            system,
            ceiling: None,
            verdict: None,
            target: None,
            times: None,
            ceiling_times: None,
            errors: 0,
            first_error: None,
            memory: None,
        }
    }

    /// What a side did, in answers a second.
    pub(crate) fn rate(name: impl Into<String>, system: &Tally) -> Self {
        Self {
            times: Some(Times::of(system)),
            errors: system.total.errors,
            first_error: system.total.first_error.clone(),
            ..Self::figure(name, system.rate(), "/s")
        }
    }

    /// Two sides in answers a second, and the ratio of the two.
    pub(crate) fn contest(name: impl Into<String>, system: &Tally, ceiling: &Tally) -> Self {
        let has_times = ceiling.total.latency.count() > 0;
        let mut row = Self::rate(name, system);
        row.ceiling = Some(ceiling.rate());
        row.ceiling_times = has_times.then(|| Times::of(ceiling));
        row.errors += ceiling.total.errors;
        row.first_error = row.first_error.or_else(|| ceiling.total.first_error.clone());
        row.verdict(crate::contest::ratio(&system.rates, &ceiling.rates), "")
    }

    /// With what it is measured against.
    pub(crate) fn beside(mut self, ceiling: f64) -> Self {
        self.ceiling = Some(ceiling);
        self
    }

    /// With what is held against the target, if that is not the figure itself.
    pub(crate) fn verdict(mut self, verdict: f64, unit: &'static str) -> Self {
        self.verdict = Some((verdict, unit));
        self
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    pub(crate) fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    fn judged(&self) -> (f64, &'static str) {
        self.verdict.unwrap_or((self.system, self.unit))
    }

    fn is_reached(&self) -> Option<bool> {
        self.target.map(|target| target.is_reached_by(self.judged().0))
    }

    fn cells(&self) -> [String; COLUMNS] {
        let (judged, judged_unit) = self.judged();
        let times = self.times.map_or_else(Default::default, |times| times.0.map(number));
        let [median, p99, longest] = times;
        let target = self.target.map_or_else(String::new, |target| target.text(judged_unit));
        let reached = match self.is_reached() {
            Some(true) => "reached",
            Some(false) => "BEYOND THE TARGET",
            None => "",
        };
        [
            self.name.clone(),
            format!("{}{}", number(self.system), self.unit),
            self.ceiling.map_or_else(String::new, |it| format!("{}{}", number(it), self.unit)),
            self.verdict.map_or_else(String::new, |_| format!("{}{judged_unit}", number(judged))),
            target,
            median,
            p99,
            longest,
            self.errors.to_string(),
            self.memory.map_or_else(String::new, |bytes| number(mebibytes(bytes))),
            reached.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let times = |times: Option<Times>| {
            times.map(|Times([median, p99, longest])| {
                json!({"median_ms": median, "p99_ms": p99, "max_ms": longest})
            })
        };
        let (verdict, verdict_unit) = self.judged();
        let target = self.target.map(|target| match target {
            Target::AtLeast(least) => json!({"at_least": least}),
            Target::AtMost(most) => json!({"at_most": most}),
        });
        json!({
            "scenario": self.name,
            "unit": self.unit.trim(),
            "system": self.system,
            "ceiling": self.ceiling,
            "verdict": verdict,
            "verdict_unit": verdict_unit.trim(),
            "target": target,
            "reached": self.is_reached(),
            "latency": times(self.times),
            "ceiling_latency": times(self.ceiling_times),
            "errors": self.errors,
            "resident_bytes": self.memory,
        })
    }
}

const COLUMNS: usize = 11;
const HEADINGS: [&str; COLUMNS] = [
    "scenario",
    "system",
    "ceiling",
    "compared",
    "target",
    "median ms",
    "p99 ms",
    "max ms",
    "errors",
    "RSS MiB",
    "",
];

/// All rows as one table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0; COLUMNS];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut written = String::new();
        for (place, (cell, width)) in line.iter().zip(widths).enumerate() {
            // Writing to a string does not fail. Words stand left, numbers right.
            let _ = if place == 0 || place + 1 == COLUMNS {
                write!(written, "{cell:<width$}  ")
            } else {
                write!(written, "{cell:>width$}  ")
            };
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text
}

/// What went wrong, row by row.
pub(crate) fn errors(rows: &[Row]) -> Vec<String> {
    let failed = rows.iter().filter(|row| row.errors > 0);
    failed
        .map(|row| {
            let first = row.first_error.as_deref().unwrap_or("no word of it");
            format!("{}: {} errors, the first: {first}", row.name, row.errors)
        })
        .collect()
}

/// Writes all of it to `file`.
pub(crate) fn write_json(file: &Path, machine: &Machine, form: &str, rows: &[Row]) -> Result<()> {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    let all = json!({"machine": machine.json(), "form": form, "rows": rows});
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    Ok(std::fs::write(file, serde_json::to_string_pretty(&all)? + "\n")?)
}

/// A number with as many digits as tell something.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middling if middling >= 10.0 => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
