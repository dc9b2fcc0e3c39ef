//! Mounts of a container and its resolved environment, as data for the runtime's configuration.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;

use crate::env::expand;

/// One bind mount into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path on the node.
    pub host_path: String,
    /// Absolute path in the container.
    pub container_path: String,
    pub read_only: bool,
    pub propagation: Propagation,
}

/// Mount propagation, as in `volumeMounts[].mountPropagation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// One environment variable with its value resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    pub name: String,
    pub value: String,
}

/// A mount before its sub-path is resolved: the path below `mount.host_path` comes from the user and may be a trap, so
/// it is followed only inside that root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub mount: Mount,
    pub sub_path: Option<String>,
}

/// Why a mount cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    #[error("cannot find volume \"{volume}\" to mount into container \"{container}\"")]
    NoVolume { volume: String, container: String },
    #[error("subPath \"{0}\" must be relative and stay inside the volume")]
    BadSubPath(String),
}

/// The container's volume mounts; `paths` maps each volume's name to its directory on the node.
pub fn plan(
    container: &Container,
    paths: &BTreeMap<String, String>,
    variables: &[EnvVar],
) -> Result<Vec<Planned>, MountError> {
    let find = |name: &str| variables.iter().find(|v| v.name == name).map(|v| v.value.clone());
    let mut out = Vec::new();
    for wanted in container.volume_mounts.iter().flatten() {
        let path = paths
            .get(&wanted.name)
            .ok_or_else(|| MountError::NoVolume { volume: wanted.name.clone(), container: container.name.clone() })?;
        let expanded = wanted.sub_path_expr.as_deref().map(|text| expand(text, find));
        let sub_path = expanded.or_else(|| wanted.sub_path.clone()).filter(|path| !path.is_empty());
        if let Some(bad) = sub_path.as_ref().filter(|p| p.starts_with('/') || p.split('/').any(|part| part == "..")) {
            return Err(MountError::BadSubPath(bad.clone()));
        }
        let mount = Mount {
            host_path: path.clone(),
            container_path: absolute(&wanted.mount_path),
            read_only: wanted.read_only.unwrap_or(false),
            propagation: match wanted.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                Some(_) | None => Propagation::Private,
            },
        };
        out.push(Planned { mount, sub_path });
    }
    Ok(out)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}
