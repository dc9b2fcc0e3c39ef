//! One action of one pod, carried out. Every action that promises an answer gives one, in bounded time or by repeating
//! until it works.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use client::DeleteParams;
use cri::v1;
use k8s_openapi::api::core::v1::{LifecycleHandler, Pod};
use pod::spec::{container, host_network, text};
use pod::{Action, Event, ImageFailure, Note, NoteKind, State, qos};

use super::create;
use super::worker::PodContext;
use crate::probes;
use crate::volumes::{self, Scope};

/// First and longest wait between attempts of what must succeed in the end.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(10);
/// How long preparing volumes may take, fetching from the API included.
const VOLUMES_LIMIT: Duration = Duration::from_secs(120);
/// How long a sandbox waits for the node's network before it fails and is tried again.
const NETWORK_WAIT: Duration = Duration::from_secs(20);
/// How long a final status may take to reach the API before the pod is deleted anyway.
const STATUS_WAIT: Duration = Duration::from_secs(10);
/// How long a postStart hook may run.
const POST_START_LIMIT: Duration = Duration::from_secs(600);
/// What a container gets to stop after its preStop hook used up the grace period.
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// A container that ends at once is noticed this soon after its start.
const SECOND_LOOK: Duration = Duration::from_millis(150);

/// Carries the action out and sends what came of it.
pub(super) async fn run(context: Arc<PodContext>, state: Arc<State>, action: Action) {
    let answer = match action {
        Action::PrepareVolumes => prepare_volumes(&context, &state).await,
        Action::TeardownVolumes => teardown(&context, &state).await,
        Action::RunSandbox { attempt } => run_sandbox(&context, &state, attempt).await,
        Action::StopSandbox { id } => {
            let runtime = &context.node.runtime;
            until_ok("stop sandbox", || runtime.stop_pod_sandbox(&id)).await;
            Event::SandboxStopped { id }
        }
        Action::RemoveSandbox { id } => {
            let runtime = &context.node.runtime;
            until_ok("stop sandbox", || runtime.stop_pod_sandbox(&id)).await;
            until_ok("remove sandbox", || runtime.remove_pod_sandbox(&id)).await;
            Event::SandboxRemoved { id }
        }
        Action::PullImage { container } => pull_image(&context, &state, container).await,
        Action::CreateContainer { container, attempt, sandbox, image_id } => {
            let wanted = create::Wanted { container: &container, attempt, sandbox: &sandbox, image_id: &image_id };
            match create::create(&context, &state, wanted).await {
                Ok(id) => Event::ContainerCreated { container, id },
                Err(error) => {
                    let (reason, message) = (error.reason(), error.to_string());
                    Event::ContainerCreateFailed { container, reason, message }
                }
            }
        }
        Action::StartContainer { container, id } => start_container(&context, container, id).await,
        Action::StopContainer { container, id, grace_seconds, pre_stop } => {
            match stop_container(&context, &state, &container, &id, grace_seconds, pre_stop).await {
                Some(event) => event,
                None => return,
            }
        }
        Action::RemoveContainer { id } => {
            let runtime = &context.node.runtime;
            until_ok("remove container", || runtime.remove_container(&id)).await;
            return;
        }
        Action::RunPostStart { container, id } => post_start(&context, &state, container, id).await,
        Action::DeleteFromApi => {
            delete_from_api(&context, &state.pod).await;
            Event::PodDeleted
        }
        Action::StartProbe { .. }
        | Action::StopProbe { .. }
        | Action::UpdateStatus(_)
        | Action::Emit(_)
        | Action::WakeAt(_) => return,
    };
    let _ = context.events.send(answer).await;
}

/// Writes volumes made from API objects again; trouble is an event on the pod, the old contents stay.
pub(super) async fn refresh_volumes(context: Arc<PodContext>, state: Arc<State>) {
    let ips = state.sandbox.as_ref().map(|s| s.ips.clone()).unwrap_or_default();
    // Held across the writes: two writers of one volume would remove each other's files.
    let mut tokens = context.tokens.lock().await;
    if let Err(error) = volumes::prepare(&context.node, &state.pod, &ips, &mut tokens, Scope::Refresh).await {
        tracing::debug!(%error, pod = pod::spec::full_name(&state.pod), "volumes not refreshed");
    }
}

async fn prepare_volumes(context: &PodContext, state: &State) -> Event {
    let mut tokens = context.tokens.lock().await;
    let work = volumes::prepare(&context.node, &state.pod, &[], &mut tokens, Scope::All);
    match tokio::time::timeout(VOLUMES_LIMIT, work).await {
        Ok(Ok(())) => Event::VolumesReady,
        Ok(Err(error)) => Event::VolumesFailed { message: error.to_string() },
        Err(_) => Event::VolumesFailed { message: "Unable to attach or mount volumes: timed out".to_owned() },
    }
}

