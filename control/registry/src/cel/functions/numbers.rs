//! Arithmetic, conversions, quantities and versions.

use super::{EvalError, Outcome, Val, append, other};
use api::quantity::Quantity;
use jiff::SignedDuration;
use std::rc::Rc;

pub(super) fn operate(name: &str, args: &[Val]) -> Outcome {
    let overflow = |kind: &str| other(format!("{kind} overflow"));
    match (name, args) {
        ("-_", [Val::Int(a)]) => a.checked_neg().map(Val::Int).ok_or_else(|| overflow("integer")),
        ("-_", [Val::Double(a)]) => Ok(Val::Double(-a)),
        ("-_", [Val::Duration(a)]) => a.checked_neg().map(Val::Duration).ok_or_else(|| overflow("integer")),
        (_, [Val::Int(a), Val::Int(b)]) => {
            let result = match name {
                "+" => a.checked_add(*b),
                "-" => a.checked_sub(*b),
                "*" => a.checked_mul(*b),
                "/" if *b == 0 => return Err(other("division by zero")),
                "/" => a.checked_div(*b),
                "%" if *b == 0 => return Err(other("modulus by zero")),
                "%" => a.checked_rem(*b),
                _ => return Err(EvalError::Overload),
            };
            result.map(Val::Int).ok_or_else(|| overflow("integer"))
        }
        (_, [Val::Uint(a), Val::Uint(b)]) => {
            let result = match name {
                "+" => a.checked_add(*b),
                "-" => a.checked_sub(*b),
                "*" => a.checked_mul(*b),
                "/" if *b == 0 => return Err(other("division by zero")),
                "/" => a.checked_div(*b),
                "%" if *b == 0 => return Err(other("modulus by zero")),
                "%" => a.checked_rem(*b),
                _ => return Err(EvalError::Overload),
            };
            result.map(Val::Uint).ok_or_else(|| overflow("unsigned integer"))
        }
        (_, [Val::Double(a), Val::Double(b)]) => Ok(Val::Double(match name {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" => a / b,
            _ => return Err(EvalError::Overload),
        })),
        ("+", [Val::Str(a), Val::Str(b)]) => Ok(Val::Str([&**a, &**b].concat().into())),
        ("+", [Val::Bytes(a), Val::Bytes(b)]) => Ok(Val::Bytes([&**a, &**b].concat().into())),
        ("+", [Val::List(a, kind), Val::List(b, _)]) => Ok(append(a, b, kind)),
        ("+", [Val::Duration(a), Val::Duration(b)]) => {
            a.checked_add(*b).map(Val::Duration).ok_or_else(|| overflow("duration"))
        }
        ("-", [Val::Duration(a), Val::Duration(b)]) => {
            a.checked_sub(*b).map(Val::Duration).ok_or_else(|| overflow("duration"))
        }
        ("+", [Val::Timestamp(at), Val::Duration(by)]) | ("+", [Val::Duration(by), Val::Timestamp(at)]) => {
            at.checked_add(SignedDuration::from_nanos(*by)).map(Val::Timestamp).map_err(|_| overflow("timestamp"))
        }
        ("-", [Val::Timestamp(at), Val::Duration(by)]) => {
            at.checked_sub(SignedDuration::from_nanos(*by)).map(Val::Timestamp).map_err(|_| overflow("timestamp"))
        }
        ("-", [Val::Timestamp(a), Val::Timestamp(b)]) => {
            i64::try_from(a.duration_since(*b).as_nanos()).map(Val::Duration).map_err(|_| overflow("timestamp"))
        }
        _ => Err(EvalError::Overload),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "conversions that are checked, or that cel-go makes so"
)]
pub(super) fn convert(name: &str, value: &Val) -> Outcome {
    let range = |kind: &str| other(format!("{kind} overflow"));
    let bad = |text: &str| other(format!("type conversion error from 'string' to '{name}': {text:?}"));
    Ok(match (name, value) {
        ("int", Val::Int(_)) | ("uint", Val::Uint(_)) | ("double", Val::Double(_)) | ("bool", Val::Bool(_)) => {
            value.clone()
        }
        ("int", Val::Uint(n)) => Val::Int(i64::try_from(*n).map_err(|_| range("integer"))?),
        ("int", Val::Double(n)) if n.is_finite() && n.abs() < 9.223_372_036_854_775e18 => Val::Int(*n as i64),
        ("int", Val::Double(_)) => return Err(range("integer")),
        ("int", Val::Str(text)) => Val::Int(text.parse().map_err(|_| bad(text))?),
        ("int", Val::Timestamp(at)) => Val::Int(at.as_second()),
        ("int", Val::Duration(nanos)) => Val::Int(*nanos),
        ("uint", Val::Int(n)) => Val::Uint(u64::try_from(*n).map_err(|_| range("unsigned integer"))?),
        ("uint", Val::Double(n)) if *n >= 0.0 && *n < 1.844_674_407_370_955e19 => Val::Uint(*n as u64),
        ("uint", Val::Double(_)) => return Err(range("unsigned integer")),
        ("uint", Val::Str(text)) => Val::Uint(text.parse().map_err(|_| bad(text))?),
        ("double", Val::Int(n)) => Val::Double(*n as f64),
        ("double", Val::Uint(n)) => Val::Double(*n as f64),
        ("double", Val::Str(text)) => Val::Double(text.parse().map_err(|_| bad(text))?),
        ("bool", Val::Str(text)) => match &**text {
            "true" | "TRUE" | "True" | "t" | "1" => Val::Bool(true),
            "false" | "FALSE" | "False" | "f" | "0" => Val::Bool(false),
            _ => return Err(bad(text)),
        },
        _ => return Err(EvalError::Overload),
    })
}

