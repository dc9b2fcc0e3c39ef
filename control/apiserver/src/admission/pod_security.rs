//! PodSecurity: the levels that a namespace's labels ask for are enforced on pods and warned of on what makes pods.

mod checks;

use super::{Call, Operation, is};
use crate::{
    informed::{Kind, Snapshot},
    storage,
};
use api::{FieldError, Status, meta};
use checks::Violation;
use serde_json::Value;
use std::collections::BTreeMap;

const PREFIX: &str = "pod-security.kubernetes.io/";
/// Pods looked at when a namespace's level changes.
const PODS_LIMIT: usize = 3_000;

/// How much a pod may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// What a namespace asks for in one mode, and as whose words: `restricted:latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Policy {
    level: Level,
    shown: String,
}

fn policy(namespace: &Value, mode: &str) -> Policy {
    let label = |name: &str| meta::label(namespace, &format!("{PREFIX}{name}")).unwrap_or_default().to_owned();
    let text = label(mode);
    let level = match text.as_str() {
        // What cannot be read is taken as the strictest.
        "" | "privileged" => Level::Privileged,
        "baseline" => Level::Baseline,
        _ => Level::Restricted,
    };
    let version = label(&format!("{mode}-version"));
    let version = if version.is_empty() { "latest" } else { version.as_str() };
    let name = match level {
        Level::Privileged => "privileged",
        Level::Baseline => "baseline",
        Level::Restricted => "restricted",
    };
    Policy { level, shown: format!("{name}:{version}") }
}

/// Refuses a pod, or warns.
pub(super) async fn check(call: &Call<'_>, snapshot: &Snapshot, object: &Value) -> Result<(), Status> {
    let resource = call.write.resource;
    if is(resource, "", "namespaces") {
        return namespace(call, object).await;
    }
    let is_pod = is(resource, "", "pods") && matches!(call.subresource, "" | "ephemeralcontainers");
    let Some((metadata, spec)) = pod_of(call, object) else { return Ok(()) };
    if !matches!(call.operation, Operation::Create | Operation::Update)
        || call.old.and_then(|old| pod_of(call, old)).is_some_and(|(_, old)| !differs(old, spec))
    {
        return Ok(());
    }
    let Some(namespace) = snapshot.get(Kind::Namespaces, "", call.write.namespace) else { return Ok(()) };
    if is_pod {
        let enforced = policy(&namespace.value, "enforce");
        let violations = checks::of(enforced.level, metadata, spec);
        if !violations.is_empty() {
            let what = format!("violates PodSecurity {:?}: {}", enforced.shown, told(&violations));
            return Err(Status::forbidden(&resource.gvr(), meta::name(object), &what));
        }
    }
    let warned = policy(&namespace.value, "warn");
    let violations = checks::of(warned.level, metadata, spec);
    if !violations.is_empty() {
        call.write.origin.warn(format!("would violate PodSecurity {:?}: {}", warned.shown, told(&violations)));
    }
    Ok(())
}

fn told(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations.iter().map(|one| format!("{} ({})", one.reason, one.detail)).collect();
    texts.join(", ")
}

/// The metadata and spec of the pod that an object is or makes.
fn pod_of<'a>(call: &Call<'_>, object: &'a Value) -> Option<(&'a Value, &'a Value)> {
    let resource = call.write.resource;
    if is(resource, "", "pods") {
        let counted = matches!(call.subresource, "" | "ephemeralcontainers");
        return counted.then_some((&object["metadata"], &object["spec"]));
    }
    if !call.subresource.is_empty() {
        return None;
    }
    let template = match (resource.group.as_str(), resource.resource.as_str()) {
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &object["spec"]["template"],
        ("", "podtemplates") => &object["template"],
        ("batch", "cronjobs") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    template.is_object().then_some((&template["metadata"], &template["spec"]))
}

/// Whether an update changes what the checks read.
fn differs(old: &Value, new: &Value) -> bool {
    ["containers", "initContainers", "ephemeralContainers", "volumes", "securityContext"]
        .iter()
        .any(|field| old[*field] != new[*field])
}

/// Labels that mean something must be readable; pods that a stricter level would refuse are told.
async fn namespace(call: &Call<'_>, object: &Value) -> Result<(), Status> {
    if !matches!(call.operation, Operation::Create | Operation::Update) || !call.subresource.is_empty() {
        return Ok(());
    }
    let mut errors = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let label = format!("{PREFIX}{mode}");
        if let Some(level) = meta::label(object, &label)
            && !["privileged", "baseline", "restricted"].contains(&level)
        {
            let what = "must be one of privileged, baseline, restricted";
            errors.push(FieldError::invalid(format!("metadata.labels[{label}]"), level, what));
        }
        let label = format!("{label}-version");
        if let Some(version) = meta::label(object, &label)
            && !is_version(version)
        {
            let what = "must be \"latest\" or \"v1.x\"";
            errors.push(FieldError::invalid(format!("metadata.labels[{label}]"), version, what));
        }
    }
    if !errors.is_empty() {
        let changed = call.old.is_none_or(|old| old["metadata"]["labels"] != object["metadata"]["labels"]);
        return if changed { Err(Status::invalid(call.kind, meta::name(object), errors)) } else { Ok(()) };
    }
    let (new, Some(old)) = (policy(object, "enforce"), call.old.map(|old| policy(old, "enforce"))) else {
        return Ok(());
    };
    if new == old || new.level <= old.level {
        return Ok(());
    }
    let prefix = storage::core_key("pods", meta::name(object), "");
    let store = &call.write.server.config.store;
    let pods = store.list(&prefix, None, Some(PODS_LIMIT), None).await.map_err(storage::unavailable)?;
    let mut by_reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in &pods.entries {
        let pod = storage::parse(&entry.value)?;
        let violations = checks::of(new.level, &pod["metadata"], &pod["spec"]);
        if !violations.is_empty() {
            let reasons: Vec<&str> = violations.iter().map(|one| one.reason).collect();
            by_reasons.entry(reasons.join(", ")).or_default().push(meta::name(&pod).to_owned());
        }
    }
    if by_reasons.is_empty() {
        return Ok(());
    }
    let origin = call.write.origin;
    origin.warn(format!(
        "existing pods in namespace {:?} violate the new PodSecurity enforce level {:?}",
        meta::name(object),
        new.shown
    ));
    let mut groups: Vec<(String, String)> = by_reasons
        .into_iter()
        .map(|(reasons, names)| {
            let others = match names.len() - 1 {
                0 => String::new(),
                1 => " (and 1 other pod)".to_owned(),
                more => format!(" (and {more} other pods)"),
            };
            (format!("{}{others}", names[0]), reasons)
        })
        .collect();
    groups.sort_unstable();
    groups.into_iter().for_each(|(who, reasons)| origin.warn(format!("{who}: {reasons}")));
    Ok(())
}

fn is_version(text: &str) -> bool {
    text == "latest"
        || text.strip_prefix("v1.").is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()))
}
