//! What is measured, in order, on one server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use serde::Serialize;
use serde_json::json;

use super::connection::Connection;
use super::fanout::{self, FanOut};
use super::load::{self, Call, Extent, Next, Outcome};
use super::server::Server;
use super::target::Target;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Seconds a load.
    pub load: Duration,
    /// Clients of the creates.
    pub clients: Vec<usize>,
    /// Pods in the store for lists and the restart.
    pub pods: usize,
    /// Pods of one namespace.
    pub pods_in_namespace: usize,
    /// Clients that list all pods at once.
    pub listers: usize,
    pub watchers: usize,
    pub updates: usize,
    /// Pause before memory at rest is read.
    pub rest: Duration,
}

impl Sizes {
    /// The issue's figures.
    #[must_use]
    pub fn full() -> Sizes {
        Sizes {
            load: Duration::from_secs(5),
            clients: vec![1, 50, 200, 1000],
            pods: 100_000,
            pods_in_namespace: 10_000,
            listers: 64,
            watchers: 1000,
            updates: 1000,
            rest: Duration::from_secs(3),
        }
    }

    /// Enough to see that everything works.
    #[must_use]
    pub fn smoke() -> Sizes {
        Sizes {
            load: Duration::from_millis(500),
            clients: vec![1, 50],
            pods: 1000,
            pods_in_namespace: 500,
            listers: 8,
            watchers: 50,
            updates: 100,
            rest: Duration::from_millis(200),
        }
    }
}

/// One named load.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub what: &'static str,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A list.
#[derive(Debug, Clone, Serialize)]
pub struct List {
    pub what: &'static str,
    pub clients: usize,
    pub lists: usize,
    pub bytes_each: u64,
    pub seconds: f64,
    pub bytes_per_second: f64,
    /// Memory that the server took beyond what it had before, at its highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_resident_bytes: Option<u64>,
}

/// Times and memory of a server that the measurement started itself.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Life {
    pub start_to_ready_ms: f64,
    pub idle_resident_bytes: u64,
    pub restart_after_kill_ms: Option<f64>,
    pub stored_objects: usize,
    pub stored_json_bytes: u64,
    pub loaded_resident_bytes: u64,
}

/// Everything.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life: Option<Life>,
    pub loads: Vec<Row>,
    pub lists: Vec<List>,
    pub fan_out: Vec<FanOut>,
}

/// Which cases run; empty: all.
#[derive(Debug, Clone, Default)]
pub struct Only(pub Vec<String>);

impl Only {
    fn has(&self, case: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|name| name == case)
    }
}

/// Progress, on standard error: a measurement takes minutes.
fn say(text: std::fmt::Arguments<'_>) {
    eprintln!("bench api: {text}");
}

/// Measures a server that is ours to start and kill.
///
/// # Errors
/// When it cannot be started or refuses what a case needs.
pub async fn all(server: &mut Server, sizes: &Sizes, only: &Only) -> anyhow::Result<Figures> {
    let (target, ready) = server.start().await?;
    let mut life = Life { start_to_ready_ms: millis(ready), ..Life::default() };
    tokio::time::sleep(sizes.rest).await;
    life.idle_resident_bytes = server.resident_bytes();
    say(format_args!("ready in {:.0} ms, {} MiB idle", life.start_to_ready_ms, life.idle_resident_bytes >> 20));
    let mut figures = on(&target, sizes, only).await?;
    if only.has("list") || only.has("restart") {
        let bytes = fill(&target, sizes).await?;
        (life.stored_objects, life.stored_json_bytes) = (sizes.pods, bytes);
        tokio::time::sleep(sizes.rest).await;
        life.loaded_resident_bytes = server.resident_bytes();
        say(format_args!("{} pods, {} MiB resident", sizes.pods, life.loaded_resident_bytes >> 20));
    }
    if only.has("list") {
        let (list, storm) = lists(&target, sizes, Some(server)).await?;
        figures.lists.extend([list, storm]);
    }
    if only.has("restart") {
        server.kill();
        let (target, again) = server.start().await?;
        let last = format!("/api/v1/namespaces/bench-0/pods/p{}", sizes.pods_in_namespace.min(sizes.pods) - 1);
        Connection::open(&target).await?.must(&Method::GET, &last, &[]).await.context("lost in the crash")?;
        life.restart_after_kill_ms = Some(millis(again));
        say(format_args!("restart after kill -9: {:.0} ms", millis(again)));
    }
    figures.life = Some(life);
    Ok(figures)
}

