//! Attacks that are known to have opened other servers that check JWTs, tried here by someone who
//! has no key, and by someone who got the real one to sign something else.
//!
//! The attacks are in tables, by what they change. Each is tried on the module that checks
//! tokens and on every endpoint that takes one, in each algorithm, for access and refresh tokens;
//! each must be refused in the contract's words and change nothing. Beside them stand tokens that
//! are odd and good, so that a server that refuses everything fails.

mod claims;
mod ecdsa;
mod forger;
mod form;
mod header;
mod keys;
mod signature;

use latchkey::config::SigningAlgorithm;
use latchkey::jwt::{Expiry, TokenError};
use serde_json::{Value, json};

use crate::support::messages::{BAD_TOKEN, WRONG_TYPE, bad_access, bad_refresh, user_not_found};
use crate::support::{ANN, BOB, PASSWORD, START, TestApp, Tokens};
use forger::{Forger, Kind};
use keys::KeyRing;

/// A token that must not pass, or one that must.
struct Case {
    name: String,
    token: String,
}

fn case(name: impl Into<String>, token: impl Into<String>) -> Case {
    Case { name: name.into(), token: token.into() }
}

/// A server whose keys the attacker knows as well, and someone who is logged in to it.
struct Target {
    app: TestApp,
    ring: KeyRing,
    tokens: Tokens,
}

impl Target {
    async fn new(algorithm: SigningAlgorithm) -> Self {
        let (keys, ring) = KeyRing::new(algorithm);
        let app = TestApp::start_on_keys(keys, |config| config.tokens.algorithm = Some(algorithm));
        let tokens = app.newcomer(ANN).await;
        Self { app, ring, tokens }
    }

    fn forger(&self, kind: Kind) -> Forger<'_> {
        let genuine = match kind {
            Kind::Access => &self.tokens.access,
            Kind::Refresh => &self.tokens.refresh,
        };
        Forger::new(kind, &self.ring, genuine)
    }

    /// What the endpoints that take such a token answer to it. An authorization header and a field
    /// cannot hold everything; whitespace around a field is none of the token.
    async fn answers(&self, kind: Kind, token: &str) -> Vec<(u16, Value)> {
        let mut answers = Vec::new();
        let fits_a_field = !token.is_empty() && token.trim() == token && !token.contains('\0');
        if fits_a_field {
            let verify = self.app.verifying(token).await;
            answers.push(verify.told());
        }
        match kind {
            Kind::Access if fits_a_field && token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                let reply = self.app.profile(token).await;
                let challenge = reply.header("www-authenticate");
                assert!(reply.status != 401 || challenge == Some("Bearer realm=\"api\""));
                answers.push(reply.told());
            }
            Kind::Refresh if fits_a_field => {
                answers.push(self.app.refreshing(token).await.told());
            }
            Kind::Access | Kind::Refresh => {}
        }
        answers
    }

    /// Why the module that checks tokens refuses one.
    fn problem(&self, kind: Kind, token: &str) -> Option<TokenError> {
        let tokens = &self.app.app.tokens;
        match kind {
            Kind::Access => tokens.check_access(token, START, Expiry::Enforced).err(),
            Kind::Refresh => tokens.check_refresh(token, START, Expiry::Enforced).err(),
        }
    }

    async fn refuses(&self, kind: Kind, attacks: Vec<Case>) {
        let refused = |answer: &(u16, Value)| *answer == invalid(kind) || *answer == unverified();
        self.app
            .unchanged(async || {
                for Case { name, token } in attacks {
                    let problem = self.problem(kind, &token);
                    let refused_by_tokens =
                        matches!(problem, Some(TokenError::Invalid | TokenError::Expired));
                    assert!(refused_by_tokens, "{name}: {problem:?}: {token}");
                    for answer in self.answers(kind, &token).await {
                        assert!(refused(&answer), "{name}: {answer:?}: {token}");
                    }
                }
            })
            .await;
    }

    /// That these are good, by what only looks at them.
    async fn accepts(&self, kind: Kind, controls: Vec<Case>) {
        for Case { name, token } in controls {
            assert_eq!(self.problem(kind, &token), None, "{name}: {token}");
            let verify = self.app.verifying(&token).await;
            assert_eq!(verify.told(), (200, json!({})), "{name}: {token}");
            if kind == Kind::Access {
                assert_eq!(self.app.profile(&token).await.status, 200, "{name}: {token}");
            }
        }
    }

    /// Ends the siege: the owner has noticed nothing, and is still there.
    async fn is_unharmed(&self) {
        // Under a shared secret the two kinds still cannot pass for each other.
        let reply = self.app.profile(&self.tokens.refresh).await;
        assert_eq!(reply.told(), bad_access(WRONG_TYPE));
        let reply = self.app.refreshing(&self.tokens.access).await;
        assert_eq!(reply.told(), bad_refresh(WRONG_TYPE));
        assert_eq!(self.app.profile(&self.tokens.access).await.status, 200);
        let tokens = self.app.refresh(&self.tokens.refresh).await;
        assert_eq!(self.app.profile(&tokens.access).await.status, 200);
        assert_eq!(self.app.login(ANN, PASSWORD).await.status, 200);
    }
}