async fn teardown(context: &PodContext, state: &State) -> Event {
    let uid = text(&state.pod.metadata.uid).to_owned();
    let directory = context.node.paths.pod(&uid);
    let _tokens = context.tokens.lock().await;
    until_ok("remove the pod's directory", || {
        let directory = directory.clone();
        let done = process::spawn_blocking("volumes", move || volumes::remove_pod(&directory));
        async move { done.await.map_err(std::io::Error::other).and_then(|result| result) }
    })
    .await;
    let logs = cri::convert::pod_log_directory(&context.node.paths.logs().display().to_string(), &state.pod);
    let _ = tokio::fs::remove_dir_all(logs).await;
    let group = cgroup_parent(context, &state.pod);
    let _ = process::spawn_blocking("cgroup", move || super::orphans::remove_groups(&group)).await;
    Event::VolumesGone
}

/// The pod's own cgroup, below its class's.
pub(super) fn cgroup_parent(context: &PodContext, pod: &Pod) -> String {
    let root = &context.node.cgroup_parent;
    let uid = text(&pod.metadata.uid);
    match qos::class(pod) {
        qos::Class::Guaranteed => format!("{root}/pod{uid}"),
        qos::Class::Burstable => format!("{root}/burstable/pod{uid}"),
        qos::Class::BestEffort => format!("{root}/besteffort/pod{uid}"),
    }
}

/// The sandbox's configuration; the same for the sandbox and for each container in it.
pub(super) fn sandbox_config(context: &PodContext, pod: &Pod, attempt: u32) -> v1::PodSandboxConfig {
    let options = cri::convert::SandboxOptions {
        attempt,
        log_root: context.node.paths.logs().display().to_string(),
        cgroup_parent: cgroup_parent(context, pod),
        dns: context.node.dns.clone(),
    };
    cri::convert::sandbox_config(pod, &options)
}

async fn run_sandbox(context: &PodContext, state: &State, attempt: u32) -> Event {
    let node = &context.node;
    if !host_network(&state.pod)
        && let Some(message) = wait_for_network(context).await
    {
        return Event::SandboxFailed { message: format!("the node's network is not ready: {message}") };
    }
    let config = sandbox_config(context, &state.pod, attempt);
    if let Err(error) = tokio::fs::create_dir_all(&config.log_directory).await {
        return Event::SandboxFailed { message: format!("create {}: {error}", config.log_directory) };
    }
    let _permit = node.starts.acquire().await;
    let id = match node.runtime.run_pod_sandbox(&config).await {
        Ok(id) => id,
        Err(error) => return Event::SandboxFailed { message: error.message() },
    };
    match node.runtime.pod_sandbox_status(&id).await {
        Ok(status) => Event::SandboxReady { id, ips: super::observe::addresses(node, &status) },
        Err(error) => {
            // Nobody would know of it: it must not stay.
            let _ = node.runtime.stop_pod_sandbox(&id).await;
            let _ = node.runtime.remove_pod_sandbox(&id).await;
            Event::SandboxFailed { message: error.message() }
        }
    }
}

async fn wait_for_network(context: &PodContext) -> Option<String> {
    let poll = async {
        while context.node.network_error().is_some() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    match tokio::time::timeout(NETWORK_WAIT, poll).await {
        Ok(()) => None,
        Err(_) => context.node.network_error(),
    }
}

async fn pull_image(context: &PodContext, state: &State, name: String) -> Event {
    let Some(wanted) = container(&state.pod, &name) else {
        let message = "the container is no longer part of the pod".to_owned();
        return Event::ImageFailed { container: name, failure: ImageFailure::InvalidName, message };
    };
    let image = text(&wanted.image);
    let fail = |failure, message| Event::ImageFailed { container: name.clone(), failure, message };
    if image.trim() != image || image.is_empty() {
        let message = format!("Failed to apply default image tag \"{image}\": couldn't parse image name");
        return fail(ImageFailure::InvalidName, message);
    }
    let runtime = &context.node.runtime;
    let present = match runtime.image_status(image).await {
        Ok(present) => present,
        Err(error) => return fail(ImageFailure::Pull, error.message()),
    };
    let policy = wanted.image_pull_policy.as_deref().unwrap_or_else(|| default_policy(image));
    match (present, policy) {
        (Some(found), "IfNotPresent" | "Never") => {
            let message = format!("Container image \"{image}\" already present on machine");
            return Event::ImagePulled { container: name, image_id: found.id, message };
        }
        (None, "Never") => {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            return fail(ImageFailure::NeverPull, message);
        }
        (_, _) => {}
    }
    let note = Note {
        kind: NoteKind::Normal,
        reason: "Pulling".into(),
        message: format!("Pulling image \"{image}\""),
        field_path: pod::spec::field_path(&state.pod, &name),
    };
    context.node.notes.pod(&state.pod, note);
    let _permit = context.node.pulls.acquire().await;
    let begun = process::instant();
    let sandbox = sandbox_config(context, &state.pod, 0);
    if let Err(error) = runtime.pull_image(image, None, Some(&sandbox)).await {
        return fail(ImageFailure::Pull, error.message());
    }
    match runtime.image_status(image).await {
        Ok(Some(found)) => {
            let took = begun.elapsed().as_millis();
            let message =
                format!("Successfully pulled image \"{image}\" in {took}ms. Image size: {} bytes.", found.size);
            Event::ImagePulled { container: name, image_id: found.id, message }
        }
        Ok(None) => fail(ImageFailure::Pull, format!("image \"{image}\" is gone right after it was pulled")),
        Err(error) => fail(ImageFailure::Pull, error.message()),
    }
}

/// As the API server defaults it.
fn default_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    let latest = !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if latest { "Always" } else { "IfNotPresent" }
}

