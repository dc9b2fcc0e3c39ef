//! CSIDrivers.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::csi_driver;
use crate::validate::template::immutable;
use crate::value::{flag, has, items, number as int, set_default, text};

/// Strategy of CSIDrivers.
pub struct CsiDriver;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("AttachRequired", "Whether volumes are attached before they are mounted"),
    column("PodInfoOnMount", "Whether the driver is told about the pod"),
    column("StorageCapacity", "Whether pods wait for capacity"),
    column("TokenRequests", "Audiences of the tokens the driver gets"),
    column("RequiresRepublish", "Whether volumes are published again and again"),
    column("Modes", "Lifecycle modes of volumes"),
    AGE,
];

const MIN_TOKEN_SECONDS: i64 = 600;

impl Strategy for CsiDriver {
    fn default(&self, driver: &mut Value) {
        let Some(spec) = driver.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "attachRequired", true);
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            set_default(spec, field, false);
        }
        set_default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if items(&spec["volumeLifecycleModes"]).is_empty() {
            spec["volumeLifecycleModes"] = json!(["Persistent"]);
        }
    }

    fn prepare_create(&self, driver: &mut Value) {
        meta::remove(driver, "generation");
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, driver: &Value) -> Vec<FieldError> {
        let spec = &driver["spec"];
        let mut errors = csi_driver(meta::name(driver), "metadata.name");
        for (i, mode) in items(&spec["volumeLifecycleModes"]).iter().filter_map(Value::as_str).enumerate() {
            if !matches!(mode, "Persistent" | "Ephemeral") {
                let path = format!("spec.volumeLifecycleModes[{i}]");
                errors.push(FieldError::not_supported(path, mode, &["Ephemeral", "Persistent"]));
            }
        }
        let policy = text(spec, "fsGroupPolicy");
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        if !policies.contains(&policy) {
            errors.push(FieldError::not_supported("spec.fsGroupPolicy", policy, &policies));
        }
        let mut audiences = std::collections::BTreeSet::new();
        for (i, request) in items(&spec["tokenRequests"]).iter().enumerate() {
            let path = format!("spec.tokenRequests[{i}]");
            let audience = text(request, "audience");
            if !audiences.insert(audience) {
                errors.push(FieldError::duplicate(format!("{path}.audience"), audience));
            }
            let at = format!("{path}.expirationSeconds");
            match int(request, "expirationSeconds") {
                Some(seconds) if seconds < MIN_TOKEN_SECONDS => {
                    errors.push(FieldError::invalid(at, seconds, "may not specify a duration less than 10 minutes"));
                }
                Some(seconds) if seconds > 1 << 32 => {
                    let what = "may not specify a duration larger than 2^32 seconds";
                    errors.push(FieldError::invalid(at, seconds, what));
                }
                Some(_) | None => {}
            }
        }
        if has(spec, "nodeAllocatableUpdatePeriodSeconds")
            && int(spec, "nodeAllocatableUpdatePeriodSeconds").is_some_and(|s| s < 10)
        {
            let seconds = spec["nodeAllocatableUpdatePeriodSeconds"].clone();
            let what = "must be greater than or equal to 10";
            errors.push(FieldError::invalid("spec.nodeAllocatableUpdatePeriodSeconds", seconds, what));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (now, before) = (&new["spec"], &old["spec"]);
        let mut errors = immutable(&now["attachRequired"], &before["attachRequired"], "spec.attachedRequired");
        let path = "spec.volumeLifecycleModes";
        errors.extend(immutable(&now["volumeLifecycleModes"], &before["volumeLifecycleModes"], path));
        errors
    }

    fn row(&self, driver: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &driver["spec"];
        let joined = |list: Vec<&str>, none: &str| if list.is_empty() { none.to_owned() } else { list.join(",") };
        let audiences = items(&spec["tokenRequests"]).iter().map(|r| text(r, "audience")).collect();
        let modes = items(&spec["volumeLifecycleModes"]).iter().filter_map(Value::as_str).collect();
        vec![
            meta::name(driver).into(),
            spec["attachRequired"].as_bool().unwrap_or(true).into(),
            flag(spec, "podInfoOnMount").into(),
            flag(spec, "storageCapacity").into(),
            joined(audiences, "<unset>").into(),
            flag(spec, "requiresRepublish").into(),
            joined(modes, "<none>").into(),
            age(driver, now),
        ]
    }
}
