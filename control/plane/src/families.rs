//! Ranges and addresses of one IP family or of both.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What belongs to one IP family.
pub trait Family: Copy {
    /// Whether it is of IPv4.
    fn is_v4(&self) -> bool;
}

impl Family for IpAddr {
    fn is_v4(&self) -> bool {
        self.is_ipv4()
    }
}

impl Family for IpNet {
    fn is_v4(&self) -> bool {
        self.addr().is_ipv4()
    }
}

/// One value, or one of each family; the first is of the family that is preferred. As text they stand with a comma between them, which is
/// also how they are kept: what an earlier version wrote of one family reads as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[serde(bound(serialize = "T: Family + Display", deserialize = "T: Family + FromStr, T::Err: Display"))]
pub struct Families<T> {
    first: T,
    second: Option<T>,
}

impl<T: Family> Families<T> {
    /// One family.
    pub fn one(first: T) -> Self {
        Self { first, second: None }
    }

    /// Both; `None` if they are of the same family.
    pub fn both(first: T, second: T) -> Option<Self> {
        (first.is_v4() != second.is_v4()).then_some(Self { first, second: Some(second) })
    }

    /// That of the preferred family.
    pub fn first(&self) -> T {
        self.first
    }

    /// One or two, the preferred first.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// The same as a list.
    pub fn list(&self) -> Vec<T> {
        self.iter().collect()
    }

    /// That of one family.
    pub fn of(&self, v4: bool) -> Option<T> {
        self.iter().find(|one| one.is_v4() == v4)
    }

    /// The same with each changed by `change`; `None` if that fails or changes a family.
    pub fn map<U: Family>(&self, change: impl Fn(T) -> Option<U>) -> Option<Families<U>> {
        let first = change(self.first)?;
        match self.second {
            None => Some(Families::one(first)),
            Some(second) => Families::both(first, change(second)?),
        }
    }
}

impl<T: Display> Display for Families<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.second {
            None => write!(f, "{}", self.first),
            Some(second) => write!(f, "{},{second}", self.first),
        }
    }
}

/// Why a text is none.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// One of its parts is not what it should be.
    #[error("{text:?}: {why}")]
    Part { text: String, why: String },
    /// There are more than two, or two of the same family.
    #[error("{0:?}: give one, or one of IPv4 and one of IPv6 separated by a comma")]
    Families(String),
}

impl<T: Family + FromStr> FromStr for Families<T>
where
    T::Err: Display,
{
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let part = |part: &str| {
            let parsed = part.trim().parse::<T>();
            parsed.map_err(|error| Fault::Part { text: part.to_owned(), why: error.to_string() })
        };
        match text.split(',').collect::<Vec<_>>().as_slice() {
            [one] => Ok(Self::one(part(one)?)),
            [first, second] => Self::both(part(first)?, part(second)?).ok_or_else(|| Fault::Families(text.to_owned())),
            _ => Err(Fault::Families(text.to_owned())),
        }
    }
}

impl<T: Display> From<Families<T>> for String {
    fn from(families: Families<T>) -> String {
        families.to_string()
    }
}

impl<T: Family + FromStr> TryFrom<String> for Families<T>
where
    T::Err: Display,
{
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

#[cfg(test)]
mod tests;
