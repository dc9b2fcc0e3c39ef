//! Warnings as headers (RFC 7234, section 5.5): each once, and so much in all that no proxy chokes on them.

use http::HeaderValue;
use std::collections::BTreeSet;

/// Characters of all warnings together. Beyond it, each is cut.
const TOTAL_LIMIT: usize = 4 * 1024;
/// Characters of each when they are cut.
const ITEM_LIMIT: usize = 256;

/// The header values, in the order the warnings came.
pub(crate) fn headers(warnings: &[String]) -> Vec<HeaderValue> {
    let mut seen = BTreeSet::new();
    let texts: Vec<&str> = warnings
        .iter()
        .map(String::as_str)
        .filter(|text| !text.is_empty() && !text.contains(char::is_control) && seen.insert(*text))
        .collect();
    let total: usize = texts.iter().map(|text| text.len()).sum();
    let item_limit = if total > TOTAL_LIMIT { ITEM_LIMIT } else { usize::MAX };
    let mut written = 0;
    let mut headers = Vec::new();
    for text in texts {
        let cut: String = text.chars().take(item_limit).collect();
        written += cut.len().min(item_limit);
        if written > TOTAL_LIMIT {
            break;
        }
        let quoted = cut.replace('\\', "\\\\").replace('"', "\\\"");
        headers.extend(HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::headers;

    fn check(warnings: &[&str], want: &[&str]) {
        let warnings: Vec<String> = warnings.iter().map(|w| (*w).to_owned()).collect();
        let got: Vec<String> =
            headers(&warnings).iter().map(|h| String::from_utf8_lossy(h.as_bytes()).into_owned()).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn each_once_and_quoted() {
        check(&["a", "b \"c\\\"", "a", "", "x\ny"], &["299 - \"a\"", "299 - \"b \\\"c\\\\\\\"\""]);
        check(&["ä"], &["299 - \"ä\""]);
    }

    #[test]
    fn many_are_cut() {
        let long: Vec<String> = (0..100).map(|i| format!("{i:03}{}", "x".repeat(1000))).collect();
        let got = headers(&long);
        assert_eq!(got.len(), 16);
        assert_eq!(got[0].len(), 256 + "299 - \"\"".len());
        let fits = vec!["y".repeat(4096)];
        assert_eq!(headers(&fits)[0].len(), 4096 + 8);
    }
}
