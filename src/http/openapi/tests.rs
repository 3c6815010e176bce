//! Holds the description to the routes, to the refusals and to itself.

mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hyper::Method;
use serde_json::{Map, Value};

use self::schema::Schemas;
use super::*;
use crate::http::errors::ApiError;
use crate::http::field_errors::{FieldErrors, FieldProblem};
use crate::http::respond::tests::{body, header};
use crate::http::routes::ROUTES;
use crate::jwt::TokenError;
use crate::throttle::LockedOut;

fn description() -> Value {
    serde_json::from_str(TEXT).unwrap()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

/// Every operation: its method, its path as the document has it, and what is said of it.
fn operations(description: &Value) -> Vec<(String, &str, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in object(&description["paths"]) {
        for (key, operation) in object(item) {
            if key != "parameters" {
                operations.push((key.to_uppercase(), path.as_str(), operation));
            }
        }
    }
    operations
}

/// Calls `visit` with every object in `value` and the path that leads there.
fn walk<'a>(value: &'a Value, path: &str, visit: &mut impl FnMut(&str, &'a Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            visit(path, map);
            for (key, value) in map {
                walk(value, &format!("{path}/{key}"), visit);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                walk(value, &format!("{path}/{index}"), visit);
            }
        }
        _ => {}
    }
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let description = description();
    let described: BTreeSet<(String, &str)> = operations(&description)
        .into_iter()
        .map(|(method, path, _)| (method, path.strip_suffix('/').unwrap_or(path)))
        .collect();
    let served: BTreeSet<(String, &str)> =
        ROUTES.iter().map(|(method, path, _)| (method.to_string(), *path)).collect();
    let undescribed: Vec<_> = served.difference(&described).collect();
    assert!(undescribed.is_empty(), "served and not described: {undescribed:?}");
    let unserved: Vec<_> = described.difference(&served).collect();
    assert!(unserved.is_empty(), "described and not served: {unserved:?}");
}

#[test]
fn parameters_of_a_path_are_those_in_its_pattern() {
    for (method, path, operation) in operations(&description()) {
        let in_pattern: BTreeSet<&str> = path
            .split('{')
            .skip(1)
            .map(|rest| rest.split_once('}').expect("a brace that closes").0)
            .collect();
        let described = &description()["paths"][path];
        let described: BTreeSet<String> = [&described["parameters"], &operation["parameters"]]
            .into_iter()
            .filter_map(Value::as_array)
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
            .collect();
        assert!(described.iter().map(String::as_str).eq(in_pattern), "{method} {path}");
    }
}

#[test]
fn operations_are_complete_and_have_names_of_their_own() {
    let description = description();
    let tags: Vec<&Value> =
        description["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let schemes = object(&description["components"]["securitySchemes"]);
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&description) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} twice");
        assert!(operation["summary"].is_string(), "{name}");
        assert!(operation["description"].is_string(), "{name}");
        assert!(operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(&tag)));
        for scheme in operation["security"].as_array().unwrap().iter().flat_map(object) {
            assert!(schemes.contains_key(scheme.0), "{name}");
        }
        let statuses: BTreeSet<&str> =
            object(&operation["responses"]).keys().map(String::as_str).collect();
        for status in ["400", "405", "408", "413", "503"] {
            assert!(statuses.contains(status), "{method} {path} can answer {status}");
        }
        let reads_fields = operation.get("requestBody").is_some();
        assert_eq!(statuses.contains("415"), reads_fields, "{method} {path}");
        let wants_bearer = operation["security"][0].get("bearer").is_some();
        assert!(statuses.contains("401") || !wants_bearer, "{method} {path}");
    }
}

#[test]
fn every_answer_names_its_request() {
    let description = description();
    let mut count = 0;
    walk(&description, "", &mut |path, map| {
        let is_answer = map.contains_key("description")
            && (path.starts_with("/components/responses/") || path.contains("/responses/"))
            && !path.contains("/headers")
            && !path.contains("/content");
        if is_answer {
            count += 1;
            let headers = map.get("headers").unwrap_or(&Value::Null);
            assert!(headers.get("X-Request-Id").is_some(), "{path}");
        }
    });
    assert!(count > 30, "{count}");
}

#[test]
fn references_lead_somewhere_and_every_part_is_used() {
    let description = description();
    let mut used = BTreeSet::new();
    walk(&description, "", &mut |path, map| {
        if let Some(reference) = map.get("$ref") {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(description.pointer(pointer).is_some(), "{path}: {pointer}");
            used.insert(pointer.to_owned());
        }
    });
    for kind in ["schemas", "responses", "headers"] {
        for name in object(&description["components"][kind]).keys() {
            assert!(used.contains(&format!("/components/{kind}/{name}")), "{kind} {name}");
        }
    }
}

