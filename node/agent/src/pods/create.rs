//! Creating a container: environment, mounts, sub-paths, hosts file, termination message, then the runtime's call.

use std::path::{Path, PathBuf};

use cri::convert::{ContainerOptions, NonRootViolation};
use cri::v1::security_profile::ProfileType;
use k8s_openapi::api::core::v1::Container;
use pod::State;
use pod::env::{self, EnvError};
use pod::mount::{self, Mount, MountError, Propagation};
use pod::spec::{container, text};
use pod::volume::VolumeError;

use super::actions::sandbox_config;
use super::worker::PodContext;
use crate::{sources, volumes};

/// Where containers leave their last words unless they say otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Which instance to create.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) container: &'a str,
    pub(super) attempt: u32,
    pub(super) sandbox: &'a str,
    pub(super) image_id: &'a str,
}

/// Why a container cannot be created.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the container is no longer part of the pod")]
    NoContainer,
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    NonRoot(#[from] NonRootViolation),
    #[error("failed to fetch what the environment refers to: {0}")]
    Api(#[from] client::Error),
    #[error("failed to prepare subPath for volumeMount \"{path}\" of container \"{container}\": {source}")]
    SubPath { path: String, container: String, source: std::io::Error },
    #[error("failed to write {path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{}", .0.message())]
    Runtime(#[from] cri::Error),
}

impl Error {
    /// `waiting.reason`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Error::Runtime(_) => "CreateContainerError",
            Error::NoContainer
            | Error::Env(_)
            | Error::Mount(_)
            | Error::Volume(_)
            | Error::NonRoot(_)
            | Error::Api(_)
            | Error::SubPath { .. }
            | Error::File { .. } => "CreateContainerConfigError",
        }
    }
}

/// Creates the instance; its id.
pub(super) async fn create(context: &PodContext, state: &State, wanted: Wanted<'_>) -> Result<String, Error> {
    let node = &context.node;
    let pod = &state.pod;
    let spec = container(pod, wanted.container).ok_or(Error::NoContainer)?;
    let image = node.runtime.image_status(wanted.image_id).await?;
    if let Some(image) = &image {
        cri::convert::check_non_root(pod, spec, image)?;
    }
    let namespace = text(&pod.metadata.namespace);
    let sources = sources::fetch(&node.client, namespace, &env::needs(spec), &node.services).await?;
    let ips = state.sandbox.as_ref().map(|s| s.ips.clone()).unwrap_or_default();
    let variables = env::resolve(pod, spec, &sources, &volumes::downward(node, &ips))?;
    let mounts = mounts(context, state, spec, &variables, wanted.attempt).await?;
    let options = ContainerOptions {
        attempt: wanted.attempt,
        image_id: wanted.image_id,
        image: image.as_ref(),
        env: &variables,
        mounts: &mounts,
        memory_capacity_bytes: i64::try_from(node.machine.memory_bytes).unwrap_or(i64::MAX),
        oom_floor: node.oom_floor,
        default_seccomp: ProfileType::Unconfined,
    };
    let config = cri::convert::container_config(pod, spec, &options);
    let sandbox = sandbox_config(context, pod, state.sandbox_attempts.saturating_sub(1));
    let logs = Path::new(&sandbox.log_directory).join(wanted.container);
    tokio::fs::create_dir_all(&logs).await.map_err(|source| Error::File { path: logs, source })?;
    let _permit = node.starts.acquire().await;
    Ok(node.runtime.create_container(wanted.sandbox, &config, &sandbox).await?)
}

async fn mounts(
    context: &PodContext,
    state: &State,
    spec: &Container,
    variables: &[mount::EnvVar],
    attempt: u32,
) -> Result<Vec<Mount>, Error> {
    let node = &context.node;
    let pod = &state.pod;
    let uid = text(&pod.metadata.uid);
    let planned = mount::plan(spec, &volumes::paths(node, pod)?, variables)?;
    let mut out = Vec::with_capacity(planned.len() + 2);
    for (index, planned) in planned.into_iter().enumerate() {
        let mut mount = planned.mount;
        if let Some(sub_path) = planned.sub_path {
            let target = node.paths.pod(uid).join("subpaths").join(&spec.name).join(index.to_string());
            mount.host_path = sub_path_of(mount.host_path, sub_path, target, &spec.name).await?;
        }
        out.push(mount);
    }
    let mounted = |out: &[Mount], path: &str| out.iter().any(|m| m.container_path == path);
    if volumes::has_own_hosts(pod) && !mounted(&out, "/etc/hosts") {
        let path = node.paths.etc_hosts(uid);
        let ips = state.sandbox.as_ref().map(|s| s.ips.as_slice()).unwrap_or_default();
        let hosts = volumes::etc_hosts(pod, ips, &node.config.cluster_domain);
        write(&path, &hosts).await?;
        out.push(plain(&path, "/etc/hosts"));
    }
    let message_path = spec.termination_message_path.as_deref().unwrap_or(TERMINATION_LOG);
    if !message_path.is_empty() {
        let path = node.paths.messages(uid, &spec.name).join(attempt.to_string());
        write(&path, "").await?;
        // Containers of any user may write it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        tokio::fs::set_permissions(&path, mode).await.map_err(|source| Error::File { path: path.clone(), source })?;
        out.push(plain(&path, message_path));
    }
    Ok(out)
}

async fn sub_path_of(root: String, sub_path: String, target: PathBuf, container: &str) -> Result<String, Error> {
    let (asked, container) = (sub_path.clone(), container.to_owned());
    let bind = process::spawn_blocking("subpath", move || {
        volumes::bind_sub_path(Path::new(&root), &sub_path, &target).map(|path| path.display().to_string())
    });
    let result = bind.await.map_err(std::io::Error::other).and_then(|result| result);
    result.map_err(|source| Error::SubPath { path: asked, container, source })
}

async fn write(path: &Path, text: &str) -> Result<(), Error> {
    let fail = |source| Error::File { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(fail)?;
    }
    tokio::fs::write(path, text).await.map_err(fail)
}

fn plain(host: &Path, inside: &str) -> Mount {
    Mount {
        host_path: host.display().to_string(),
        container_path: inside.to_owned(),
        read_only: false,
        propagation: Propagation::Private,
    }
}
