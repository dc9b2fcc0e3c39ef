//! Looking at the runtime: once at the start for what there is to adopt, then periodically for what has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cri::convert::labels;
use cri::v1;
use jiff::Timestamp;
use pod::lifecycle::Stage;
use pod::{Event, Exit, Observed, ObservedContainer, ObservedSandbox, Phase, State};
use tokio_util::sync::CancellationToken;

use super::{Handle, Pods};
use crate::context::Context;

/// Time between two looks when nothing calls for an earlier one.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// Bytes of a termination message; the rest is cut.
const MESSAGE_LIMIT: usize = 4096;
/// Bytes of the log's end that stand in for a missing message.
const LOG_TAIL_LIMIT: usize = 2048;

/// Everything of pods that the runtime has, by pod uid.
pub(super) async fn all(context: &Context) -> Result<BTreeMap<String, Observed>, cri::Error> {
    let mut out: BTreeMap<String, Observed> = BTreeMap::new();
    let mut sandboxes = context.runtime.list_pod_sandboxes(v1::PodSandboxFilter::default()).await?;
    sandboxes.sort_by_key(|s| std::cmp::Reverse((s.state() == v1::PodSandboxState::SandboxReady, s.created_at)));
    for sandbox in sandboxes {
        let Some(uid) = sandbox.labels.get(labels::POD_UID).cloned() else { continue };
        let ready = sandbox.state() == v1::PodSandboxState::SandboxReady;
        let status = context.runtime.pod_sandbox_status(&sandbox.id).await;
        out.entry(uid).or_default().sandboxes.push(ObservedSandbox {
            ips: status.map(|s| addresses(context, &s)).unwrap_or_default(),
            attempt: sandbox.metadata.as_ref().map_or(0, |m| m.attempt),
            id: sandbox.id,
            ready,
        });
    }
    for container in context.runtime.list_containers(v1::ContainerFilter::default()).await? {
        let uid = container.labels.get(labels::POD_UID).cloned();
        let name = container.labels.get(labels::CONTAINER_NAME).cloned();
        let (Some(uid), Some(name)) = (uid, name) else { continue };
        let status = context.runtime.container_status(&container.id).await?;
        let phase = match status.state() {
            v1::ContainerState::ContainerCreated => Phase::Created,
            v1::ContainerState::ContainerRunning => {
                Phase::Running { started_at: time(status.started_at).unwrap_or_else(process::now) }
            }
            v1::ContainerState::ContainerExited | v1::ContainerState::ContainerUnknown => {
                Phase::Exited(exit(context, &status).await)
            }
        };
        out.entry(uid).or_default().containers.push(ObservedContainer {
            id: container.id,
            sandbox: container.pod_sandbox_id,
            name,
            attempt: container.metadata.as_ref().map_or(0, |m| m.attempt),
            image_id: container.image_ref,
            phase,
        });
    }
    Ok(out)
}

/// Tells workers of containers and sandboxes that ended, until `shutdown`.
pub(super) async fn run(context: Arc<Context>, pods: Arc<Pods>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = context.look.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
        // The states first: what they say to be alive must be in the lists that follow.
        let handles = pods.handles();
        if handles.is_empty() {
            continue;
        }
        if let Err(error) = look(&context, handles).await {
            tracing::debug!(%error, "the runtime does not answer");
        }
    }
}

async fn look(context: &Context, handles: Vec<Handle>) -> Result<(), cri::Error> {
    let states: Vec<(Handle, Arc<State>)> =
        handles.into_iter().map(|h| (h.clone(), h.state.borrow().clone())).collect();
    let containers = context.runtime.list_containers(v1::ContainerFilter::default()).await?;
    let sandboxes = context.runtime.list_pod_sandboxes(v1::PodSandboxFilter::default()).await?;
    let states_of: BTreeMap<&str, v1::ContainerState> = containers.iter().map(|c| (c.id.as_str(), c.state())).collect();
    let ready: BTreeSet<&str> =
        sandboxes.iter().filter(|s| s.state() == v1::PodSandboxState::SandboxReady).map(|s| s.id.as_str()).collect();
    for (handle, state) in states {
        for container in &state.containers {
            let Some(id) = container.life.live_id() else { continue };
            let name = container.name.clone();
            let event = match states_of.get(id) {
                None => Event::ContainerLost { container: name, id: id.to_owned() },
                Some(v1::ContainerState::ContainerExited | v1::ContainerState::ContainerUnknown) => {
                    let Ok(status) = context.runtime.container_status(id).await else { continue };
                    Event::ContainerExited { container: name, id: id.to_owned(), exit: exit(context, &status).await }
                }
                Some(v1::ContainerState::ContainerCreated | v1::ContainerState::ContainerRunning) => continue,
            };
            let _ = handle.events.send(event).await;
        }
        if let Some(sandbox) = state.sandbox.as_ref().filter(|_| state.lifecycle.stage() == Stage::Running)
            && !ready.contains(sandbox.id.as_str())
        {
            let _ = handle.events.send(Event::SandboxLost { id: sandbox.id.clone() }).await;
        }
    }
    Ok(())
}

/// Addresses of a sandbox, the first is `podIP`: of the node's first family, whichever the runtime prefers.
pub(super) fn addresses(context: &Context, status: &v1::PodSandboxStatus) -> Vec<IpAddr> {
    let Some(network) = &status.network else { return Vec::new() };
    let all = std::iter::once(&network.ip).chain(network.additional_ips.iter().map(|other| &other.ip));
    context.config.sorted(all.filter_map(|ip| ip.parse().ok()).collect())
}

/// The runtime's nanoseconds as a time; 0 is none.
pub(super) fn time(nanoseconds: i64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).ok().filter(|_| nanoseconds > 0)
}

async fn exit(context: &Context, status: &v1::ContainerStatus) -> Exit {
    let reason = match (status.reason.as_str(), status.exit_code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    };
    let message = match termination_message(context, status).await {
        Some(message) => Some(message),
        None => Some(status.message.clone()).filter(|m| !m.is_empty()),
    };
    Exit {
        code: status.exit_code,
        signal: None,
        reason: reason.to_owned(),
        message,
        started_at: time(status.started_at),
        finished_at: time(status.finished_at).unwrap_or_else(process::now),
    }
}

/// What the container left at its termination message path, or the end of its log if it says so and failed.
async fn termination_message(context: &Context, status: &v1::ContainerStatus) -> Option<String> {
    let uid = status.labels.get(labels::POD_UID)?;
    let name = status.labels.get(labels::CONTAINER_NAME)?;
    let attempt = status.metadata.as_ref().map_or(0, |m| m.attempt);
    let path = context.paths.messages(uid, name).join(attempt.to_string());
    let words = read_end(&path, MESSAGE_LIMIT).await.filter(|text| !text.is_empty());
    let fallback = status.annotations.get(labels::TERMINATION_MESSAGE_POLICY).map(String::as_str);
    if words.is_some() || status.exit_code == 0 || fallback != Some("FallbackToLogsOnError") {
        return words;
    }
    let log = read_end(Path::new(&status.log_path), LOG_TAIL_LIMIT).await?;
    // `<time> <stream> <P|F> <text>`: the text alone.
    let lines = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
    Some(lines.collect::<Vec<_>>().join("\n")).filter(|text| !text.is_empty())
}

async fn read_end(path: &Path, limit: usize) -> Option<String> {
    let bytes = tokio::fs::read(path).await.ok()?;
    let end = &bytes[bytes.len().saturating_sub(limit)..];
    Some(String::from_utf8_lossy(end).into_owned())
}
