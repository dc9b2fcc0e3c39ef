//! The latest drops and new flows of this node: thread `network events` empties the kernel's buffer into a bounded queue.
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use abi::event::Event;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Error;

/// Events kept for those who ask later.
const KEPT: usize = 4096;
/// How often the thread looks whether it is to end.
const PATIENCE_MS: u16 = 5_000;
/// How often namespaces are looked through for one that is not known.
const LOOK: Duration = Duration::from_secs(5);

/// An event and when it was read.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    /// Counts up from 1.
    pub number: u64,
    pub time: jiff::Timestamp,
    pub event: Event,
    /// The caller's address, of a socket call by a pod.
    pub caller: Option<IpAddr>,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Recent {
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    last: u64,
    events: VecDeque<Noted>,
}

impl Recent {
    /// Starts the thread, which ends a while after `shutdown`.
    ///
    /// # Errors
    /// If the buffer cannot be opened or the thread not be started.
    pub(super) fn follow(pins: &Path, data_dir: &Path, shutdown: CancellationToken) -> Result<Arc<Recent>, Error> {
        let events = kernel::bpf::Events::open(pins)?;
        let recent = Arc::new(Recent::default());
        let (filled, callers) = (recent.clone(), Callers::of(data_dir));
        process::spawn_thread("network events", move || filled.read(events, callers, &shutdown))
            .map_err(Error::Thread)?;
        Ok(recent)
    }

    /// Events after a number, oldest first, and the number of the last one; waits up to `patience` for the first.
    pub async fn after(&self, number: u64, patience: Duration) -> (u64, Vec<Noted>) {
        let deadline = process::instant() + patience;
        loop {
            let news = self.news.notified();
            let (last, events) = self.now(number);
            if !events.is_empty() || tokio::time::timeout_at(deadline, news).await.is_err() {
                return (last, events);
            }
        }
    }

    fn read(&self, mut ring: kernel::bpf::Events, mut callers: Callers, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            let mut read = false;
            while let Some(event) = ring.next_event() {
                let caller = if event.netns == 0 { None } else { callers.find(event.netns) };
                self.push(event, caller);
                read = true;
            }
            if read {
                self.news.notify_waiters();
            }
            if let Err(error) = ring.wait(PATIENCE_MS) {
                return tracing::error!(%error, "the data plane's events cannot be read any more");
            }
        }
    }

    fn now(&self, number: u64) -> (u64, Vec<Noted>) {
        let queue = self.lock();
        // A number of an earlier run of the daemon is none of this one's.
        let number = if number > queue.last { 0 } else { number };
        (queue.last, queue.events.iter().filter(|noted| noted.number > number).copied().collect())
    }

    fn push(&self, event: Event, caller: Option<IpAddr>) {
        let mut queue = self.lock();
        queue.last += 1;
        let number = queue.last;
        if queue.events.len() == KEPT {
            queue.events.pop_front();
        }
        queue.events.push_back(Noted { number, time: process::now(), event, caller });
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of the node's own containerd.
pub(super) fn containerd(data_dir: &Path) -> PathBuf {
    data_dir.join("containerd/state")
}

/// Where namespaces of pods are bound: by our containerd, or by the machine's.
pub(super) fn folders(containerd: &Path) -> Vec<PathBuf> {
    let plugins = std::fs::read_dir(containerd).into_iter().flatten();
    let own = plugins.filter_map(|plugin| Some(plugin.ok()?.path().join("netns"))).filter(|path| path.is_dir());
    own.chain([PathBuf::from(kernel::netns::DIR)]).collect()
}

/// Addresses of network namespaces by their cookies.
#[derive(Debug)]
pub(super) struct Callers {
    /// State of the node's own containerd, whose plugins bind namespaces in folders of theirs.
    containerd: PathBuf,
    known: BTreeMap<u64, IpAddr>,
    looked: Option<tokio::time::Instant>,
}

impl Callers {
    pub(super) fn of(data_dir: &Path) -> Callers {
        Callers { containerd: containerd(data_dir), known: BTreeMap::new(), looked: None }
    }

    pub(super) fn find(&mut self, cookie: u64) -> Option<IpAddr> {
        let fresh = self.looked.is_some_and(|then| then.elapsed() < LOOK);
        if !self.known.contains_key(&cookie) && !fresh {
            self.looked = Some(process::instant());
            let first = |(cookie, addresses): (u64, Vec<IpAddr>)| {
                Some((cookie, addresses.into_iter().max_by_key(IpAddr::is_ipv4)?))
            };
            let found = folders(&self.containerd).into_iter().flat_map(|folder| kernel::bpf::namespaces(&folder));
            self.known = found.filter_map(first).collect();
        }
        self.known.get(&cookie).copied()
    }
}
