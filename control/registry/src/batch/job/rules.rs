//! What a Job's spec and status must obey.

use std::collections::BTreeSet;

use api::FieldError;
use serde_json::Value;

use crate::validate::{names, number, template};
use crate::value::{has, items, number as int, text};

/// Completions, parallelism and failed indexes of an indexed Job.
const MAX_INDEXES: i64 = 100_000;
const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_PATTERNS: usize = 20;
const MAX_MANAGED_BY: usize = 63;

/// Checks the spec of a Job, or of the Jobs that a CronJob makes. Selectors are the caller's.
pub(crate) fn spec(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.extend(number::not_negative(spec, field, path));
    }
    errors.extend(indexes(spec, path));
    let managed_by = text(spec, "managedBy");
    if has(spec, "managedBy") {
        let path = format!("{path}.managedBy");
        if !managed_by.contains('/') {
            let what = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(path.as_str(), managed_by, what));
        } else {
            let wrong = names::qualified(managed_by);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(path.as_str(), managed_by, w)));
        }
        if managed_by.len() > MAX_MANAGED_BY {
            errors.push(FieldError::too_long(path, MAX_MANAGED_BY));
        }
    }
    let has_policy = has(spec, "podFailurePolicy");
    if has_policy {
        errors.extend(failure_policy(spec, &format!("{path}.podFailurePolicy")));
    }
    if has(spec, "successPolicy") {
        let path = format!("{path}.successPolicy");
        if text(spec, "completionMode") == "Indexed" {
            errors.extend(success_policy(spec, &path));
        } else {
            errors.push(FieldError::invalid(path, spec["successPolicy"].clone(), "requires indexed completion mode"));
        }
    }
    let replacement: &[&str] = if has_policy { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    errors.extend(number::one_of(spec, "podReplacementPolicy", path, replacement, false));
    let own = &spec["template"];
    if own.is_null() {
        errors.push(FieldError::required(format!("{path}.template"), ""));
        return errors;
    }
    errors.extend(template::pod_template(own, &format!("{path}.template")));
    let policy = text(&own["spec"], "restartPolicy");
    let at = format!("{path}.template.spec.restartPolicy");
    match policy {
        "Always" | "" => {
            errors.push(FieldError::required(at, "valid values: \"OnFailure\", \"Never\""));
        }
        "OnFailure" if has_policy => {
            let what = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(at, policy, what));
        }
        "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(at, other, &["OnFailure", "Never"])),
    }
    errors
}

