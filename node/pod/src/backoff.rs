//! Growing delays between attempts, in the manner of client-go's flow control: the first retry is immediate or after
//! the initial delay, each further one waits twice as long up to a limit, and a quiet time of twice the limit forgets.

use jiff::{SignedDuration, Timestamp};

/// Limits of one kind of backoff, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub initial_seconds: i64,
    pub max_seconds: i64,
}

/// Restarts of a container that ended (`CrashLoopBackOff`), and pulls of an image (`ImagePullBackOff`).
pub const CONTAINER: Limits = Limits { initial_seconds: 10, max_seconds: 300 };
/// Creation of containers, sandboxes and volumes that failed for a reason outside the pod.
pub const SETUP: Limits = Limits { initial_seconds: 1, max_seconds: 60 };

/// Memory of past attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    delay_seconds: i64,
    last: Option<Timestamp>,
}

impl Backoff {
    /// Seconds the next attempt has to wait after the failure; 0 when nothing is remembered.
    pub fn delay_seconds(&self) -> i64 {
        self.delay_seconds
    }

    /// When an attempt that failed at `failed_at` may be repeated; `None`: at once.
    pub fn until(&self, failed_at: Timestamp, limits: Limits) -> Option<Timestamp> {
        if self.delay_seconds == 0 || self.expired(failed_at, limits) {
            return None;
        }
        Some(after(failed_at, self.delay_seconds))
    }

    /// Notes an attempt at `now`: the next wait doubles.
    pub fn record(&mut self, now: Timestamp, limits: Limits) {
        self.delay_seconds = if self.delay_seconds == 0 || self.expired(now, limits) {
            limits.initial_seconds
        } else {
            (self.delay_seconds * 2).min(limits.max_seconds)
        };
        self.last = Some(now);
    }

    /// Notes a failure at `now` and tells when to try again: initial delay first, then doubling.
    pub fn fail(&mut self, now: Timestamp, limits: Limits) -> Timestamp {
        self.record(now, limits);
        after(now, self.delay_seconds)
    }

    /// The memory of that many attempts in a row, the last of them at `last`.
    pub fn after_attempts(count: u32, last: Timestamp, limits: Limits) -> Backoff {
        if count == 0 {
            return Backoff::default();
        }
        let delay = limits.initial_seconds.saturating_mul(1 << (count - 1).min(16));
        Backoff { delay_seconds: delay.min(limits.max_seconds), last: Some(last) }
    }

    fn expired(&self, at: Timestamp, limits: Limits) -> bool {
        self.last.is_some_and(|last| at.duration_since(last).as_secs() > limits.max_seconds * 2)
    }
}

/// `at` plus seconds, saturating.
pub fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
