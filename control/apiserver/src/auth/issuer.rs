//! How others verify service account tokens: OpenID Connect Discovery 1.0, and the keys (RFC 7517).

use super::token::Signer;
use crate::http::respond;
use client::Body;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};

const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// `/.well-known/openid-configuration`.
pub(crate) fn configuration(issuer: &str) -> Response<Body> {
    let document = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    cached(HeaderValue::from_static("application/json"), &document)
}

/// `/openid/v1/jwks`.
pub(crate) fn keys(signer: &Signer) -> Response<Body> {
    cached(HeaderValue::from_static("application/jwk-set+json"), &signer.jwks())
}

fn cached(content_type: HeaderValue, document: &Value) -> Response<Body> {
    let mut response = respond::bytes_of(200, content_type, document.to_string().into());
    response.headers_mut().insert(header::CACHE_CONTROL, CACHE);
    response
}
