//! The configuration file.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use abi::{Be16, IPPROTO_TCP, IPPROTO_UDP};
use datapath::balancer::VipKey;
use kernel::netlink::Mac;
use serde::Deserialize;

/// Largest weight of a backend.
pub const MAX_WEIGHT: u32 = 1_000;
/// Seconds after a change during which flows from before it stay with their backend, unless the file says otherwise.
const DRAIN: Duration = Duration::from_secs(3_600);

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Where packets come in, and go out again.
    pub interface: String,
    /// Sources of outer headers, one of a family; the interface's addresses if empty.
    #[serde(default)]
    pub source: Vec<IpAddr>,
    #[serde(default)]
    pub gateway: Gateway,
    /// Largest outer packet in bytes; the interface's if absent.
    pub mtu: Option<u32>,
    /// The same on all balancers of an address, so that they choose alike.
    #[serde(default)]
    pub seed: u32,
    /// How long flows stay with a backend that the file no longer gives them.
    #[serde(default = "drain")]
    pub drain: Span,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Of services that have none of their own.
    pub health_check: Option<HealthCheck>,
    #[serde(default)]
    pub services: Vec<Service>,
}

/// The next hop of what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Gateway {
    /// That of the interface's default route.
    #[default]
    Auto,
    Mac(Mac),
    Ip(IpAddr),
}

/// A virtual address and port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Service {
    pub address: IpAddr,
    pub port: u16,
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default)]
    pub affinity: Affinity,
    pub health_check: Option<HealthCheck>,
    #[serde(default)]
    pub backends: Vec<Backend>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "UDP")]
    Udp,
}

/// What keeps to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Affinity {
    /// Each flow by itself.
    #[default]
    None,
    /// All flows of a client's address.
    #[serde(rename = "ClientIP")]
    ClientIp,
}

/// A server behind a virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Backend {
    pub address: IpAddr,
    /// Its share in proportion to the others'; 0 gets no new flows.
    #[serde(default = "one")]
    pub weight: u32,
}

/// How backends are asked whether they are well, at their own address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HealthCheck {
    /// A connection to this port.
    pub tcp: Option<u16>,
    /// A GET on this port and path; an answer of 200 to 399 is well.
    pub http: Option<HttpGet>,
    #[serde(default = "two_seconds")]
    pub interval: Span,
    #[serde(default = "one_second")]
    pub timeout: Span,
    /// Failures in a row that make a backend unhealthy.
    #[serde(default = "three")]
    pub unhealthy: u32,
    /// Successes in a row that make it healthy again.
    #[serde(default = "two")]
    pub healthy: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGet {
    pub port: u16,
    #[serde(default = "root")]
    pub path: String,
}

/// A length of time, written as `500ms`, `2s`, `5m` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Yaml(#[from] serde_saphyr::Error),
    #[error("{place}: {fault}")]
    Value { place: String, fault: String },
}

impl Config {
    /// From the text of a file.
    ///
    /// # Errors
    /// With the line, or the place in the file, and what is wrong there.
    pub fn parse(text: &str) -> Result<Config, Error> {
        let config: Config = serde_saphyr::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        for (i, source) in self.source.iter().enumerate() {
            let earlier = &self.source[..i];
            if source.is_unspecified() || earlier.iter().any(|other| other.is_ipv4() == source.is_ipv4()) {
                return fault(format!("source[{i}]"), "one address of each family");
            }
        }
        if self.mtu.is_some_and(|mtu| !(576..=65_535).contains(&mtu)) {
            return fault("mtu".to_owned(), "from 576 to 65535");
        }
        if let Some(check) = &self.health_check {
            check.check("healthCheck")?;
        }
        let mut seen = BTreeSet::new();
        for (i, service) in self.services.iter().enumerate() {
            let place = format!("services[{i}]");
            service.check(&place)?;
            if !seen.insert(service.key()) {
                return fault(place, "the same address, port and protocol as an earlier one");
            }
        }
        Ok(())
    }
}

