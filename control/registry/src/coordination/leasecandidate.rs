//! LeaseCandidates: who would like to hold a lease.

use api::{FieldError, meta, time};
use jiff::Timestamp;
use serde_json::Value;

use crate::columns::{Column, NAME, text as column};
use crate::validate::names;
use crate::value::text;
use crate::{Conversion, Strategy};

/// Strategy of LeaseCandidates, whatever their version.
pub struct LeaseCandidate;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("LeaseName", "The lease it is a candidate for"),
    column("BinaryVersion", "Version of its program"),
    column("EmulationVersion", "Version it behaves like"),
    column("PingTime", "When it was last asked"),
    column("RenewTime", "When it last answered"),
    column("Strategy", "How the holder is chosen"),
];

/// The alpha view has the same fields as what is stored.
pub static ALPHA: Conversion = Conversion { to_storage: as_beta, from_storage: as_alpha };

fn as_beta(candidate: &mut Value) {
    crate::value::set(candidate, "apiVersion", "coordination.k8s.io/v1beta1");
}

fn as_alpha(candidate: &mut Value) {
    crate::value::set(candidate, "apiVersion", "coordination.k8s.io/v1alpha2");
}

impl Strategy for LeaseCandidate {
    fn validate(&self, candidate: &Value) -> Vec<FieldError> {
        let spec = &candidate["spec"];
        let mut errors = Vec::new();
        for field in ["leaseName", "binaryVersion", "strategy"] {
            if text(spec, field).is_empty() {
                errors.push(FieldError::required(format!("spec.{field}"), ""));
            }
        }
        let strategy = text(spec, "strategy");
        if strategy.contains('/') {
            let wrong = names::qualified(strategy);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid("spec.strategy", strategy, w)));
        } else if !matches!(strategy, "" | "OldestEmulationVersion") {
            errors.push(FieldError::not_supported("spec.strategy", strategy, &["OldestEmulationVersion"]));
        }
        if strategy == "OldestEmulationVersion" && text(spec, "emulationVersion").is_empty() {
            let what = "must be specified when `strategy` is 'OldestEmulationVersion'";
            errors.push(FieldError::required("spec.emulationVersion", what));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (new, old) = (&new["spec"]["leaseName"], &old["spec"]["leaseName"]);
        crate::validate::template::immutable(new, old, "spec.leaseName")
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn row(&self, candidate: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &candidate["spec"];
        let ago = |field: &str| match spec[field].as_str() {
            Some(at) => time::age(Some(at), now),
            None => "<none>".to_owned(),
        };
        vec![
            meta::name(candidate).into(),
            text(spec, "leaseName").into(),
            text(spec, "binaryVersion").into(),
            text(spec, "emulationVersion").into(),
            ago("pingTime").into(),
            ago("renewTime").into(),
            text(spec, "strategy").into(),
        ]
    }
}
