//! From the banks that stand to the one that should: writes to the bank that no packet sees, then one that shows it.
use abi::{IdentityKey, RuleKey, SeatValue, bank};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::compile::Desired;

/// What the policy tables hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Counts publications; its lowest bit is the bank that packets see.
    pub generation: u32,
    pub banks: [Bank; 2],
}

/// Contents of one bank; every key's bank is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bank {
    pub identities: OrdMap<IdentityKey, u32>,
    pub rules: OrdMap<RuleKey, u32>,
    /// By seat; without those that are all zero.
    pub seats: OrdMap<u32, SeatValue>,
}

/// One write. Executors may merge neighbours of the same kind into one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait until no CPU runs a program that may have begun before the last publication (an RCU grace period).
    Settle,
    PutIdentity(IdentityKey, u32),
    DeleteIdentity(IdentityKey),
    PutRule(RuleKey, u32),
    DeleteRule(RuleKey),
    /// Index in the table of seats; all zero clears.
    PutSeat(u32, SeatValue),
    /// The new generation: from here on packets see the other bank.
    Publish(u32),
}

/// Plans the writes. A bank in sight that is as desired gives an empty plan.
pub fn diff(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let (wanted, seen) = (&desired.bank, &observed.banks[bank(observed.generation) as usize]);
    if same(&wanted.identities, &seen.identities)
        && same(&wanted.rules, &seen.rules)
        && same(&wanted.seats, &seen.seats)
    {
        return Vec::new();
    }
    let generation = observed.generation.wrapping_add(1);
    let number = bank(generation);
    let hidden = &observed.banks[number as usize];
    let mut steps = vec![Step::Settle];
    let (put, gone) = changes(&hidden.identities, &wanted.identities);
    steps.extend(put.into_iter().map(|(key, value)| Step::PutIdentity(IdentityKey { bank: number, ..key }, value)));
    steps.extend(gone.into_iter().map(|key| Step::DeleteIdentity(IdentityKey { bank: number, ..key })));
    let (put, gone) = changes(&hidden.rules, &wanted.rules);
    steps.extend(put.into_iter().map(|(key, value)| Step::PutRule(RuleKey { bank: number, ..key }, value)));
    steps.extend(gone.into_iter().map(|key| Step::DeleteRule(RuleKey { bank: number, ..key })));
    let (put, gone) = changes(&hidden.seats, &wanted.seats);
    steps.extend(put.into_iter().map(|(seat, value)| Step::PutSeat(seat * 2 | number, value)));
    steps.extend(gone.into_iter().map(|seat| Step::PutSeat(seat * 2 | number, SeatValue::default())));
    steps.push(Step::Publish(generation));
    steps
}

fn same<K: Ord + Clone, V: PartialEq + Clone>(a: &OrdMap<K, V>, b: &OrdMap<K, V>) -> bool {
    a.ptr_eq(b) || a.diff(b).next().is_none()
}

/// What takes one to the other: entries to write and keys to delete.
pub(super) fn changes<K: Ord + Copy, V: PartialEq + Copy>(
    from: &OrdMap<K, V>,
    to: &OrdMap<K, V>,
) -> (Vec<(K, V)>, Vec<K>) {
    let (mut put, mut gone) = (Vec::new(), Vec::new());
    for item in from.diff(to) {
        match item {
            DiffItem::Add(key, value) | DiffItem::Update { new: (key, value), .. } => put.push((*key, *value)),
            DiffItem::Remove(key, _) => gone.push(*key),
        }
    }
    (put, gone)
}

impl Observed {
    /// Tables as they were read.
    pub fn new(
        generation: u32,
        identities: impl IntoIterator<Item = (IdentityKey, u32)>,
        rules: impl IntoIterator<Item = (RuleKey, u32)>,
        seats: impl IntoIterator<Item = (u32, SeatValue)>,
    ) -> Observed {
        let mut observed = Observed { generation, ..Observed::default() };
        identities.into_iter().for_each(|(key, value)| observed.apply(&Step::PutIdentity(key, value)));
        rules.into_iter().for_each(|(key, value)| observed.apply(&Step::PutRule(key, value)));
        seats.into_iter().for_each(|(index, value)| observed.apply(&Step::PutSeat(index, value)));
        observed
    }

    /// Does what the step does to the kernel's tables.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Settle => {}
            Step::PutIdentity(key, value) => {
                self.bank(key.bank).identities.insert(IdentityKey { bank: 0, ..*key }, *value);
            }
            Step::DeleteIdentity(key) => {
                self.bank(key.bank).identities.remove(&IdentityKey { bank: 0, ..*key });
            }
            Step::PutRule(key, value) => {
                self.bank(key.bank).rules.insert(RuleKey { bank: 0, ..*key }, *value);
            }
            Step::DeleteRule(key) => {
                self.bank(key.bank).rules.remove(&RuleKey { bank: 0, ..*key });
            }
            Step::PutSeat(index, value) => {
                let (seat, seats) = (index >> 1, &mut self.bank(*index).seats);
                if *value == SeatValue::default() {
                    seats.remove(&seat);
                } else {
                    seats.insert(seat, *value);
                }
            }
            Step::Publish(generation) => self.generation = *generation,
        }
    }

    /// Takes a whole plan for done. Other than step by step, the bank then shares with what was desired all that it has, and the next
    /// plan for it costs what has changed since.
    pub fn publish(&mut self, desired: &Desired) {
        self.generation = self.generation.wrapping_add(1);
        *self.bank(self.generation) = desired.bank.clone();
    }

    fn bank(&mut self, number: u32) -> &mut Bank {
        &mut self.banks[bank(number) as usize]
    }
}