/// How a forged token is refused where an access or a refresh token is due.
fn invalid(kind: Kind) -> (u16, Value) {
    match kind {
        Kind::Access => bad_access(BAD_TOKEN),
        Kind::Refresh => bad_refresh(BAD_TOKEN),
    }
}

/// How `/api/token/verify/` says that a token of neither kind is good.
fn unverified() -> (u16, Value) {
    invalid(Kind::Refresh)
}

async fn every_attack_fails(algorithm: SigningAlgorithm) {
    let target = Target::new(algorithm).await;
    for kind in [Kind::Access, Kind::Refresh] {
        let forger = target.forger(kind);
        assert_eq!(forger.header["alg"], forger.key.alg());
        target.accepts(kind, vec![case("as it is", forger.genuine)]).await;
        target.accepts(kind, header::controls(&forger)).await;
        target.accepts(kind, claims::controls(&forger)).await;
        target.accepts(kind, form::controls(&forger)).await;
        target.accepts(kind, signature::controls(&forger)).await;
        let attacks = [
            header::attacks(&forger),
            claims::attacks(&forger),
            form::attacks(&forger),
            signature::attacks(&forger),
            signature::confusions(&forger, &target.app).await,
        ];
        let count: usize = attacks.iter().map(Vec::len).sum();
        assert!(count > 1_000, "only {count} attacks are left");
        for table in attacks {
            target.refuses(kind, table).await;
        }
    }
    target.is_unharmed().await;
}

#[tokio::test]
async fn every_attack_on_eddsa_fails() {
    every_attack_fails(SigningAlgorithm::EdDsa).await;
}

#[tokio::test]
async fn every_attack_on_es256_fails() {
    every_attack_fails(SigningAlgorithm::Es256).await;
}

#[tokio::test]
async fn every_attack_on_hs256_fails() {
    every_attack_fails(SigningAlgorithm::Hs256).await;
}

/// Whatever only an authentic token can bring about, no forgery does: those that end sessions take
/// expired ones too, so they are told apart by the signature alone.
#[tokio::test]
async fn no_forgery_ends_a_session() {
    for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Hs256] {
        let target = Target::new(algorithm).await;
        let forger = target.forger(Kind::Refresh);
        let attacks =
            [header::attacks(&forger), form::attacks(&forger), signature::attacks(&forger)];
        target
            .app
            .unchanged(async || {
                for Case { name, token } in attacks.into_iter().flatten() {
                    if token.trim().is_empty() || token.trim() != token || token.contains('\0') {
                        continue;
                    }
                    for path in ["/api/token/blacklist/", "/api/logout/"] {
                        let reply = target.app.post(path, &json!({"refresh": token})).await;
                        assert_eq!(reply.told(), invalid(Kind::Refresh), "{path} {name}: {token}");
                    }
                }
            })
            .await;
        target.is_unharmed().await;
    }
}

/// Authentic tokens that belong to nobody: claims that do not go together, which only whoever has
/// the key could sign, and which storage contradicts.
#[tokio::test]
async fn claims_that_storage_contradicts_are_refused() {
    let target = Target::new(SigningAlgorithm::EdDsa).await;
    let bob = target.app.newcomer(BOB).await;
    let ended = target.app.log_in(ANN).await;
    let log_out = target.app.logging_out(&ended.refresh).await;
    assert_eq!(log_out.status, 204);
    let sid = |tokens: &Tokens| crate::support::claims(&tokens.access)["sid"].clone();
    let contradictions = [
        ("another's session", json!({"sid": sid(&bob)})),
        ("another's name", json!({"user_id": 2, "sub": "2"})),
        ("a session that has ended", json!({"sid": sid(&ended)})),
        ("a session that never was", json!({"sid": "0".repeat(32)})),
    ];
    for kind in [Kind::Access, Kind::Refresh] {
        let forger = target.forger(kind);
        let own = forger.with_claims(&json!({"sid": sid(&target.tokens)}));
        assert_eq!(target.problem(kind, &own), None);
        target
            .app
            .unchanged(async || {
                for (name, claims) in &contradictions {
                    let token = forger.with_claims(claims);
                    assert_eq!(target.problem(kind, &token), None, "{name} is authentic");
                    for answer in target.answers(kind, &token).await {
                        let is_refused = answer == invalid(kind) || answer == unverified();
                        assert!(is_refused, "{name}: {answer:?}");
                    }
                }
            })
            .await;
    }
    // Nobody at all is told apart, as the contract has it.
    let nobody = target.forger(Kind::Access).with_claims(&json!({"user_id": 99, "sub": "99"}));
    let reply = target.app.profile(&nobody).await;
    assert_eq!(reply.told(), user_not_found());
    target.is_unharmed().await;
}
