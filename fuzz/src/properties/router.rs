//! Whole requests to the whole server.

use std::cell::RefCell;
use std::num::{NonZeroU32, NonZeroUsize};

use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::wire::{Message, filled_in, peers};
use crate::support::{CONFIRM, Call, PASSWORD, Reply, TestApp};

/// Who has an account.
const EMAIL: &str = "owner@fuzz.example";

/// Every status that a request can get while all is well.
const STATUSES: [u16; 14] = [200, 201, 204, 303, 304, 400, 401, 403, 404, 405, 409, 413, 415, 429];

thread_local! {
    /// A server that is used again as long as nothing has changed in it.
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// A server with one account, and everything that its owner knows.
struct World {
    app: TestApp,
    runtime: Runtime,
    /// What may stand in a request, by name.
    values: Vec<(&'static str, String)>,
}

/// The bytes are a request (see [`Message`]) from someone who knows nothing, unless `{password}`,
/// `{access}`, `{refresh}`, `{ticket}` or `{reset}` stand in it for what only the owner of the one
/// account knows. Whatever it is, the answer is one of the contract's, a refusal and a `GET` change
/// nothing, and nothing of that account changes or is shown without such a secret.
pub fn check(data: &[u8]) {
    WORLD.with_borrow_mut(|kept| {
        // Whatever fails here leaves no server behind that it has changed.
        let world = kept.take().unwrap_or_else(World::new);
        if world.is_unchanged_by(data) {
            *kept = Some(world);
        }
    });
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let app = TestApp::start_with(|config| {
            config.cookies.is_enabled = true;
            config.server.allowed_origins = vec!["https://app.example.com".to_owned()];
            config.login.max_failures = NonZeroU32::MAX;
            config.login.max_failures_per_email = None;
            config.login.limiter_entries = NonZeroUsize::new(1_000).unwrap();
            config.passwords.threads = NonZeroUsize::new(1);
        });
        let values = runtime.block_on(async {
            let ticket = app.invited(EMAIL).await;
            let tokens = app.log_in(EMAIL).await;
            app.post("/api/forgot-password/", &json!({"email": EMAIL})).await;
            app.deliver().await;
            let link = app.mails.sent().last().unwrap().link.clone().unwrap();
            let reset = link.rsplit_once('/').unwrap().1.to_owned();
            let sid = crate::support::claims(&tokens.access)["sid"].as_str().unwrap().to_owned();
            vec![
                ("password", PASSWORD.to_owned()),
                ("access", tokens.access),
                ("refresh", tokens.refresh),
                ("ticket", ticket),
                ("reset", reset),
                ("sid", sid),
                ("email", EMAIL.to_owned()),
                ("confirm", CONFIRM.to_owned()),
            ]
        });
        Self { app, runtime, values }
    }

    /// Sends the request from each peer in turn, and returns whether the server is as it was.
    fn is_unchanged_by(&self, data: &[u8]) -> bool {
        let values: Vec<_> = self.values.iter().map(|(name, value)| (*name, &**value)).collect();
        let request = filled_in(data, &values);
        let knows =
            |secret: &str| request.windows(secret.len()).any(|part| part == secret.as_bytes());
        let knows_a_secret = values[..5].iter().any(|(_, secret)| knows(secret));
        for peer in peers() {
            let Some(Message { head, body }) = Message::parse(&request) else { return true };
            let method = head.method.clone();
            let before = self.app.state();
            let call = Call::of(&self.app.router, head, body, peer);
            let reply = self.runtime.block_on(async { call.await });
            let after = self.app.state();
            assert!(STATUSES.contains(&reply.status), "{reply:?}");
            if method.is_safe() || (300..500).contains(&reply.status) && reply.status != 303 {
                assert_eq!(after, before, "{method} {}", reply.status);
            }
            if !knows_a_secret {
                assert_eq!(after.of_the_first_user(), before.of_the_first_user());
                self.check_shows_nothing(&reply, &request);
            }
            if after != before {
                return false;
            }
        }
        true
    }

    /// Nothing that the request did not hold itself.
    fn check_shows_nothing(&self, reply: &Reply, request: &[u8]) {
        let has =
            |bytes: &[u8], part: &str| bytes.windows(part.len()).any(|it| it == part.as_bytes());
        for (name, value) in self.values.iter().filter(|(name, _)| *name != "confirm") {
            let is_shown = has(&reply.body, value) && !has(request, value);
            assert!(!is_shown, "{name} in {reply:?}");
        }
        // The document that describes the answers has these names in it, too.
        let may_show = reply.status >= 300 || has(&reply.body, "\"openapi\"");
        for part in ["\"access\":", "\"refresh\":", "\"is_email_verified\":"] {
            assert!(may_show || !has(&reply.body, part), "{part} in {reply:?}");
        }
    }
}
