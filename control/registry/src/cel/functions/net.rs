//! Addresses, ranges and URLs.

use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;

use super::{EvalError, Outcome, Val, other, unmapped};

pub(super) fn parse(name: &str, text: &str) -> Outcome {
    let cidr = || text.parse::<IpNet>().ok().filter(|range| unmapped(&range.addr().to_string()).is_some());
    match name {
        "ip" => unmapped(text)
            .map(Val::Ip)
            .ok_or_else(|| other(format!("IP Address {text:?} parse error during conversion from string"))),
        "isIP" => Ok(Val::Bool(unmapped(text).is_some())),
        "ip.isCanonical" => match unmapped(text) {
            Some(ip) => Ok(Val::Bool(ip.to_string() == text)),
            None => Err(other(format!("IP Address {text:?} parse error during conversion from string"))),
        },
        "cidr" => cidr().map(Val::Cidr).ok_or_else(|| {
            other(format!("network address parse error during conversion from string: invalid CIDR {text:?}"))
        }),
        "isCIDR" => Ok(Val::Bool(cidr().is_some())),
        "url" if is_url(text) => Ok(Val::Url(text.into())),
        "url" => Err(other(format!("URL parse error during conversion from string: {text:?}"))),
        _ => Ok(Val::Bool(is_url(text))),
    }
}

fn is_url(text: &str) -> bool {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    text.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let port = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or("", |(_, port)| port);
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && port.bytes().all(|b| b.is_ascii_digit())
    })
}

pub(super) fn address(name: &str, ip: IpAddr) -> Outcome {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    Ok(match name {
        "family" => Val::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Val::Bool(ip.is_unspecified()),
        "isLoopback" => Val::Bool(ip.is_loopback()),
        "isLinkLocalUnicast" => Val::Bool(link_local),
        "isLinkLocalMulticast" => Val::Bool(match ip {
            IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
            IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
        }),
        "isGlobalUnicast" => Val::Bool(
            !ip.is_unspecified()
                && !ip.is_loopback()
                && !ip.is_multicast()
                && !link_local
                && ip != IpAddr::from([255, 255, 255, 255]),
        ),
        _ => return Err(EvalError::Overload),
    })
}

pub(super) fn range(name: &str, range: &IpNet, rest: &[Val]) -> Outcome {
    let ip = |text: &str| {
        unmapped(text).ok_or_else(|| other(format!("IP Address {text:?} parse error during conversion from string")))
    };
    let cidr = |text: &str| text.parse::<IpNet>().map_err(|_| other(format!("invalid CIDR {text:?}")));
    Ok(match (name, rest) {
        ("ip", []) => Val::Ip(range.addr()),
        ("masked", []) => Val::Cidr(range.trunc()),
        ("prefixLength", []) => Val::Int(i64::from(range.prefix_len())),
        ("containsIP", [Val::Ip(inner)]) => Val::Bool(range.contains(inner)),
        ("containsIP", [Val::Str(text)]) => Val::Bool(range.contains(&ip(text)?)),
        ("containsCIDR", [Val::Cidr(inner)]) => Val::Bool(range.contains(inner)),
        ("containsCIDR", [Val::Str(text)]) => Val::Bool(range.contains(&cidr(text)?)),
        _ => return Err(EvalError::Overload),
    })
}

pub(super) fn url(name: &str, url: &str) -> Outcome {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority_end = if scheme.is_empty() { 0 } else { rest.find(['/', '?', '#']).unwrap_or(rest.len()) };
    let (authority, after) = rest.split_at(authority_end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (hostname, port) = match host.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((six, port)) => (six, port.strip_prefix(':').unwrap_or_default()),
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let after = after.split('#').next().unwrap_or_default();
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    Ok(match name {
        "getScheme" => Val::text(scheme),
        "getHost" => Val::text(host),
        "getHostname" => Val::text(hostname),
        "getPort" => Val::text(port),
        "getEscapedPath" => Val::text(path),
        "getQuery" => {
            let mut entries: Vec<(String, Vec<Val>)> = Vec::new();
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                let (key, value) = (unescape(key), Val::text(&unescape(value)));
                match entries.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, values)) => values.push(value),
                    None => entries.push((key, vec![value])),
                }
            }
            Val::Map(Rc::new(entries.into_iter().map(|(key, values)| (Val::text(&key), Val::list(values))).collect()))
        }
        _ => return Err(EvalError::Overload),
    })
}

fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes
            .get(i + 1..i + 3)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
