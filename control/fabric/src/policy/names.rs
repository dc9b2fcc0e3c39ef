//! Numbers for classes and rulesets, made of what they are.

use std::collections::BTreeMap;

/// Gives each text a number that is not 0: its hash, or the next free one, the lesser text first. So the same texts have the same numbers
/// on every control plane, and a text mostly keeps its number whatever others there are.
pub fn number<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, u32> {
    let sorted: std::collections::BTreeSet<&str> = texts.into_iter().collect();
    let mut taken = std::collections::BTreeSet::new();
    let mut numbers = BTreeMap::new();
    for text in sorted {
        let mut number = hash(text);
        while number == 0 || !taken.insert(number) {
            number = number.wrapping_add(1);
        }
        numbers.insert(text, number);
    }
    numbers
}

/// FNV-1a with 64 bits, folded.
fn hash(text: &str) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    (hash ^ (hash >> 32)) as u32
}
