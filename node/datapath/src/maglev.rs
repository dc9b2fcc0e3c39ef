//! Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): rings on which every member has its share of the slots, and on which
//! few slots move when a member comes or goes.

/// Sizes of rings: primes, so that each member's walk visits every slot.
pub const SIZES: [u32; 9] = [251, 509, 1_021, 2_039, 4_093, 8_191, 16_381, 32_749, 65_521];
/// Those that [`default_size`] chooses from.
const STEPS: [u32; 4] = [509, 2_039, 8_191, 32_749];
/// A ring starts with so many slots a member, which bounds the difference of shares to about a percent.
const SLOTS_A_MEMBER: u32 = 100;
/// It is kept until members have fewer than so many, because another size moves every flow.
const KEEP_SLOTS_A_MEMBER: u32 = 10;

/// One member of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// A hash of what the member is, not of its place in a list: the same on every node, and over time.
    pub hash: u64,
    /// Its share in proportion to the others'; 0 gets none.
    pub weight: u32,
}

/// The size of a ring for so many members, given the size it has (0: none).
pub fn size(members: usize, present: u32) -> u32 {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    if present != 0 && members.saturating_mul(KEEP_SLOTS_A_MEMBER) <= present {
        return present;
    }
    let wanted = members.saturating_mul(SLOTS_A_MEMBER);
    SIZES.into_iter().find(|size| *size >= wanted).unwrap_or(SIZES[SIZES.len() - 1])
}

/// The size of a ring for so many members where it must be the same on every node, whatever it was before. Few steps, because each
/// moves every flow.
pub fn default_size(members: usize) -> u32 {
    let wanted = u32::try_from(members).unwrap_or(u32::MAX).saturating_mul(SLOTS_A_MEMBER);
    STEPS.into_iter().find(|size| *size >= wanted).unwrap_or(STEPS[STEPS.len() - 1])
}

/// Whether a ring may have so many slots: a prime up to the largest of [`SIZES`].
pub fn is_size(size: u32) -> bool {
    let is_prime = || (2..).take_while(|n| n * n <= size).all(|n| !size.is_multiple_of(n));
    (SIZES[0]..=SIZES[SIZES.len() - 1]).contains(&size) && is_prime()
}

/// For each slot the index of its member; empty if no member has a share. Equal members give equal rings in whatever order
/// they are listed, but for the indexes.
pub fn ring(members: &[Member], size: u32) -> Vec<u32> {
    let heaviest = members.iter().map(|member| member.weight).max().unwrap_or(0);
    if heaviest == 0 || size < 2 {
        return Vec::new();
    }
    // Turns go by hash, so that the order of the list does not matter.
    let mut turns: Vec<Turn> = members
        .iter()
        .enumerate()
        .filter(|(_, member)| member.weight > 0)
        .map(|(index, member)| Turn::new(index as u32, *member, size))
        .collect();
    turns.sort_by_key(|turn| (turn.hash, turn.weight));
    let mut ring = vec![u32::MAX; size as usize];
    let mut left = size;
    loop {
        for turn in &mut turns {
            // A member takes its turn in so many of the rounds as its weight is of the heaviest.
            turn.credit += u64::from(turn.weight);
            if turn.credit < u64::from(heaviest) {
                continue;
            }
            turn.credit -= u64::from(heaviest);
            let slot = turn.next_free(&ring, size);
            ring[slot] = turn.index;
            left -= 1;
            if left == 0 {
                return ring;
            }
        }
    }
}

/// A member's walk over the slots.
struct Turn {
    hash: u64,
    index: u32,
    weight: u32,
    credit: u64,
    at: u32,
    skip: u32,
}

impl Turn {
    fn new(index: u32, member: Member, size: u32) -> Turn {
        let at = (spread(member.hash) % u64::from(size)) as u32;
        let skip = (spread(member.hash ^ 0x6a09_e667_f3bc_c909) % u64::from(size - 1)) as u32 + 1;
        Turn { hash: member.hash, index, weight: member.weight, credit: 0, at, skip }
    }

    /// The first slot on the walk that nobody has. There is one: the caller counts them.
    fn next_free(&mut self, ring: &[u32], size: u32) -> usize {
        loop {
            let slot = self.at as usize;
            self.at = ((u64::from(self.at) + u64::from(self.skip)) % u64::from(size)) as u32;
            if ring[slot] == u32::MAX {
                return slot;
            }
        }
    }
}

/// The finaliser of SplitMix64 (Steele et al., 2014).
pub fn spread(hash: u64) -> u64 {
    let mut h = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

#[cfg(test)]
mod tests;
