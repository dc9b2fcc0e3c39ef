//! Query parameters.

use super::path::decode;
use api::Status;

/// The decoded parameters of a request, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// Parameters in one request.
const PAIR_LIMIT: usize = 256;

impl Query {
    /// Reads a raw query string.
    pub(crate) fn parse(raw: Option<&str>) -> Result<Self, Status> {
        let raw = raw.unwrap_or_default();
        let mut pairs = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PAIR_LIMIT {
                return Err(Status::bad_request("too many query parameters"));
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(key, true), decode(value, true)) {
                (Some(key), Some(value)) => pairs.push((key, value)),
                _ => return Err(Status::bad_request(format!("the query parameter {pair:?} is not valid"))),
            }
        }
        Ok(Self { pairs })
    }

    /// The first value, `None` if absent or empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All values.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Go's reading of a boolean: absent is false; present without a value, or with any but `false` and `0`, true.
    pub(crate) fn flag(&self, key: &str) -> bool {
        let value = self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.to_ascii_lowercase());
        value.is_some_and(|value| value != "false" && value != "0")
    }

    /// A whole number, or 400.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        self.get(key)
            .map(|value| {
                value.parse().map_err(|_| {
                    Status::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax ({key})"))
                })
            })
            .transpose()
    }
}
