//! The writer thread: takes what waits, writes it in one transaction, publishes, answers.

use std::sync::{Arc, LazyLock};

use process::metrics::{Counter, Histogram};
use tokio::sync::{mpsc, oneshot};

use super::log::Log;
use crate::state::{State, stage};
use crate::{Error, Event, Expect, Op, Revision};

/// Commits in one transaction at most.
const BATCH_COMMITS: usize = 512;
/// Bytes of values after which a transaction takes no further commit.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    writes: process::metrics::counter("store_writes", "Writes made durable"),
    transaction: process::metrics::seconds("store_transaction_seconds", "Time of one durable transaction"),
});

struct Metrics {
    writes: Counter,
    transaction: Histogram,
}

/// One commit on its way to the writer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) key: Arc<str>,
    pub(super) expect: Expect,
    pub(super) op: Op,
    pub(super) answer: oneshot::Sender<Result<Revision, Error>>,
}

type Answer = (oneshot::Sender<Result<Revision, Error>>, Result<Revision, Error>);

/// Serves commits until all senders are gone or the log fails.
pub(super) fn run(mut log: Log, state: &State, mut requests: mpsc::Receiver<Request>) {
    let served = serve(&mut log, state, &mut requests);
    log.give_up_compaction();
    if let Err(error) = served.and_then(|()| log.close(state.revision())) {
        // What reached the disk is unknown, and an fsync that failed once may lie the next time.
        tracing::error!(%error, "the store failed to write and has stopped");
    }
    state.stop();
}

fn serve(log: &mut Log, state: &State, requests: &mut mpsc::Receiver<Request>) -> std::io::Result<()> {
    loop {
        log.tend(state)?;
        let Some(first) = requests.blocking_recv() else { return Ok(()) };
        let Ok((mut entries, mut revision)) = state.snapshot() else { return Ok(()) };
        let mut events: Vec<Event> = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(Request { key, expect, op, answer }) = next {
            bytes += if let Op::Put(value) = &op { value.len() } else { 0 };
            // A conflict with a write of this batch is answered after that write is durable, like the rest.
            let outcome = stage(&mut entries, Revision(revision.0 + 1), &key, expect, op).map(|event| {
                revision = event.revision;
                events.push(event);
                revision
            });
            answers.push((answer, outcome));
            let room = answers.len() < BATCH_COMMITS && bytes < BATCH_BYTES;
            next = if room { requests.try_recv().ok() } else { None };
        }
        if !events.is_empty() {
            let started = process::instant();
            log.append(&events, revision)?;
            METRICS.writes.inc_by(u64::try_from(events.len()).expect("a batch is small"));
            METRICS.transaction.observe(started.elapsed().as_secs_f64());
            state.publish(entries, events, revision);
        }
        for (answer, outcome) in answers {
            // The caller may have gone.
            let _ = answer.send(outcome);
        }
    }
}
