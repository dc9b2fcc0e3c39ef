//! Metrics over HTTP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use process::metrics::prometheus_client::encoding::text::encode;
use process::metrics::prometheus_client::registry::Registry;
use process::metrics::{CONTENT_TYPE, Counter, Family, Gauge};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time;

use crate::report::{self, Report};

/// Longest request; what is longer is not ours to answer.
const REQUEST: usize = 8_192;
/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(5);

type Labels = Vec<(&'static str, String)>;

/// Answers every request with the metrics, one after another, as long as the task lives.
pub async fn serve(listener: TcpListener, dir: PathBuf) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match time::timeout(PATIENCE, answer(stream, &dir)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "metrics"),
                Err(_) => tracing::debug!("metrics: a client that takes too long"),
            },
            Err(error) => {
                tracing::warn!(%error, "metrics: accept");
                time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, dir: &Path) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = match (request.starts_with(b"GET /metrics "), report::read(dir)) {
        (false, _) => ("404 Not Found", "only /metrics is here\n".to_owned()),
        (true, Ok(report)) => ("200 OK", text(&report)),
        (true, Err(error)) => ("503 Service Unavailable", format!("{error}\n")),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}

/// A report in the OpenMetrics format.
pub fn text(report: &Report) -> String {
    let packets = Family::<Labels, Counter>::default();
    let bytes = Family::<Labels, Counter>::default();
    let healthy = Family::<Labels, Gauge>::default();
    let drops = Family::<Labels, Counter>::default();
    let records = Gauge::<i64>::default();
    for service in &report.services {
        let state = &service.state;
        let labels: Labels = vec![
            ("address", state.address.to_string()),
            ("port", state.port.to_string()),
            ("protocol", state.protocol.clone()),
        ];
        set(&packets, &labels, service.packets);
        set(&bytes, &labels, service.bytes);
        for backend in &state.backends {
            let mut labels = labels.clone();
            labels.push(("backend", backend.address.to_string()));
            healthy.get_or_create(&labels).set(i64::from(backend.healthy));
        }
    }
    for (reason, count) in &report.drops {
        set(&drops, &vec![("reason", reason.clone())], *count);
    }
    records.set(i64::try_from(report.records).unwrap_or(i64::MAX));
    let mut registry = Registry::with_prefix("gannet_lb");
    registry.register("packets", "Packets sent on to backends", packets);
    registry.register("bytes", "Bytes sent on to backends, without outer headers", bytes);
    registry.register("backend_healthy", "Whether a backend gets new flows", healthy);
    registry.register("drops", "Packets for virtual addresses that were dropped", drops);
    registry.register("records", "Flows with a record", records);
    let mut out = String::new();
    encode(&mut out, &registry).expect("writing to a String does not fail");
    out
}

fn set(family: &Family<Labels, Counter>, labels: &Labels, value: u64) {
    family.get_or_create(labels).inc_by(value);
}
