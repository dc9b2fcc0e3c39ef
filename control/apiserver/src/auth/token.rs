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
/// `iss` of tokens that live in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
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
    /// What must still be there for the token to hold.
    pub(crate) bound: Vec<Bound>,
    pub(crate) audiences: Vec<String>,
    /// `jti`; empty if there is none.
    pub(crate) id: String,
    /// The Secret that holds the token, if it is one of the kind that lives in a Secret for ever.
    pub(crate) legacy_secret: Option<String>,
}

/// An object that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    /// `pod`, `secret` or `node`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What a new token shall say.
pub(crate) struct Grant<'a> {
    /// The account's namespace.
    pub(crate) namespace: &'a str,
    /// The account's name.
    pub(crate) account: &'a str,
    /// The account's uid.
    pub(crate) account_uid: &'a str,
    /// What it is bound to; a pod's token also names the pod's node.
    pub(crate) bound: &'a [Bound],
    /// Whom the token is for.
    pub(crate) audiences: &'a [String],
    /// From when.
    pub(crate) now: Timestamp,
    /// How long.
    pub(crate) seconds: i64,
    /// After how many seconds a holder should have got a new one, if that is before the end.
    pub(crate) warn_after: Option<i64>,
    /// `jti`.
    pub(crate) id: &'a str,
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
    for Bound { kind, name, uid } in grant.bound {
        private[kind] = if uid.is_empty() { json!({"name": name}) } else { json!({"name": name, "uid": uid}) };
    }
    if let Some(seconds) = grant.warn_after {
        private["warnafter"] = json!(now.saturating_add(seconds));
    }
    let payload = json!({
        "iss": signer.issuer,
        "sub": format!("system:serviceaccount:{}:{}", grant.namespace, grant.account),
        "aud": grant.audiences,
        "iat": now, "nbf": now, "exp": now.saturating_add(grant.seconds),
        "jti": grant.id,
        "kubernetes.io": private,
    });
    seal(signer, &payload)
}

/// Makes a token that holds as long as the Secret it is in.
pub(crate) fn sign_legacy(
    signer: &Signer,
    (namespace, account, uid): (&str, &str, &str),
    secret: &str,
) -> Result<String, Status> {
    let payload = json!({
        "iss": LEGACY_ISSUER,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret,
        "kubernetes.io/serviceaccount/service-account.name": account,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
    });
    seal(signer, &payload)
}

fn seal(signer: &Signer, payload: &Value) -> Result<String, Status> {
    let header = json!({"alg": "ES256", "kid": signer.key_id});
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
    if payload["iss"] == LEGACY_ISSUER {
        return legacy_claims(signer, &payload);
    }
    let now = now.as_second();
    let current = payload["exp"].as_i64()? > now && payload["nbf"].as_i64().unwrap_or(0) <= now + LEEWAY_S;
    if payload["iss"] != signer.issuer.as_str() || !current {
        return None;
    }
    let private = &payload["kubernetes.io"];
    let mut bound = Vec::new();
    for kind in ["pod", "secret", "node"] {
        if let Some(reference) = private.get(kind) {
            let uid = text(&reference["uid"]).unwrap_or_default();
            bound.push(Bound { kind: kind.to_owned(), name: text(&reference["name"])?, uid });
        }
    }
    let audiences = match &payload["aud"] {
        Value::Array(list) => list.iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    };
    let claims = Claims {
        namespace: text(&private["namespace"])?,
        account: text(&private["serviceaccount"]["name"])?,
        account_uid: text(&private["serviceaccount"]["uid"])?,
        bound,
        audiences,
        id: text(&payload["jti"]).unwrap_or_default(),
        legacy_secret: None,
    };
    (payload["sub"] == format!("system:serviceaccount:{}:{}", claims.namespace, claims.account)).then_some(claims)
}

fn legacy_claims(signer: &Signer, payload: &Value) -> Option<Claims> {
    let claim = |name: &str| text(&payload[format!("kubernetes.io/serviceaccount/{name}")]);
    let claims = Claims {
        namespace: claim("namespace")?,
        account: claim("service-account.name")?,
        account_uid: claim("service-account.uid")?,
        bound: Vec::new(),
        // It is from before audiences were: it is for the API itself.
        audiences: vec![signer.issuer.clone()],
        id: String::new(),
        legacy_secret: Some(claim("secret.name")?),
    };
    (payload["sub"] == format!("system:serviceaccount:{}:{}", claims.namespace, claims.account)).then_some(claims)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
