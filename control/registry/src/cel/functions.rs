//! What functions and operators do.

use std::net::IpAddr;
use std::rc::Rc;

use jiff::tz::TimeZone;

use super::value::ListKind;
use super::{EvalError, Val};
use api::quantity::Quantity;

mod net;
mod numbers;
mod texts;

type Outcome = Result<Val, EvalError>;

fn other(what: impl Into<String>) -> EvalError {
    EvalError::Other(what.into())
}

/// What a call costs beyond one: what it walks over.
pub(super) fn cost(name: &str, args: &[Val]) -> u64 {
    match name {
        "==" | "!=" | "in" | "<" | "<=" | ">" | ">=" | "contains" | "+" | "split" | "replace" | "join" | "format"
        | "substring" | "indexOf" | "lastIndexOf" | "isSorted" | "sum" | "min" | "max" | "lowerAscii"
        | "upperAscii" | "reverse" | "flatten" | "trim" | "string" | "bytes" | "quantity" | "url" | "ip" | "cidr"
        | "validate" | "distinct" => {
            let total: u64 = args.iter().map(Val::weight).sum();
            if name == "distinct" { total * total } else { total }
        }
        "matches" | "find" | "findAll" => args.iter().map(Val::weight).product::<u64>() + 2,
        "sets.contains" | "sets.equivalent" | "sets.intersects" => args.iter().map(Val::weight).product(),
        _ => 1,
    }
}

/// A value in messages and as a map's key.
pub(super) fn shown(value: &Val) -> String {
    match value {
        Val::Str(text) => text.to_string(),
        other => texts::string(other).unwrap_or_else(|| other.type_name().to_owned()),
    }
}