#[test]
fn examples_fit_their_schemas() {
    let description = description();
    let schemas = Schemas::new(&description);
    let mut count = 0;
    let mut check = |path: &str, schema, example| {
        count += 1;
        assert_eq!(schemas.problems(schema, example), Vec::<String>::new(), "{path}");
    };
    walk(&description, "", &mut |path, map| {
        let Some(schema) = map.get("schema") else { return };
        for example in map.get("example").into_iter().chain(named_examples(map)) {
            check(path, schema, example);
        }
    });
    for (name, schema) in object(&description["components"]["schemas"]) {
        for example in schema["examples"].as_array().into_iter().flatten() {
            check(name, schema, example);
        }
    }
    assert!(count > 50, "{count}");
}

/// The values of the named examples in a media type.
fn named_examples(media_type: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let examples = media_type.get("examples").map(object).into_iter().flatten();
    examples.map(|(_, example)| &example["value"])
}

/// Generators name a type after its schema, and give one without a name a name of their own.
#[test]
fn bodies_and_answers_are_named_schemas() {
    walk(&description(), "", &mut |path, map| {
        for (media_type, content) in map.get("content").map(object).into_iter().flatten() {
            assert!(content["schema"]["$ref"].is_string(), "{path}: {media_type}");
        }
    });
}

/// Some generators emit code that does not compile for a body with two media types.
#[test]
fn a_body_is_described_in_one_media_type() {
    for (method, path, operation) in operations(&description()) {
        let Some(body) = operation.get("requestBody") else { continue };
        let media_types: Vec<&str> = object(&body["content"]).keys().map(String::as_str).collect();
        let expected = if (method.as_str(), path) == ("POST", "/reset-password/") {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        assert_eq!(media_types, [expected], "{method} {path}");
    }
}

/// Some generators take a property with a default for one that is always sent.
#[test]
fn no_property_has_a_default() {
    walk(&description(), "", &mut |path, map| {
        assert!(path.ends_with("/properties") || !map.contains_key("default"), "{path}");
    });
}

/// Patterns use what RE2, PCRE and the expressions of Java, JavaScript, Python, .NET and Rust share.
#[test]
fn every_regular_expression_engine_reads_the_patterns() {
    let mut count = 0;
    walk(&description(), "", &mut |path, map| {
        let Some(pattern) = map.get("pattern").and_then(Value::as_str) else { return };
        count += 1;
        assert!(!pattern.contains("(?"), "{path}: {pattern}");
        for (index, _) in pattern.match_indices('\\') {
            let escaped = &pattern[index + 1..];
            let portable = escaped.starts_with("x00")
                || escaped.starts_with(['.', '/', '-', '{', '|', '}', 's']);
            assert!(portable, "{path}: {pattern}");
        }
        regex::Regex::new(pattern).unwrap();
    });
    assert!(count > 5, "{count}");
}

#[test]
fn the_version_is_that_of_the_release() {
    assert_eq!(description()["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(description()["openapi"], "3.1.0");
}

#[test]
fn what_is_configured_is_filled_in() {
    for (pattern, name) in [(SERVER, "server"), (MIN_PASSWORD, "password")] {
        assert_eq!(TEXT.matches(pattern).count(), 1, "{name}");
    }
    let url = "https://accounts.example.org/a\"b";
    let answer = show(&described(url, 12));
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type"), "application/json");
    assert_eq!(header(&answer, "cache-control"), "public, max-age=300");
    let shown: Value = serde_json::from_str(&body(&answer)).unwrap();
    let mut expected = description();
    expected["servers"][0]["url"] = url.into();
    expected["components"]["schemas"]["NewPassword"]["minLength"] = 12.into();
    assert_eq!(shown, expected);
}

/// The statuses under which operations have the response at `pointer`.
fn statuses_of<'a>(description: &'a Value, pointer: &str) -> BTreeSet<&'a str> {
    let response = description.pointer(pointer).unwrap();
    let schemas = Schemas::new(description);
    operations(description)
        .into_iter()
        .flat_map(|(_, _, operation)| object(&operation["responses"]))
        .filter(|(_, candidate)| std::ptr::eq(schemas.resolve(candidate), response))
        .map(|(status, _)| status.as_str())
        .collect()
}

/// Lists refusals, by pattern: the response of the components that describes those, and an example
/// of each. Every pattern has its examples and every refusal a pattern, or this does not compile.
macro_rules! refusals {
    ($($pattern:pat => $pointer:expr, [$($example:expr),+];)+) => {{
        let pointer_to = |error: &ApiError| -> &'static str {
            match error { $($pattern => $pointer,)+ }
        };
        let mut refusals = Vec::new();
        $($(
            let example: ApiError = $example;
            assert!(matches!(example, $pattern), "{example:?} is no example of this pattern");
            refusals.push((pointer_to(&example), example));
        )+)+
        refusals
    }};
}

