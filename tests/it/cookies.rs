//! Refresh tokens in cookies.

use latchkey::config::Config;
use serde_json::{Value, json};

use crate::support::messages::{BAD_TOKEN, REQUIRED, WRONG_TYPE, bad_refresh};
use crate::support::{ANN, Call, DAY, HOUR, PASSWORD, Reply, TestApp, Tokens, claims};

const OWN: &str = "https://accounts.example.com";
const APP: &str = "https://app.example.com";
const CLEARED: &str =
    "__Host-latchkey_refresh=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict";

/// A server with cookies, at which Ann has registered.
async fn start_with(change: impl FnOnce(&mut Config)) -> TestApp {
    let app = TestApp::start_with(|config| {
        config.cookies.is_enabled = true;
        config.server.allowed_origins = vec![APP.to_owned()];
        change(config);
    });
    app.register(ANN).await;
    app
}

async fn start() -> TestApp {
    start_with(|_| {}).await
}

fn logging_in(app: &TestApp, cookie: &Value) -> Call {
    let body = json!({"email": ANN, "password": PASSWORD, "cookie": cookie});
    app.post("/api/login/", &body)
}

/// The token that an answer puts into the cookie, which has to be as it should, and for how long.
fn kept(reply: &Reply) -> (String, u64) {
    let cookie = reply.header("set-cookie").unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    let token = pair.strip_prefix("__Host-latchkey_refresh=").unwrap();
    let (age, attributes) = attributes.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Strict");
    (token.to_owned(), age.strip_prefix("Max-Age=").unwrap().parse().unwrap())
}

/// Logs in by cookie: the access token of the body and the refresh token of the cookie.
async fn log_in(app: &TestApp) -> Tokens {
    let reply = logging_in(app, &json!(true)).header("origin", APP).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    Tokens { access: reply.field("access"), refresh: kept(&reply).0 }
}

/// A POST without a body that carries the cookie, as from a page of `origin`.
fn carrying(app: &TestApp, path: &str, token: &str, origin: &str) -> Call {
    app.call("POST", path).cookie(token, origin)
}

fn refreshing(app: &TestApp, token: &str) -> Call {
    carrying(app, "/api/token/refresh/", token, APP)
}

fn logging_out(app: &TestApp, token: &str) -> Call {
    carrying(app, "/api/logout/", token, APP)
}

fn cross_site() -> (u16, Value) {
    (403, json!({"detail": "Cross-site request refused."}))
}

#[tokio::test]
async fn a_login_may_keep_its_refresh_token_in_a_cookie() {
    let app = start().await;
    let reply = logging_in(&app, &json!(true)).header("origin", APP).await;
    let access = reply.field("access");
    let user = reply.json()["user"].clone();
    assert_eq!(reply.json(), json!({"access": access, "user": user}));
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    let (refresh, age) = kept(&reply);
    assert_eq!(age, DAY);
    assert_eq!(claims(&refresh)["sid"], claims(&access)["sid"]);

    for cookie in [json!(false), json!(null)] {
        let reply = logging_in(&app, &cookie).await;
        assert_eq!(reply.header("set-cookie"), None);
        assert_eq!(reply.status, if cookie.is_null() { 400 } else { 200 });
    }
    let reply = app.login(ANN, PASSWORD).await;
    assert_eq!(reply.header("set-cookie"), None);
    Tokens::of(&reply);
}

