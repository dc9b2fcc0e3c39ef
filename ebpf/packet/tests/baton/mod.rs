//! Two threads on one flow table, of which one at a time goes on: they hand a baton over at chosen accesses. So every order of two
//! writers' accesses with so many changes between them can be had, one after the other.

use std::sync::{Condvar, Mutex, MutexGuard};

use packet::{
    Cells,
    flows::Cuts,
    host::{FlowMemory, Line},
};

/// Who begins, and after how many accesses the baton goes over: first by the one who begins, then by the other. After that each goes on to
/// its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    first: usize,
    accesses: [usize; 2],
}

/// Every schedule with changes within the first so many accesses of the one and of the other. Words of records are no accesses here:
/// what is between two words of state or index is one step.
pub fn schedules(most: [usize; 2]) -> impl Iterator<Item = Schedule> {
    (0..2).flat_map(move |first| {
        (0..most[first]).flat_map(move |a| (0..most[1 - first]).map(move |b| Schedule { first, accesses: [a, b] }))
    })
}

struct State {
    turn: usize,
    /// Accesses until the baton goes over, and those of the turn after.
    left: usize,
    next: usize,
    done: [bool; 2],
}

struct Baton {
    state: Mutex<State>,
    moved: Condvar,
}

impl Baton {
    /// Waits for the caller's turn.
    fn wait(&self, me: usize) -> MutexGuard<'_, State> {
        let state = self.state.lock().expect("no thread panics with the baton");
        self.moved.wait_while(state, |state| state.turn != me && !state.done[1 - me]).expect("as above")
    }

    /// One access.
    fn pass(&self, me: usize) {
        let mut state = self.wait(me);
        if state.left == 0 && !state.done[1 - me] {
            state.turn = 1 - me;
            state.left = state.next;
            state.next = usize::MAX;
            self.moved.notify_all();
            drop(state);
            state = self.wait(me);
        }
        state.left = state.left.saturating_sub(1);
    }

    fn end(&self, me: usize) {
        let mut state = self.wait(me);
        state.done[me] = true;
        state.turn = 1 - me;
        state.left = usize::MAX;
        self.moved.notify_all();
    }
}

/// The table as one of the two sees it.
pub struct Shared<'a> {
    table: &'a FlowMemory,
    baton: &'a Baton,
    me: usize,
}

/// Runs both as the schedule says.
pub fn race<A: Send, B: Send>(
    table: &FlowMemory,
    schedule: Schedule,
    a: impl FnOnce(&Shared<'_>) -> A + Send,
    b: impl FnOnce(&Shared<'_>) -> B + Send,
) -> (A, B) {
    let [left, next] = schedule.accesses;
    let state = State { turn: schedule.first, left, next, done: [false; 2] };
    let baton = &Baton { state: Mutex::new(state), moved: Condvar::new() };
    std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            let result = b(&Shared { table, baton, me: 1 });
            baton.end(1);
            result
        });
        let result = a(&Shared { table, baton, me: 0 });
        baton.end(0);
        (result, other.join().expect("the other does not panic"))
    })
}

impl Cuts for Shared<'_> {}

impl Cells for Shared<'_> {
    type Line = Line;
    type Record = usize;

    fn flow_bits(&self) -> u32 {
        self.table.flow_bits()
    }

    fn flow_seed(&self) -> u32 {
        self.table.flow_seed()
    }

    fn bucket(&self, number: u32) -> Option<Line> {
        self.table.bucket(number)
    }

    fn states(&self, number: u32) -> Option<Line> {
        self.table.states(number)
    }

    fn load(&self, line: Line, slot: u32) -> u64 {
        self.baton.pass(self.me);
        self.table.load(line, slot)
    }

    fn swap(&self, line: Line, slot: u32, old: u64, new: u64) -> bool {
        self.baton.pass(self.me);
        self.table.swap(line, slot, old, new)
    }

    fn record(&self, number: u32) -> Option<usize> {
        self.table.record(number)
    }

    fn word(&self, record: usize, index: usize) -> u32 {
        self.table.word(record, index)
    }

    fn set_word(&self, record: usize, index: usize, value: u32) {
        self.table.set_word(record, index, value);
    }
}
