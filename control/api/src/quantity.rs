//! Amounts of resources: `100m`, `1.5Gi`, `2e3`. Exact to a nano, never floating point, with the canonical form
//! that clients compare.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// The family of suffixes a quantity was written with, and is written with again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `Ki`, `Mi`, ...
    BinarySi,
    /// `m`, `k`, `M`, ...
    DecimalSi,
    /// `e3`, `E6`, ...
    DecimalExponent,
}

/// An amount; compared by value, whatever its format.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// A text that is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
}

const NANO: i128 = 1_000_000_000;
/// No quantity is larger than the largest 64-bit integer.
const MAX_NANOS: i128 = i64::MAX as i128 * NANO;
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL_SUFFIXES: [(i32, &str); 10] =
    [(-9, "n"), (-6, "u"), (-3, "m"), (0, ""), (3, "k"), (6, "M"), (9, "G"), (12, "T"), (15, "P"), (18, "E")];

impl Default for Quantity {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole number.
    #[must_use]
    pub fn new(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format }
    }

    /// Thousandths, such as CPU millicores.
    #[must_use]
    pub fn from_milli(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * (NANO / 1000), format }
    }

    /// Reads a quantity; amounts finer than a nano round up, away from zero.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let number_end = rest.bytes().position(|b| !b.is_ascii_digit() && b != b'.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(QuantityError::Format);
        }
        let (scale, format) = parse_suffix(suffix)?;
        let nanos = scale_to_nanos(whole, fraction, scale).min(MAX_NANOS);
        let below_one = format == Format::BinarySi && nanos > 0 && nanos < NANO;
        let format = if below_one { Format::DecimalSi } else { format };
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }

    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The amount in units, rounded away from zero.
    #[must_use]
    pub fn value(&self) -> i64 {
        clamp(divide_away(self.nanos, NANO))
    }

    /// The amount in thousandths, rounded away from zero.
    #[must_use]
    pub fn milli_value(&self) -> i64 {
        clamp(divide_away(self.nanos, NANO / 1000))
    }

    /// Rounded away from zero to thousandths: the finest amount an object may ask for.
    #[must_use]
    pub fn round_up_to_milli(&self) -> Self {
        Self { nanos: divide_away(self.nanos, NANO / 1000) * (NANO / 1000), format: self.format }
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }

    /// The sum, in this quantity's format (the other's, if this one is zero).
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "the format rule makes it no plain operator")]
    pub fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-MAX_NANOS, MAX_NANOS), format }
    }

    /// The difference, in this quantity's format (the other's, if this one is zero).
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "the format rule makes it no plain operator")]
    pub fn sub(self, other: Self) -> Self {
        self.add(Self { nanos: -other.nanos, format: other.format })
    }
}

fn clamp(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

fn divide_away(n: i128, by: i128) -> i128 {
    let quotient = n / by;
    quotient + if n % by == 0 { 0 } else { n.signum() }
}

/// What a suffix multiplies with.
#[derive(Clone, Copy)]
enum Scale {
    Binary(u32),
    Decimal(i64),
}

fn parse_suffix(suffix: &str) -> Result<(Scale, Format), QuantityError> {
    if let Some(index) = BINARY_SUFFIXES.iter().skip(1).position(|s| *s == suffix) {
        return Ok((Scale::Binary(10 * (index as u32 + 1)), Format::BinarySi));
    }
    if let Some((exponent, _)) = DECIMAL_SUFFIXES.iter().find(|(_, s)| *s == suffix) {
        return Ok((Scale::Decimal(i64::from(*exponent)), Format::DecimalSi));
    }
    let letters_end = suffix.bytes().position(|b| !b"eEinumkKMGTP".contains(&b)).unwrap_or(suffix.len());
    let (letters, digits) = suffix.split_at(letters_end);
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    if !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QuantityError::Format);
    }
    match letters {
        "e" | "E" if !unsigned.is_empty() => {
            let magnitude = unsigned.parse::<i64>().unwrap_or(i64::from(i32::MAX)).min(i64::from(i32::MAX));
            let exponent = if digits.starts_with('-') { -magnitude } else { magnitude };
            Ok((Scale::Decimal(exponent), Format::DecimalExponent))
        }
        _ => Err(QuantityError::Suffix),
    }
}