#[tokio::test]
async fn only_a_bool_asks_for_it_and_only_where_cookies_are_on() {
    let (on, off) = (start().await, TestApp::with_ann().await);
    let told = |message: &str| (400, json!({"cookie": [message]}));
    for app in [&on, &off] {
        for cookie in [json!("true"), json!(1), json!("")] {
            app.refuses(logging_in(app, &cookie), told("Must be a valid boolean.")).await;
        }
        let form = [("email", ANN), ("password", PASSWORD), ("cookie", "true")];
        let call = app.call("POST", "/api/login/").form(&form);
        app.refuses(call, told("Must be a valid boolean.")).await;
    }
    off.refuses(logging_in(&off, &json!(true)), told("Cookies are not enabled.")).await;
    let body = json!({"cookie": true});
    let required = json!(["This field is required."]);
    assert_eq!(
        off.post("/api/login/", &body).await.json(),
        json!({"email": required, "password": required, "cookie": ["Cookies are not enabled."]})
    );
    assert_eq!(logging_in(&off, &json!(false)).await.status, 200);
    let wrong = json!({"email": ANN, "password": "wrong wrong", "cookie": true});
    let reply = on.post("/api/login/", &wrong).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (401, None));
}

#[tokio::test]
async fn a_refresh_goes_from_cookie_to_cookie() {
    let app = start().await;
    let mut token = log_in(&app).await.refresh;
    app.advance(60);
    for origin in [APP, OWN] {
        let reply = carrying(&app, "/api/token/refresh/", &token, origin).await;
        assert_eq!(reply.json(), json!({"access": reply.field("access")}));
        assert_eq!(app.profile(&reply.field("access")).await.status, 200);
        let (successor, age) = kept(&reply);
        assert_ne!(successor, token);
        assert_eq!(age, DAY);
        token = successor;
    }
    app.advance(20);
    let (again, age) = kept(&refreshing(&app, &token).await);
    let left_behind = app.disk.image();
    let app = app.restart_on(&left_behind).await;
    let repeated = refreshing(&app, &token).await;
    assert_eq!(kept(&repeated), (again, age), "the same successor, after a crash too");
}

#[tokio::test]
async fn the_cookie_does_not_outlive_the_session() {
    let lifetime = std::time::Duration::from_secs(25 * HOUR);
    let app = start_with(|config| config.tokens.sessions.session = Some(lifetime)).await;
    let token = log_in(&app).await.refresh;
    app.advance(20 * HOUR);
    let reply = carrying(&app, "/api/token/refresh/", &token, OWN).await;
    assert_eq!(kept(&reply).1, 5 * HOUR);
}

#[tokio::test]
async fn a_request_that_may_come_from_elsewhere_is_refused_and_changes_nothing() {
    let app = start().await;
    let tokens = log_in(&app).await;
    for path in ["/api/token/refresh/", "/api/logout/"] {
        for origin in [
            "",
            "null",
            "https://evil.example",
            "http://accounts.example.com",
            "https://accounts.example.com:8443",
            "https://accounts.example.com.evil.example",
            "https://other.example.com",
        ] {
            let calls = [
                carrying(&app, path, &tokens.refresh, origin),
                carrying(&app, path, &tokens.refresh, origin).header("host", "evil.example"),
                carrying(&app, path, &tokens.refresh, origin).header("referer", OWN),
                carrying(&app, path, &tokens.refresh, origin).json(&json!({})),
                carrying(&app, path, "garbage", origin),
            ];
            for call in calls {
                let reply = app.refuses(call, cross_site()).await;
                assert_eq!(reply.header("set-cookie"), None);
            }
        }
        let two = carrying(&app, path, &tokens.refresh, OWN).header("origin", APP);
        assert_eq!(two.await.told(), cross_site());
    }
    let claims = claims(&kept(&refreshing(&app, &tokens.refresh).await).0);
    assert_eq!(claims["gen"], 1, "no refused request has rotated it");
}

#[tokio::test]
async fn the_body_counts_before_the_cookie_and_needs_no_origin() {
    let app = start().await;
    let kept = log_in(&app).await;
    let shown = app.log_in(ANN).await;
    let body = json!({"refresh": shown.refresh});
    let reply = carrying(&app, "/api/token/refresh/", &kept.refresh, "").json(&body).await;
    assert_eq!(reply.header("set-cookie"), None);
    let shown = Tokens::of(&reply);
    let body = json!({"refresh": shown.refresh});
    let reply = carrying(&app, "/api/logout/", &kept.refresh, "https://evil.example").json(&body);
    assert_eq!(reply.await.status, 204);
    assert_eq!(app.profile(&shown.access).await.status, 401);
    assert_eq!(app.profile(&kept.access).await.status, 200);
}