fn indexes(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let at = |field: &str| format!("{path}.{field}");
    let completions = int(spec, "completions");
    let per_index = has(spec, "backoffLimitPerIndex");
    let most_failed = int(spec, "maxFailedIndexes");
    if let Some(most) = most_failed {
        if completions.is_some_and(|n| most > n) {
            let what = "must be less than or equal to completions";
            errors.push(FieldError::invalid(at("maxFailedIndexes"), most, what));
        }
        if !per_index {
            errors.push(FieldError::required(at("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
        }
    }
    match text(spec, "completionMode") {
        "Indexed" => {
            if completions.is_none() {
                errors.push(FieldError::required(at("completions"), "when completion mode is Indexed"));
            }
            if let Some(n) = int(spec, "parallelism").filter(|n| *n > MAX_INDEXES) {
                let what = format!("must be less than or equal to {MAX_INDEXES} when completion mode is Indexed");
                errors.push(FieldError::invalid(at("parallelism"), n, what));
            }
            if let Some(n) = most_failed.filter(|n| *n > MAX_INDEXES) {
                let what = format!("must be less than or equal to {MAX_INDEXES}");
                errors.push(FieldError::invalid(at("maxFailedIndexes"), n, what));
            }
            if per_index && completions.is_some_and(|n| n > MAX_INDEXES) {
                match most_failed {
                    None => {
                        let what = format!("must be specified when completions is above {MAX_INDEXES}");
                        errors.push(FieldError::required(at("maxFailedIndexes"), what));
                    }
                    Some(n) if n > 10_000 => {
                        let what = format!(
                            "must be less than or equal to 10000 when completions are above {MAX_INDEXES} and used with backoff limit per index"
                        );
                        errors.push(FieldError::invalid(at("maxFailedIndexes"), n, what));
                    }
                    Some(_) => {}
                }
            }
        }
        mode => {
            if !matches!(mode, "" | "NonIndexed") {
                errors.push(FieldError::not_supported(at("completionMode"), mode, &["Indexed", "NonIndexed"]));
            }
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(n) = int(spec, field) {
                    errors.push(FieldError::invalid(at(field), n, "requires indexed completion mode"));
                }
            }
        }
    }
    errors
}

fn failure_policy(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let rules = items(&spec["podFailurePolicy"]["rules"]);
    if rules.len() > MAX_RULES {
        errors.push(FieldError::too_many(format!("{path}.rules"), rules.len(), MAX_RULES));
    }
    let own = &spec["template"]["spec"];
    let containers: BTreeSet<&str> = items(&own["containers"])
        .iter()
        .chain(items(&own["initContainers"]))
        .map(|container| text(container, "name"))
        .collect();
    for (i, rule) in rules.iter().enumerate() {
        let path = format!("{path}.rules[{i}]");
        let actions: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
        match text(rule, "action") {
            "" => {
                let what = "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]";
                errors.push(FieldError::required(format!("{path}.action"), what));
            }
            "FailIndex" if !has(spec, "backoffLimitPerIndex") => {
                let what = "requires the backoffLimitPerIndex to be set";
                errors.push(FieldError::invalid(format!("{path}.action"), "FailIndex", what));
            }
            action if actions.contains(&action) => {}
            other => errors.push(FieldError::not_supported(format!("{path}.action"), other, actions)),
        }
        let (codes, patterns) = (has(rule, "onExitCodes"), items(&rule["onPodConditions"]));
        match (codes, patterns.is_empty()) {
            (true, false) => {
                let what = "specifying both OnExitCodes and OnPodConditions is not supported";
                errors.push(FieldError::invalid(path.as_str(), rule.clone(), what));
            }
            (false, true) => {
                let what = "specifying one of OnExitCodes and OnPodConditions is required";
                errors.push(FieldError::invalid(path.as_str(), rule.clone(), what));
            }
            _ => {}
        }
        if codes {
            errors.extend(exit_codes(&rule["onExitCodes"], &containers, &format!("{path}.onExitCodes")));
        }
        if patterns.len() > MAX_PATTERNS {
            errors.push(FieldError::too_many(format!("{path}.onPodConditions"), patterns.len(), MAX_PATTERNS));
        }
        for (j, pattern) in patterns.iter().enumerate() {
            let path = format!("{path}.onPodConditions[{j}]");
            let kind = text(pattern, "type");
            let wrong = names::qualified(kind);
            errors.extend(wrong.into_iter().map(|w| FieldError::invalid(format!("{path}.type"), kind, w)));
            let states = ["False", "True", "Unknown"];
            if text(pattern, "status").is_empty() {
                let what = "valid values: [\"False\" \"True\" \"Unknown\"]";
                errors.push(FieldError::required(format!("{path}.status"), what));
            }
            errors.extend(number::one_of(pattern, "status", &path, &states, false));
        }
    }
    errors
}

fn exit_codes(requirement: &Value, containers: &BTreeSet<&str>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let operator = text(requirement, "operator");
    match operator {
        "" => errors.push(FieldError::required(format!("{path}.operator"), "valid values: [\"In\" \"NotIn\"]")),
        "In" | "NotIn" => {}
        other => errors.push(FieldError::not_supported(format!("{path}.operator"), other, &["In", "NotIn"])),
    }
    let container = text(requirement, "containerName");
    if has(requirement, "containerName") && !containers.contains(container) {
        let what = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(format!("{path}.containerName"), container, what));
    }
    let values = items(&requirement["values"]);
    if values.is_empty() {
        errors.push(FieldError::invalid(
            format!("{path}.values"),
            requirement["values"].clone(),
            "at least one value is required",
        ));
    } else if values.len() > MAX_EXIT_CODES {
        errors.push(FieldError::too_many(format!("{path}.values"), values.len(), MAX_EXIT_CODES));
    }
    let mut seen = BTreeSet::new();
    let mut ordered = true;
    for (i, value) in values.iter().enumerate() {
        let path = format!("{path}.values[{i}]");
        let n = value.as_i64().unwrap_or(0);
        if operator == "In" && n == 0 {
            errors.push(FieldError::invalid(path.as_str(), n, "must not be 0 for the In operator"));
        }
        if !seen.insert(n) {
            errors.push(FieldError::duplicate(path, n));
        } else if seen.last() != Some(&n) {
            ordered = false;
        }
    }
    if !ordered {
        errors.push(FieldError::invalid(format!("{path}.values"), requirement["values"].clone(), "must be ordered"));
    }
    errors
}

fn success_policy(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let rules = items(&spec["successPolicy"]["rules"]);
    let path = format!("{path}.rules");
    if rules.is_empty() {
        errors.push(FieldError::required(
            path.as_str(),
            "at least one rules must be specified when the successPolicy is specified",
        ));
    }
    if rules.len() > MAX_RULES {
        errors.push(FieldError::too_many(path.as_str(), rules.len(), MAX_RULES));
    }
    let completions = int(spec, "completions").unwrap_or(0);
    for (i, rule) in rules.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let (count, listed) = (int(rule, "succeededCount"), rule["succeededIndexes"].as_str());
        if count.is_none() && listed.is_none() {
            let what = "at least one of succeededCount or succeededIndexes must be specified";
            errors.push(FieldError::required(path.as_str(), what));
        }
        let mut total = None;
        if let Some(listed) = listed {
            match index_count(listed, completions) {
                Ok(n) => total = Some(n),
                Err(why) => {
                    let what = format!("error parsing succeededIndexes: {why}");
                    errors.push(FieldError::invalid(format!("{path}.succeededIndexes"), listed, what));
                }
            }
        }
        if let Some(count) = count {
            let at = format!("{path}.succeededCount");
            if count < 0 {
                errors.push(FieldError::invalid(at.as_str(), count, number::NOT_NEGATIVE));
            }
            if count > completions {
                let what = format!("must be less than or equal to {completions} (the number of specified completions)");
                errors.push(FieldError::invalid(at.as_str(), count, what));
            }
            if let Some(total) = total.filter(|t| count > *t) {
                let what = format!(
                    "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
                );
                errors.push(FieldError::invalid(at, count, what));
            }
        }
    }
    errors
}