/// Calls a function; of a method, the first argument is the target.
pub(super) fn call(name: &str, is_method: bool, args: &[Val]) -> Outcome {
    match (name, args) {
        ("==", [a, b]) => Ok(Val::Bool(a.same(b))),
        ("!=", [a, b]) => Ok(Val::Bool(!a.same(b))),
        ("<", [a, b]) => a.order(b).map(|o| Val::Bool(o.is_lt())).ok_or(EvalError::Overload),
        ("<=", [a, b]) => a.order(b).map(|o| Val::Bool(o.is_le())).ok_or(EvalError::Overload),
        (">", [a, b]) => a.order(b).map(|o| Val::Bool(o.is_gt())).ok_or(EvalError::Overload),
        (">=", [a, b]) => a.order(b).map(|o| Val::Bool(o.is_ge())).ok_or(EvalError::Overload),
        ("!_", [Val::Bool(flag)]) => Ok(Val::Bool(!flag)),
        ("in", [item, Val::List(items, _)]) => Ok(Val::Bool(items.iter().any(|one| one.same(item)))),
        ("in", [key, map @ Val::Map(_)]) => Ok(Val::Bool(map.get(key).is_some())),
        ("+" | "-" | "*" | "/" | "%" | "-_", args) => numbers::operate(name, args),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Val::Type(value.type_name())),
        ("size", [value]) => size(value),
        ("int" | "uint" | "double" | "bool", [value]) => numbers::convert(name, value),
        ("string", [value]) => texts::string(value).map(|text| Val::text(&text)).ok_or(EvalError::Overload),
        ("bytes", [Val::Str(text)]) => Ok(Val::Bytes(text.as_bytes().into())),
        ("bytes", [bytes @ Val::Bytes(_)]) => Ok(bytes.clone()),
        ("duration", [Val::Str(text)]) => crate::custom::duration::parse(text)
            .map(Val::Duration)
            .ok_or_else(|| other(format!("time: invalid duration {text:?}"))),
        ("duration", [value @ Val::Duration(_)]) | ("timestamp", [value @ Val::Timestamp(_)]) => Ok(value.clone()),
        ("timestamp", [Val::Str(text)]) => api::time::parse(text)
            .map(Val::Timestamp)
            .ok_or_else(|| other(format!("parsing time {text:?} as RFC 3339: cannot parse"))),
        ("timestamp", [Val::Int(seconds)]) => {
            jiff::Timestamp::from_second(*seconds).map(Val::Timestamp).map_err(|_| other("timestamp overflow"))
        }
        (name, [Val::Timestamp(at), rest @ ..]) if name.starts_with("get") => part_of_time(name, *at, rest),
        (name, [Val::Duration(nanos)]) if name.starts_with("get") => part_of_duration(name, *nanos),
        ("isSorted" | "sum" | "min" | "max" | "flatten" | "distinct" | "slice", [Val::List(items, _), rest @ ..]) => {
            list(name, items, rest)
        }
        ("indexOf", [Val::List(items, _), item]) => Ok(position(items.iter().position(|one| one.same(item)))),
        ("lastIndexOf", [Val::List(items, _), item]) => Ok(position(items.iter().rposition(|one| one.same(item)))),
        ("reverse", [Val::List(items, _)]) => Ok(Val::list(items.iter().rev().cloned().collect())),
        ("sets.contains", [Val::List(a, _), Val::List(b, _)]) => Ok(Val::Bool(covers(a, b))),
        ("sets.equivalent", [Val::List(a, _), Val::List(b, _)]) => Ok(Val::Bool(covers(a, b) && covers(b, a))),
        ("sets.intersects", [Val::List(a, _), Val::List(b, _)]) => {
            Ok(Val::Bool(a.iter().any(|a| b.iter().any(|b| a.same(b)))))
        }
        ("math.greatest" | "math.least", args) => extreme(name == "math.greatest", args),
        ("optional.none", []) => Ok(Val::Optional(None)),
        ("optional.of", [value]) => Ok(Val::Optional(Some(Rc::new(value.clone())))),
        ("optional.ofNonZeroValue", [value]) => Ok(Val::Optional((!is_zero(value)).then(|| Rc::new(value.clone())))),
        ("hasValue", [Val::Optional(inner)]) => Ok(Val::Bool(inner.is_some())),
        ("value", [Val::Optional(inner)]) => {
            inner.as_ref().map(|inner| (**inner).clone()).ok_or_else(|| other("optional.none() dereference"))
        }
        ("or", [Val::Optional(inner), alternative]) => {
            Ok(if inner.is_some() { args[0].clone() } else { alternative.clone() })
        }
        ("orValue", [Val::Optional(inner), alternative]) => {
            Ok(inner.as_ref().map_or_else(|| alternative.clone(), |inner| (**inner).clone()))
        }
        ("quantity", [Val::Str(text)]) => {
            Quantity::parse(text).map(Val::Quantity).map_err(|error| other(error.to_string()))
        }
        ("isQuantity", [Val::Str(text)]) => Ok(Val::Bool(Quantity::parse(text).is_ok())),
        (_, [Val::Quantity(quantity), rest @ ..]) if is_method => numbers::quantity(name, *quantity, rest),
        ("semver", [Val::Str(text), rest @ ..]) => numbers::semver(text, rest)
            .map(|version| Val::Semver(Rc::new(version)))
            .ok_or_else(|| other(format!("Invalid character(s) found in version {text:?}"))),
        ("isSemver", [Val::Str(text), rest @ ..]) => Ok(Val::Bool(numbers::semver(text, rest).is_some())),
        (_, [Val::Semver(version), rest @ ..]) if is_method => numbers::version(name, version, rest),
        ("ip" | "isIP" | "ip.isCanonical" | "cidr" | "isCIDR" | "url" | "isURL", [Val::Str(text)]) => {
            net::parse(name, text)
        }
        (_, [Val::Ip(ip)]) if is_method => net::address(name, *ip),
        (_, [Val::Cidr(cidr), rest @ ..]) if is_method => net::range(name, cidr, rest),
        (_, [Val::Url(url)]) if is_method => net::url(name, url),
        ("format.named", [Val::Str(name)]) => {
            Ok(Val::Optional(texts::format_named(name).map(|f| Rc::new(Val::Format(f)))))
        }
        (name, []) if name.starts_with("format.") => {
            texts::format_named(&name["format.".len()..]).map(Val::Format).ok_or(EvalError::Overload)
        }
        ("validate", [Val::Format(format), Val::Str(text)]) => Ok(texts::validate(format, text)),
        _ => texts::call(name, args),
    }
}

fn position(found: Option<usize>) -> Val {
    Val::Int(found.map_or(-1, |i| i64::try_from(i).unwrap_or(i64::MAX)))
}

