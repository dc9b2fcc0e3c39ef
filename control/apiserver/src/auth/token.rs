//! Service account tokens: JWTs signed with ES256 (RFC 7518, section 3.4).

use api::Status;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Longest token looked at.
const TOKEN_LIMIT: usize = 16 << 10;
/// Clocks may differ by this when a token is not valid yet.
const LEEWAY_S: i64 = 10;

/// Signs and verifies.
pub(crate) struct Signer {
    pair: EcdsaKeyPair,
    key_id: String,
    issuer: String,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) namespace: String,
    pub(crate) account: String,
    pub(crate) account_uid: String,
    /// `pod`, `secret` or `node`, its name and uid.
    pub(crate) bound: Option<(String, String, String)>,
    pub(crate) audiences: Vec<String>,
    pub(crate) id: String,
}

/// What a new token shall say.
pub struct Grant<'a> {
    /// The account's namespace.
    pub namespace: &'a str,
    /// The account's name.
    pub account: &'a str,
    /// The account's uid.
    pub account_uid: &'a str,
    /// `pod`, `secret` or `node`, its name and uid.
    pub bound: Option<(&'a str, &'a str, &'a str)>,
    /// Whom the token is for.
    pub audiences: &'a [String],
    /// From when.
    pub now: Timestamp,
    /// How long.
    pub seconds: i64,
    /// `jti`.
    pub id: &'a str,
}

impl Signer {
    /// From a PKCS#8 PEM.
    pub(crate) fn new(pem: &[u8], issuer: &str) -> Option<Self> {
        let key = rustls_pemfile::private_key(&mut &*pem).ok()??;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der(), &SystemRandom::new()).ok()?;
        let key_id = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.public_key().as_ref()));
        Some(Self { pair, key_id, issuer: issuer.to_owned() })
    }

    /// The public key as a JSON Web Key Set.
    pub(crate) fn jwks(&self) -> Value {
        // An uncompressed point: 0x04, x, y.
        let point = self.pair.public_key().as_ref();
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        }]})
    }
}

/// Makes a token.
pub(crate) fn sign(signer: &Signer, grant: &Grant<'_>) -> Result<String, Status> {
    let now = grant.now.as_second();
    let mut private = json!({
        "namespace": grant.namespace,
        "serviceaccount": {"name": grant.account, "uid": grant.account_uid},
    });
    if let Some((kind, name, uid)) = grant.bound {
        private[kind] = json!({"name": name, "uid": uid});
    }
    let payload = json!({
        "iss": signer.issuer,
        "sub": format!("system:serviceaccount:{}:{}", grant.namespace, grant.account),
        "aud": grant.audiences,
        "iat": now, "nbf": now, "exp": now.saturating_add(grant.seconds),
        "jti": grant.id,
        "kubernetes.io": private,
    });
    let header = json!({"alg": "ES256", "kid": signer.key_id, "typ": "JWT"});
    let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(payload.to_string(), &mut token);
    let signature = signer
        .pair
        .sign(&SystemRandom::new(), token.as_bytes())
        .map_err(|_| Status::internal("cannot sign the token"))?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// Checks signature, issuer and times. Whether the account still exists is the caller's to check.
pub(crate) fn verify(signer: &Signer, token: &str, now: Timestamp) -> Result<Claims, Status> {
    claims(signer, token, now).ok_or_else(Status::unauthorized)
}

fn claims(signer: &Signer, token: &str, now: Timestamp) -> Option<Claims> {
    if token.len() > TOKEN_LIMIT {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    if header["alg"] != "ES256" {
        return None;
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, signer.pair.public_key().as_ref())
        .verify(signed.as_bytes(), &signature)
        .ok()?;
    let payload: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let now = now.as_second();
    let current = payload["exp"].as_i64()? > now && payload["nbf"].as_i64().unwrap_or(0) <= now + LEEWAY_S;
    if payload["iss"] != signer.issuer.as_str() || !current {
        return None;
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let private = &payload["kubernetes.io"];
    let bound = ["pod", "secret", "node"].into_iter().find_map(|kind| {
        let reference = private.get(kind)?;
        Some((kind.to_owned(), text(&reference["name"])?, text(&reference["uid"])?))
    });
    let audiences = match &payload["aud"] {
        Value::Array(list) => list.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    };
    Some(Claims {
        namespace: text(&private["namespace"])?,
        account: text(&private["serviceaccount"]["name"])?,
        account_uid: text(&private["serviceaccount"]["uid"])?,
        bound,
        audiences,
        id: text(&payload["jti"]).unwrap_or_default(),
    })
}
