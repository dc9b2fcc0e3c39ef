//! Security contexts: users, namespaces, capabilities, profiles.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext,
};
use pod::spec::{host_network, spec};

use crate::v1;
use crate::v1::security_profile::ProfileType;

/// Paths that say too much about the host. Source: Kubernetes' default proc mount.
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that change the host. Source: as above.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Why a container with `runAsNonRoot` may not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NonRootViolation {
    /// The pod itself says uid 0.
    #[error("container's runAsUser breaks non-root policy (pod: \"{pod}\", container: {container})")]
    User {
        /// `namespace/name`.
        pod: String,
        /// Its name.
        container: String,
    },
    /// The image's user is root.
    #[error("container has runAsNonRoot and image will run as root (pod: \"{pod}\", container: {container})")]
    Image {
        /// `namespace/name`.
        pod: String,
        /// Its name.
        container: String,
    },
    /// The image names a user, whose number nobody knows.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root \
         (pod: \"{pod}\", container: {container})"
    )]
    ImageUserName {
        /// As in the image.
        user: String,
        /// `namespace/name`.
        pod: String,
        /// Its name.
        container: String,
    },
}

/// Refuses a container with `runAsNonRoot` that would run as root.
///
/// # Errors
/// The reason, in the kubelet's words.
pub fn check_non_root(pod: &Pod, container: &Container, image: &v1::Image) -> Result<(), NonRootViolation> {
    let (own, shared) = contexts(pod, container);
    let required = own.and_then(|c| c.run_as_non_root).or(shared.and_then(|c| c.run_as_non_root)).unwrap_or(false);
    if !required {
        return Ok(());
    }
    let name = || {
        let key = format!("{}/{}", pod::spec::text(&pod.metadata.namespace), pod::spec::text(&pod.metadata.name));
        (key, container.name.clone())
    };
    match (run_as_user(own, shared), &image.uid, image.username.as_str()) {
        (Some(0), _, _) => {
            let (pod, container) = name();
            Err(NonRootViolation::User { pod, container })
        }
        (Some(_), _, _) => Ok(()),
        (None, Some(uid), _) if uid.value != 0 => Ok(()),
        (None, None, user) if !user.is_empty() => {
            let (pod, container) = name();
            Err(NonRootViolation::ImageUserName { user: user.to_owned(), pod, container })
        }
        (None, _, _) => {
            let (pod, container) = name();
            Err(NonRootViolation::Image { pod, container })
        }
    }
}

/// Which namespaces the pod's containers share.
pub(super) fn namespaces(pod: &Pod) -> v1::NamespaceOption {
    let spec = spec(pod);
    let node_or_pod = |node: bool| if node { v1::NamespaceMode::Node } else { v1::NamespaceMode::Pod };
    let pid = if spec.host_pid.unwrap_or(false) {
        v1::NamespaceMode::Node
    } else if spec.share_process_namespace.unwrap_or(false) {
        v1::NamespaceMode::Pod
    } else {
        v1::NamespaceMode::Container
    };
    v1::NamespaceOption {
        network: node_or_pod(host_network(pod)).into(),
        ipc: node_or_pod(spec.host_ipc.unwrap_or(false)).into(),
        pid: pid.into(),
        ..Default::default()
    }
}

/// The sandbox's own context. The sandbox runs nothing but a pause, so it always gets the runtime's seccomp profile.
pub(super) fn sandbox_context(pod: &Pod) -> v1::LinuxSandboxSecurityContext {
    let shared = spec(pod).security_context.as_ref();
    let spec = spec(pod);
    let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let run_as_user = shared.and_then(|context| context.run_as_user);
    v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        run_as_user: run_as_user.map(int64),
        // The interface takes a group only beside a user.
        run_as_group: run_as_user.and(shared.and_then(|context| context.run_as_group)).map(int64),
        supplemental_groups: supplemental_groups(shared),
        privileged: containers.any(is_privileged),
        seccomp: Some(profile(ProfileType::RuntimeDefault, None)),
        ..Default::default()
    }
}

