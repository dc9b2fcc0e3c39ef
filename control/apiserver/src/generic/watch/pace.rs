//! When a watch sends. A quiet one sends at once; after that, events gather until its next turn. A turn costs a TLS
//! record, a system call and a wake-up on either side whatever it carries, so turns are what is rationed: many watches
//! under many events take theirs less often, each with more in it, and the server keeps time for those who write.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Sleep;

/// What all busy watches have together: one turn each this often, for as many as are busy.
const TURN: Duration = Duration::from_micros(20);
/// Between the turns of one watch, however few are busy.
const GATHER_LEAST: Duration = Duration::from_millis(1);
/// Between its turns, however many are busy.
const GATHER_MOST: Duration = Duration::from_millis(25);

/// How many watches of a server are busy: have sent so lately that events gather.
#[derive(Default)]
pub(crate) struct Busy(AtomicUsize);

impl Busy {
    fn gather(&self) -> Duration {
        let busy = u32::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        TURN.saturating_mul(busy).clamp(GATHER_LEAST, GATHER_MOST)
    }
}

/// The turns of one watch: Quiet -> Gathering -> Quiet.
pub(super) struct Pace {
    busy: Arc<Busy>,
    phase: Phase,
    turn: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Quiet,
    Gathering,
}

impl Pace {
    pub(super) fn new(busy: Arc<Busy>) -> Self {
        Self { busy, phase: Phase::Quiet, turn: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }

    /// Waits for the watch's turn. Nothing wakes it before.
    pub(super) async fn turn(&mut self) {
        if self.phase == Phase::Gathering {
            self.turn.as_mut().await;
        }
    }

    /// It has sent.
    pub(super) fn sent(&mut self) {
        if self.phase == Phase::Quiet {
            self.busy.0.fetch_add(1, Ordering::Relaxed);
            self.phase = Phase::Gathering;
        }
        let next = process::instant() + self.busy.gather();
        self.turn.as_mut().reset(next);
    }

    /// Its turn came and nothing had gathered.
    pub(super) fn rest(&mut self) {
        if self.phase == Phase::Gathering {
            self.busy.0.fetch_sub(1, Ordering::Relaxed);
            self.phase = Phase::Quiet;
        }
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.rest();
    }
}

#[cfg(test)]
mod tests;
