//! Jobs.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, selector, text as column};
use crate::core::pod::{defaults, warnings as pod_warnings};
use crate::strategy::copy_field;
use crate::table::{CONTAINERS, IMAGES, SELECTOR};
use crate::validate::template::{immutable, selected};
use crate::validate::{labels, names};
use crate::value::{flag, has, items, number as int, remove, set, set_default, text};

pub(crate) mod rules;
#[cfg(test)]
mod tests;

/// Strategy of Jobs.
pub struct Job;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "How far it is"),
    column("Completions", "Pods that succeeded, of those wanted"),
    column("Duration", "How long it has run"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];
const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];

impl Strategy for Job {
    fn orphans_by_default(&self) -> bool {
        true
    }

    fn default(&self, job: &mut Value) {
        if let Some(spec) = job.get_mut("spec").filter(|s| s.is_object()) {
            job_spec(spec);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// The selector and the labels that it selects by are made of the uid, unless the author makes them.
    fn prepare_create(&self, job: &mut Value) {
        set(job, "status", json!({}));
        meta::set_generation(job, 1);
        if !flag(&job["spec"], "manualSelector") && job["spec"].is_object() {
            generate_selector(job);
        }
    }

    /// A Job does not run while it is suspended, so its template may be told where; that is what
    /// [`Strategy::validate_update`] allows.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        copy_field(new, old, "status");
        let generation = meta::generation(old) + i64::from(self.spec_changed(new, old));
        meta::set_generation(new, generation);
    }

    fn validate(&self, job: &Value) -> Vec<FieldError> {
        let spec = &job["spec"];
        let mut errors = Vec::new();
        if !flag(spec, "manualSelector") {
            errors.extend(generated(job));
        }
        if !has(spec, "selector") {
            errors.push(FieldError::required("spec.selector", ""));
        } else {
            errors.extend(labels::selector(&spec["selector"], "spec.selector"));
        }
        if has(spec, "template") && has(spec, "selector") {
            errors.extend(selected(&spec["selector"], &spec["template"], "spec.template.metadata.labels"));
        }
        errors.extend(rules::spec(spec, "spec"));
        if text(spec, "completionMode") == "Indexed"
            && let Some(n) = int(spec, "completions").filter(|n| *n > 0)
        {
            let last = format!("{}-{}", meta::name(job), n - 1);
            errors.extend(names::dns_label(&last).into_iter().map(|w| {
                let what = format!("will not able to create pod with invalid DNS label: {last}: {w}");
                FieldError::invalid("metadata.name", meta::name(job), what)
            }));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (spec, before) = (&new["spec"], &old["spec"]);
        let mut errors = Vec::new();
        // Indexed Jobs may grow and shrink with their parallelism.
        let elastic = text(spec, "completionMode") == "Indexed" && spec["completions"] == spec["parallelism"];
        if !elastic {
            errors.extend(immutable(&spec["completions"], &before["completions"], "spec.completions"));
        }
        errors.extend(immutable(&spec["selector"], &before["selector"], "spec.selector"));
        errors.extend(template_kept(spec, old));
        for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
            errors.extend(immutable(&spec[field], &before[field], &format!("spec.{field}")));
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        rules::status(new, old)
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        let spec = &new["spec"];
        if text(spec, "completionMode") == "Indexed" {
            let (completions, parallelism) =
                (int(spec, "completions").unwrap_or(0), int(spec, "parallelism").unwrap_or(0));
            if completions > 100_000 && parallelism > 10_000 {
                warnings.push("In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail".to_owned());
            }
        }
        warnings.extend(pod_warnings::template(&spec["template"], "spec.template"));
        warnings
    }

    fn field_labels(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn fields(&self, job: &Value) -> Vec<(&'static str, String)> {
        vec![("status.successful", int(&job["status"], "succeeded").unwrap_or(0).to_string())]
    }

    fn row(&self, job: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&job["spec"], &job["status"]);
        let succeeded = int(status, "succeeded").unwrap_or(0);
        let completions = match (int(spec, "completions"), int(spec, "parallelism").unwrap_or(0)) {
            (Some(wanted), _) => format!("{succeeded}/{wanted}"),
            (None, several) if several > 1 => format!("{succeeded}/1 of {several}"),
            (None, _) => format!("{succeeded}/1"),
        };
        let at = |field: &str| api::time::parse(text(status, field));
        let duration = match (at("startTime"), at("completionTime")) {
            (None, _) => String::new(),
            (Some(start), end) => api::time::human_duration(end.unwrap_or(now).as_second() - start.as_second()),
        };
        let (names, images) = defaults::container_columns(job);
        vec![
            meta::name(job).into(),
            state(job).into(),
            completions.into(),
            duration.into(),
            age(job, now),
            names.into(),
            images.into(),
            selector(&spec["selector"]).into(),
        ]
    }
}

/// Whether a condition of the Job is true.
fn holds(job: &Value, condition: &str) -> bool {
    items(&job["status"]["conditions"]).iter().any(|c| text(c, "type") == condition && text(c, "status") == "True")
}

fn state(job: &Value) -> &'static str {
    if holds(job, "Complete") {
        "Complete"
    } else if holds(job, "Failed") {
        "Failed"
    } else if meta::is_deleting(job) {
        "Terminating"
    } else if holds(job, "Suspended") {
        "Suspended"
    } else if holds(job, "FailureTarget") {
        "FailureTarget"
    } else if holds(job, "SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

/// Defaults of a Job's spec, in a Job or in a CronJob's template.
pub(crate) fn job_spec(spec: &mut Value) {
    // Neither given: one pod, once. With completions alone, one at a time.
    if !has(spec, "completions") && !has(spec, "parallelism") {
        set(spec, "completions", 1);
        set(spec, "parallelism", 1);
    }
    set_default(spec, "parallelism", 1);
    let by_index = has(spec, "backoffLimitPerIndex");
    set_default(spec, "backoffLimit", if by_index { i64::from(i32::MAX) } else { 6 });
    set_default(spec, "completionMode", "NonIndexed");
    set_default(spec, "suspend", false);
    let policy = if has(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set_default(spec, "podReplacementPolicy", policy);
    for rule in crate::value::items_mut(&mut spec["podFailurePolicy"], "rules").filter(|r| r.is_object()) {
        for pattern in crate::value::items_mut(rule, "onPodConditions").filter(|p| p.is_object()) {
            set_default(pattern, "status", "True");
        }
    }
    if spec["podFailurePolicy"].is_null() {
        remove(spec, "podFailurePolicy");
    }
    // A manual selector is a flag that is there or not.
    defaults::template(spec);
}

fn generate_selector(job: &mut Value) {
    let (uid, name) = (meta::uid(job).to_owned(), meta::name(job).to_owned());
    let spec = &mut job["spec"];
    if !has(spec, "template") {
        return;
    }
    let labels =
        meta::object_mut(meta::child_mut(&mut spec["template"], "metadata").entry("labels").or_insert(Value::Null));
    // What the author has set stays; if it is wrong, validation says so.
    for label in UID_LABELS {
        labels.entry(label).or_insert_with(|| uid.as_str().into());
    }
    for label in NAME_LABELS {
        labels.entry(label).or_insert_with(|| name.as_str().into());
    }
    let selector = meta::child_mut(spec, "selector");
    let wanted = meta::object_mut(selector.entry("matchLabels").or_insert(Value::Null));
    wanted.entry(UID_LABELS[1]).or_insert_with(|| uid.into());
}

/// Checks that nobody has meddled with what [`generate_selector`] makes.
fn generated(job: &Value) -> Vec<FieldError> {
    const LABELS: &str = "spec.template.metadata.labels";
    let own = &job["spec"]["template"]["metadata"]["labels"];
    let mut errors = Vec::new();
    for (labels, wanted) in [(UID_LABELS, meta::uid(job)), (NAME_LABELS, meta::name(job))] {
        for label in labels {
            if !has(own, label) {
                errors.push(FieldError::required(format!("{LABELS}[{label}]"), format!("must be '{wanted}'")));
            } else if text(own, label) != wanted {
                errors.push(FieldError::invalid(LABELS, own.clone(), format!("must be '{wanted}'")));
            }
        }
    }
    let selector = &job["spec"]["selector"];
    let by_uid = |label: &str| *selector == json!({"matchLabels": {label: meta::uid(job)}});
    if has(&job["spec"], "selector") && !UID_LABELS.iter().any(|l| by_uid(l)) {
        errors.push(FieldError::invalid("spec.selector", selector.clone(), "`selector` not auto-generated"));
    }
    errors
}

/// The template stays; but where its pods run may be told as long as it is suspended and has not started.
fn template_kept(spec: &Value, old: &Value) -> Vec<FieldError> {
    let before = &old["spec"];
    let mut expected = spec["template"].clone();
    let waiting = flag(before, "suspend") && !has(&old["status"], "startTime");
    if waiting && expected.is_object() {
        for field in ["nodeSelector", "tolerations", "affinity", "schedulingGates"] {
            if expected["spec"].is_object() {
                copy_field(&mut expected["spec"], &before["template"]["spec"], field);
            }
        }
        for field in ["labels", "annotations"] {
            if expected["metadata"].is_object() {
                copy_field(&mut expected["metadata"], &before["template"]["metadata"], field);
            }
        }
    }
    if expected == before["template"] {
        return Vec::new();
    }
    vec![FieldError::invalid("spec.template", spec["template"].clone(), "field is immutable")]
}
