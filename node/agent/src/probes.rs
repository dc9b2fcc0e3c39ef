//! Probes and hooks: a periodic question to a container, or one call, by command, HTTP, TCP or gRPC.

mod grpc;
mod http;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pod::spec::container;
use pod::{Event, ProbeKind, State};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Bytes of a probe's output that go into events.
const OUTPUT_LIMIT: usize = 1024;

/// The container that is asked.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) state: Arc<State>,
    pub(crate) container: String,
    pub(crate) id: String,
}

impl Target {
    fn ip(&self) -> Option<IpAddr> {
        self.state.sandbox.as_ref().and_then(|s| s.ips.first().copied())
    }

    /// A port by number or by its name in the container.
    fn port(&self, wanted: &IntOrString) -> Option<u16> {
        let by_name = |name: &str| {
            let ports = container(&self.state.pod, &self.container)?.ports.as_ref()?;
            ports.iter().find(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port)
        };
        let number = match wanted {
            IntOrString::Int(number) => *number,
            IntOrString::String(name) => by_name(name).or_else(|| name.parse().ok())?,
        };
        u16::try_from(number).ok().filter(|port| *port > 0)
    }

    fn address(&self, host: Option<&str>, port: &IntOrString) -> Result<(String, u16), String> {
        let port = self.port(port).ok_or_else(|| format!("invalid port {port:?}"))?;
        let own = || self.ip().map(|ip| ip.to_string());
        let host = host.filter(|h| !h.is_empty()).map(str::to_owned).or_else(own);
        host.map(|host| (host, port)).ok_or_else(|| "the pod has no address".to_owned())
    }
}

/// The task `probe` of one container: asks every period until `stop`.
pub(crate) async fn run(
    context: Arc<Context>,
    target: Target,
    kind: ProbeKind,
    probe: Probe,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default))
    };
    let limit = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    let begin = process::instant() + seconds(probe.initial_delay_seconds, 0);
    let mut period = tokio::time::interval_at(begin, seconds(probe.period_seconds, 10).max(Duration::from_secs(1)));
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        let result = tokio::select! {
            () = stop.cancelled() => return,
            result = ask(&context, &target, &probe, limit) => result,
        };
        let (success, message) = match result {
            Ok(()) => (true, String::new()),
            Err(message) => (false, message),
        };
        let (container, id) = (target.container.clone(), target.id.clone());
        if events.send(Event::ProbeResult { container, id, kind, success, message }).await.is_err() {
            return;
        }
    }
}

async fn ask(context: &Context, target: &Target, probe: &Probe, limit: Duration) -> Result<(), String> {
    if let Some(exec) = &probe.exec {
        return run_command(context, target, exec, limit).await;
    }
    let call = async {
        if let Some(get) = &probe.http_get {
            http_get(target, get).await
        } else if let Some(tcp) = &probe.tcp_socket {
            let (host, port) = target.address(tcp.host.as_deref(), &tcp.port)?;
            connect(&host, port).await.map(drop)
        } else if let Some(check) = &probe.grpc {
            let (host, port) = target.address(None, &IntOrString::Int(check.port))?;
            grpc::check(&host, port, check.service.as_deref().unwrap_or_default()).await
        } else {
            Err("the probe names no action".to_owned())
        }
    };
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(format!("context deadline exceeded (no answer within {} s)", limit.as_secs())),
    }
}

/// Runs one hook to its end, at most `limit`.
pub(crate) async fn hook(
    context: &Context,
    target: &Target,
    hook: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        return run_command(context, target, exec, limit).await;
    }
    let call = async {
        if let Some(get) = &hook.http_get {
            http_get(target, get).await
        } else if let Some(tcp) = &hook.tcp_socket {
            let (host, port) = target.address(tcp.host.as_deref(), &tcp.port)?;
            connect(&host, port).await.map(drop)
        } else if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
            Ok(())
        } else {
            Ok(())
        }
    };
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        // A sleep that is cut short by the grace period did its job.
        Err(_) if hook.sleep.is_some() => Ok(()),
        Err(_) => Err(format!("no end within {} s", limit.as_secs())),
    }
}

async fn run_command(context: &Context, target: &Target, exec: &ExecAction, limit: Duration) -> Result<(), String> {
    let command = exec.command.clone().unwrap_or_default();
    let output = match context.runtime.exec_sync(&target.id, &command, limit).await {
        Ok(output) => output,
        Err(error) if error.is_timeout() => return Err(format!("command timed out after {} s", limit.as_secs())),
        Err(error) => return Err(error.message()),
    };
    if output.exit_code == 0 {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(cut(if text.is_empty() { format!("command exited with {}", output.exit_code) } else { text }))
}

async fn http_get(target: &Target, get: &HTTPGetAction) -> Result<(), String> {
    let (host, port) = target.address(get.host.as_deref(), &get.port)?;
    let request = http::Get {
        host: &host,
        port,
        tls: get.scheme.as_deref() == Some("HTTPS"),
        path: get.path.as_deref().unwrap_or("/"),
        headers: get.http_headers.as_deref().unwrap_or_default(),
    };
    let status = http::get(request).await?;
    // Redirects count as success, as they do for kubelet.
    if (200..400).contains(&status) {
        return Ok(());
    }
    Err(format!("HTTP probe failed with statuscode: {status}"))
}

async fn connect(host: &str, port: u16) -> Result<tokio::net::TcpStream, String> {
    let address = host.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port));
    let stream = match address {
        Ok(address) => tokio::net::TcpStream::connect(address).await,
        Err(_) => tokio::net::TcpStream::connect((host, port)).await,
    };
    stream.map_err(|error| format!("dial tcp {host}:{port}: {error}"))
}

/// A host as it stands in URLs: IPv6 addresses in brackets (RFC 3986 section 3.2.2).
fn in_url(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn cut(mut text: String) -> String {
    if text.len() > OUTPUT_LIMIT {
        let end = (0..=OUTPUT_LIMIT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;