pub(super) fn quantity(name: &str, own: Quantity, rest: &[Val]) -> Outcome {
    let operand = match rest {
        [Val::Quantity(operand)] => Some(*operand),
        [Val::Int(number)] => Some(Quantity::new(*number, own.format())),
        _ => None,
    };
    Ok(match (name, operand, rest) {
        ("sign", None, []) if own.is_negative() => Val::Int(-1),
        ("sign", None, []) => Val::Int(i64::from(!own.is_zero())),
        ("isInteger", None, []) => Val::Bool(own.is_whole()),
        ("asInteger", None, []) if own.is_whole() => Val::Int(own.value()),
        ("asInteger", None, []) => return Err(other("cannot convert value to integer")),
        #[expect(clippy::cast_precision_loss, reason = "the function promises an approximation")]
        ("asApproximateFloat", None, []) => {
            Val::Double(if own.is_whole() { own.value() as f64 } else { own.milli_value() as f64 / 1000.0 })
        }
        ("add", Some(operand), _) => Val::Quantity(own.add(operand)),
        ("sub", Some(operand), _) => Val::Quantity(own.sub(operand)),
        ("isGreaterThan", Some(operand), _) => Val::Bool(own > operand),
        ("isLessThan", Some(operand), _) => Val::Bool(own < operand),
        ("compareTo", Some(operand), _) => Val::Int(own.cmp(&operand) as i64),
        _ => return Err(EvalError::Overload),
    })
}

/// `1.2.3-pre+build`; with a second argument that is true, `v1.2` too.
pub(super) fn semver(text: &str, rest: &[Val]) -> Option<(u64, u64, u64, String)> {
    let lenient = match rest {
        [] => false,
        [Val::Bool(flag)] => *flag,
        _ => return None,
    };
    let text = if lenient { text.strip_prefix('v').unwrap_or(text) } else { text };
    let cut = text.find(['-', '+']).unwrap_or(text.len());
    let (core, after) = text.split_at(cut);
    let mut parts = core.split('.').map(|part| {
        let canonical = lenient || part == "0" || !part.starts_with('0');
        if canonical && part.bytes().all(|b| b.is_ascii_digit()) { part.parse::<u64>().ok() } else { None }
    });
    let major = parts.next()??;
    let (minor, patch) = match (parts.next(), parts.next()) {
        (Some(minor), Some(patch)) => (minor?, patch?),
        (minor, None) if lenient => (minor.unwrap_or(Some(0))?, 0),
        _ => return None,
    };
    let fine = after.chars().all(|c| c.is_ascii_alphanumeric() || "-+.".contains(c)) && after.len() != 1;
    (parts.next().is_none() && fine).then(|| (major, minor, patch, after.to_owned()))
}

type Version = (u64, u64, u64, String);

pub(super) fn version(name: &str, own: &Rc<Version>, rest: &[Val]) -> Outcome {
    let number = |n: u64| Val::Int(i64::try_from(n).unwrap_or(i64::MAX));
    // A release is newer than what comes before it.
    fn order(a: &Version, b: &Version) -> std::cmp::Ordering {
        let pre = |text: &str| text.strip_prefix('-').map(|t| t.split('+').next().unwrap_or(t).to_owned());
        (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)).then_with(|| match (pre(&a.3), pre(&b.3)) {
            (None, None) => std::cmp::Ordering::Equal,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(_), None) => std::cmp::Ordering::Less,
            (Some(a), Some(b)) => a.cmp(&b),
        })
    }
    Ok(match (name, rest) {
        ("major", []) => number(own.0),
        ("minor", []) => number(own.1),
        ("patch", []) => number(own.2),
        ("isGreaterThan", [Val::Semver(operand)]) => Val::Bool(order(own, operand).is_gt()),
        ("isLessThan", [Val::Semver(operand)]) => Val::Bool(order(own, operand).is_lt()),
        ("compareTo", [Val::Semver(operand)]) => Val::Int(order(own, operand) as i64),
        _ => return Err(EvalError::Overload),
    })
}
