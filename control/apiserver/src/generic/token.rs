//! Continue tokens: what a client carries from page to page. Opaque to it, never trusted.

use api::{Revision, Status};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// Where a list goes on.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    #[serde(rename = "v")]
    version: String,
    /// Revision of the first page; 0: now (after a 410).
    #[serde(rename = "rv")]
    revision: u64,
    /// The last key seen, below the collection's prefix.
    #[serde(rename = "start")]
    start: String,
}

const VERSION: &str = "gannet/v1";
/// Longest token.
const LIMIT: usize = 4096;

impl Token {
    pub(crate) fn new(revision: Revision, start: &str) -> Self {
        Self { version: VERSION.to_owned(), revision: revision.0, start: start.to_owned() }
    }

    /// The same place in the collection as it is now.
    pub(crate) fn inconsistent(&self) -> Self {
        Self::new(Revision(0), &self.start)
    }

    /// The revision of the list; `None` for now.
    pub(crate) fn revision(&self) -> Option<Revision> {
        (self.revision > 0).then_some(Revision(self.revision))
    }

    /// The key to go on after.
    pub(crate) fn after(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.start)
    }

    pub(crate) fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a token is plain JSON"))
    }

    /// Reads a token; 400 for anything that no list returned.
    pub(crate) fn read(text: &str) -> Result<Self, Status> {
        let bad = || Status::bad_request("continue key is not valid: it must be a token that a list returned");
        if text.len() > LIMIT {
            return Err(bad());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| bad())?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        let sane = token.version == VERSION && !token.start.starts_with('/') && !token.start.contains("..");
        if sane { Ok(token) } else { Err(bad()) }
    }
}
