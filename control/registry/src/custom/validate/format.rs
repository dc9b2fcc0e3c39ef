//! String formats. Unknown formats match everything.

use std::net::{Ipv4Addr, Ipv6Addr};

use api::time;

/// Whether the text has the format.
pub(in crate::custom) fn matches(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "datetime" => time::parse(text).is_some() && text.contains(['T', 't']),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => super::super::duration::parse(text).is_some() || long_duration(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.parse::<ipnet::IpNet>().is_ok(),
        "mac" => mac(text),
        "uuid" => uuid(text, None),
        "uuid3" => uuid(text, Some('3')),
        "uuid4" => uuid(text, Some('4')),
        "uuid5" => uuid(text, Some('5')),
        "uri" => uri(text),
        "email" => email(text),
        "hostname" => hostname(text),
        "byte" => api::base64::decode(text).is_some(),
        "hexcolor" => hex_color(text),
        "rgbcolor" => rgb_color(text),
        "bsonobjectid" => text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "isbn" => isbn10(text) || isbn13(text),
        "isbn10" => isbn10(text),
        "isbn13" => isbn13(text),
        "creditcard" => credit_card(text),
        "ssn" => ssn(text),
        "k8sshortname" => crate::validate::names::dns_label(text).is_empty(),
        "k8slongname" => crate::validate::names::dns_subdomain(text).is_empty(),
        _ => true,
    }
}

/// `3 days`, `2 hours`: durations in words.
fn long_duration(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (Some(count), Some(unit), None) = (words.next(), words.next(), words.next()) else { return false };
    let unit = unit.trim_end_matches('s');
    count.parse::<u32>().is_ok()
        && ["nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day", "week"].contains(&unit)
}

fn mac(text: &str) -> bool {
    let separator = if text.contains(':') { ':' } else { '-' };
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn uuid(text: &str, version: Option<char>) -> bool {
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    let shape = match text.len() {
        32 => !text.contains('-'),
        36 => text.char_indices().all(|(i, c)| (c == '-') == matches!(i, 8 | 13 | 18 | 23)),
        _ => false,
    };
    shape
        && hex.len() == 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
        && version.is_none_or(|v| hex.chars().nth(12) == Some(v))
}

fn uri(text: &str) -> bool {
    // As Go's ParseRequestURI: absolute, or a path from the root.
    if text.starts_with('/') {
        return !text.contains(' ');
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !rest.is_empty()
        && rest.starts_with('/')
        && !rest.contains(|c: char| c == ' ' || c.is_control())
}

fn email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    !local.is_empty()
        && local.len() <= 64
        && !local.contains(|c: char| c.is_whitespace() || c.is_control() || "()<>[],;:\\\"@".contains(c))
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && !domain.is_empty()
        && !domain.contains(|c: char| c.is_whitespace() || "()<>,;:\\\"@".contains(c))
}

fn hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.len() <= 255
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

fn rgb_color(text: &str) -> bool {
    let Some(inner) = text.strip_prefix("rgb(").and_then(|t| t.strip_suffix(')')) else { return false };
    let parts: Vec<&str> = inner.split(',').collect();
    parts.len() == 3 && parts.iter().all(|p| p.trim().parse::<u8>().is_ok())
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter(|c| !matches!(c, '-' | ' ')).filter_map(|c| c.to_digit(10)).collect()
}

fn isbn10(text: &str) -> bool {
    let compact: Vec<char> = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    compact.len() == 10
        && compact.iter().enumerate().all(|(i, c)| c.is_ascii_digit() || (i == 9 && matches!(c, 'X' | 'x')))
        && compact
            .iter()
            .zip(1..)
            .map(|(c, weight): (&char, u32)| weight * c.to_digit(10).unwrap_or(10))
            .sum::<u32>()
            .is_multiple_of(11)
}

fn isbn13(text: &str) -> bool {
    let digits = digits(text);
    digits.len() == 13
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ' '))
        && digits.iter().zip([1, 3].iter().cycle()).map(|(d, w)| d * w).sum::<u32>().is_multiple_of(10)
}

fn credit_card(text: &str) -> bool {
    let digits = digits(text);
    (12..=19).contains(&digits.len())
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ' '))
        && digits
            .iter()
            .rev()
            .enumerate()
            .map(|(i, d)| {
                if i % 2 == 0 {
                    *d
                } else if d * 2 > 9 {
                    d * 2 - 9
                } else {
                    d * 2
                }
            })
            .sum::<u32>()
            .is_multiple_of(10)
}

fn ssn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', ' ']).collect();
    matches!(parts[..], [a, b, c] if a.len() == 3 && b.len() == 2 && c.len() == 4)
        && parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_digit()))
}
