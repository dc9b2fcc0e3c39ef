//! The engine on an etcd cluster. Revisions are etcd's own. The state below our prefix is kept in memory by one etcd
//! watch, and every read first makes sure, by one linearizable read shared by all that wait, that this state is as new
//! as etcd: a write that any control plane was answered is seen by every later read of every other.
//!
//! The watch covers all of etcd's keys, not only ours. So each revision that etcd reaches passes by in order, and the
//! state's revision is known without progress requests, which etcd before 3.4.25 and 3.5.8 answers ahead of events that
//! are still on their way (etcd issue 15220).

mod barrier;
mod client;
mod compactor;
mod fault;
mod follower;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};
use process::JoinHandle;
use tokio::sync::watch;

use crate::state::State;
use crate::types::check_size;
use crate::{Backend, Config, Entry, Error, Expect, Op, OpenError, Revision, Snapshot, Watch};
use barrier::Barrier;
use client::Endpoints;
pub use client::{EtcdConfig, EtcdTls};

/// How long a commit waits to see its own write in the watch; then it is answered anyway, for it is durable.
const ECHO_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the store in the etcd cluster of `config`.
///
/// Everything below the prefix is read and kept in memory. The window of events starts empty, as with the embedded
/// engine. The engine lives on the tokio runtime of this call.
///
/// # Errors
/// [`OpenError::Etcd`] when no server answers for half a minute.
pub async fn etcd(config: EtcdConfig, bounds: Config) -> Result<Arc<dyn Backend>, OpenError> {
    let endpoints = Arc::new(Endpoints::new(&config).await?);
    let (entries, revision) = follower::open(&endpoints).await?;
    tracing::info!(revision = revision.0, entries = entries.len(), prefix = endpoints.prefix(), "store opened in etcd");
    let state = Arc::new(State::new(bounds, entries, revision));
    let (published, reached) = watch::channel(revision);
    let follower = follower::run(Arc::clone(&endpoints), Arc::clone(&state), published);
    let (barrier, answering) = barrier::new(Arc::clone(&endpoints), reached.clone());
    let tasks = vec![
        process::spawn("etcd-follower", follower),
        process::spawn("etcd-barrier", answering),
        process::spawn("etcd-compactor", compactor::run(Arc::clone(&endpoints), reached.clone())),
    ];
    Ok(Arc::new(Etcd { endpoints, state, barrier, reached, tasks }))
}

#[derive(Debug)]
struct Etcd {
    endpoints: Arc<Endpoints>,
    state: Arc<State>,
    barrier: Barrier,
    /// The state's revision.
    reached: watch::Receiver<Revision>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Waits until the state is at `revision`; false: it is not within `timeout`.
async fn reach(reached: &watch::Receiver<Revision>, revision: Revision, timeout: Duration) -> bool {
    let mut reached = reached.clone();
    let waiting = reached.wait_for(|now| *now >= revision);
    matches!(tokio::time::timeout(timeout, waiting).await, Ok(Ok(_)))
}

/// The transaction of a commit: its failure branch reads what is there.
fn transaction(key: Vec<u8>, expect: Expect, op: Op) -> Txn {
    let compare = match (expect, &op) {
        (Expect::Absent, _) => vec![Compare::create_revision(key.clone(), CompareOp::Equal, 0)],
        (Expect::Revision(revision), _) => {
            vec![Compare::mod_revision(key.clone(), CompareOp::Equal, client::to_etcd(revision))]
        }
        (Expect::Any, Op::Delete) => vec![Compare::create_revision(key.clone(), CompareOp::Greater, 0)],
        (Expect::Any, Op::Put(_)) => Vec::new(),
    };
    let then = match op {
        Op::Put(value) => TxnOp::put(key.clone(), value, None),
        Op::Delete => TxnOp::delete(key.clone(), None),
    };
    Txn::new().when(compare).and_then([then]).or_else([TxnOp::get(key, None)])
}

#[async_trait]
impl Backend for Etcd {
    fn revision(&self) -> Revision {
        self.state.revision()
    }

    fn compacted(&self) -> Revision {
        self.state.compacted()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.barrier.pass().await?;
        self.state.get(key)
    }

    async fn snapshot(&self, prefix: &str, at: Option<Revision>) -> Result<Snapshot, Error> {
        if at.is_none_or(|at| at > self.state.revision()) {
            self.barrier.pass().await?;
        }
        self.state.snapshot_at(prefix, at)
    }

    async fn commit(&self, key: &str, expect: Expect, op: Op) -> Result<Revision, Error> {
        check_size(key, &op)?;
        if let (Expect::Absent, Op::Delete) = (expect, &op) {
            return Err(Error::Conflict { current: self.get(key).await? });
        }
        let size_bytes = if let Op::Put(value) = &op { value.len() } else { 0 };
        let response = self.endpoints.write(transaction(self.endpoints.key(key), expect, op), size_bytes).await?;
        let revision = client::revision_of(response.header());
        if !response.succeeded() {
            let found = match response.op_responses().into_iter().next() {
                Some(TxnOpResponse::Get(mut found)) => found.take_kvs().pop(),
                Some(TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_)) | None => None,
            };
            return Err(Error::Conflict { current: found.and_then(|kv| self.endpoints.entry(kv)) });
        }
        if !reach(&self.reached, revision, ECHO_TIMEOUT).await {
            tracing::warn!(revision = revision.0, "a write is durable in etcd, but its watch has not shown it yet");
        }
        Ok(revision)
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.state.watch(prefix, after)
    }

    async fn compact(&self, upto: Revision) -> Result<(), Error> {
        self.state.compact(upto)?;
        self.endpoints.compact(upto).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
