//! Questions about a pod's spec that several parts ask.

use k8s_openapi::api::core::v1 as core;

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Runs to completion before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: runs as long as the pod does.
    Sidecar,
    Main,
}

/// When a container that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// Seconds between SIGTERM and SIGKILL when the pod names none.
pub const DEFAULT_GRACE_SECONDS: i64 = 30;

/// The pod's spec; the API gives every pod one.
pub fn spec(pod: &core::Pod) -> &core::PodSpec {
    static EMPTY: std::sync::LazyLock<core::PodSpec> = std::sync::LazyLock::new(core::PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// Init containers in order, then the others, each with its role.
pub fn containers(pod: &core::Pod) -> impl Iterator<Item = (Role, &core::Container)> {
    let spec = spec(pod);
    let init = spec.init_containers.iter().flatten().map(|c| {
        let sidecar = c.restart_policy.as_deref() == Some("Always");
        (if sidecar { Role::Sidecar } else { Role::Init }, c)
    });
    init.chain(spec.containers.iter().map(|c| (Role::Main, c)))
}

/// The container of that name.
pub fn container<'a>(pod: &'a core::Pod, name: &str) -> Option<&'a core::Container> {
    containers(pod).map(|(_, c)| c).find(|c| c.name == name)
}

/// Where a container stands in the pod, as events name it: `spec.containers{web}`.
pub fn field_path(pod: &core::Pod, name: &str) -> Option<String> {
    let (role, _) = containers(pod).find(|(_, c)| c.name == name)?;
    let list = if role == Role::Main { "containers" } else { "initContainers" };
    Some(format!("spec.{list}{{{name}}}"))
}

/// The restart policy that applies to `container`: its own, or the pod's.
pub fn restart_policy(pod: &core::Pod, container: &core::Container) -> RestartPolicy {
    container.restart_policy.as_deref().map_or_else(|| pod_restart_policy(pod), parse_policy)
}

/// The pod's own restart policy.
pub fn pod_restart_policy(pod: &core::Pod) -> RestartPolicy {
    spec(pod).restart_policy.as_deref().map_or(RestartPolicy::Always, parse_policy)
}

fn parse_policy(word: &str) -> RestartPolicy {
    match word {
        "Never" => RestartPolicy::Never,
        "OnFailure" => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    }
}

/// Seconds that the pod's containers get to stop: from the deletion if there is one, else from the spec.
pub fn grace_seconds(pod: &core::Pod) -> u32 {
    let wanted = pod
        .metadata
        .deletion_grace_period_seconds
        .or(spec(pod).termination_grace_period_seconds)
        .unwrap_or(DEFAULT_GRACE_SECONDS);
    u32::try_from(wanted.max(0)).unwrap_or(u32::MAX)
}

/// Whether the pod shares the node's network namespace.
pub fn host_network(pod: &core::Pod) -> bool {
    spec(pod).host_network.unwrap_or(false)
}

/// `namespace/name`-like triple that kubelet puts in messages: `name_namespace(uid)`.
pub fn full_name(pod: &core::Pod) -> String {
    let meta = &pod.metadata;
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}

/// The text or "".
pub fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}
