//! Health checks of backends.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use process::JoinHandle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time;

use crate::config::HealthCheck;

/// Verdicts that wait for the daemon; checks wait beyond that.
pub const QUEUE: usize = 1_024;
/// Bytes of an answer that are looked at: `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

/// Whom to ask, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub address: IpAddr,
    pub check: HealthCheck,
}

/// A change of a target's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub target: Target,
    pub healthy: bool,
}

/// The checks that run, and what each last said.
pub struct Checks {
    running: BTreeMap<Target, (JoinHandle<()>, bool)>,
    verdicts: mpsc::Sender<Verdict>,
}

impl Checks {
    /// None, and where verdicts will come out.
    pub fn new() -> (Checks, mpsc::Receiver<Verdict>) {
        let (verdicts, receiver) = mpsc::channel(QUEUE);
        (Checks { running: BTreeMap::new(), verdicts }, receiver)
    }

    /// Runs just these; who was not asked before is as healthy as is said here.
    pub fn set(&mut self, targets: impl IntoIterator<Item = (Target, bool)>) {
        let mut before = std::mem::take(&mut self.running);
        for (target, healthy) in targets {
            if self.running.contains_key(&target) {
                continue;
            }
            let start = || process::spawn("lb-check", watch(target.clone(), healthy, self.verdicts.clone()));
            let run = before.remove(&target).unwrap_or_else(|| (start(), healthy));
            self.running.insert(target, run);
        }
        for (task, _) in before.into_values() {
            task.abort();
        }
    }

    /// Takes a verdict; `false` if its target is no longer asked or it says nothing new.
    pub fn take(&mut self, verdict: &Verdict) -> bool {
        let Some((_, healthy)) = self.running.get_mut(&verdict.target) else { return false };
        std::mem::replace(healthy, verdict.healthy) != verdict.healthy
    }

    /// What a target's check said last.
    pub fn is_healthy(&self, target: &Target) -> bool {
        self.running.get(target).is_none_or(|(_, healthy)| *healthy)
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        for (task, _) in self.running.values() {
            task.abort();
        }
    }
}

/// Asks again and again, and tells each change.
async fn watch(target: Target, mut healthy: bool, verdicts: mpsc::Sender<Verdict>) {
    let check = &target.check;
    let mut tick = time::interval(check.interval.0);
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut against = 0;
    loop {
        tick.tick().await;
        let result =
            time::timeout(check.timeout.0, ask(&target)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if result.is_ok() == healthy {
            against = 0;
            continue;
        }
        against += 1;
        if against < if healthy { check.unhealthy } else { check.healthy } {
            continue;
        }
        (healthy, against) = (!healthy, 0);
        match &result {
            Ok(()) => tracing::info!(backend = %target.address, "healthy"),
            Err(error) => tracing::warn!(backend = %target.address, %error, "unhealthy"),
        }
        if verdicts.send(Verdict { target: target.clone(), healthy }).await.is_err() {
            return;
        }
    }
}

async fn ask(target: &Target) -> io::Result<()> {
    let port = target.check.tcp.or(target.check.http.as_ref().map(|get| get.port)).unwrap_or_default();
    let at = SocketAddr::new(target.address, port);
    let mut stream = TcpStream::connect(at).await?;
    let Some(get) = &target.check.http else { return Ok(()) };
    let request =
        format!("GET {} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: gannet-lb\r\nConnection: close\r\n\r\n", get.path);
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line).await?;
    match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', b'2' | b'3', _, _] => Ok(()),
        _ => Err(io::Error::other(format!("answered {}", String::from_utf8_lossy(&line)))),
    }
}

#[cfg(test)]
mod tests;
