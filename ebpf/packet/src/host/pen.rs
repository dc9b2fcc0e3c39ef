//! Fragments that wait, in memory, and what the steps do with a frame there.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
};

use abi::{Addr, FragmentKey, Hold};

use super::{Cable, Frame, Memory, v4, v6};
use crate::{Buffer as _, Scratch, Steps};

/// The slots, those that were never used left out, and what was let go.
#[derive(Clone, Debug, Default)]
pub struct Pen {
    rows: RefCell<BTreeMap<u32, u64>>,
    slots: RefCell<BTreeMap<u32, Hold>>,
    frames: RefCell<BTreeMap<u32, Vec<u8>>>,
    released: RefCell<VecDeque<(Hold, Vec<u8>)>>,
}

impl Pen {
    pub fn row(&self, row: u32) -> u64 {
        self.rows.borrow().get(&row).copied().unwrap_or(0)
    }

    pub fn swap_row(&self, row: u32, old: u64, new: u64) -> bool {
        let same = self.row(row) == old;
        if same {
            self.rows.borrow_mut().insert(row, new);
        }
        same
    }

    pub fn state(&self, slot: u32) -> u64 {
        self.hold(slot).state
    }

    pub fn swap(&self, slot: u32, old: u64, new: u64) -> bool {
        let mut slots = self.slots.borrow_mut();
        let hold = slots.entry(slot).or_default();
        let same = hold.state == old;
        if same {
            hold.state = new;
        }
        same
    }

    pub fn hold(&self, slot: u32) -> Hold {
        self.slots.borrow().get(&slot).copied().unwrap_or_default()
    }

    pub fn set_hold(&self, slot: u32, value: &Hold) {
        let state = self.state(slot);
        self.slots.borrow_mut().insert(slot, Hold { state, ..*value });
    }

    /// What waits or has waited, by slot.
    pub fn slots(&self) -> BTreeMap<u32, Hold> {
        self.slots
            .borrow()
            .iter()
            .filter(|(_, hold)| hold.key != FragmentKey::default())
            .map(|(i, h)| (*i, *h))
            .collect()
    }

    /// The words of the rows, by row.
    pub fn rows(&self) -> BTreeMap<u32, u64> {
        self.rows.borrow().clone()
    }

    /// The bytes in a slot.
    pub fn frame(&self, slot: u32) -> Option<Vec<u8>> {
        self.frames.borrow().get(&slot).cloned()
    }

    /// The next fragment that was let go: what waited, and the frame that comes to its hook again.
    pub fn next(&self) -> Option<(Hold, Vec<u8>)> {
        self.released.borrow_mut().pop_front()
    }

    fn keep(&self, slot: u32, frame: &[u8]) -> bool {
        let fits = frame.len() <= abi::fragment::HELD_BYTES as usize;
        if fits {
            self.frames.borrow_mut().insert(slot, frame.to_vec());
        }
        fits
    }

    fn send_again(&self, slot: u32) -> bool {
        let frame = self.frame(slot).expect("a slot that waits has a frame");
        self.released.borrow_mut().push_back((self.hold(slot), frame));
        true
    }
}

/// Whether an address is one of this node's interfaces' in tests, although no table says so.
pub fn is_local(addr: &Addr) -> bool {
    *addr == v4("198.51.100.10") || *addr == v6("2001:db8:100::10")
}

impl Steps<Memory> for Frame {
    fn is_local(&mut self, _t: &Memory, s: &mut Scratch) -> bool {
        is_local(&s.packet.tuple.dst)
    }

    fn keep(&mut self, t: &Memory, slot: u32) -> bool {
        t.pen.keep(slot, &self.0)
    }

    fn set_aside(&mut self) -> bool {
        self.size() <= abi::fragment::HELD_BYTES as usize
    }

    fn send_again(&mut self, t: &Memory, slot: u32) -> bool {
        t.pen.send_again(slot)
    }

    fn put_back(&mut self) -> bool {
        true
    }
}

/// At XDP fragments pass.
impl Steps<Memory> for Cable {
    fn is_local(&mut self, _t: &Memory, s: &mut Scratch) -> bool {
        is_local(&s.packet.tuple.dst)
    }

    fn keep(&mut self, _t: &Memory, _slot: u32) -> bool {
        false
    }

    fn set_aside(&mut self) -> bool {
        false
    }

    fn send_again(&mut self, _t: &Memory, _slot: u32) -> bool {
        false
    }

    fn put_back(&mut self) -> bool {
        false
    }
}
