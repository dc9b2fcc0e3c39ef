//! From the banks that stand to the one that should: writes to the bank that no packet sees, then one that shows it.
use std::collections::BTreeMap;

use abi::{IdentityKey, RuleKey, SeatValue, bank};

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
    pub identities: BTreeMap<IdentityKey, u32>,
    pub rules: BTreeMap<RuleKey, u32>,
    /// By seat; without those that are all zero.
    pub seats: BTreeMap<u32, SeatValue>,
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
    let seen = &observed.banks[bank(observed.generation) as usize];
    if seen.identities == desired.identities && seen.rules == desired.rules && seen.seats == desired.seats {
        return Vec::new();
    }
    let generation = observed.generation.wrapping_add(1);
    let number = bank(generation);
    let hidden = &observed.banks[number as usize];
    let mut steps = vec![Step::Settle];
    for (key, value) in changed(&desired.identities, &hidden.identities) {
        steps.push(Step::PutIdentity(IdentityKey { bank: number, ..key }, value));
    }
    for key in gone(&desired.identities, &hidden.identities) {
        steps.push(Step::DeleteIdentity(IdentityKey { bank: number, ..key }));
    }
    for (key, value) in changed(&desired.rules, &hidden.rules) {
        steps.push(Step::PutRule(RuleKey { bank: number, ..key }, value));
    }
    for key in gone(&desired.rules, &hidden.rules) {
        steps.push(Step::DeleteRule(RuleKey { bank: number, ..key }));
    }
    for (seat, value) in changed(&desired.seats, &hidden.seats) {
        steps.push(Step::PutSeat(seat * 2 | number, value));
    }
    for seat in gone(&desired.seats, &hidden.seats) {
        steps.push(Step::PutSeat(seat * 2 | number, SeatValue::default()));
    }
    steps.push(Step::Publish(generation));
    steps
}

fn changed<'a, K: Ord + Copy, V: PartialEq + Copy>(
    desired: &'a BTreeMap<K, V>,
    stands: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (K, V)> + 'a {
    desired.iter().filter(|(key, value)| stands.get(*key) != Some(*value)).map(|(key, value)| (*key, *value))
}

fn gone<'a, K: Ord + Copy, V>(desired: &'a BTreeMap<K, V>, stands: &'a BTreeMap<K, V>) -> impl Iterator<Item = K> + 'a {
    stands.keys().filter(|key| !desired.contains_key(*key)).copied()
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

    fn bank(&mut self, number: u32) -> &mut Bank {
        &mut self.banks[bank(number) as usize]
    }
}
