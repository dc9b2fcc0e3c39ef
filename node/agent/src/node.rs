//! The Node object: registered at the start, its status kept current, its pod ranges handed to the network.

mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{ListParams, Patch, Watched};
use futures::StreamExt;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

pub(crate) use status::API_PORT;

/// How often the status is computed anew.
const STATUS_PERIOD: Duration = Duration::from_secs(10);
/// While the node is not ready it is looked at more often, so that a cluster stands soon.
const UNREADY_PERIOD: Duration = Duration::from_millis(500);
/// A status without news is written again after this.
const HEARTBEAT_SECONDS: i64 = 300;
const RETRY: Duration = Duration::from_secs(1);
/// Keeps pods away until the node is ready.
/// Annotation by which other nodes know how this one's pods are reached.
const ROUTING: &str = "gannet.io/routing";
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// The task `node`: registers, then keeps the status current until `shutdown`.
pub(crate) async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let mut registered = false;
    let mut written = None;
    loop {
        let wait = match once(&context, &mut registered, &mut written).await {
            Ok(Readiness::Ready) => STATUS_PERIOD,
            Ok(Readiness::NotReady) => UNREADY_PERIOD,
            Err(error) => {
                tracing::debug!(%error, "node not written");
                RETRY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

enum Readiness {
    Ready,
    NotReady,
}

/// The status last written, and when.
type Written = Option<(NodeStatus, jiff::Timestamp)>;

async fn once(context: &Context, registered: &mut bool, written: &mut Written) -> Result<Readiness, client::Error> {
    if !*registered {
        register(context).await?;
        *registered = true;
        tracing::info!(node = context.config.node_name, "registered");
    }
    let now = process::now();
    let observed = status::observe(context).await;
    let due = |at: &jiff::Timestamp| now.duration_since(*at).as_secs() >= HEARTBEAT_SECONDS;
    let fresh = match written {
        Some((old, at)) if !due(at) => {
            let same = status::same(old, &status::compute(context, &observed, old, now));
            if same {
                return Ok(readiness(&observed));
            }
            true
        }
        Some(_) | None => true,
    };
    if fresh {
        match write(context, &observed, now).await {
            Ok(status) => *written = Some((status, now)),
            Err(error) => {
                // Somebody deleted the node: register again.
                *registered = !error.is_not_found();
                return Err(error);
            }
        }
    }
    Ok(readiness(&observed))
}

fn readiness(observed: &status::Observed) -> Readiness {
    if observed.trouble.is_none() { Readiness::Ready } else { Readiness::NotReady }
}

async fn write(
    context: &Context,
    observed: &status::Observed,
    now: jiff::Timestamp,
) -> Result<NodeStatus, client::Error> {
    let name = &context.config.node_name;
    let mut node: Node = context.client.get("", name).await?;
    let old = node.status.take().unwrap_or_default();
    let new = status::compute(context, observed, &old, now);
    node.status = Some(new.clone());
    context.client.update_status(&node).await?;
    Ok(new)
}

async fn register(context: &Context) -> Result<(), client::Error> {
    let name = &context.config.node_name;
    let labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", status::architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", status::architecture()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let routing = if context.config.native { "native" } else { "vxlan" };
    let taint = Taint { key: NOT_READY.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    let node = Node {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels.clone()),
            annotations: Some([(ROUTING.to_owned(), routing.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec { taints: Some(vec![taint]), ..NodeSpec::default() }),
        status: None,
    };
    match context.client.create(&node).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_already_exists() => {
            let patch = Patch::Merge(json!({"metadata": {"labels": labels, "annotations": {ROUTING: routing}}}));
            context.client.patch::<Node>("", name, None, patch).await.map(drop)
        }
        Err(error) => Err(error),
    }
}

/// The task `pod range`: tells the network and the runtime the pod ranges that the control plane gives the node.
pub(crate) async fn follow_pod_range(context: Arc<Context>, shutdown: CancellationToken) {
    let selector = ListParams::fields(format!("metadata.name={}", context.config.node_name));
    let mut stream = context.client.watch::<Node>("", &selector);
    let mut known: Vec<IpNet> = Vec::new();
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = stream.next() => event,
        };
        let node = match event {
            Some(Watched::Restarted(nodes, _)) => nodes.into_iter().next(),
            Some(Watched::Applied(node)) => Some(node),
            Some(Watched::Deleted(_) | Watched::Bookmark(_)) => None,
            None => return,
        };
        let ranges = node.and_then(|node| node.spec).map(|spec| pod_ranges(&spec)).unwrap_or_default();
        if !ranges.is_empty() && known != ranges {
            known.clone_from(&ranges);
            hand_out(&context, ranges, &shutdown).await;
        }
    }
}

/// `podCIDRs`, or the older `podCIDR`.
fn pod_ranges(spec: &NodeSpec) -> Vec<IpNet> {
    let listed = spec.pod_cidrs.as_deref().filter(|listed| !listed.is_empty());
    let texts = listed.unwrap_or_else(|| spec.pod_cidr.as_slice());
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

async fn hand_out(context: &Context, ranges: Vec<IpNet>, shutdown: &CancellationToken) {
    let shown = ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    loop {
        let set = match context.network.get() {
            Some(network) => network.set_pod_cidrs(ranges.clone()).await.map_err(|error| error.to_string()),
            None => Err("the network is starting".to_owned()),
        };
        match set {
            Ok(()) => break,
            Err(error) => tracing::debug!(error, shown, "pod ranges not set yet"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    tracing::info!(ranges = shown, "pod ranges");
    if let Err(error) = context.runtime.update_runtime_config(&shown).await {
        tracing::debug!(%error, "the runtime was not told the pod range");
    }
}
