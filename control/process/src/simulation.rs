//! Simulated time and entropy for one thread: a seeded test installs them, and everything that runs on that thread
//! (a current-thread runtime, an in-process API server, controllers) sees them instead of the machine's.

use std::cell::RefCell;
use std::marker::PhantomData;

thread_local! {
    static SIMULATION: RefCell<Option<State>> = const { RefCell::new(None) };
}

struct State {
    now: jiff::Timestamp,
    random: u64,
}

/// While it lives, this thread's clock stands still until [`Simulation::advance`], and its entropy follows the seed.
#[derive(Debug)]
pub struct Simulation {
    /// Bound to the thread that made it.
    not_send: PhantomData<*const ()>,
}

impl Simulation {
    /// Installs simulated time and entropy on this thread.
    ///
    /// # Panics
    /// If one is installed already.
    pub fn start(seed: u64, now: jiff::Timestamp) -> Simulation {
        SIMULATION.with_borrow_mut(|state| {
            assert!(state.is_none(), "one simulation a thread");
            *state = Some(State { now, random: seed });
        });
        Simulation { not_send: PhantomData }
    }

    /// Moves the simulated clock on.
    pub fn advance(&self, by: std::time::Duration) {
        SIMULATION.with_borrow_mut(|state| {
            let state = state.as_mut().expect("installed while the guard lives");
            state.now = state.now.checked_add(by).expect("simulated time stays within jiff's range");
        });
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        SIMULATION.with_borrow_mut(|state| *state = None);
    }
}

pub(crate) fn now() -> Option<jiff::Timestamp> {
    SIMULATION.with_borrow(|state| state.as_ref().map(|state| state.now))
}

/// Fills `bytes` from the simulation; false if there is none on this thread.
pub(crate) fn random_bytes(bytes: &mut [u8]) -> bool {
    SIMULATION.with_borrow_mut(|state| {
        let Some(state) = state else { return false };
        for chunk in bytes.chunks_mut(8) {
            let word = split_mix(&mut state.random).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        true
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to draw names from.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
