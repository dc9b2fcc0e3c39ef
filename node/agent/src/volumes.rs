//! Volumes on the node's file system: prepared before the sandbox starts, kept current while it runs, removed with the
//! pod.

mod disk;
mod subpath;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use pod::env::{Downward, Needs, Sources};
use pod::spec::{host_network, spec, text};
use pod::volume::{self, Files, Inputs, Part, Source, Volume, VolumeError};

use crate::context::Context;
use crate::sources;
use crate::tokens::Tokens;

pub(crate) use disk::{etc_hosts, remove_pod};
pub(crate) use subpath::bind as bind_sub_path;

/// Why a pod's volumes cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {path}: {source}")]
    Disk { volume: String, path: PathBuf, source: io::Error },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : hostPath type check failed: {path} is not a {wanted}")]
    HostPath { volume: String, path: String, wanted: &'static str },
    #[error("failed to fetch what the volumes refer to: {0}")]
    Api(#[from] client::Error),
    #[error("the disk worker ended early")]
    Worker,
}

/// Which volumes to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them, for a pod that starts.
    All,
    /// Those made from API objects, for a pod that runs.
    Refresh,
}

/// Writes the pod's volumes.
pub(crate) async fn prepare(
    context: &Context,
    pod: &Pod,
    pod_ips: &[IpAddr],
    tokens: &mut Tokens,
    scope: Scope,
) -> Result<(), Error> {
    let plan = volume::plan(pod)?;
    tokens.refresh(&context.client, pod, &plan, process::now()).await?;
    let namespace = text(&pod.metadata.namespace);
    let sources = sources::fetch(&context.client, namespace, &needs(&plan), &context.services).await?;
    let downward = downward(context, pod_ips);
    let contents = contents(pod, &plan, &sources, &downward, tokens)?;
    let job = disk::Job {
        directory: context.paths.pod(text(&pod.metadata.uid)),
        volumes: plan,
        contents,
        group: spec(pod).security_context.as_ref().and_then(|c| c.fs_group).and_then(|g| u32::try_from(g).ok()),
        scope,
    };
    let done = process::spawn_blocking("volumes", move || job.run());
    done.await.map_err(|_| Error::Worker)?
}

/// Where each volume of the pod lies.
pub(crate) fn paths(context: &Context, pod: &Pod) -> Result<BTreeMap<String, String>, VolumeError> {
    let uid = text(&pod.metadata.uid);
    let place = |volume: Volume| {
        let path = match volume.source {
            Source::HostPath { path, .. } => path,
            Source::EmptyDir { .. } | Source::Files(_) => context.paths.volume(uid, &volume.name).display().to_string(),
        };
        (volume.name, path)
    };
    Ok(volume::plan(pod)?.into_iter().map(place).collect())
}

/// What the downward API tells about a pod with these addresses.
pub(crate) fn downward(context: &Context, pod_ips: &[IpAddr]) -> Downward {
    Downward { pod_ips: pod_ips.to_vec(), host_ips: context.host_ips(), allocatable: context.allocatable() }
}

/// Whether the pod has its own /etc/hosts.
pub(crate) fn has_own_hosts(pod: &Pod) -> bool {
    !host_network(pod)
}

fn needs(plan: &[Volume]) -> Needs {
    let mut all = Needs::default();
    for volume in plan {
        if let Source::Files(files) = &volume.source {
            let needs = volume::needs(files);
            all.config_maps.extend(needs.config_maps);
            all.secrets.extend(needs.secrets);
        }
    }
    all
}

type Contents = BTreeMap<String, BTreeMap<String, volume::File>>;

fn contents(
    pod: &Pod,
    plan: &[Volume],
    sources: &Sources,
    downward: &Downward,
    tokens: &Tokens,
) -> Result<Contents, VolumeError> {
    let tokens = tokens.texts();
    let inputs = Inputs { pod, sources, downward, tokens: &tokens };
    let mut out = Contents::new();
    for volume in plan {
        if let Source::Files(files) = &volume.source {
            out.insert(volume.name.clone(), volume::files(&volume.name, files, inputs)?);
        }
    }
    Ok(out)
}

/// Whether the files must not reach a disk.
fn is_secret(files: &Files) -> bool {
    files.parts.iter().any(|part| matches!(part, Part::Secret { .. } | Part::Token(_)))
}

fn at(volume: &str, path: &Path) -> impl Fn(io::Error) -> Error {
    let (volume, path) = (volume.to_owned(), path.to_owned());
    move |source| Error::Disk { volume: volume.clone(), path: path.clone(), source }
}
