//! What is not in use: ranges of slots, and numbers.

use std::collections::{BTreeMap, BTreeSet};

/// Free ranges of an array.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    /// Length by start; neighbours are one range.
    free: BTreeMap<u32, u32>,
}

impl Ranges {
    /// Indexes `0 .. len`, all of them free.
    pub fn new(len: u32) -> Ranges {
        Ranges { free: BTreeMap::from([(0, len)]) }
    }

    /// The start of `len` indexes in a row, which are taken; `None` if there are none.
    pub fn take(&mut self, len: u32) -> Option<u32> {
        let (start, have) = self.free.iter().map(|(start, have)| (*start, *have)).find(|(_, have)| *have >= len)?;
        self.free.remove(&start);
        if have > len {
            self.free.insert(start + len, have - len);
        }
        Some(start)
    }

    /// Takes just these; what is taken already stays taken.
    pub fn take_at(&mut self, start: u32, len: u32) {
        let end = start.saturating_add(len);
        let hit: Vec<(u32, u32)> =
            self.free.range(..end).map(|(at, have)| (*at, *have)).filter(|(at, have)| at + have > start).collect();
        for (at, have) in hit {
            self.free.remove(&at);
            if at < start {
                self.free.insert(at, start - at);
            }
            if at + have > end {
                self.free.insert(end, at + have - end);
            }
        }
    }

    /// Gives back what was taken.
    pub fn give(&mut self, start: u32, len: u32) {
        if len == 0 {
            return;
        }
        let (mut from, mut to) = (start, start + len);
        if let Some((at, have)) = self.free.range(..start).next_back().map(|(at, have)| (*at, *have))
            && at + have == start
        {
            self.free.remove(&at);
            from = at;
        }
        if let Some(have) = self.free.remove(&to) {
            to += have;
        }
        self.free.insert(from, to - from);
    }
}

/// Numbers from `first` to below `end`, the lowest free one first.
#[derive(Clone, Debug)]
pub struct Numbers {
    free: BTreeSet<u32>,
    next: u32,
    end: u32,
}

impl Numbers {
    /// All of them free but those of `used`.
    pub fn new(first: u32, end: u32, used: &BTreeSet<u32>) -> Numbers {
        let next = used.last().map_or(first, |last| last + 1).max(first);
        Numbers { free: (first..next).filter(|number| !used.contains(number)).collect(), next, end }
    }

    /// A free number, which is taken.
    pub fn take(&mut self) -> Option<u32> {
        if let Some(number) = self.free.pop_first() {
            return Some(number);
        }
        if self.next >= self.end {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// Gives one back.
    pub fn give(&mut self, number: u32) {
        self.free.insert(number);
    }
}