#[tokio::test]
async fn a_login_ends_the_session_whose_cookie_it_replaces_and_no_other() {
    let app = start().await;
    let former = log_in(&app).await;
    let call = logging_in(&app, &json!(false)).cookie(&former.refresh, APP);
    assert_eq!(call.await.status, 200);
    assert!(app.is_live(&former).await);
    let body = json!({"email": ANN, "password": PASSWORD, "cookie": true, "refresh": "stale"});
    let reply = app.post("/api/login/", &body).cookie(&former.refresh, APP).await;
    assert_eq!(reply.status, 200);
    assert!(!app.is_live(&former).await);
    assert_eq!(refreshing(&app, &kept(&reply).0).await.status, 200);
}

/// A browser discards the cookie of another site, and the session stayed open without a holder.
#[tokio::test]
async fn a_login_whose_cookie_a_browser_would_discard_is_refused() {
    let origins = [APP, "capacitor://localhost"].map(str::to_owned);
    let app = start_with(|config| config.server.allowed_origins = origins.into()).await;
    // `Origin`, `Sec-Fetch-Site`, and whether the cookie is set.
    let table = [
        ("", "", true),
        (APP, "", true),
        (OWN, "same-origin", true),
        (APP, "same-site", true),
        ("", "none", true),
        ("", "cross-site", false),
        (APP, "cross-site", false),
        ("https://evil.example", "", false),
        ("https://evil.example", "same-site", false),
        ("null", "", false),
        ("capacitor://localhost", "", false),
    ];
    for (origin, site, is_given) in table {
        let calls = || {
            let headers = [("origin", origin), ("sec-fetch-site", site)];
            let sent = headers.into_iter().filter(|(_, value)| !value.is_empty());
            let call = logging_in(&app, &json!(true));
            sent.fold(call, |call, (name, value)| call.header(name, value))
        };
        if is_given {
            assert_eq!(calls().await.status, 200, "{origin} {site}");
            continue;
        }
        let reply = app.refuses(calls(), cross_site()).await;
        assert_eq!(reply.header("set-cookie"), None);
    }
    let two = logging_in(&app, &json!(true)).header("origin", APP).header("origin", OWN);
    assert_eq!(two.await.status, 403);
    let native = app.login(ANN, PASSWORD).header("origin", "capacitor://localhost").await;
    assert_eq!(native.status, 200, "its token is in the body");
}

#[tokio::test]
async fn a_dead_token_is_taken_out_of_its_cookie() {
    let app = start().await;
    let ended = log_in(&app).await;
    assert_eq!(logging_out(&app, &ended.refresh).await.status, 204);
    for (token, expected) in
        [("garbage", BAD_TOKEN), (&ended.refresh, BAD_TOKEN), (&ended.access, WRONG_TYPE)]
    {
        let reply = app.refuses(refreshing(&app, token), bad_refresh(expected)).await;
        assert_eq!(reply.header("set-cookie"), Some(CLEARED));
    }
    let stolen = log_in(&app).await;
    let second = kept(&refreshing(&app, &stolen.refresh).await).0;
    refreshing(&app, &second).await;
    let reply = refreshing(&app, &stolen.refresh).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (401, Some(CLEARED)));
    assert_eq!(app.profile(&stolen.access).await.status, 401, "reuse ends the session");

    let token = log_in(&app).await.refresh;
    app.disk.set_full(true);
    let reply = refreshing(&app, &token).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (503, None), "it may be good yet");
    let reply = logging_out(&app, &token).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (503, None));
    app.disk.set_full(false);
    assert_eq!(refreshing(&app, &token).await.status, 200);
}

