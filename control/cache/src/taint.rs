//! Taints and tolerations.

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

/// Whether a toleration tolerates a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        // An empty key is only legal with Exists.
        "" | "Equal" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

/// The node's taints of certain effects that the pod does not tolerate.
pub fn untolerated<'a>(pod: &'a Pod, node: &'a Node, effects: &'a [&str]) -> impl Iterator<Item = &'a Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| effects.contains(&taint.effect.as_str())).filter(|taint| !is_tolerated(pod, taint))
}

/// Whether one of the pod's tolerations tolerates a taint.
pub fn is_tolerated(pod: &Pod, taint: &Taint) -> bool {
    pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).any(|toleration| tolerates(toleration, taint))
}
