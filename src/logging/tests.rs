use std::sync::Mutex;

use serde_json::Value;
use tracing::level_filters::LevelFilter;
use tracing::{debug, error, info, warn};

use super::*;
use crate::config::LogFormat;

/// The lines that `act` leads to, without the time in front.
fn logged(level: LevelFilter, format: LogFormat, act: impl FnOnce()) -> Vec<String> {
    let kept = Arc::new(Mutex::new(String::new()));
    let keeping = Arc::clone(&kept);
    let sink = move |_: &Metadata<'_>, line: &str| keeping.lock().unwrap().push_str(line);
    tracing::dispatcher::with_default(&dispatch(&LogConfig { format, level }, sink), act);
    let without_time = |line: &str| match format {
        LogFormat::Text => line.split_once(' ').unwrap().1.trim_start().to_owned(),
        LogFormat::Json => {
            let mut object: Value = serde_json::from_str(line).unwrap();
            assert!(object.as_object_mut().unwrap().remove("timestamp").is_some());
            object.to_string()
        }
    };
    let text = kept.lock().unwrap();
    assert!(text.ends_with('\n'), "{text}");
    text.lines().map(without_time).collect()
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
    assert_eq!(logged(LevelFilter::ERROR, LogFormat::Text, act), [mail]);
    assert_eq!(logged(LevelFilter::WARN, LogFormat::Text, act), [mail, "WARN warning"]);
    let all_but_detail = [mail, "INFO neighbour", "INFO other", "WARN warning"];
    assert_eq!(logged(LevelFilter::INFO, LogFormat::Text, act), all_but_detail);
    assert_eq!(logged(LevelFilter::DEBUG, LogFormat::Text, act).len(), 5);
}

#[test]
fn a_line_names_the_request_that_it_belongs_to() {
    let act = || REQUEST.sync_scope("7".into(), || warn!(user = 1, "theft"));
    assert_eq!(logged(LevelFilter::WARN, LogFormat::Text, act), ["WARN theft user=1 request_id=7"]);
    let line = r#"{"level":"WARN","message":"theft","request_id":"7","user":1}"#;
    assert_eq!(logged(LevelFilter::WARN, LogFormat::Json, act), [line]);
}

#[test]
fn values_are_written_as_what_they_are() {
    let act = || {
        let (text, io) = ("a \"b\"", io::Error::other("broken"));
        info!(text, shown = %"c d", debug = ?Some(1), yes = true, below = -1, ms = 0.25, "{}", 7);
        error!(error = &io as &dyn std::error::Error, dotted.name = 1u64, "it");
    };
    assert_eq!(
        logged(LevelFilter::INFO, LogFormat::Text, act),
        [
            r#"INFO 7 text="a \"b\"" shown=c d debug=Some(1) yes=true below=-1 ms=0.250"#,
            "ERROR it error=broken dotted.name=1",
        ]
    );
    assert_eq!(
        logged(LevelFilter::INFO, LogFormat::Json, act),
        [
            r#"{"below":-1,"debug":"Some(1)","level":"INFO","message":"7","ms":0.25,"shown":"c d","text":"a \"b\"","yes":true}"#,
            r#"{"dotted.name":1,"error":"broken","level":"ERROR","message":"it"}"#,
        ]
    );
}

/// Each of these would have begun a line of its own, or coloured the terminal, or turned it round.
#[test]
fn nothing_that_is_logged_ends_its_line_or_steers_the_terminal() {
    for hostile in ["a\nb", "a\r\nb", "\u{1b}[31mred", "\u{9b}2J", "a\u{2028}b", "a\u{202e}b", "\0"]
    {
        let act = || info!(shown = %hostile, quoted = hostile, "{hostile}");
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = logged(LevelFilter::INFO, format, act);
            assert_eq!(lines.len(), 1, "{lines:?}");
            let is_text = format == LogFormat::Text;
            assert!(!(is_text && lines[0].chars().any(char::is_control)), "{lines:?}");
        }
    }
    let act = || info!(shown = %"a\nb\u{1b}é\u{202e}", "c\td");
    let line = r"INFO c\td shown=a\nb\u{1b}é\u{202e}";
    assert_eq!(logged(LevelFilter::INFO, LogFormat::Text, act), [line]);
}

#[test]
fn the_lines_that_the_log_writes_itself_look_like_all_others() {
    let act = || warn!(lines = 7, "log lines were dropped: stderr was too slow or closed");
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
        assert_eq!(logged(LevelFilter::INFO, format, act), [own]);
    }
}

#[test]
fn a_line_that_is_too_long_is_cut() {
    for format in [LogFormat::Text, LogFormat::Json] {
        for filling in ["x", "é", "aé", "😀", "a😀"] {
            let text = filling.repeat(100_000);
            let [line] = logged(LevelFilter::INFO, format, || info!("{text}")).try_into().unwrap();
            assert!(line.len() > 1_000 && line.len() <= line::MAX_LINE, "{filling}");
        }
    }
}
