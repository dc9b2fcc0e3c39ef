//! Logs do not grow without bound: a log that is too large is set aside and the runtime opens a new one; of those set
//! aside the newest few stay. Logs of pods that are gone are removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Pods;
use crate::context::Context;

const PERIOD: Duration = Duration::from_secs(10);
/// A log larger than this is set aside, as `<attempt>.log.<stamp>`.
const MAX_BYTES: u64 = 10 << 20;
/// Logs set aside that stay, beside the current one.
const KEPT: usize = 4;

/// Looks at all logs periodically until `shutdown`.
pub(super) async fn run(context: Arc<Context>, pods: Arc<Pods>, shutdown: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = period.tick() => {}
        }
        for (id, log) in running(&context, &pods) {
            let rotated = process::spawn_blocking("logs", move || rotate(&log)).await;
            match rotated {
                Ok(Ok(true)) => {
                    if let Err(error) = context.runtime.reopen_container_log(&id).await {
                        tracing::warn!(%error, id, "the runtime does not open a new log");
                    }
                }
                Ok(Err(error)) => tracing::debug!(%error, id, "log not rotated"),
                Ok(Ok(false)) | Err(_) => {}
            }
        }
        let root = context.paths.logs();
        let listed = process::spawn_blocking("logs", move || list(&root)).await.unwrap_or_default();
        // After the list: a pod that started since is known by now.
        let known = pods.uids();
        let _ = process::spawn_blocking("logs", move || remove_orphans(listed, &known)).await;
    }
}

/// Running containers with their current logs.
fn running(context: &Context, pods: &Pods) -> Vec<(String, PathBuf)> {
    let root = context.paths.logs().display().to_string();
    let mut out = Vec::new();
    for state in pods.states().into_values() {
        for container in &state.containers {
            if let Some(id) = container.life.live_id() {
                let attempt = container.instances.saturating_sub(1);
                let path = cri::convert::log_path(&root, &state.pod, &container.name, attempt);
                out.push((id.to_owned(), path.into()));
            }
        }
    }
    out
}

/// Sets the log aside if it is too large; whether it did.
fn rotate(log: &Path) -> io::Result<bool> {
    if fs::metadata(log).map_or(0, |meta| meta.len()) <= MAX_BYTES {
        return Ok(false);
    }
    let name = log.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stamp = process::now().strftime("%Y%m%d-%H%M%S");
    fs::rename(log, log.with_file_name(format!("{name}.{stamp}")))?;
    let prefix = format!("{name}.");
    let mut aside: Vec<PathBuf> = fs::read_dir(log.parent().unwrap_or(Path::new(".")))?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect();
    aside.sort();
    for old in aside.iter().rev().skip(KEPT) {
        fs::remove_file(old)?;
    }
    Ok(true)
}

fn list(root: &Path) -> Vec<PathBuf> {
    fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Removes `<namespace>_<name>_<uid>` of uids that are not known.
fn remove_orphans(listed: Vec<PathBuf>, known: &BTreeSet<String>) {
    for path in listed {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let uid = name.rsplit('_').next();
        if uid.is_some_and(|uid| !uid.is_empty() && !known.contains(uid)) {
            let _ = fs::remove_dir_all(path);
        }
    }
}
