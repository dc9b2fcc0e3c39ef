//! Randomness: names, uids, seeds and secrets.

use crate::simulation;

/// Kubernetes' alphabet for generated names: no vowels and no look-alikes, so that no word appears by accident.
/// Source: k8s.io/apimachinery/pkg/util/rand.
const SAFE_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// `length` characters of Kubernetes' safe alphabet, e.g. for `generateName`.
pub fn random_suffix(length: usize) -> String {
    let limit = 256 - 256 % SAFE_ALPHABET.len();
    let mut suffix = String::with_capacity(length);
    let mut bytes = [0u8; 16];
    while suffix.len() < length {
        random_bytes(&mut bytes);
        let fair = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < limit);
        for byte in fair.take(length - suffix.len()) {
            suffix.push(char::from(SAFE_ALPHABET[byte % SAFE_ALPHABET.len()]));
        }
    }
    suffix
}

/// A random (version 4) UUID in its usual text form.
pub fn uuid() -> String {
    let mut bytes = [0u8; 16];
    random_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A seed for a pure function that takes one.
pub fn seed() -> u64 {
    let mut bytes = [0u8; 8];
    random_bytes(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Fills `bytes` from a cryptographically secure generator (in a simulation: from the simulation's seed).
pub fn random_bytes(bytes: &mut [u8]) {
    if !simulation::random_bytes(bytes) {
        rand::Rng::fill_bytes(&mut rand::rng(), bytes);
    }
}
