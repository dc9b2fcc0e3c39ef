//! What the author of a pod, or of a template of pods, should know.

use api::spread::{self, WEIGHT};
use serde_json::Value;

use crate::value::{entries, has, items, text};

/// Labels of nodes that have newer names.
const NODE_LABELS: [(&str, &str); 6] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
    ("beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];
const ANNOTATIONS: [(&str, &str); 2] = [
    ("seccomp.security.alpha.kubernetes.io/pod", "non-functional in v1.27+; use the \"seccompProfile\" field instead"),
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
];
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Warnings about a pod.
#[must_use]
pub fn pod(pod: &Value) -> Vec<String> {
    let mut warnings = metadata(&pod["metadata"], "metadata");
    warnings.extend(spec(&pod["spec"], "spec"));
    warnings
}

/// Warnings about a template at a path.
#[must_use]
pub fn template(template: &Value, path: &str) -> Vec<String> {
    let mut warnings = metadata(&template["metadata"], &format!("{path}.metadata"));
    warnings.extend(spec(&template["spec"], &format!("{path}.spec")));
    warnings
}

fn metadata(metadata: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let annotations = &metadata["annotations"];
    for (key, what) in ANNOTATIONS.iter().filter(|(key, _)| has(annotations, key)) {
        warnings.push(format!("{path}.annotations[{key}]: {what}"));
    }
    for (key, _) in entries(annotations).filter(|(key, _)| key.starts_with(APPARMOR)) {
        let what = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
        warnings.push(format!("{path}.annotations[{key}]: {what}"));
    }
    let weight = metadata["labels"][WEIGHT].as_str().map(spread::weight);
    if let Some(Err(what)) = weight {
        warnings.push(format!("{path}.labels: {what}"));
    }
    warnings
}

fn node_label(key: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(old, _)| *old == key).map(|(_, what)| *what)
}

fn spec(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for (key, _) in entries(&spec["nodeSelector"]) {
        warnings.extend(node_label(key).map(|what| format!("{path}.nodeSelector[{key}]: {what}")));
    }
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    for (i, term) in items(&required["nodeSelectorTerms"]).iter().enumerate() {
        for (j, expression) in items(&term["matchExpressions"]).iter().enumerate() {
            let at = format!(
                "{path}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{i}].matchExpressions[{j}].key"
            );
            let key = text(expression, "key");
            warnings.extend(node_label(key).map(|what| format!("{at}: {key} is {what}")));
        }
    }
    for (i, constraint) in items(&spec["topologySpreadConstraints"]).iter().enumerate() {
        let key = text(constraint, "topologyKey");
        let at = format!("{path}.topologySpreadConstraints[{i}].topologyKey");
        warnings.extend(node_label(key).map(|what| format!("{at}: {key} is {what}")));
    }
    for (i, volume) in items(&spec["volumes"]).iter().enumerate() {
        let at = format!("{path}.volumes[{i}]");
        for (source, what) in [
            ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
            ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
            ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
            ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
            ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
            ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
            ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
            ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
            ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
        ] {
            if has(volume, source) {
                warnings.push(format!("{at}.{source}: {what}"));
            }
        }
    }
    for (i, secret) in items(&spec["imagePullSecrets"]).iter().enumerate() {
        if text(secret, "name").is_empty() {
            let what = "invalid empty name";
            warnings.push(format!("{path}.imagePullSecrets[{i}].name: {what} \"\""));
        }
    }
    for list in ["initContainers", "containers"] {
        for (i, container) in items(&spec[list]).iter().enumerate() {
            warnings.extend(container_warnings(container, &format!("{path}.{list}[{i}]")));
        }
    }
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|s| s < 0) {
        let what = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.push(format!("{path}.terminationGracePeriodSeconds: {what}"));
    }
    warnings.extend(same_ports(spec, path));
    warnings
}

fn container_warnings(container: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for list in ["limits", "requests"] {
        for resource in ["memory", "ephemeral-storage"] {
            let amount = crate::validate::resources::quantity(&container["resources"][list][resource]);
            if let Some(amount) = amount.filter(|q| !q.is_whole()) {
                let what = format!("fractional byte value \"{amount}\" is invalid, must be an integer");
                warnings.push(format!("{path}.resources.{list}[{resource}]: {what}"));
            }
        }
    }
    let variables = items(&container["env"]);
    for (i, variable) in variables.iter().enumerate() {
        let name = text(variable, "name");
        let hidden = variables[..i].iter().any(|v| text(v, "name") == name);
        // One that refers to the earlier value is meant.
        if hidden && !text(variable, "value").contains(&format!("$({name})")) {
            let what = "which may be dropped when using apply";
            warnings.push(format!("{path}.env[{i}]: hides previous definition of \"{name}\", {what}"));
        }
    }
    let ports = items(&container["ports"]);
    for (i, port) in ports.iter().enumerate() {
        let same = |p: &&Value| {
            p["containerPort"] == port["containerPort"]
                && p["hostPort"] == port["hostPort"]
                && text(p, "hostIP") == text(port, "hostIP")
                && text(p, "protocol") == text(port, "protocol")
        };
        if let Some(first) = ports[..i].iter().position(|p| same(&p)) {
            warnings.push(format!("{path}.ports[{i}]: duplicate port definition with {path}.ports[{first}]"));
        }
    }
    warnings
}

/// Two containers with the same port by the same name or number.
fn same_ports(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let containers = items(&spec["containers"]);
    for (i, container) in containers.iter().enumerate() {
        for (j, port) in items(&container["ports"]).iter().enumerate() {
            for (k, other) in containers[..i].iter().enumerate() {
                let clash = items(&other["ports"]).iter().position(|p| {
                    p["containerPort"] == port["containerPort"] && text(p, "protocol") == text(port, "protocol")
                });
                if let Some(l) = clash {
                    warnings.push(format!(
                        "{path}.containers[{i}].ports[{j}]: duplicate port definition with {path}.containers[{k}].ports[{l}]"
                    ));
                }
            }
        }
    }
    warnings
}