impl Service {
    /// Its key in the tables.
    pub fn key(&self) -> VipKey {
        let proto = match self.protocol {
            Protocol::Tcp => IPPROTO_TCP,
            Protocol::Udp => IPPROTO_UDP,
        };
        VipKey { addr: datapath::addr(self.address), port: Be16::new(self.port), proto }
    }

    fn check(&self, place: &str) -> Result<(), Error> {
        if self.address.is_unspecified() || self.address.is_multicast() {
            return fault(format!("{place}.address"), "an address that packets are sent to");
        }
        if self.port == 0 {
            return fault(format!("{place}.port"), "from 1 to 65535");
        }
        if let Some(check) = &self.health_check {
            check.check(&format!("{place}.healthCheck"))?;
        }
        for (i, backend) in self.backends.iter().enumerate() {
            let place = format!("{place}.backends[{i}]");
            if backend.weight > MAX_WEIGHT {
                return fault(format!("{place}.weight"), &format!("at most {MAX_WEIGHT}"));
            }
            if backend.address.is_unspecified() || backend.address.is_multicast() {
                return fault(format!("{place}.address"), "an address of a server");
            }
            if self.backends[..i].iter().any(|other| other.address == backend.address) {
                return fault(format!("{place}.address"), "the same as an earlier one's");
            }
        }
        Ok(())
    }
}

impl HealthCheck {
    fn check(&self, place: &str) -> Result<(), Error> {
        match (&self.tcp, &self.http) {
            (Some(port), None) if *port != 0 => {}
            (None, Some(get)) if get.port != 0 && is_path(&get.path) => {}
            (Some(_), None) => return fault(format!("{place}.tcp"), "a port from 1 to 65535"),
            (None, Some(_)) => {
                return fault(format!("{place}.http"), "a port from 1 to 65535 and a path that begins with /");
            }
            (Some(_), Some(_)) | (None, None) => return fault(place.to_owned(), "either tcp or http"),
        }
        if self.interval.0 < Duration::from_millis(10) || self.timeout.0.is_zero() {
            return fault(place.to_owned(), "an interval of 10ms or more, and a timeout");
        }
        if self.unhealthy == 0 || self.healthy == 0 {
            return fault(place.to_owned(), "unhealthy and healthy of 1 or more");
        }
        Ok(())
    }
}

/// A path that stands in a request as it is.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
}

fn fault<T>(place: String, want: &str) -> Result<T, Error> {
    Err(Error::Value { place, fault: format!("wanted: {want}") })
}

impl TryFrom<String> for Gateway {
    type Error = String;

    fn try_from(text: String) -> Result<Gateway, String> {
        if text == "auto" {
            return Ok(Gateway::Auto);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Gateway::Ip(ip));
        }
        let octets: Vec<u8> = text.split(':').filter_map(|part| u8::from_str_radix(part, 16).ok()).collect();
        let mac = <[u8; 6]>::try_from(octets).ok().filter(|_| text.len() == 17);
        mac.map(|mac| Gateway::Mac(Mac(mac))).ok_or_else(|| format!("{text:?} is not auto, no MAC and no IP address"))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let ms_a_unit = match unit {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let ms = number.parse::<u64>().ok().zip(ms_a_unit).and_then(|(number, unit)| number.checked_mul(unit));
        let ms = ms.filter(|ms| *ms <= 365 * 24 * 3_600_000);
        ms.map(|ms| Span(Duration::from_millis(ms)))
            .ok_or_else(|| format!("{text:?} is no time such as 500ms, 2s, 5m or 1h"))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Span, String> {
        text.parse()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        })
    }
}

fn drain() -> Span {
    Span(DRAIN)
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn three() -> u32 {
    3
}

fn one_second() -> Span {
    Span(Duration::from_secs(1))
}

fn two_seconds() -> Span {
    Span(Duration::from_secs(2))
}

fn root() -> String {
    "/".to_owned()
}

#[cfg(test)]
mod tests;