/// Measures any server: what needs no hold of its process.
///
/// # Errors
/// When it refuses what a case needs.
pub async fn foreign(target: &Target, sizes: &Sizes, only: &Only) -> anyhow::Result<Figures> {
    let mut figures = on(target, sizes, only).await?;
    if only.has("list") {
        fill(target, sizes).await?;
        let (list, storm) = lists(target, sizes, None).await?;
        figures.lists.extend([list, storm]);
    }
    Ok(figures)
}

async fn on(target: &Target, sizes: &Sizes, only: &Only) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    namespace(target, "bench").await?;
    let loads: [(&'static str, Vec<usize>, Arc<Next>); 3] = [
        ("create", sizes.clients.clone(), Arc::new(create)),
        ("lease", vec![200], Arc::new(renew)),
        ("get", vec![50], Arc::new(get)),
    ];
    for (what, clients, next) in loads {
        if !only.has(what) {
            continue;
        }
        if what == "get" {
            get_target(target).await?;
        }
        for clients in clients {
            let unique = process::seed();
            let next = next.clone();
            let next: Arc<Next> = Arc::new(move |client, count, last| {
                next(client + usize::try_from(unique % 1_000_000).unwrap_or(0) * 10_000, count, last)
            });
            let outcome = load::run(target, clients, Extent::For(sizes.load), next).await?;
            say(format_args!(
                "{what}, {clients} clients: {:.0}/s, p50 {} us, p99 {} us, {} errors {}",
                outcome.per_second,
                outcome.p50_us,
                outcome.p99_us,
                outcome.errors,
                outcome.first_error.as_deref().unwrap_or_default(),
            ));
            figures.loads.push(Row { what, outcome });
        }
    }
    if only.has("watch") {
        // The second pace is a little over the goal of 500,000 deliveries a second: the last one's lag counts in its time.
        for paced in [None, Some((sizes.updates * 52 / 100).max(50)), Some((sizes.updates / 10).max(50))] {
            let fan_out = fanout::run(target, "bench", sizes.watchers, sizes.updates, paced).await?;
            say(format_args!(
                "watch, {} watchers x {} updates{}: {:.0} deliveries/s, lag p50 {} us p99 {} us, {} wrong",
                fan_out.watchers,
                fan_out.updates,
                paced.map_or(String::new(), |paced| format!(" at {paced}/s")),
                fan_out.deliveries_per_second,
                fan_out.lag_p50_us,
                fan_out.lag_p99_us,
                fan_out.wrong,
            ));
            figures.fan_out.push(fan_out);
        }
    }
    Ok(figures)
}

/// A ConfigMap of 1 KiB. Requests are texts that are filled in: the driver's time is the server's.
fn create(client: usize, count: usize, _: &Bytes) -> Call {
    let name = format!("c{client}-{count}");
    let body = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"value":"{:x<900}"}}}}"#,
        ""
    );
    Call { method: Method::POST, path: "/api/v1/namespaces/bench/configmaps".to_owned(), body: body.into() }
}

