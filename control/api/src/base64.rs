//! Base64 as the API writes bytes (standard alphabet, padded).

use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;

#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Line breaks are skipped, as clients may wrap.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    if text.contains(['\n', '\r']) {
        let joined: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        return STANDARD.decode(joined).ok();
    }
    STANDARD.decode(text).ok()
}