async fn start_container(context: &PodContext, container: String, id: String) -> Event {
    let node = &context.node;
    let _permit = node.starts.acquire().await;
    match node.runtime.start_container(&id).await {
        Ok(()) => {
            let status = node.runtime.container_status(&id).await.ok();
            let at = status.and_then(|s| super::observe::time(s.started_at)).unwrap_or_else(process::now);
            let again = context.node.clone();
            process::spawn("second look", async move {
                tokio::time::sleep(SECOND_LOOK).await;
                again.look.notify_one();
            });
            Event::ContainerStarted { container, id, at }
        }
        Err(error) => Event::ContainerStartFailed { container, id, message: error.message() },
    }
}

/// The end itself is seen by looking at the runtime, so success needs no answer.
async fn stop_container(
    context: &PodContext,
    state: &State,
    name: &str,
    id: &str,
    grace_seconds: u32,
    pre_stop: bool,
) -> Option<Event> {
    let mut grace = Duration::from_secs(u64::from(grace_seconds));
    let hook = container(&state.pod, name).and_then(|c| c.lifecycle.as_ref()).and_then(|l| l.pre_stop.as_ref());
    if let Some(hook) = hook.filter(|_| pre_stop) {
        let begun = process::instant();
        let failure = run_hook(context, state, name, id, hook, grace).await.err();
        grace = grace.saturating_sub(begun.elapsed()).max(LEAST_GRACE);
        if let Some(message) = failure {
            let (container, id) = (name.to_owned(), id.to_owned());
            let _ = context.events.send(Event::PreStopFailed { container, id, message }).await;
        }
    }
    let stopped = context.node.runtime.stop_container(id, grace).await;
    context.node.look.notify_one();
    match stopped {
        Ok(()) => None,
        Err(error) if error.is_not_found() => None,
        Err(error) => {
            let (container, id) = (name.to_owned(), id.to_owned());
            Some(Event::ContainerStopFailed { container, id, message: error.message() })
        }
    }
}

async fn post_start(context: &PodContext, state: &State, name: String, id: String) -> Event {
    let hook = container(&state.pod, &name).and_then(|c| c.lifecycle.as_ref()).and_then(|l| l.post_start.as_ref());
    let failure = match hook {
        Some(hook) => run_hook(context, state, &name, &id, hook, POST_START_LIMIT).await.err(),
        None => None,
    };
    Event::PostStartDone { container: name, id, failure }
}

async fn run_hook(
    context: &PodContext,
    state: &State,
    name: &str,
    id: &str,
    hook: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    let target = probes::Target { state: Arc::new(state.clone()), container: name.to_owned(), id: id.to_owned() };
    probes::hook(&context.node, &target, hook, limit).await
}

async fn delete_from_api(context: &PodContext, pod: &Pod) {
    context.statuses.flushed(STATUS_WAIT).await;
    let meta = &pod.metadata;
    let (namespace, name) = (text(&meta.namespace), text(&meta.name));
    let params = DeleteParams::now().uid(text(&meta.uid));
    until_ok("delete pod", || async {
        match context.node.client.delete::<Pod>(namespace, name, &params).await {
            Ok(()) => Ok(()),
            // Gone already, or another pod has the name by now.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    })
    .await;
}

/// Repeats with growing waits until it works.
async fn until_ok<E: std::fmt::Display, F: Future<Output = Result<(), E>>>(what: &str, mut attempt: impl FnMut() -> F) {
    let mut wait = RETRY_FIRST;
    while let Err(error) = attempt().await {
        tracing::warn!(%error, what, "trying again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_LAST);
    }
}
