//! CronJobs.

use api::{FieldError, meta, time};
use jiff::Timestamp;
use serde_json::Value;

use super::job::rules;
use super::schedule;
use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, number as count, or_none, selector, text as column};
use crate::core::pod::warnings as pod_warnings;
use crate::table::{CONTAINERS, IMAGES, SELECTOR};
use crate::validate::{labels, number};
use crate::value::{flag, has, items, set_default, text};

/// Strategy of CronJobs.
pub struct CronJob;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Schedule", "When it runs"),
    column("Timezone", "Whose clock it runs by"),
    crate::columns::column("Suspend", "boolean", "", "Whether it runs at all", 0),
    count("Active", "Jobs that run now"),
    column("Last Schedule", "When it ran last"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// What is left of a name when the controller has appended the time.
const MAX_NAME: usize = 52;

impl Strategy for CronJob {
    fn default(&self, cron: &mut Value) {
        let Some(spec) = cron.get_mut("spec").filter(|s| s.is_object()) else { return };
        set_default(spec, "concurrencyPolicy", "Allow");
        set_default(spec, "suspend", false);
        set_default(spec, "successfulJobsHistoryLimit", 3);
        set_default(spec, "failedJobsHistoryLimit", 1);
        // As in Kubernetes, a Job's own defaults wait until it is made; its pods' do not.
        if let Some(own) = spec.get_mut("jobTemplate").and_then(|t| t.get_mut("spec")).filter(|s| s.is_object()) {
            crate::core::pod::defaults::template(own);
        }
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, cron: &mut Value) {
        crate::value::set(cron, "status", serde_json::json!({}));
        meta::set_generation(cron, 1);
    }

    fn validate(&self, cron: &Value) -> Vec<FieldError> {
        let spec = &cron["spec"];
        let mut errors = Vec::new();
        if meta::name(cron).len() > MAX_NAME {
            let what = format!("must be no more than {MAX_NAME} characters");
            errors.push(FieldError::invalid("metadata.name", meta::name(cron), what));
        }
        errors.extend(times(spec));
        for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
            errors.extend(number::not_negative(spec, field, "spec"));
        }
        let policies = ["Allow", "Forbid", "Replace"];
        errors.extend(number::one_of(spec, "concurrencyPolicy", "spec", &policies, true));
        let template = &spec["jobTemplate"];
        const PATH: &str = "spec.jobTemplate";
        errors.extend(labels::labels(&template["metadata"]["labels"], &format!("{PATH}.labels")));
        errors.extend(labels::annotations(&template["metadata"]["annotations"], &format!("{PATH}.annotations")));
        let own = &template["spec"];
        if has(own, "selector") {
            let what = "`selector` will be auto-generated";
            errors.push(FieldError::invalid(format!("{PATH}.spec.selector"), own["selector"].clone(), what));
        }
        if flag(own, "manualSelector") {
            let what = FieldError::not_supported(format!("{PATH}.spec.manualSelector"), true, &["nil", "false"]);
            errors.push(what);
        }
        errors.extend(rules::spec(own, &format!("{PATH}.spec")));
        errors
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let spec = &new["spec"];
        let mut warnings = Vec::new();
        if meta::name(new).contains('.') {
            let what = "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
            warnings.push(format!("metadata.name: {what}"));
        }
        if text(spec, "schedule").contains("TZ") {
            let what = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            warnings.push(format!("spec.schedule: {what}"));
        }
        warnings
            .extend(pod_warnings::template(&spec["jobTemplate"]["spec"]["template"], "spec.jobTemplate.spec.template"));
        warnings
    }

    fn row(&self, cron: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&cron["spec"], &cron["status"]);
        let last = match status["lastScheduleTime"].as_str() {
            Some(at) => time::age(Some(at), now),
            None => "<none>".to_owned(),
        };
        let own = &spec["jobTemplate"]["spec"];
        let containers = items(&own["template"]["spec"]["containers"]);
        let listed = |field: &str| containers.iter().map(|c| text(c, field)).collect::<Vec<_>>().join(",");
        vec![
            meta::name(cron).into(),
            text(spec, "schedule").into(),
            or_none(text(spec, "timeZone").to_owned()).into(),
            if flag(spec, "suspend") { "True" } else { "False" }.into(),
            items(&status["active"]).len().into(),
            last.into(),
            age(cron, now),
            listed("name").into(),
            listed("image").into(),
            selector(&own["selector"]).into(),
        ]
    }
}

fn times(spec: &Value) -> Vec<FieldError> {
    const SCHEDULE: &str = "spec.schedule";
    const ZONE: &str = "spec.timeZone";
    let mut errors = Vec::new();
    let when = text(spec, "schedule");
    if when.is_empty() {
        errors.push(FieldError::required(SCHEDULE, ""));
    } else {
        if let Err(what) = schedule::parse(when) {
            errors.push(FieldError::invalid(SCHEDULE, when, what));
        }
        if when.contains("TZ") {
            let what = if has(spec, "timeZone") {
                "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            } else {
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            };
            errors.push(FieldError::invalid(SCHEDULE, when, what));
        }
    }
    let Some(zone) = spec["timeZone"].as_str() else { return errors };
    if zone.is_empty() {
        errors.push(FieldError::invalid(ZONE, zone, "must be nil or non-empty string"));
        return errors;
    }
    for part in zone.split('/') {
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
        if part.is_empty() || part == "." || part == ".." || part.starts_with('-') || !part.chars().all(fine) {
            let what = format!("unknown time zone {zone}");
            return vec![errors, vec![FieldError::invalid(ZONE, zone, what)]].concat();
        }
    }
    if zone.eq_ignore_ascii_case("local") {
        let what = "must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(FieldError::invalid(ZONE, zone, what));
    } else if !schedule::is_time_zone(zone) {
        errors.push(FieldError::invalid(ZONE, zone, format!("unknown time zone {zone}")));
    }
    errors
}
