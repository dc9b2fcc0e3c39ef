//! From a changed endpoint in the API to the first packet at the new backend: the whole way through API server, store,
//! watch, fabric, node and maps, in a cluster of one node with many Services.
//!
//! A connected UDP socket in the node's namespace sends to a ClusterIP all the time. Its EndpointSlice is changed from one
//! backend to the other, again and again. Both backends run on, so a late change shows as late, not as an error.
//!
//! Tasks: `bench-client`s load the Services. Threads: one a backend, one that sends; all end with the run.

mod cluster;
mod probe;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::{Connection, Target, load};
use cluster::Cluster;
use probe::{Backend, Sender};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
/// The Service under test, and its port.
const PROBE: &str = "probe";
const PORT: u16 = 80;
/// The backends' ports.
const BACKENDS: [u16; 2] = [7001, 7002];
/// Connections that load the Services.
const CLIENTS: usize = 32;
/// Pause before a change, and how much longer it may be: changes must not fall in step with anything.
const PAUSE: Duration = Duration::from_millis(20);
const JITTER_MS: u64 = 17;
/// How long a change, or the first answer, may take at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// A change that the node has not seen after so long fell short of every goal.
const LATE: Duration = Duration::from_secs(5);

/// How much to do.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Services in the cluster besides the one under test, of two endpoints each.
    pub services: usize,
    /// Changes.
    pub turns: usize,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Times {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub kernel: String,
    pub services: usize,
    pub turns: usize,
    /// Seconds to create all Services and EndpointSlices through the API.
    pub load_s: f64,
    /// From sending the write until the API has answered.
    pub write: Times,
    /// From sending the write until the first datagram arrives at the new backend.
    pub first_packet: Times,
    /// The longest time between two answers around a change: what a client notices.
    pub silence: Times,
    pub sent: u64,
    pub answered: u64,
}

/// Makes a cluster with this binary, measures, and takes it away.
///
/// # Errors
/// When it does not come up, refuses a write, or a change never arrives.
pub async fn run(gannet: &Path, sizes: Sizes) -> anyhow::Result<Report> {
    let cluster = Cluster::create(gannet)?;
    let target = Target::from_kubeconfig(&cluster.kubeconfig()?, None)?;
    let loading = process::instant();
    load_services(&target, sizes.services).await?;
    let load_s = loading.elapsed().as_secs_f64();

    let backends = BACKENDS.map(|port| Backend::start(cluster.outside(), port));
    let [first, second] = backends;
    let (first, second) = (first?, second?);
    let mut api = Connection::open(&target).await?;
    let service = post(&mut api, SERVICES, &service(PROBE, "UDP")).await?;
    let vip: std::net::IpAddr = service["spec"]["clusterIP"].as_str().context("the Service got no address")?.parse()?;
    let address = cluster.outside().to_string();
    post(&mut api, SLICES, &slice(PROBE, &[address], BACKENDS[0], "UDP")).await?;
    let sender = Sender::start(&cluster.netns(), (vip, PORT).into())?;
    sender.wait_for(BACKENDS[0], PATIENCE).context("the Service under test never answered")?;

    let (mut write, mut first_packet, mut silence) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..sizes.turns {
        let jitter = (turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        tokio::time::sleep(PAUSE + Duration::from_millis(jitter % JITTER_MS)).await;
        let (port, backend) = if turn % 2 == 0 { (BACKENDS[1], &second) } else { (BACKENDS[0], &first) };
        backend.forget();
        sender.begin();
        let begin = process::instant();
        let body = serde_json::to_vec(&slice(PROBE, &[cluster.outside().to_string()], port, "UDP"))?;
        api.must(&Method::PUT, &format!("{SLICES}/{PROBE}"), &body).await?;
        write.push(begin.elapsed());
        let arrived = wait_for(backend, LATE).await;
        let Some(arrived) = arrived else { bail!("change {turn} did not reach the node in {LATE:?}") };
        first_packet.push(arrived.saturating_duration_since(begin));
        sender.wait_for(port, LATE)?;
        silence.push(sender.longest_silence());
    }
    let (sent, answered) = sender.stop();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let Sizes { services, turns } = sizes;
    Ok(Report {
        kernel,
        services,
        turns,
        load_s,
        write: times(write),
        first_packet: times(first_packet),
        silence: times(silence),
        sent,
        answered,
    })
}

/// As a table.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut text = format!(
        "kernel {}\n\n{} Services made in {:.1} s; {} changes; {} datagrams sent, {} answered\n\n\
         | ms | p50 | p90 | p99 | max |\n|---|---|---|---|---|\n",
        report.kernel, report.services, report.load_s, report.turns, report.sent, report.answered
    );
    for (name, times) in [
        ("API write answered", &report.write),
        ("first packet at the new backend", &report.first_packet),
        ("longest silence for the client", &report.silence),
    ] {
        let Times { p50_ms, p90_ms, p99_ms, max_ms } = times;
        text += &format!("| {name} | {p50_ms:.2} | {p90_ms:.2} | {p99_ms:.2} | {max_ms:.2} |\n");
    }
    text
}

/// When the first datagram came since the backend was told to forget.
async fn wait_for(backend: &Backend, at_most: Duration) -> Option<Instant> {
    let begin = process::instant();
    loop {
        if let Some(at) = backend.first() {
            return Some(at);
        }
        if begin.elapsed() > at_most {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Creates the Services that nobody calls, each with an EndpointSlice of two addresses.
async fn load_services(target: &Target, count: usize) -> anyhow::Result<()> {
    let each = count.div_ceil(CLIENTS);
    let next = move |client: usize, request: usize, _: &Bytes| {
        let number = client * each + request / 2;
        let name = format!("s{number}");
        let [_, high, middle, low] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        let (path, body) = if request % 2 == 0 {
            (SERVICES, service(&name, "TCP"))
        } else {
            let addresses = [20, 30].map(|base| format!("10.{}.{middle}.{low}", base + high));
            (SLICES, slice(&name, &addresses, 8080, "TCP"))
        };
        load::Call { method: Method::POST, path: path.to_owned(), body: body.to_string().into() }
    };
    let outcome = load::run(target, CLIENTS, load::Extent::Requests(2 * each), Arc::new(next)).await?;
    match outcome.first_error {
        Some(e) => bail!("{} of {} writes failed, the first: {e}", outcome.errors, outcome.requests),
        None => Ok(()),
    }
}

async fn post(api: &mut Connection, path: &str, body: &Value) -> anyhow::Result<Value> {
    let answer = api.must(&Method::POST, path, &serde_json::to_vec(body)?).await?;
    Ok(serde_json::from_slice(&answer)?)
}

fn service(name: &str, protocol: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "p", "port": PORT, "protocol": protocol}]},
    })
}

fn slice(name: &str, addresses: &[String], port: u16, protocol: &str) -> Value {
    let endpoints: Vec<Value> =
        addresses.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "endpoints": endpoints, "ports": [{"name": "p", "port": port, "protocol": protocol}],
    })
}

fn times(mut all: Vec<Duration>) -> Times {
    all.sort_unstable();
    let at = |share: usize| {
        let index = (all.len() * share / 100).min(all.len().saturating_sub(1));
        all.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    Times { p50_ms: at(50), p90_ms: at(90), p99_ms: at(99), max_ms: at(100) }
}
