//! Consistent reads from our own memory: before a read, etcd is asked for its revision by a linearizable read, and the
//! state waited for. All reads that arrive while one such question is on its way share the next.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::GetOptions;
use tokio::sync::{mpsc, oneshot, watch};

use super::client::{Endpoints, revision_of};
use super::reach;
use crate::{Error, Revision};

/// Reads that may wait for an answer; further ones wait for room.
const QUEUE_READS: usize = 4096;
/// How long the state may lag behind etcd before reads are told that the store is unavailable.
const LAG_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = oneshot::Sender<Result<(), Error>>;

/// What reads pass.
#[derive(Debug, Clone)]
pub(super) struct Barrier {
    questions: mpsc::Sender<Answer>,
}

/// A barrier, and the task that answers.
pub(super) fn new(
    endpoints: Arc<Endpoints>,
    reached: watch::Receiver<Revision>,
) -> (Barrier, impl Future<Output = ()> + Send) {
    let (questions, received) = mpsc::channel(QUEUE_READS);
    (Barrier { questions }, answer(endpoints, reached, received))
}

impl Barrier {
    /// Returns when the state has every write that was answered before this call.
    pub(super) async fn pass(&self) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(answer).await.map_err(|_| Error::Stopped)?;
        answered.await.unwrap_or(Err(Error::Stopped))
    }
}

async fn answer(endpoints: Arc<Endpoints>, reached: watch::Receiver<Revision>, mut questions: mpsc::Receiver<Answer>) {
    let mut waiting = Vec::new();
    while questions.recv_many(&mut waiting, QUEUE_READS).await > 0 {
        let read = endpoints.read(endpoints.key(""), GetOptions::new().with_keys_only().with_limit(1)).await;
        let outcome = match read {
            Ok(response) => {
                let reached = reach(&reached, revision_of(response.header()), LAG_TIMEOUT).await;
                if reached { Ok(()) } else { Err(Error::Unavailable) }
            }
            Err(error) => Err(error),
        };
        for answer in waiting.drain(..) {
            // The reader may have gone.
            let _ = answer.send(outcome.clone());
        }
    }
}