/// Clients take a 401 for "logged out", and a 400 for a mistake of their own.
#[tokio::test]
async fn without_a_cookie_an_app_that_may_use_it_is_logged_out_and_others_lack_a_field() {
    let app = start().await;
    for path in ["/api/token/refresh/", "/api/logout/"] {
        for body in [json!({}), json!({"refresh": null}), json!({"refresh": ""})] {
            for origin in [APP, OWN] {
                let reply = carrying(&app, path, "", origin).json(&body).await;
                assert_eq!(reply.told(), bad_refresh(BAD_TOKEN), "{path} {body} {origin}");
            }
        }
    }
    let (off, tokens) = TestApp::with_ann_in().await;
    let refreshing = app.call("POST", "/api/token/refresh/");
    for call in [
        refreshing.header("cookie", "sessionid=1"),
        app.call("POST", "/api/token/refresh/"),
        carrying(&app, "/api/token/refresh/", "", "null"),
        carrying(&off, "/api/token/refresh/", &tokens.refresh, OWN),
    ] {
        assert_eq!(call.await.told(), (400, json!({"refresh": [REQUIRED]})));
    }
}

#[tokio::test]
async fn null_or_blank_in_the_body_leaves_the_token_to_the_cookie() {
    let app = start().await;
    for refresh in [json!(null), json!("")] {
        let body = json!({"refresh": refresh});
        let tokens = log_in(&app).await;
        let rotated = kept(&refreshing(&app, &tokens.refresh).json(&body).await).0;
        assert_eq!(logging_out(&app, &rotated).json(&body).await.status, 204, "{refresh}");
        assert_eq!(app.profile(&tokens.access).await.status, 401, "{refresh}");
    }
}

#[tokio::test]
async fn several_cookies_of_the_name_are_refused() {
    let app = start().await;
    let token = log_in(&app).await.refresh;
    for path in ["/api/token/refresh/", "/api/logout/"] {
        let twice = format!("{token}; __Host-latchkey_refresh={token}");
        let calls = [
            carrying(&app, path, &token, APP).cookie(&token, ""),
            carrying(&app, path, &twice, APP),
        ];
        for call in calls {
            let reply = app.unchanged(async || call.await).await;
            assert_eq!(reply.status, 401);
        }
    }
}

#[tokio::test]
async fn a_logout_ends_what_cookie_and_bearer_name_and_clears_the_cookie() {
    let app = start().await;

    let by_cookie = log_in(&app).await;
    for _ in 0..2 {
        let reply = logging_out(&app, &by_cookie.refresh).await;
        assert_eq!((reply.status, reply.text()), (204, ""));
        assert_eq!(reply.header("set-cookie"), Some(CLEARED));
        assert_eq!(app.profile(&by_cookie.access).await.status, 401);
    }

    let (cookie, bearer) = (log_in(&app).await, app.log_in(ANN).await);
    let reply = logging_out(&app, &cookie.refresh).bearer(&bearer.access).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (204, Some(CLEARED)));
    assert_eq!(app.profile(&cookie.access).await.status, 401);
    assert_eq!(app.profile(&bearer.access).await.status, 401);

    let stale = log_in(&app).await;
    let reply = logging_out(&app, &stale.refresh).bearer("garbage").await;
    assert_eq!(reply.status, 204, "a stale bearer is no obstacle");
    let bearer = app.log_in(ANN).await;
    let reply = logging_out(&app, "garbage").bearer(&bearer.access).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (204, Some(CLEARED)));
    assert_eq!(app.profile(&bearer.access).await.status, 401);

    let call = logging_out(&app, "garbage").bearer("x");
    let reply = app.refuses(call, bad_refresh(BAD_TOKEN)).await;
    assert_eq!(reply.header("set-cookie"), Some(CLEARED));

    let everywhere = log_in(&app).await;
    let call = carrying(&app, "/api/logout/all/", &everywhere.refresh, APP);
    let reply = call.bearer(&everywhere.access).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (204, Some(CLEARED)));
}