/// A container's context. `image` gives the user when the pod names none but a group.
pub(super) fn container_context(
    pod: &Pod,
    container: &Container,
    image: Option<&v1::Image>,
    default_seccomp: ProfileType,
) -> v1::LinuxContainerSecurityContext {
    let (own, shared) = contexts(pod, container);
    let privileged = is_privileged(container);
    let unmasked = own.and_then(|context| context.proc_mount.as_deref()) == Some("Unmasked") || privileged;
    let paths = |list: &[&str]| if unmasked { Vec::new() } else { list.iter().map(ToString::to_string).collect() };
    let capabilities = own.and_then(|context| context.capabilities.as_ref()).map(|wanted| v1::Capability {
        add_capabilities: wanted.add.clone().unwrap_or_default(),
        drop_capabilities: wanted.drop.clone().unwrap_or_default(),
        ..Default::default()
    });
    let group = own.and_then(|c| c.run_as_group).or(shared.and_then(|c| c.run_as_group));
    let image_uid = image.map(|image| image.uid.as_ref().map_or(0, |uid| uid.value));
    let user = run_as_user(own, shared).or(group.and(image_uid));
    let seccomp = own.and_then(|c| c.seccomp_profile.as_ref()).or(shared.and_then(|c| c.seccomp_profile.as_ref()));
    let apparmor = own.and_then(|c| c.app_armor_profile.as_ref()).or(shared.and_then(|c| c.app_armor_profile.as_ref()));
    v1::LinuxContainerSecurityContext {
        capabilities,
        privileged,
        namespace_options: Some(namespaces(pod)),
        run_as_user: user.map(int64),
        run_as_group: user.and(group).map(int64),
        readonly_rootfs: own.and_then(|context| context.read_only_root_filesystem).unwrap_or(false),
        supplemental_groups: supplemental_groups(shared),
        no_new_privs: own.and_then(|context| context.allow_privilege_escalation) == Some(false),
        masked_paths: paths(&MASKED_PATHS),
        readonly_paths: paths(&READONLY_PATHS),
        seccomp: Some(seccomp.map_or_else(|| profile(default_seccomp, None), seccomp_profile)),
        apparmor: apparmor.map(apparmor_profile),
        ..Default::default()
    }
}

fn contexts<'a>(
    pod: &'a Pod,
    container: &'a Container,
) -> (Option<&'a SecurityContext>, Option<&'a PodSecurityContext>) {
    (container.security_context.as_ref(), spec(pod).security_context.as_ref())
}

fn run_as_user(own: Option<&SecurityContext>, shared: Option<&PodSecurityContext>) -> Option<i64> {
    own.and_then(|context| context.run_as_user).or(shared.and_then(|context| context.run_as_user))
}

fn is_privileged(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|context| context.privileged).unwrap_or(false)
}

fn supplemental_groups(shared: Option<&PodSecurityContext>) -> Vec<i64> {
    let Some(shared) = shared else { return Vec::new() };
    let mut groups = shared.supplemental_groups.clone().unwrap_or_default();
    groups.extend(shared.fs_group);
    groups
}

fn seccomp_profile(wanted: &SeccompProfile) -> v1::SecurityProfile {
    profile_of(&wanted.type_, wanted.localhost_profile.as_deref())
}

fn apparmor_profile(wanted: &AppArmorProfile) -> v1::SecurityProfile {
    profile_of(&wanted.type_, wanted.localhost_profile.as_deref())
}

/// An unknown type (which the API refuses) gets the runtime's default, never nothing.
fn profile_of(kind: &str, localhost: Option<&str>) -> v1::SecurityProfile {
    match kind {
        "Unconfined" => profile(ProfileType::Unconfined, None),
        "Localhost" => profile(ProfileType::Localhost, localhost),
        _ => profile(ProfileType::RuntimeDefault, None),
    }
}

fn profile(kind: ProfileType, localhost: Option<&str>) -> v1::SecurityProfile {
    v1::SecurityProfile { profile_type: kind.into(), localhost_ref: localhost.unwrap_or_default().to_owned() }
}

fn int64(value: i64) -> v1::Int64Value {
    v1::Int64Value { value }
}
