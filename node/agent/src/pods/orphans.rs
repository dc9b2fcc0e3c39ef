//! What belongs to no pod any more is removed: sandboxes in the runtime, directories, cgroups. It is left over when the
//! daemon was down while pods vanished, or died in the middle of a removal.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cri::convert::labels;
use cri::v1;
use pod::lifecycle::Stage;
use tokio_util::sync::CancellationToken;

use super::Pods;
use crate::context::Context;
use crate::volumes;

const PERIOD: Duration = Duration::from_secs(30);

/// Removes orphans periodically until `shutdown`. Started once the API's pods are known.
pub(super) async fn run(context: Arc<Context>, pods: Arc<Pods>, shutdown: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = period.tick() => {}
        }
        if let Err(error) = sandboxes(&context, &pods).await {
            tracing::debug!(%error, "orphaned sandboxes not removed");
            continue;
        }
        directories(&context, &pods).await;
    }
}

async fn sandboxes(context: &Context, pods: &Pods) -> Result<(), cri::Error> {
    let found = context.runtime.list_pod_sandboxes(v1::PodSandboxFilter::default()).await?;
    // After the list: a pod that started since has a worker by now.
    let known = pods.states();
    for sandbox in found {
        let Some(uid) = sandbox.labels.get(labels::POD_UID) else { continue };
        let ready = sandbox.state() == v1::PodSandboxState::SandboxReady;
        let wanted = known.get(uid).is_some_and(|state| {
            // Of a pod that lives, what is left of failed starts goes; the one under way shows as not ready, too.
            let own = state.sandbox.as_ref().is_some_and(|own| own.id == sandbox.id);
            own || ready || state.lifecycle.stage() == Stage::Sandboxing
        });
        if wanted {
            continue;
        }
        tracing::info!(uid, sandbox = sandbox.id, "removing a sandbox that belongs to no pod");
        context.runtime.stop_pod_sandbox(&sandbox.id).await?;
        context.runtime.remove_pod_sandbox(&sandbox.id).await?;
    }
    Ok(())
}

async fn directories(context: &Arc<Context>, pods: &Pods) {
    let root = context.paths.pods();
    let listed = process::spawn_blocking("orphans", move || list(&root)).await.unwrap_or_default();
    let known = pods.uids();
    for path in listed {
        let orphan = path.file_name().and_then(|name| name.to_str()).is_some_and(|uid| !known.contains(uid));
        if orphan {
            tracing::info!(path = %path.display(), "removing a directory that belongs to no pod");
            let removed = process::spawn_blocking("orphans", move || volumes::remove_pod(&path)).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(%error, "directory not removed");
            }
        }
    }
}

fn list(root: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Removes a pod's cgroup, which the runtime leaves empty, from every hierarchy. `name` is relative to the mounts.
pub(super) fn remove_groups(name: &str) {
    let mut mounts = kernel::cgroup::v1_mounts().unwrap_or_default();
    mounts.extend(kernel::cgroup::v2_mount().ok());
    for mount in mounts {
        // Only empty groups can be removed, so this never hurts a running process.
        let _ = fs::remove_dir(mount.join(name.trim_start_matches('/')));
    }
}