#[test]
fn every_refusal_is_as_described() {
    const AUTHENTICATION: &str = "NotAuthenticated";
    const REFRESH: &str = "TokenRefused";
    const READYZ: &str = "/paths/~1readyz/get/responses/503";
    const BAD_REQUEST: &str = "BadRequest";
    let retry_after = Duration::from_secs(12);
    let allow = respond::allow(&[Method::POST]);
    let mut fields = FieldErrors::of("email", FieldProblem::Required);
    fields.add("password", FieldProblem::TooCommon);
    let refusals = refusals! {
        ApiError::Fields(_) => BAD_REQUEST,
            [fields.into(), FieldErrors::non_field(FieldProblem::NoData).into()];
        ApiError::BadJson(_) => BAD_REQUEST,
            [ApiError::BadJson("expected value at line 1 column 1".to_owned())];
        ApiError::BadForm => BAD_REQUEST, [ApiError::BadForm];
        ApiError::BadBody => "BrokenBody", [ApiError::BadBody];
        ApiError::UnsupportedMediaType(_) => "UnsupportedMediaType",
            [ApiError::UnsupportedMediaType("text/plain".to_owned())];
        ApiError::UnsupportedContentCoding(_) => "UnsupportedMediaType",
            [ApiError::UnsupportedContentCoding("gzip".to_owned())];
        ApiError::NotFound => "NotFound", [ApiError::NotFound];
        ApiError::MethodNotAllowed { .. } => "MethodNotAllowed",
            [ApiError::MethodNotAllowed { method: Method::GET, allow }];
        ApiError::BodyTooLarge => "BodyTooLarge", [ApiError::BodyTooLarge];
        ApiError::TimedOut => "TimedOut", [ApiError::TimedOut];
        ApiError::Unavailable(_) => "Unavailable", [ApiError::Unavailable(retry_after)];
        ApiError::NotReady(_) => READYZ,
            [ApiError::NotReady("The server is stopping.".to_owned())];
        ApiError::Throttled(_) => "Throttled", [ApiError::Throttled(retry_after)];
        ApiError::LockedOut(_) => "LockedOut", [
            ApiError::LockedOut(LockedOut { retry_after, is_slowed: false }),
            ApiError::LockedOut(LockedOut { retry_after, is_slowed: true })
        ];
        ApiError::InvalidCredentials => "InvalidCredentials", [ApiError::InvalidCredentials];
        ApiError::NoActiveAccount => "NoActiveAccount", [ApiError::NoActiveAccount];
        ApiError::EmailNotVerified => "LoginForbidden", [ApiError::EmailNotVerified];
        ApiError::CrossSite => "CrossSite", [ApiError::CrossSite];
        ApiError::RegistrationClosed => "RegistrationClosed", [ApiError::RegistrationClosed];
        ApiError::NotAuthenticated => AUTHENTICATION, [ApiError::NotAuthenticated];
        ApiError::BadAuthorizationHeader => AUTHENTICATION, [ApiError::BadAuthorizationHeader];
        ApiError::AccessToken(_) => AUTHENTICATION, [
            ApiError::AccessToken(TokenError::Invalid),
            ApiError::AccessToken(TokenError::WrongType)
        ];
        ApiError::UserNotFound => AUTHENTICATION, [ApiError::UserNotFound];
        ApiError::RefreshToken(_) => REFRESH, [
            ApiError::RefreshToken(TokenError::Invalid),
            ApiError::RefreshToken(TokenError::WrongType)
        ];
        ApiError::DisabledAccount => REFRESH, [ApiError::DisabledAccount];
        // Described once, in the introduction.
        ApiError::Internal => "", [ApiError::Internal];
    };
    let description = description();
    let schemas = Schemas::new(&description);
    for (pointer, error) in refusals {
        let shown = format!("{error:?}");
        let pointer = match pointer {
            "" => continue,
            READYZ => READYZ.to_owned(),
            name => format!("/components/responses/{name}"),
        };
        let described = description.pointer(&pointer).unwrap_or_else(|| panic!("{pointer}"));
        let answer = error.into_answer();
        let status = answer.status().as_str().to_owned();
        assert!(statuses_of(&description, &pointer).into_iter().eq([status]), "{shown}");
        let value: Value = serde_json::from_str(&body(&answer)).unwrap();
        let content = object(&described["content"]["application/json"]);
        let problems = schemas.problems(&content["schema"], &value);
        assert_eq!(problems, Vec::<String>::new(), "{shown}");
        let mut examples = content.get("example").into_iter().chain(named_examples(content));
        assert!(examples.any(|example| *example == value), "{shown}: {value} is no example");

        let headers: BTreeMap<&str, &Value> = object(&described["headers"])
            .iter()
            .map(|(name, header)| (name.as_str(), schemas.resolve(header)))
            .collect();
        for name in ["Retry-After", "WWW-Authenticate", "Allow"] {
            let is_described = headers.get(name).is_some_and(|header| header["required"] == true);
            assert_eq!(answer.headers().contains_key(name), is_described, "{shown}: {name}");
        }
    }
}
