//! Who asks and who answers: datagrams of eight bytes, and the answering backend's port in the answer.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::bail;
use kernel::netns;
use tokio::time::Instant;

/// How often a datagram is sent.
const INTERVAL: Duration = Duration::from_micros(100);
/// How often a thread that waits looks whether it has to end.
const LOOK: Duration = Duration::from_millis(50);

/// Runs until dropped.
struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(mut turn: impl FnMut() + Send + 'static) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                turn();
            }
        });
        Running { stop, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers each datagram with its own port, and remembers when the first one came.
pub(super) struct Backend {
    first: Arc<Mutex<Option<Instant>>>,
    _running: Running,
}

impl Backend {
    pub(super) fn start(ip: IpAddr, port: u16) -> anyhow::Result<Backend> {
        let socket = UdpSocket::bind((ip, port))?;
        socket.set_read_timeout(Some(LOOK))?;
        let first = Arc::new(Mutex::new(None));
        let seen = first.clone();
        let running = Running::start(move || {
            if let Ok((_, peer)) = socket.recv_from(&mut [0; 8]) {
                lock(&seen).get_or_insert_with(process::instant);
                let _ = socket.send_to(&port.to_be_bytes(), peer);
            }
        });
        Ok(Backend { first, _running: running })
    }

    /// The next datagram is the first one.
    pub(super) fn forget(&self) {
        *lock(&self.first) = None;
    }

    /// When the first one came.
    pub(super) fn first(&self) -> Option<Instant> {
        *lock(&self.first)
    }
}

/// What the answers tell.
#[derive(Default)]
struct Heard {
    port: u16,
    last: Option<Instant>,
    longest: Duration,
    answered: u64,
}

/// Sends to one address from a connected socket and hears who answers.
pub(super) struct Sender {
    heard: Arc<Mutex<Heard>>,
    sent: Arc<AtomicU64>,
    _running: Running,
}

impl Sender {
    pub(super) fn start(netns: &Path, to: SocketAddr) -> anyhow::Result<Sender> {
        let socket = netns::run_in(netns, || -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(to)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })??;
        let (heard, sent) = (Arc::new(Mutex::new(Heard::default())), Arc::new(AtomicU64::new(0)));
        let (hears, sends) = (heard.clone(), sent.clone());
        let running = Running::start(move || {
            // Refused: what the last datagram met. The next one is sent all the same.
            if socket.send(&[0; 8]).is_ok() {
                sends.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(INTERVAL);
            let mut port = [0; 2];
            while let Ok(2) = socket.recv(&mut port) {
                let (mut heard, now) = (lock(&hears), process::instant());
                heard.port = u16::from_be_bytes(port);
                let silence = heard.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
                heard.longest = heard.longest.max(silence);
                heard.last = Some(now);
                heard.answered += 1;
            }
        });
        Ok(Sender { heard, sent, _running: running })
    }

    /// From now on the longest silence counts.
    pub(super) fn begin(&self) {
        lock(&self.heard).longest = Duration::ZERO;
    }

    pub(super) fn longest_silence(&self) -> Duration {
        lock(&self.heard).longest
    }

    /// Waits until this backend answers.
    pub(super) fn wait_for(&self, port: u16, at_most: Duration) -> anyhow::Result<()> {
        let begin = process::instant();
        while lock(&self.heard).port != port {
            if begin.elapsed() > at_most {
                bail!("no answer of the backend on port {port} after {at_most:?}");
            }
            thread::sleep(INTERVAL);
        }
        Ok(())
    }

    /// Datagrams sent and answered.
    pub(super) fn stop(self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), lock(&self.heard).answered)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
