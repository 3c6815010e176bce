//! Formats `tracing` events as lines.
//!
//! One line per event: time, level, message, the fields in their order, and the id of the request
//! it belongs to. Spans are not supported; this program opens none. Every request logs a line, so
//! formatting one must be cheap.

use std::cell::Cell;
use std::fmt::{self, Debug, Write};
use std::sync::Arc;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::{REQUEST, is_mail};
use crate::clock::Clock;
use crate::config::LogFormat;

/// The field whose value is shown without its name.
const MESSAGE: &str = "message";
const REQUEST_ID: &str = "request_id";

/// The most memory that a thread keeps for its next line, in bytes.
const KEPT: usize = 1024;

thread_local! {
    /// The thread's last line, kept for its memory.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// Formats every event as a line for the sink.
pub(super) struct Events<S> {
    level: LevelFilter,
    format: LogFormat,
    clock: Clock,
    sink: S,
}

impl<S> Events<S> {
    pub(super) fn new(level: LevelFilter, format: LogFormat, clock: Clock, sink: S) -> Self {
        Self { level, format, clock, sink }
    }

    fn write(&self, event: &Event<'_>, line: &mut String) {
        let now = self.clock.read().wall;
        let level = event.metadata().level();
        let request = REQUEST.try_with(Arc::clone).ok();
        match self.format {
            LogFormat::Text => {
                let _ = write!(line, "{now} {:>5}", level.as_str());
                let mut fields = Text { line };
                event.record(&mut fields);
                if let Some(request) = &request {
                    let _ = fields.value(REQUEST_ID).write_str(request);
                }
            }
            LogFormat::Json => {
                let _ = write!(line, "{{\"timestamp\":\"{now}\",\"level\":\"{level}\"");
                let mut fields = Json { line };
                event.record(&mut fields);
                if let Some(request) = &request {
                    fields.show(REQUEST_ID, &**request);
                }
                line.push('}');
            }
        }
        line.push('\n');
    }
}

impl<S: Fn(&Metadata<'_>, &str) + 'static> Subscriber for Events<S> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && (*metadata.level() <= self.level || is_mail(metadata))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.max(LevelFilter::INFO))
    }

    fn event(&self, event: &Event<'_>) {
        // Taken out while in use, since formatting a value may log in turn. At the end of a thread
        // it is gone.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        self.write(event, &mut line);
        (self.sink)(event.metadata(), &line);
        line.clear();
        line.shrink_to(KEPT);
        let _ = LINE.try_with(|kept| kept.set(line));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Writes fields for people: `message name=value other="text"`.
struct Text<'a> {
    line: &'a mut String,
}

impl Text<'_> {
    /// Where the value of a field is written.
    fn value(&mut self, name: &str) -> Harmless<'_> {
        self.line.push(' ');
        if name != MESSAGE {
            self.line.push_str(name);
            self.line.push('=');
        }
        Harmless(self.line)
    }
}

/// A value that fails to format leaves the line unchanged.
impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.value(field.name()), "{value:?}");
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let _ = write!(self.value(field.name()), "{value:.3}");
    }
}

/// Escapes untrusted text, so that it can neither end the line nor control the terminal that shows
/// it.
struct Harmless<'a>(&'a mut String);

impl Write for Harmless<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.0.push_str(text);
            return Ok(());
        }
        for character in text.chars() {
            if is_control(character) {
                self.0.extend(character.escape_default());
            } else {
                self.0.push(character);
            }
        }
        Ok(())
    }
}

/// Whether a character is not shown as such: control characters, and those that end a line or
/// change the writing direction.
fn is_control(character: char) -> bool {
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') || turns
}

/// Writes fields for machines: `,"message":"…","name":7`.
struct Json<'a> {
    line: &'a mut String,
}

impl Json<'_> {
    fn show(&mut self, name: &str, value: impl Serialize) {
        // A value that fails to format is replaced by a placeholder.
        let value = serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned());
        let _ = write!(self.line, ",\"{name}\":{value}");
    }
}

/// Names are identifiers or dotted paths.
impl Visit for Json<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.show(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.show(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.show(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.show(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.show(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.show(field.name(), value);
    }
}
