//! Numbers as schemas see them: 1.0 is an integer.

use serde_json::{Number, Value};

/// Whether the number has no fraction.
pub(super) fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|f| f.fract() == 0.0 && f.abs() < 9.3e18)
}

/// What the number should have been, if it is out of its format's range.
pub(super) fn out_of_format(kind: &str, format: &str, number: &Number) -> Option<&'static str> {
    let fits_i32 = number.as_i64().map_or_else(
        || number.as_f64().is_some_and(|f| f >= f64::from(i32::MIN) && f <= f64::from(i32::MAX)),
        |i| i32::try_from(i).is_ok(),
    );
    match (kind, format) {
        ("integer", "int32") if !fits_i32 => Some("integer with int32 format"),
        ("integer", "int64") if number.as_i64().is_none() && !is_integer(number) => Some("integer with int64 format"),
        ("number", "float") if number.as_f64().is_some_and(|f| f.abs() > f64::from(f32::MAX)) => {
            Some("number with float format")
        }
        _ => None,
    }
}

pub(super) fn is_multiple(number: f64, of: f64) -> bool {
    if of <= 0.0 {
        return true;
    }
    let quotient = number / of;
    (quotient - quotient.round()).abs() < 1e-9 * quotient.abs().max(1.0)
}

/// Integers without a fraction.
pub(super) fn print(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e21 { format!("{number:.0}") } else { number.to_string() }
}

/// Equality of JSON values where 1 and 1.0 are the same.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        _ => a == b,
    }
}
