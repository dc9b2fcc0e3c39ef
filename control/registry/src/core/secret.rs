//! Secrets.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use super::configmap::{MAX_BYTES, frozen};
use crate::Strategy;
use crate::columns::age;
use crate::validate::{names, template::immutable};
use crate::value::{entries, remove, set_default, text};

/// Strategy of Secrets.
pub struct Secret;

impl Strategy for Secret {
    /// The type, and `stringData` (write-only) moved into `data`.
    fn default(&self, secret: &mut Value) {
        set_default(secret, "type", "Opaque");
        let Some(plain) = remove(secret, "stringData") else { return };
        let plain = meta::string_map(&plain);
        if plain.is_empty() {
            return;
        }
        let data = meta::child_mut(secret, "data");
        for (key, value) in plain {
            data.insert(key, api::base64::encode(value.as_bytes()).into());
        }
    }

    fn validate(&self, secret: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut size = 0;
        for (key, value) in entries(&secret["data"]) {
            let path = format!("data[{key}]");
            let wrong = names::config_key(key);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(path.as_str(), key.as_str(), w)));
            size += value.as_str().map_or(0, |v| v.len() / 4 * 3);
        }
        if size > MAX_BYTES {
            errors.push(FieldError::too_long("data", MAX_BYTES));
        }
        let needed: &[&str] = match text(secret, "type") {
            "kubernetes.io/dockercfg" => &[".dockercfg"],
            "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
            "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
            "kubernetes.io/tls" => &["tls.crt", "tls.key"],
            _ => &[],
        };
        for key in needed.iter().filter(|k| secret["data"].get(**k).is_none()) {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
        let account = "kubernetes.io/service-account.name";
        let names_account = meta::annotation(secret, account).is_some_and(|a| !a.is_empty());
        if text(secret, "type") == "kubernetes.io/service-account-token" && !names_account {
            errors.push(FieldError::required(format!("metadata.annotations[{account}]"), ""));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = immutable(&new["type"], &old["type"], "type");
        errors.extend(frozen(new, old, &["data"]));
        errors
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn fields(&self, secret: &Value) -> Vec<(&'static str, String)> {
        vec![("type", text(secret, "type").to_owned())]
    }

    fn row(&self, secret: &Value, now: Timestamp) -> Vec<Value> {
        let count = entries(&secret["data"]).count();
        vec![meta::name(secret).into(), secret["type"].clone(), count.into(), age(secret, now)]
    }
}
