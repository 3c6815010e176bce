//! `/`: a page for people who open the service's address in a browser.

use hyper::header::ACCEPT;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

use super::errors::ApiError;
use super::request::Context;
use super::respond::Answer;

/// The answer to a path that has no resource: the page for a browser at `/`, else `404`.
pub(super) fn show(context: &Context, head: &Parts) -> Answer {
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    if is_read && head.uri.path() == "/" && accepts_html(&head.headers) {
        context.pages.home()
    } else {
        ApiError::NotFound.into_answer()
    }
}

/// Whether `Accept` names HTML (RFC 9110, section 12.5.1), as browsers do. `*/*` is what programs
/// send.
fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
            let is_refused = |part: &str| {
                part.split_once('=').is_some_and(|(name, weight)| {
                    name.eq_ignore_ascii_case("q") && weight.parse() == Ok(0.0_f32)
                })
            };
            is_html && !parts.any(is_refused)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn a_browser_names_html() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("application/json, Text/HTML ; q=0.1", true),
            ("text/html;level=1", true),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
            ("text/html;q=0", false),
            ("text/html; Q=0.000, */*", false),
            ("text/html5", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_html(&headers), expected, "{accept}");
        }
        assert!(!accepts_html(&HeaderMap::new()));
    }
}