fn size(value: &Val) -> Outcome {
    let size = match value {
        Val::Str(text) => text.chars().count(),
        Val::Bytes(bytes) => bytes.len(),
        Val::List(items, _) => items.len(),
        Val::Map(entries) => entries.len(),
        _ => return Err(EvalError::Overload),
    };
    Ok(Val::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn covers(a: &[Val], b: &[Val]) -> bool {
    b.iter().all(|b| a.iter().any(|a| a.same(b)))
}

fn is_zero(value: &Val) -> bool {
    match value {
        Val::Null | Val::Optional(None) => true,
        Val::Bool(flag) => !flag,
        Val::Int(number) | Val::Duration(number) => *number == 0,
        Val::Uint(number) => *number == 0,
        Val::Double(number) => *number == 0.0,
        Val::Str(text) => text.is_empty(),
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::List(items, _) => items.is_empty(),
        Val::Map(entries) => entries.is_empty(),
        _ => false,
    }
}

fn extreme(greatest: bool, args: &[Val]) -> Outcome {
    let items: &[Val] = match args {
        [Val::List(items, _)] => items,
        args => args,
    };
    let mut best = items.first().ok_or_else(|| other("math.@max(list) argument must not be empty"))?;
    for item in &items[1..] {
        let order = item.order(best).ok_or(EvalError::Overload)?;
        if (greatest && order.is_gt()) || (!greatest && order.is_lt()) {
            best = item;
        }
    }
    Ok(best.clone())
}

fn list(name: &str, items: &[Val], rest: &[Val]) -> Outcome {
    match (name, rest) {
        ("isSorted", []) => {
            for pair in items.windows(2) {
                if pair[0].order(&pair[1]).ok_or(EvalError::Overload)?.is_gt() {
                    return Ok(Val::Bool(false));
                }
            }
            Ok(Val::Bool(true))
        }
        ("min" | "max", []) if items.is_empty() => Err(other(format!("{name} called on empty list"))),
        ("min" | "max", []) => extreme(name == "max", items),
        ("sum", []) => {
            let Some(first) = items.first() else { return Ok(Val::Int(0)) };
            items[1..].iter().try_fold(first.clone(), |sum, item| numbers::operate("+", &[sum, item.clone()]))
        }
        ("flatten", _) => Ok(Val::list(
            items
                .iter()
                .flat_map(|item| match item {
                    Val::List(inner, _) => inner.to_vec(),
                    other => vec![other.clone()],
                })
                .collect(),
        )),
        ("distinct", []) => {
            let mut all: Vec<Val> = Vec::new();
            for item in items {
                if !all.iter().any(|known| known.same(item)) {
                    all.push(item.clone());
                }
            }
            Ok(Val::list(all))
        }
        ("slice", [Val::Int(from), Val::Int(to)]) => {
            let bounds = usize::try_from(*from).ok().zip(usize::try_from(*to).ok());
            let part = bounds.and_then(|(from, to)| items.get(from..to));
            part.map(|part| Val::list(part.to_vec()))
                .ok_or_else(|| other(format!("cannot slice({from}, {to}), list is length {}", items.len())))
        }
        _ => Err(EvalError::Overload),
    }
}

/// Adds two lists as their kind adds.
fn append(a: &[Val], b: &[Val], kind: &ListKind) -> Val {
    let mut all = a.to_vec();
    for item in b {
        let place = match kind {
            ListKind::Atomic => None,
            ListKind::Set => all.iter().position(|known| known.same(item)),
            ListKind::Map(keys) => all.iter().position(|known| {
                keys.iter().all(|key| match (known.field(key), item.field(key)) {
                    (Ok(a), Ok(b)) => a.same(&b),
                    (Err(_), Err(_)) => true,
                    _ => false,
                })
            }),
        };
        match place {
            Some(place) => all[place] = item.clone(),
            None => all.push(item.clone()),
        }
    }
    Val::List(Rc::new(all), kind.clone())
}

fn part_of_time(name: &str, at: jiff::Timestamp, zone: &[Val]) -> Outcome {
    let zone = match zone {
        [] => TimeZone::UTC,
        [Val::Str(name)] => named_zone(name).ok_or_else(|| other(format!("unknown time zone {name}")))?,
        _ => return Err(EvalError::Overload),
    };
    let at = at.to_zoned(zone);
    let number = match name {
        "getFullYear" => i64::from(at.year()),
        "getMonth" => i64::from(at.month()) - 1,
        "getDate" => i64::from(at.day()),
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDayOfWeek" => i64::from(at.weekday().to_sunday_zero_offset()),
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getHours" => i64::from(at.hour()),
        "getMinutes" => i64::from(at.minute()),
        "getSeconds" => i64::from(at.second()),
        "getMilliseconds" => i64::from(at.millisecond()),
        _ => return Err(EvalError::Overload),
    };
    Ok(Val::Int(number))
}

/// `UTC`, or an offset: `+02:00`. Names would need a table that a pure crate may not read.
fn named_zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "UTC" | "Z" | "") {
        return Some(TimeZone::UTC);
    }
    let (sign, rest) = match name.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, name.strip_prefix('+').unwrap_or(name)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let seconds =
        (hours.parse::<i32>().ok()?.checked_mul(3600)?).checked_add(minutes.parse::<i32>().ok()?.checked_mul(60)?)?;
    jiff::tz::Offset::from_seconds(sign * seconds).ok().map(TimeZone::fixed)
}

fn part_of_duration(name: &str, nanos: i64) -> Outcome {
    let number = match name {
        "getHours" => nanos / 3_600_000_000_000,
        "getMinutes" => nanos / 60_000_000_000,
        "getSeconds" => nanos / 1_000_000_000,
        "getMilliseconds" => nanos / 1_000_000 % 1_000,
        _ => return Err(EvalError::Overload),
    };
    Ok(Val::Int(number))
}

fn unmapped(text: &str) -> Option<IpAddr> {
    // Kubernetes takes neither zones nor IPv4 in IPv6.
    let ip: IpAddr = text.parse().ok()?;
    match ip {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => None,
        ip => Some(ip),
    }
}
