//! Strings and their formats.

use std::rc::Rc;

use super::{EvalError, Outcome, Val, other, position};
use crate::custom::{duration, schema::regex};
use crate::validate::names;

/// Longest text a function makes.
const MAX_TEXT: usize = 4 << 20;

/// `string(value)`.
pub(super) fn string(value: &Val) -> Option<String> {
    Some(match value {
        Val::Bool(flag) => flag.to_string(),
        Val::Int(number) => number.to_string(),
        Val::Uint(number) => number.to_string(),
        Val::Double(number) => number.to_string(),
        Val::Str(text) | Val::Url(text) => text.to_string(),
        Val::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
        Val::Duration(nanos) => duration::print(*nanos),
        Val::Timestamp(at) => at.to_string(),
        Val::Quantity(quantity) => quantity.to_string(),
        Val::Ip(ip) => ip.to_string(),
        Val::Cidr(cidr) => cidr.to_string(),
        Val::Semver(version) => format!("{}.{}.{}{}", version.0, version.1, version.2, version.3),
        Val::Type(name) => (*name).to_owned(),
        _ => return None,
    })
}

pub(super) fn call(name: &str, args: &[Val]) -> Outcome {
    let flag = |flag: bool| Ok(Val::Bool(flag));
    match (name, args) {
        ("contains", [Val::Str(a), Val::Str(b)]) => flag(a.contains(&**b)),
        ("startsWith", [Val::Str(a), Val::Str(b)]) => flag(a.starts_with(&**b)),
        ("endsWith", [Val::Str(a), Val::Str(b)]) => flag(a.ends_with(&**b)),
        ("matches", [Val::Str(text), Val::Str(pattern)]) => flag(compiled(pattern)?.is_match(text)),
        ("find", [Val::Str(text), Val::Str(pattern)]) => {
            Ok(Val::text(compiled(pattern)?.find(text).map_or("", |found| found.as_str())))
        }
        ("findAll", [Val::Str(text), Val::Str(pattern), rest @ ..]) => {
            let limit = match rest {
                [Val::Int(limit)] if *limit >= 0 => usize::try_from(*limit).unwrap_or(usize::MAX),
                [] | [Val::Int(_)] => usize::MAX,
                _ => return Err(EvalError::Overload),
            };
            let pattern = compiled(pattern)?;
            Ok(Val::list(pattern.find_iter(text).take(limit).map(|found| Val::text(found.as_str())).collect()))
        }
        ("lowerAscii", [Val::Str(text)]) => Ok(Val::text(&text.to_ascii_lowercase())),
        ("upperAscii", [Val::Str(text)]) => Ok(Val::text(&text.to_ascii_uppercase())),
        ("trim", [Val::Str(text)]) => Ok(Val::text(text.trim())),
        ("reverse", [Val::Str(text)]) => Ok(Val::text(&text.chars().rev().collect::<String>())),
        ("strings.quote", [Val::Str(text)]) => Ok(Val::text(&format!("{text:?}"))),
        ("charAt", [Val::Str(text), Val::Int(i)]) => {
            let length = text.chars().count();
            match usize::try_from(*i).ok().filter(|i| *i <= length) {
                Some(i) => Ok(Val::text(&text.chars().nth(i).map(String::from).unwrap_or_default())),
                None => Err(other(format!("index out of range: {i}"))),
            }
        }
        ("indexOf" | "lastIndexOf", [Val::Str(text), Val::Str(part), rest @ ..]) => find(name, text, part, rest),
        ("substring", [Val::Str(text), Val::Int(from), rest @ ..]) => {
            let length = text.chars().count();
            let to = match rest {
                [] => length,
                [Val::Int(to)] => {
                    usize::try_from(*to).ok().filter(|to| *to <= length).ok_or_else(|| out_of_range(*to))?
                }
                _ => return Err(EvalError::Overload),
            };
            let from_at =
                usize::try_from(*from).ok().filter(|from| *from <= length).ok_or_else(|| out_of_range(*from))?;
            if from_at > to {
                return Err(other(format!("invalid substring range. start: {from_at}, end: {to}")));
            }
            Ok(Val::text(&text.chars().skip(from_at).take(to - from_at).collect::<String>()))
        }
        ("replace", [Val::Str(text), Val::Str(from), Val::Str(to), rest @ ..]) => {
            let count = match rest {
                [] => usize::MAX,
                [Val::Int(count)] => usize::try_from(*count).unwrap_or(usize::MAX),
                _ => return Err(EvalError::Overload),
            };
            let matches = (text.matches(&**from).count()).min(count);
            if text.len().saturating_add(matches.saturating_mul(to.len())) > MAX_TEXT {
                return Err(EvalError::Cost);
            }
            Ok(Val::text(&text.replacen(&**from, to, count)))
        }
        ("split", [Val::Str(text), Val::Str(by), rest @ ..]) => {
            let limit = match rest {
                [] => usize::MAX,
                [Val::Int(0)] => return Ok(Val::list(Vec::new())),
                [Val::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                _ => return Err(EvalError::Overload),
            };
            let parts: Vec<Val> = if by.is_empty() {
                let all: Vec<char> = text.chars().collect();
                let whole = all.len().min(limit.saturating_sub(1));
                let mut parts: Vec<Val> = all[..whole].iter().map(|c| Val::text(&c.to_string())).collect();
                if whole < all.len() {
                    parts.push(Val::text(&all[whole..].iter().collect::<String>()));
                }
                parts
            } else {
                text.splitn(limit, &**by).map(Val::text).collect()
            };
            Ok(Val::list(parts))
        }
        ("join", [Val::List(items, _), rest @ ..]) => {
            let separator = match rest {
                [] => "",
                [Val::Str(text)] => text,
                _ => return Err(EvalError::Overload),
            };
            let mut out = String::new();
            for (i, item) in items.iter().enumerate() {
                let Val::Str(item) = item else { return Err(EvalError::Overload) };
                if i > 0 {
                    out.push_str(separator);
                }
                out.push_str(item);
                if out.len() > MAX_TEXT {
                    return Err(EvalError::Cost);
                }
            }
            Ok(Val::text(&out))
        }
        ("format", [Val::Str(text), Val::List(args, _)]) => format(text, args),
        _ => Err(EvalError::Overload),
    }
}

fn out_of_range(index: i64) -> EvalError {
    other(format!("index out of range: {index}"))
}

fn compiled(pattern: &str) -> Result<::regex::Regex, EvalError> {
    regex(pattern).map_err(|_| other(format!("error parsing regexp: {pattern}")))
}

fn find(name: &str, text: &str, part: &str, rest: &[Val]) -> Outcome {
    let chars: Vec<char> = text.chars().collect();
    let part: Vec<char> = part.chars().collect();
    let from = match rest {
        [] => None,
        [Val::Int(from)] => {
            Some(usize::try_from(*from).ok().filter(|from| *from <= chars.len()).ok_or_else(|| out_of_range(*from))?)
        }
        _ => return Err(EvalError::Overload),
    };
    let last = chars.len().checked_sub(part.len());
    let is_at = |i: usize| chars[i..].starts_with(&part);
    let Some(last) = last else { return Ok(Val::Int(-1)) };
    Ok(position(if name == "indexOf" {
        (from.unwrap_or(0)..=last).find(|i| is_at(*i))
    } else {
        (0..=last.min(from.unwrap_or(last))).rev().find(|i| is_at(*i))
    }))
}

fn format(text: &str, args: &[Val]) -> Outcome {
    let mut out = String::new();
    let mut args = args.iter();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if out.len() > MAX_TEXT {
            return Err(EvalError::Cost);
        }
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut precision = None;
        if chars.peek() == Some(&'.') {
            chars.next();
            let mut digits = String::new();
            while let Some(digit) = chars.peek().filter(|c| c.is_ascii_digit()) {
                digits.push(*digit);
                chars.next();
            }
            precision = Some(digits.parse::<usize>().unwrap_or(6).min(64));
        }
        let verb = chars.next().ok_or_else(|| other("could not parse formatting clause: unexpected end"))?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let arg = args.next().ok_or_else(|| other("index out of range"))?;
        let made = match (verb, arg) {
            ('s', arg) => listed(arg),
            ('d', Val::Int(_) | Val::Uint(_)) => string(arg),
            ('f', number) => as_double(number).map(|n| format!("{n:.0$}", precision.unwrap_or(6))),
            ('e', number) => as_double(number).map(|n| format!("{n:.0$e}", precision.unwrap_or(6))),
            ('b', Val::Int(n)) => Some(format!("{n:b}")),
            ('b', Val::Bool(flag)) => Some(u8::from(*flag).to_string()),
            ('x', Val::Int(n)) => Some(format!("{n:x}")),
            ('X', Val::Int(n)) => Some(format!("{n:X}")),
            ('o', Val::Int(n)) => Some(format!("{n:o}")),
            ('x', Val::Str(text)) => Some(text.bytes().map(|b| format!("{b:02x}")).collect()),
            _ => None,
        };
        let made = made.ok_or_else(|| {
            other(format!("error during formatting: no formatting function for %{verb} of {}", arg.type_name()))
        })?;
        out.push_str(&made);
    }
    Ok(Val::text(&out))
}