/// A Lease of the client's own: made once, then renewed with the resourceVersion of the last answer.
fn renew(client: usize, count: usize, last: &Bytes) -> Call {
    let collection = "/apis/coordination.k8s.io/v1/namespaces/bench/leases";
    let name = format!("l{client}");
    let mark = b"\"resourceVersion\":\"";
    let version = memchr::memmem::find(last, mark).and_then(|at| {
        let rest = &last[at + mark.len()..];
        std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
    });
    let pinned = version.map_or(String::new(), |version| format!(r#","resourceVersion":"{version}""#));
    let (hours, minutes, seconds, micros) = (count / 3600 % 24, count / 60 % 60, count % 60, count % 1_000_000);
    let body = format!(
        r#"{{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{{"name":"{name}"{pinned}}},"spec":{{"#
    ) + &format!(
        r#""holderIdentity":"{name}","leaseDurationSeconds":40,"renewTime":"2026-01-01T{hours:02}:{minutes:02}:{seconds:02}.{micros:06}Z"}}}}"#
    );
    let (method, path) = match version {
        None => (Method::POST, collection.to_owned()),
        Some(_) => (Method::PUT, format!("{collection}/{name}")),
    };
    Call { method, path, body: body.into() }
}

fn get(_: usize, _: usize, _: &Bytes) -> Call {
    Call { method: Method::GET, path: "/api/v1/namespaces/bench/configmaps/get".to_owned(), body: Bytes::new() }
}

async fn get_target(target: &Target) -> anyhow::Result<()> {
    let body = json!({"metadata": {"name": "get"}, "data": {"value": "x".repeat(900)}});
    let path = "/api/v1/namespaces/bench/configmaps";
    Connection::open(target).await?.call(&Method::POST, path, body.to_string().as_bytes()).await?;
    Ok(())
}

async fn namespace(target: &Target, name: &str) -> anyhow::Result<()> {
    let mut connection = Connection::open(target).await?;
    let body = json!({"metadata": {"name": name}});
    let (status, answer) = connection.call(&Method::POST, "/api/v1/namespaces", body.to_string().as_bytes()).await?;
    anyhow::ensure!(status.is_success() || status == 409, "{}", String::from_utf8_lossy(&answer));
    // A controller makes the account that pods need.
    let account = json!({"metadata": {"name": "default"}});
    let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
    connection.call(&Method::POST, &path, account.to_string().as_bytes()).await?;
    Ok(())
}

/// Creates the pods of lists and restart. Returns their bytes as listed.
async fn fill(target: &Target, sizes: &Sizes) -> anyhow::Result<u64> {
    let spaces = sizes.pods.div_ceil(sizes.pods_in_namespace);
    for space in 0..spaces {
        namespace(target, &format!("bench-{space}")).await?;
    }
    let (clients, in_namespace) = (100.min(sizes.pods), sizes.pods_in_namespace);
    let next = move |client: usize, count: usize, _: &Bytes| {
        let number = count * clients + client;
        // No scheduler knows the name, so that nothing else writes the pods meanwhile.
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("p{}", number % in_namespace),
                "labels": {"app": format!("a{}", number % 100), "tier": "bench"}},
            "spec": {"schedulerName": "bench", "containers": [{"name": "main", "image": "example.invalid/app:1",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}});
        let path = format!("/api/v1/namespaces/bench-{}/pods", number / in_namespace);
        Call { method: Method::POST, path, body: pod.to_string().into() }
    };
    let outcome = load::run(target, clients, Extent::Requests(sizes.pods / clients), Arc::new(next)).await?;
    say(format_args!("{} pods created, {:.0}/s, {} errors", outcome.requests, outcome.per_second, outcome.errors));
    anyhow::ensure!(outcome.errors == 0, "pods are missing: {}", outcome.first_error.unwrap_or_default());
    let mut connection = Connection::open(target).await?;
    let mut bytes = 0;
    for space in 0..spaces {
        bytes += connection.drain(&format!("/api/v1/namespaces/bench-{space}/pods")).await?;
    }
    Ok(bytes)
}

async fn lists(target: &Target, sizes: &Sizes, server: Option<&Server>) -> anyhow::Result<(List, List)> {
    let mut connection = Connection::open(target).await?;
    let started = process::instant();
    let (mut lists, mut bytes) = (0, 0);
    while started.elapsed() < sizes.load {
        bytes += connection.drain("/api/v1/namespaces/bench-0/pods").await?;
        lists += 1;
    }
    let one = list("pods of one namespace", 1, lists, bytes, started.elapsed(), None);
    say(format_args!("list {}: {:.0} MB/s", one.what, one.bytes_per_second / 1e6));
    let before = server.map(Server::resident_bytes);
    let started = process::instant();
    let tasks: Vec<_> = load::connections(target, sizes.listers)
        .await?
        .into_iter()
        .map(|mut connection| process::spawn("bench-lister", async move { connection.drain("/api/v1/pods").await }))
        .collect();
    let mut highest = 0;
    while tasks.iter().any(|task| !task.is_finished()) {
        highest = highest.max(server.map_or(0, Server::resident_bytes));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut bytes = 0;
    for task in tasks {
        bytes += task.await??;
    }
    let extra = before.map(|before| highest.saturating_sub(before));
    let storm = list("all pods", sizes.listers, sizes.listers, bytes, started.elapsed(), extra);
    say(format_args!(
        "{} clients list all pods: {:.0} MB/s, {} MiB extra",
        sizes.listers,
        storm.bytes_per_second / 1e6,
        extra.unwrap_or(0) >> 20
    ));
    Ok((one, storm))
}

fn list(what: &'static str, clients: usize, lists: usize, bytes: u64, took: Duration, extra: Option<u64>) -> List {
    List {
        what,
        clients,
        lists,
        bytes_each: bytes / (lists.max(1) as u64),
        seconds: took.as_secs_f64(),
        bytes_per_second: bytes as f64 / took.as_secs_f64(),
        extra_resident_bytes: extra,
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
