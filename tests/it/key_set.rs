//! `GET /.well-known/jwks.json`. That others verify by it, across rotations, is shown by
//! `.ci/interop/`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey::config::SigningAlgorithm;
use serde_json::{Value, json};

use crate::support::messages::not_found;
use crate::support::{ANN, TestApp};

const PATH: &str = "/.well-known/jwks.json";

#[tokio::test]
async fn the_key_that_signs_is_there_for_everyone_and_nothing_secret_is() {
    for (algorithm, expected, sizes) in [
        (
            SigningAlgorithm::EdDsa,
            json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig"}),
            &[("x", 32)][..],
        ),
        (
            SigningAlgorithm::Es256,
            json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig"}),
            &[("x", 32), ("y", 32)],
        ),
    ] {
        let app = TestApp::start_with(|config| config.tokens.algorithm = Some(algorithm));
        let tokens = app.newcomer(ANN).await;
        let header = tokens.access.split('.').next().unwrap();
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        let reply = app.get(PATH).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("cache-control"), Some("public, max-age=1800"));
        let keys = reply.json()["keys"].as_array().unwrap().clone();
        let [key] = &keys[..] else { panic!("{keys:?}") };
        let mut key = key.as_object().unwrap().clone();
        assert_eq!(key.remove("kid").as_ref(), Some(&header["kid"]));
        for (coordinate, size) in sizes {
            let text = key.remove(*coordinate).unwrap();
            assert_eq!(URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap().len(), *size);
        }
        assert_eq!(Value::Object(key), expected, "and no other half");
    }
}

#[tokio::test]
async fn under_a_shared_secret_neither_keys_nor_ended_sessions_are_published() {
    let app = TestApp::start_with(|config| config.tokens.algorithm = Some(SigningAlgorithm::Hs256));
    app.newcomer(ANN).await;
    for path in [PATH, "/.well-known/revoked-sessions"] {
        assert_eq!(app.get(path).await.told(), not_found());
    }
}
