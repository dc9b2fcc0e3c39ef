//! LimitRanges.

use std::collections::BTreeSet;

use api::{FieldError, Quantity};
use serde_json::{Value, json};

use super::pod::defaults::resource_list;
use crate::Strategy;
use crate::columns::created_row;
use crate::validate::{names, resources};
use crate::value::{entries, has, items, items_mut, set, text};

/// Strategy of LimitRanges.
pub struct LimitRange;

const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

impl Strategy for LimitRange {
    /// A container's default limit follows the maximum, its default request the default limit, then the minimum.
    fn default(&self, range: &mut Value) {
        let Some(spec) = range.get_mut("spec").filter(|s| s.is_object()) else { return };
        for item in items_mut(spec, "limits").filter(|i| i.is_object()) {
            for list in LISTS.into_iter().filter(|l| has(item, l)).collect::<Vec<_>>() {
                resource_list(&mut item[list]);
            }
            if text(item, "type") == "Container" {
                fill(item, "default", "max");
                fill(item, "defaultRequest", "default");
                fill(item, "defaultRequest", "min");
            }
        }
    }

    fn validate(&self, range: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut seen = BTreeSet::new();
        for (i, item) in items(&range["spec"]["limits"]).iter().enumerate() {
            let path = format!("spec.limits[{i}]");
            let kind = text(item, "type");
            let wrong = names::qualified(kind);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.type"), kind, w)));
            if !kind.is_empty() && !kind.contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind)
            {
                let what = "must be a standard limit type or fully qualified";
                errors.push(FieldError::invalid(format!("{path}.type"), kind, what));
            }
            if !seen.insert(kind) {
                errors.push(FieldError::duplicate(format!("{path}.type"), kind));
            }
            errors.extend(limits(item, kind, &path));
        }
        errors
    }

    fn row(&self, range: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        created_row(range)
    }
}

fn fill(item: &mut Value, list: &str, from: &str) {
    let missing: Vec<(String, Value)> =
        entries(&item[from]).filter(|(k, _)| !has(&item[list], k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if missing.is_empty() {
        return;
    }
    if !item[list].is_object() {
        set(item, list, json!({}));
    }
    for (name, amount) in missing {
        set(&mut item[list], &name, amount);
    }
}

fn limits(item: &Value, kind: &str, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut keys = BTreeSet::new();
    for list in LISTS {
        if kind == "Pod" && matches!(list, "default" | "defaultRequest") {
            if entries(&item[list]).next().is_some() {
                let what = "may not be specified when `type` is 'Pod'";
                errors.push(FieldError::forbidden(format!("{path}.{list}"), what));
            }
            continue;
        }
        for (key, amount) in entries(&item[list]) {
            errors.extend(resources::amount(amount, &format!("{path}.{list}[{key}]")));
            keys.insert(key.as_str());
        }
    }
    if kind == "PersistentVolumeClaim" && !has(&item["min"], "storage") && !has(&item["max"], "storage") {
        let what = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(path, what));
    }
    for key in keys {
        errors.extend(one_resource(item, key, path));
    }
    errors
}

fn one_resource(item: &Value, key: &str, path: &str) -> Vec<FieldError> {
    let of = |list: &str| resources::quantity(&item[list][key]);
    let (max, min, default, request, ratio) =
        (of("max"), of("min"), of("default"), of("defaultRequest"), of("maxLimitRequestRatio"));
    let mut errors = Vec::new();
    let mut ordered =
        |low: &Option<Quantity>, high: &Option<Quantity>, at: &str, shown: &Option<Quantity>, words: [&str; 2]| {
            if let (Some(low), Some(high), Some(shown)) = (low, high, shown)
                && low > high
            {
                let what = format!("{} value {low} is greater than {} value {high}", words[0], words[1]);
                errors.push(FieldError::invalid(format!("{path}.{at}[{key}]"), shown.to_string(), what));
            }
        };
    ordered(&min, &max, "min", &min, ["min", "max"]);
    ordered(&min, &request, "defaultRequest", &request, ["min", "default request"]);
    ordered(&request, &max, "defaultRequest", &request, ["default request", "max"]);
    ordered(&request, &default, "defaultRequest", &request, ["default request", "default limit"]);
    ordered(&min, &default, "default", &min, ["min", "default"]);
    ordered(&default, &max, "default", &max, ["default", "max"]);
    if let Some(ratio) = ratio {
        let at = format!("{path}.maxLimitRequestRatio[{key}]");
        let one = Quantity::new(1, api::quantity::Format::DecimalSi);
        if ratio < one {
            errors.push(FieldError::invalid(at.as_str(), ratio.to_string(), format!("ratio {ratio} is less than 1")));
        }
        if let (Some(max), Some(min)) = (max, min)
            && min.milli_value() > 0
        {
            #[expect(clippy::cast_precision_loss, reason = "a limit shown to people, as Kubernetes shows it")]
            let (limit, asked) =
                (max.milli_value() as f64 / min.milli_value() as f64, ratio.milli_value() as f64 / 1000.0);
            if asked > limit {
                let what = format!("ratio {ratio} is greater than max/min = {limit:.6}");
                errors.push(FieldError::invalid(at, ratio.to_string(), what));
            }
        }
    }
    errors
}
