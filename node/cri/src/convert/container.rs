//! One container of a pod.

use k8s_openapi::api::core::v1::{Container, Pod};
use pod::mount::{EnvVar, Mount, Propagation};
use pod::spec::{grace_seconds, text};

use super::expand::expand;
use super::{labels, paths, resources, sandbox, security};
use crate::v1;
use crate::v1::security_profile::ProfileType;

/// What the daemon resolved for the container.
#[derive(Debug, Clone)]
pub struct ContainerOptions<'a> {
    /// Which try of this container this is, from 0.
    pub attempt: u32,
    /// The image to run, as the runtime calls it.
    pub image_id: &'a str,
    /// The image's facts, if known: its user matters when the pod names only a group.
    pub image: Option<&'a v1::Image>,
    /// All variables with their values, in order.
    pub env: &'a [EnvVar],
    /// All mounts.
    pub mounts: &'a [Mount],
    /// The node's memory.
    pub memory_capacity_bytes: i64,
    /// The lowest oom_score_adj the daemon may give away; `None`: any.
    pub oom_floor: Option<i64>,
    /// What containers without a seccomp profile get; Kubernetes' default is `Unconfined`.
    pub default_seccomp: ProfileType,
}

/// The configuration of `container` of `pod`. `$(NAME)` in command and arguments is replaced here.
pub fn container_config(pod: &Pod, container: &Container, options: &ContainerOptions<'_>) -> v1::ContainerConfig {
    let mut container_labels: std::collections::BTreeMap<String, String> = sandbox::identity(pod).into();
    container_labels.insert(labels::CONTAINER_NAME.to_owned(), container.name.clone());
    let value_of = |name: &str| {
        // The last of two variables of one name wins, as in the process.
        options.env.iter().rev().find(|variable| variable.name == name).map(|variable| variable.value.as_str())
    };
    let expanded = |words: &Option<Vec<String>>| words.iter().flatten().map(|word| expand(word, value_of)).collect();
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt: options.attempt }),
        image: Some(v1::ImageSpec {
            image: options.image_id.to_owned(),
            user_specified_image: text(&container.image).to_owned(),
            ..Default::default()
        }),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: text(&container.working_dir).to_owned(),
        envs: options.env.iter().map(variable).collect(),
        mounts: options.mounts.iter().map(mount).collect(),
        devices: Vec::new(),
        labels: container_labels,
        annotations: annotations(pod, container, options.attempt),
        log_path: paths::container_log_path(&container.name, options.attempt),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::resources(pod, container, options.memory_capacity_bytes, options.oom_floor)),
            security_context: Some(security::container_context(pod, container, options.image, options.default_seccomp)),
        }),
    }
}

fn annotations(pod: &Pod, container: &Container, attempt: u32) -> std::collections::BTreeMap<String, String> {
    [
        (labels::RESTART_COUNT, attempt.to_string()),
        (labels::TERMINATION_MESSAGE_PATH, text(&container.termination_message_path).to_owned()),
        (labels::TERMINATION_MESSAGE_POLICY, text(&container.termination_message_policy).to_owned()),
        (labels::GRACE_PERIOD, grace_seconds(pod).to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn variable(variable: &EnvVar) -> v1::KeyValue {
    v1::KeyValue { key: variable.name.clone(), value: variable.value.clone().into() }
}

fn mount(mount: &Mount) -> v1::Mount {
    let propagation = match mount.propagation {
        Propagation::Private => v1::MountPropagation::PropagationPrivate,
        Propagation::HostToContainer => v1::MountPropagation::PropagationHostToContainer,
        Propagation::Bidirectional => v1::MountPropagation::PropagationBidirectional,
    };
    v1::Mount {
        container_path: mount.container_path.clone(),
        host_path: mount.host_path.clone(),
        readonly: mount.read_only,
        propagation: propagation.into(),
        ..Default::default()
    }
}
