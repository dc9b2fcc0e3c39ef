//! CertificateSigningRequests.

use std::collections::BTreeSet;

use api::{FieldError, meta, time};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::strategy::{copy_field, copy_metadata, keep_all_but_status};
use crate::validate::forms::{invalid, path_segment};
use crate::validate::names;
use crate::value::{has, items, number as int, text};

/// Strategy of CertificateSigningRequests.
pub struct CertificateSigningRequest;

pub const COLUMNS: &[Column] = &[
    NAME,
    AGE,
    column("SignerName", "Who is to sign"),
    column("Requestor", "Who asks"),
    column("RequestedDuration", "How long the certificate is to be valid"),
    column("Condition", "What became of the request"),
];

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
const MIN_SECONDS: i64 = 600;
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
/// What only the approval subresource may decide.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

/// Fields of the spec that say who asks: the server's to set.
pub const REQUESTER_FIELDS: [&str; 4] = ["username", "uid", "groups", "extra"];

impl Strategy for CertificateSigningRequest {
    fn default(&self, request: &mut Value) {
        let Some(spec) = request.get_mut("spec").filter(|s| s.is_object()) else { return };
        if !has(spec, "usages") {
            spec["usages"] = json!(["digital signature", "key encipherment"]);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    /// The spec never changes.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "spec");
        copy_field(new, old, "status");
        copy_metadata(new, old, "generation");
    }

    /// Decisions stay.
    fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(self, new, old);
        let decided = conditions(old).filter(|c| is_decision(c)).cloned();
        let others = conditions(new).filter(|c| !is_decision(c)).cloned();
        set_conditions(new, decided.chain(others).collect());
    }

    /// Only the conditions change by approval.
    fn prepare_approval(&self, new: &mut Value, old: &Value) {
        let mut decided: Vec<Value> = conditions(new).cloned().collect();
        for condition in decided.iter_mut().filter(|c| has(c, "lastUpdateTime") && !has(c, "lastTransitionTime")) {
            condition["lastTransitionTime"] = condition["lastUpdateTime"].clone();
        }
        keep_all_but_status(self, new, old);
        copy_field(new, old, "status");
        set_conditions(new, decided);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        path_segment(name)
    }

    fn validate_create(&self, request: &Value) -> Vec<FieldError> {
        let spec = &request["spec"];
        let mut errors = Vec::new();
        if text(spec, "signerName") == LEGACY_SIGNER {
            let what = "the legacy signerName is not allowed via this API version";
            errors.push(FieldError::invalid("spec.signerName", LEGACY_SIGNER, what));
        }
        if let Some(seconds) = int(spec, "expirationSeconds").filter(|s| *s < MIN_SECONDS) {
            let what = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(FieldError::invalid("spec.expirationSeconds", seconds, what));
        }
        let mut seen = BTreeSet::new();
        for (i, usage) in items(&spec["usages"]).iter().filter_map(Value::as_str).enumerate() {
            let path = format!("spec.usages[{i}]");
            if !USAGES.contains(&usage) {
                errors.push(FieldError::not_supported(path, usage, &USAGES));
            } else if !seen.insert(usage) {
                errors.push(FieldError::duplicate(path, usage));
            }
        }
        errors
    }

