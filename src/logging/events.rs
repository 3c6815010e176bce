//! Formats `tracing` events as lines.
//!
//! One line per event: time, level, message, the fields in their order, and the request id. Spans
//! are ignored; this program opens none. Every request logs a line, so this is a hot path.

use std::fmt::{self, Debug, Write};
use std::sync::Arc;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::{REQUEST, is_mail, line};
use crate::clock::Clock;
use crate::config::LogFormat;

/// The field whose value is shown without its name.
const MESSAGE: &str = "message";
const REQUEST_ID: &str = "request_id";

/// Room for the line of a request.
const USUAL_LINE: usize = 256;

/// Formats every event and passes the line to the sink.
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

    fn line(&self, event: &Event<'_>) -> String {
        let mut line = String::with_capacity(USUAL_LINE);
        let now = self.clock.read().wall;
        let level = *event.metadata().level();
        let request = REQUEST.try_with(Arc::clone).ok();
        match self.format {
            LogFormat::Text => {
                let _ = write!(line, "{now} {:>5}", level.as_str());
                let mut fields = Text { line: &mut line };
                event.record(&mut fields);
                if let Some(request) = &request {
                    let _ = fields.value(REQUEST_ID).write_str(request);
                }
            }
            LogFormat::Json => {
                let _ = write!(line, "{{\"timestamp\":\"{now}\",\"level\":\"{level}\"");
                let mut fields = Json { line: &mut line };
                event.record(&mut fields);
                if let Some(request) = &request {
                    fields.show(REQUEST_ID, &**request);
                }
                line.push('}');
            }
        }
        line.push('\n');
        if line.len() > line::MAX_LINE {
            line = line::cut(self.format, now, level, &line);
        }
        line
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
        (self.sink)(event.metadata(), &self.line(event));
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
    /// Writes the field's name, and returns where its value goes.
    fn value(&mut self, name: &str) -> EscapeControl<'_> {
        self.line.push(' ');
        if name != MESSAGE {
            self.line.push_str(name);
            self.line.push('=');
        }
        EscapeControl(self.line)
    }
}

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.value(field.name()), "{value:?}");
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let _ = write!(self.value(field.name()), "{value:.3}");
    }
}

/// Escapes characters with which untrusted text could end the line or control the terminal.
struct EscapeControl<'a>(&'a mut String);

impl Write for EscapeControl<'_> {
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

/// Control characters, line and paragraph separators, and changes of the writing direction.
fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes fields for machines: `,"message":"…","name":7`.
struct Json<'a> {
    line: &'a mut String,
}

impl Json<'_> {
    fn show(&mut self, name: &str, value: impl Serialize) {
        // A value that cannot be serialized must not break the line.
        let value = serde_json::to_string(&value).unwrap_or_else(|_| "null".to_owned());
        let _ = write!(self.line, ",\"{name}\":{value}");
    }
}

/// Field names are paths of identifiers, so they need no escaping.
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
