//! Seeded mutations of known inputs, for runs that must end and be the same each time.

/// Bytes that parsers care about.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-0",
    "1e999",
    "9223372036854775808",
    "\\u0000",
    "\u{feff}",
    "&a",
    "*a",
    "|-",
    "- ",
    "\n",
    "$patch",
    "delete",
    "replace",
    "$retainKeys",
    "$setElementOrder/containers",
    "metadata",
    "name",
    "spec",
    "..",
    "%2f",
    "//",
    "?",
    "&",
    "=",
    "!=",
    " in (",
    " notin (",
    ")",
    "e-9",
    "Ki",
    "n",
    "\0",
    "k8s\0",
];

/// Draws inputs from seeds.
#[derive(Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// The same seed draws the same inputs.
    #[must_use]
    pub fn new(seed: u64) -> Mutator {
        Mutator { state: seed | 1 }
    }

    /// A mutation of one of `seeds`.
    pub fn draw(&mut self, seeds: &[&[u8]]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            let end = (at + self.below(12)).min(input.len());
            match self.below(7) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 => drop(input.drain(at..end)),
                2 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    input.splice(at..at, token.bytes());
                }
                3 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    input.splice(at..end, token.bytes());
                }
                4 => {
                    let part = input[at..end].to_vec();
                    input.splice(at..at, part.iter().copied().cycle().take(part.len() * self.below(20)));
                }
                5 => {
                    let other = seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                _ => input.insert(at, u8::try_from(self.below(256)).expect("below 256")),
            }
        }
        input
    }

    /// xorshift64*.
    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let drawn = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        usize::try_from(drawn).expect("48 bits") % limit.max(1)
    }
}