    fn validate(&self, request: &Value) -> Vec<FieldError> {
        let spec = &request["spec"];
        let mut errors = Vec::new();
        let asked = text(spec, "request");
        if asked.is_empty() {
            errors.push(FieldError::required("spec.request", ""));
        } else if !is_pem(asked) {
            let what = "PEM block type must be CERTIFICATE REQUEST";
            errors.push(FieldError::invalid("spec.request", asked, what));
        }
        if items(&spec["usages"]).is_empty() {
            errors.push(FieldError::required("spec.usages", ""));
        }
        errors.extend(signer_name(text(spec, "signerName"), "spec.signerName"));
        errors.extend(check_conditions(request));
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = check_conditions(new);
        let issued = text(&old["status"], "certificate");
        if !issued.is_empty() && text(&new["status"], "certificate") != issued {
            let shown = new["status"]["certificate"].clone();
            errors.push(FieldError::invalid("status.certificate", shown, "field is immutable"));
        }
        for decision in DECISIONS.into_iter().chain(["Failed"]) {
            let count = |o| conditions(o).filter(|c| text(c, "type") == decision).count();
            if count(new) < count(old) {
                let what = format!("updates may not remove a condition of type {decision:?}");
                errors.push(FieldError::forbidden("status.conditions", what));
            }
        }
        errors
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn fields(&self, request: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", text(&request["spec"], "signerName").to_owned())]
    }

    fn row(&self, request: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &request["spec"];
        let duration = int(spec, "expirationSeconds").map_or_else(|| "<none>".to_owned(), time::human_duration);
        vec![
            meta::name(request).into(),
            age(request, now),
            text(spec, "signerName").into(),
            text(spec, "username").into(),
            duration.into(),
            state(request).into(),
        ]
    }
}

/// `example.com/signer-name`.
#[must_use]
pub fn signer_name(name: &str, path: &str) -> Vec<FieldError> {
    if name.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let segments: Vec<&str> = name.split('/').collect();
    let &[domain, rest] = segments.as_slice() else {
        let what = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return vec![FieldError::invalid(path, name, what)];
    };
    let mut errors = invalid(path, domain, names::dns_subdomain(domain));
    if domain.split('.').count() < 2 {
        let what = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, domain, what));
    }
    let wrong = rest.split('.').flat_map(names::dns_label).take(1);
    errors.extend(wrong.map(|w| FieldError::invalid(path, rest, w)));
    errors
}

fn is_pem(base64: &str) -> bool {
    let pem = api::base64::decode(base64).and_then(|bytes| String::from_utf8(bytes).ok());
    pem.is_some_and(|pem| pem.trim_start().starts_with(PEM_BEGIN))
}

fn conditions(request: &Value) -> impl Iterator<Item = &Value> {
    items(&request["status"]["conditions"]).iter()
}

fn is_decision(condition: &Value) -> bool {
    DECISIONS.contains(&text(condition, "type"))
}

fn set_conditions(request: &mut Value, conditions: Vec<Value>) {
    if !conditions.is_empty() {
        if !has(request, "status") {
            request["status"] = json!({});
        }
        request["status"]["conditions"] = Value::Array(conditions);
    } else if let Some(status) = request.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("conditions");
    }
}

fn check_conditions(request: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, condition) in conditions(request).enumerate() {
        let path = format!("status.conditions[{i}]");
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        if kind.is_empty() {
            errors.push(FieldError::required(format!("{path}.type"), ""));
        }
        let decisive = matches!(kind, "Approved" | "Denied" | "Failed");
        let allowed: &[&str] = if decisive { &["True"] } else { &["False", "True", "Unknown"] };
        if status.is_empty() {
            errors.push(FieldError::required(format!("{path}.status"), ""));
        } else if !allowed.contains(&status) {
            errors.push(FieldError::not_supported(format!("{path}.status"), status, allowed));
        }
        if (kind == "Approved" && seen.contains("Denied")) || (kind == "Denied" && seen.contains("Approved")) {
            let what = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(format!("{path}.type"), kind, what));
        }
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(format!("{path}.type"), kind));
        }
    }
    errors
}

fn state(request: &Value) -> String {
    let has_condition = |kind: &str| conditions(request).any(|c| text(c, "type") == kind);
    let mut state = match (has_condition("Denied"), has_condition("Approved")) {
        (true, _) => "Denied".to_owned(),
        (false, true) => "Approved".to_owned(),
        (false, false) => "Pending".to_owned(),
    };
    if has_condition("Failed") {
        state.push_str(",Failed");
    }
    if !text(&request["status"], "certificate").is_empty() {
        state.push_str(",Issued");
    }
    state
}