/// How many indexes `1,3-5` names.
fn index_count(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    for part in text.split(',') {
        let ends: Vec<&str> = part.split('-').collect();
        let read = |t: &str| {
            let n: i64 = t.parse().map_err(|_| format!("cannot convert string to integer for index: {t:?}"))?;
            if n >= completions {
                return Err(format!("too large index: {t:?}"));
            }
            Ok(n)
        };
        let (low, high) = match ends[..] {
            [one] => (read(one)?, read(one)?),
            [low, high] => (read(low)?, read(high)?),
            _ => {
                return Err(format!(
                    "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
                ));
            }
        };
        if low > high || (ends.len() == 2 && low == high) {
            return Err(format!("non-increasing order, previous: {low}, current: {high}"));
        }
        if last.is_some_and(|last| low <= last) {
            return Err(format!("non-increasing order, previous: {}, current: {low}", last.unwrap_or(0)));
        }
        total += high - low + 1;
        last = Some(high);
    }
    Ok(total)
}

/// Checks an update of a Job's status: counts, and what a finished Job cannot take back.
pub(super) fn status(new: &Value, old: &Value) -> Vec<FieldError> {
    let (status, before) = (&new["status"], &old["status"]);
    let mut errors = Vec::new();
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        errors.extend(number::not_negative(status, field, "status"));
    }
    let holds = |status: &Value, kind: &str| {
        items(&status["conditions"]).iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
    };
    for kind in ["Complete", "Failed"] {
        if holds(before, kind) && !holds(status, kind) {
            let what = format!("cannot disable the terminal {kind}=True condition");
            errors.push(FieldError::invalid("status.conditions", status["conditions"].clone(), what));
        }
    }
    if holds(status, "Complete") && holds(status, "Failed") {
        let what = "cannot set Complete=True and Failed=true conditions";
        errors.push(FieldError::invalid("status.conditions", status["conditions"].clone(), what));
    }
    let done = holds(status, "Complete") || holds(status, "Failed");
    if has(status, "completionTime") && !holds(status, "Complete") {
        let what = "cannot set completionTime when there is no Complete=True condition";
        errors.push(FieldError::invalid("status.completionTime", status["completionTime"].clone(), what));
    }
    if holds(status, "Complete") && !has(status, "completionTime") {
        errors.push(FieldError::required("status.completionTime", "completionTime is required for Complete jobs"));
    }
    if has(before, "completionTime") && status["completionTime"] != before["completionTime"] && done {
        let what = "field is immutable";
        errors.push(FieldError::invalid("status.completionTime", status["completionTime"].clone(), what));
    }
    if done && int(status, "active").unwrap_or(0) > 0 {
        let what = "active>0 is invalid for finished job";
        errors.push(FieldError::invalid("status.active", int(status, "active"), what));
    }
    errors
}