#[expect(clippy::cast_precision_loss, reason = "a number to be shown with a few digits")]
fn as_double(value: &Val) -> Option<f64> {
    match value {
        Val::Double(n) => Some(*n),
        Val::Int(n) => Some(*n as f64),
        Val::Uint(n) => Some(*n as f64),
        _ => None,
    }
}

fn listed(value: &Val) -> Option<String> {
    Some(match value {
        Val::Null => "null".to_owned(),
        Val::List(items, _) => {
            format!("[{}]", items.iter().map(listed).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Val::Map(entries) => {
            let mut parts = entries
                .iter()
                .map(|(k, v)| Some(format!("{}: {}", listed(k)?, listed(v)?)))
                .collect::<Option<Vec<_>>>()?;
            parts.sort();
            format!("{{{}}}", parts.join(", "))
        }
        other => return string(other),
    })
}

const FORMATS: [&str; 10] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

pub(super) fn format_named(name: &str) -> Option<&'static str> {
    FORMATS.into_iter().find(|known| *known == name)
}

/// None if the text has the format, else what is wrong.
pub(super) fn validate(format: &str, text: &str) -> Val {
    let wrong = match format {
        "dns1123Label" => names::dns_label(text),
        "dns1123Subdomain" => names::dns_subdomain(text),
        "dns1035Label" => names::dns_1035_label(text),
        "qualifiedName" => names::qualified(text),
        "labelValue" => names::label_value(text),
        other if crate::custom::validate::has_format(other, text) => Vec::new(),
        _ => vec![format!("does not match the format {format}")],
    };
    let wrong: Vec<Val> = wrong.iter().map(|text| Val::text(text)).collect();
    Val::Optional((!wrong.is_empty()).then(|| Rc::new(Val::list(wrong))))
}
