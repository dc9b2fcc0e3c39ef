//! The API under load, over HTTPS, as any client sees it: the same driver measures ours and any other Kubernetes API
//! server.
//!
//! Tasks: `bench-client`, `bench-writer`, `bench-watcher` and `bench-lister`, each a client of a case; all end with their
//! case.

mod cases;
mod connection;
mod fanout;
pub(crate) mod load;
mod server;
mod target;
mod upstream;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
pub use cases::{Figures, Only, Sizes};
pub use connection::Connection;
use serde::Serialize;
pub use server::{Kind, Server};
pub use target::Target;

/// What one control plane did.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `gannet`, `gannet on etcd`, `kube-apiserver`, or the URL.
    pub of: String,
    /// Bytes of the binary, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary_bytes: Option<u64>,
    /// The kernel.
    pub kernel: String,
    /// Cores for server and driver together.
    pub cores: usize,
    #[serde(flatten)]
    pub figures: Figures,
}

/// Starts a control plane and measures it.
///
/// # Errors
/// When it cannot be started, or refuses what a case needs.
pub async fn run(kind: Kind, sizes: &Sizes, only: &Only) -> anyhow::Result<Report> {
    let (of, binary) = match &kind {
        Kind::Gannet(path) => ("gannet", path.clone()),
        Kind::GannetOnEtcd(path) => ("gannet on etcd", path.clone()),
        Kind::Upstream(path) => ("kube-apiserver", path.clone()),
    };
    let size = std::fs::metadata(&binary).with_context(|| format!("no binary {}", binary.display()))?.len();
    let mut server = Server::new(kind)?;
    let figures = cases::all(&mut server, sizes, only).await?;
    Ok(report(of.to_owned(), Some(size), figures))
}

/// Measures a server that runs already.
///
/// # Errors
/// When it cannot be reached, or refuses what a case needs.
pub async fn run_on(kubeconfig: &Path, url: Option<&str>, sizes: &Sizes, only: &Only) -> anyhow::Result<Report> {
    let target = Target::from_kubeconfig(kubeconfig, url)?;
    let figures = cases::foreign(&target, sizes, only).await?;
    Ok(report(target.authority, None, figures))
}

fn report(of: String, binary_bytes: Option<u64>, figures: Figures) -> Report {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    Report { of, binary_bytes, kernel, cores, figures }
}

/// For people.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut out = format!("{} (kernel {}, {} cores)\n", report.of, report.kernel, report.cores);
    let mut line = |what: &str, text: String| {
        let _ = writeln!(out, "| {what} | {text} |");
    };
    if let Some(bytes) = report.binary_bytes {
        line("binary", format!("{:.1} MB", bytes as f64 / 1e6));
    }
    if let Some(life) = &report.figures.life {
        line("start to ready", format!("{:.0} ms", life.start_to_ready_ms));
        line("idle", format!("{:.1} MiB", life.idle_resident_bytes as f64 / 1048576.0));
        if let Some(restart) = life.restart_after_kill_ms {
            line("restart after kill -9", format!("{restart:.0} ms with {} pods", life.stored_objects));
        }
        if life.stored_objects > 0 {
            let each = life.loaded_resident_bytes.saturating_sub(life.idle_resident_bytes) / life.stored_objects as u64;
            let json = life.stored_json_bytes / life.stored_objects as u64;
            line("memory a stored pod", format!("{each} bytes, its JSON has {json}"));
        }
    }
    for row in &report.figures.loads {
        let outcome = &row.outcome;
        let text = format!(
            "{:.0}/s, p50 {} us, p99 {} us, {} errors",
            outcome.per_second, outcome.p50_us, outcome.p99_us, outcome.errors
        );
        line(&format!("{}, {} clients", row.what, outcome.clients), text);
    }
    for list in &report.figures.lists {
        let extra = list.extra_resident_bytes.map_or(String::new(), |extra| format!(", {} MiB extra", extra >> 20));
        let text =
            format!("{:.0} MB/s, {:.1} MB each{extra}", list.bytes_per_second / 1e6, list.bytes_each as f64 / 1e6);
        line(&format!("list {}, {} clients", list.what, list.clients), text);
    }
    for fan_out in &report.figures.fan_out {
        let pace = fan_out.paced_per_second.map_or("as fast as they go".to_owned(), |pace| format!("at {pace}/s"));
        let text = format!(
            "{:.0} deliveries/s, lag p50 {} us, p99 {} us, {} watchers wrong",
            fan_out.deliveries_per_second, fan_out.lag_p50_us, fan_out.lag_p99_us, fan_out.wrong
        );
        line(&format!("watch, {} x {} {pace}", fan_out.watchers, fan_out.updates), text);
    }
    out
}
