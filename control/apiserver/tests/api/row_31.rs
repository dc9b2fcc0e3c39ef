//! Row 31: what a stranger needs to verify service account tokens.

use crate::{fixture::*, row_27::send};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::json;

#[tokio::test]
async fn row_31_issuer_documents() {
    let f = Fixture::new().await;
    let made = f.post("/api/v1/namespaces/default/serviceaccounts/default/token", json!({"spec": {}})).await.ok();
    let token = made["status"]["token"].as_str().unwrap();
    let account = format!("Bearer {token}");
    let get = async |path: &str| send(&f, "GET", path, &[("authorization", &account)], "").await;
    let document = get("/.well-known/openid-configuration").await;
    assert_eq!(document.headers["content-type"], "application/json");
    assert_eq!(document.headers["cache-control"], "public, max-age=3600");
    let issuer = "https://kubernetes.default.svc.cluster.local";
    assert_eq!(
        document.ok(),
        json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/openid/v1/jwks"), "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
        })
    );
    let keys = get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.headers["cache-control"], "public, max-age=3600");
    let keys = keys.ok();
    let key = &keys["keys"][0];
    // As a stranger would: the key of the header's kid verifies the token.
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!((&header["kid"], &header["alg"]), (&key["kid"], &key["alg"]));
    let coordinate = |field: &str| URL_SAFE_NO_PAD.decode(key[field].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
    // Service accounts may read them; users only if somebody lets them.
    assert_eq!(send(&f, "GET", "/openid/v1/jwks", &[], "").await.code, 403);
    assert_eq!(call(&f.as_user("u", &[]), "GET", "/openid/v1/jwks", None, "").await.code, 403);
}