/// `whole.fraction` times the scale, in nanos rounded up, or `MAX_NANOS` if it is larger.
fn scale_to_nanos(whole: &str, fraction: &str, scale: Scale) -> i128 {
    match scale {
        Scale::Decimal(exponent) => {
            let digits = [whole, fraction].concat();
            decimal_nanos(&digits, exponent - fraction.len() as i64 + 9)
        }
        Scale::Binary(bits) => {
            // Digits beyond 40 cannot change the result by more than the final rounding up.
            let kept = &fraction[..fraction.len().min(27)];
            let cut = fraction[kept.len()..].bytes().any(|b| b != b'0');
            let whole_part = decimal_nanos(whole, 9);
            if whole_part >= MAX_NANOS >> bits {
                return MAX_NANOS;
            }
            let numerator = kept.parse::<i128>().unwrap_or(0);
            let denominator = 10_i128.pow(kept.len() as u32);
            // (numerator / denominator) * 2^bits * 10^9, kept in range by halving factors of two first.
            let fraction_part = multiply_ratio(numerator, denominator, bits);
            ((whole_part << bits) + fraction_part + i128::from(cut)).min(MAX_NANOS)
        }
    }
}

/// `numerator / denominator * 2^bits * NANO`, rounded up; numerator < denominator <= 10^27.
fn multiply_ratio(numerator: i128, denominator: i128, bits: u32) -> i128 {
    let (mut whole, mut rest) = (0_i128, numerator);
    let mut step = |factor: i128| {
        rest *= factor;
        whole = whole * factor + rest / denominator;
        rest %= denominator;
    };
    for _ in 0..bits {
        step(2);
    }
    for _ in 0..9 {
        step(10);
    }
    whole + i128::from(rest != 0)
}

/// `digits * 10^exponent`, rounded up, or `MAX_NANOS` if it is larger.
fn decimal_nanos(digits: &str, exponent: i64) -> i128 {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    let length = digits.len() as i64 + exponent;
    if length > 29 {
        return MAX_NANOS;
    }
    if length <= 0 {
        return 1;
    }
    if exponent >= 0 {
        return digits.parse::<i128>().map_or(MAX_NANOS, |n| n * 10_i128.pow(exponent as u32));
    }
    let (kept, cut) = digits.split_at(length as usize);
    kept.parse::<i128>().unwrap_or(MAX_NANOS) + i128::from(cut.bytes().any(|b| b != b'0'))
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nanos.hash(state);
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

/// The canonical form: no fraction, the largest suffix that loses nothing.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == Format::BinarySi && !small && self.is_whole() {
            let (mut number, mut index) = (self.nanos / NANO, 0);
            while number % 1024 == 0 && index + 1 < BINARY_SUFFIXES.len() {
                number /= 1024;
                index += 1;
            }
            return write!(f, "{number}{}", BINARY_SUFFIXES[index]);
        }
        let (mut number, mut exponent) = (self.nanos, -9);
        while number % 1000 == 0 && (exponent < 18 || self.format == Format::DecimalExponent) {
            number /= 1000;
            exponent += 3;
        }
        match self.format {
            Format::DecimalExponent if exponent == 0 => write!(f, "{number}"),
            Format::DecimalExponent => write!(f, "{number}e{exponent}"),
            Format::BinarySi | Format::DecimalSi => {
                let suffix = DECIMAL_SUFFIXES.iter().find(|(e, _)| *e == exponent).map_or("", |(_, s)| s);
                write!(f, "{number}{suffix}")
            }
        }
    }
}
