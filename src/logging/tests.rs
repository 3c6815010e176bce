use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tracing::{debug, error_span, info, warn};

use super::*;

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The lines that `act` leads to, without the time in front.
fn logged(level: LogLevel, format: LogFormat, act: impl FnOnce()) -> Vec<String> {
    let kept = Kept::default();
    let dispatch = dispatch(&LogConfig { format, level }, kept.clone());
    tracing::dispatcher::with_default(&dispatch, act);
    let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let without_time = |line: &str| match format {
        LogFormat::Text => line.split_once(' ').unwrap().1.trim_start().to_owned(),
        LogFormat::Json => {
            let mut object: Value = serde_json::from_str(line).unwrap();
            assert!(object.as_object_mut().unwrap().remove("timestamp").is_some());
            object.to_string()
        }
    };
    String::from_utf8(bytes).unwrap().lines().map(without_time).collect()
}

#[test]
fn a_mail_is_logged_at_every_level_and_nothing_else_is() {
    let act = || {
        info!(target: mail::LOG_TARGET, link = "x", "mail");
        debug!(target: mail::LOG_TARGET, "detail");
        info!(target: "latchkey::mail::smtp", "neighbour");
        info!("other");
        warn!("warning");
    };
    let mail = "INFO mail link=\"x\"";
    assert_eq!(logged(LogLevel::Error, LogFormat::Text, act), [mail]);
    assert_eq!(logged(LogLevel::Warn, LogFormat::Text, act), [mail, "WARN warning"]);
    let all_but_detail = [mail, "INFO neighbour", "INFO other", "WARN warning"];
    assert_eq!(logged(LogLevel::Info, LogFormat::Text, act), all_but_detail);
    assert_eq!(logged(LogLevel::Debug, LogFormat::Text, act).len(), 5);
}

#[test]
fn a_line_names_the_request_that_it_belongs_to() {
    let act = || {
        let _request = error_span!("request", request_id = %"7").entered();
        warn!(user = 1, "theft");
    };
    assert_eq!(
        logged(LogLevel::Warn, LogFormat::Text, act),
        ["WARN request{request_id=7}: theft user=1"]
    );
    let line =
        r#"{"level":"WARN","message":"theft","span":{"name":"request","request_id":"7"},"user":1}"#;
    assert_eq!(logged(LogLevel::Warn, LogFormat::Json, act), [line]);
}

#[test]
fn the_lines_that_the_log_writes_itself_look_like_all_others() {
    let act = || warn!(lines = 7, "log lines were dropped: stderr is too slow, or was away");
    for format in [LogFormat::Text, LogFormat::Json] {
        let own = line::dropped(format, crate::clock::Timestamp::EPOCH, 7);
        let own = match format {
            LogFormat::Text => own.trim_end().split_once("Z  ").unwrap().1.to_owned(),
            LogFormat::Json => {
                let mut object: Value = serde_json::from_str(&own).unwrap();
                object.as_object_mut().unwrap().remove("timestamp").unwrap();
                object.to_string()
            }
        };
        assert_eq!(logged(LogLevel::Info, format, act), [own]);
    }
}

#[test]
fn a_line_reaches_the_queue_bounded() {
    for format in [LogFormat::Text, LogFormat::Json] {
        let queue = Arc::new(Queue::new(format, Clock::system()));
        let config = LogConfig { format, level: LogLevel::Info };
        let dispatch = dispatch(&config, Lines { format, queue: Arc::clone(&queue) });
        tracing::dispatcher::with_default(&dispatch, || info!("{}", "x".repeat(100_000)));
        let waiting = queue.waiting();
        assert!(waiting > 1_000 && waiting <= line::MAX_LINE, "{waiting}");
    }
}
