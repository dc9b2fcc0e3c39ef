//! Which slots are in use, and where the next range goes.
use abi::MAX_SLOTS;

/// For each slot how many service entries have it in their range; what waits to be cleared counts as one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    uses: Vec<u32>,
}

impl Slots {
    /// Counts a range of `len` slots from `base` on.
    pub fn hold(&mut self, base: u32, len: u32) {
        let (base, end) = (base as usize, base.saturating_add(len).min(MAX_SLOTS) as usize);
        if self.uses.len() < end {
            self.uses.resize(end, 0);
        }
        self.uses.get_mut(base..end).into_iter().flatten().for_each(|uses| *uses += 1);
    }

    /// Takes the count back; runs (first, count) that nobody has any more stay held once more.
    pub fn release(&mut self, base: u32, len: u32) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        let end = base.saturating_add(len).min(MAX_SLOTS);
        for slot in base..end {
            let Some(uses) = self.uses.get_mut(slot as usize) else { break };
            if *uses > 1 {
                *uses -= 1;
                continue;
            }
            *uses = 1;
            match runs.last_mut() {
                Some((first, count)) if *first + *count == slot => *count += 1,
                _ => runs.push((slot, 1)),
            }
        }
        runs
    }

    /// Slots that were cleared.
    pub fn free(&mut self, first: u32, count: u32) {
        let range = self.uses.get_mut(first as usize..first.saturating_add(count) as usize);
        range.into_iter().flatten().for_each(|uses| *uses = 0);
    }

    /// Whether nobody has the slot.
    pub fn is_free(&self, slot: u32) -> bool {
        self.uses.get(slot as usize).is_none_or(|uses| *uses == 0)
    }

    /// Whether so many have the slot.
    pub fn is_held_by(&self, slot: u32, uses: u32) -> bool {
        self.uses.get(slot as usize) == Some(&uses)
    }

    /// A free range of `len` slots, the first after `cursor` in a circle.
    pub fn find(&self, cursor: u32, len: u32) -> Option<u32> {
        self.gap(cursor, len).or_else(|| self.gap(0, len))
    }

    fn gap(&self, from: u32, len: u32) -> Option<u32> {
        let mut at = from;
        while at.checked_add(len)? <= MAX_SLOTS {
            let window = (at as usize).min(self.uses.len())..((at + len) as usize).min(self.uses.len());
            match self.uses[window].iter().rposition(|uses| *uses > 0) {
                None => return Some(at),
                Some(last) => at += last as u32 + 1,
            }
        }
        None
    }
}
