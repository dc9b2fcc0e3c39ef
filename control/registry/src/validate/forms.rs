//! Forms of texts beyond object names: parts of URLs, domain-prefixed paths, wildcards, ranges of addresses.

use api::FieldError;
use ipnet::IpNet;

use super::names;

const HTTP_PATH_FORM: &str = "Invalid path";
const HTTP_PATH_REGEX: &str = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
const WILDCARD_FORM: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
const WILDCARD_REGEX: &str = "\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

/// Names that become parts of URLs (roles, for example) and may otherwise be anything.
#[must_use]
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ['/', '%'].into_iter().filter(|c| text.contains(*c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// `*.example.com`.
#[must_use]
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 253 {
        wrong.push(names::max_length_text(253));
    }
    if !text.strip_prefix("*.").is_some_and(|rest| names::dns_subdomain(rest).is_empty()) {
        wrong.push(names::regex_text(WILDCARD_FORM, WILDCARD_REGEX, &["*.example.com"]));
    }
    wrong
}

/// `10.9.8.0/24`.
#[must_use]
pub fn cidr(text: &str) -> Vec<String> {
    if text.parse::<IpNet>().is_ok() {
        Vec::new()
    } else {
        vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()]
    }
}

/// `acme.io/foo`.
#[must_use]
pub fn domain_prefixed_path(text: &str, path: &str) -> Vec<FieldError> {
    if text.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let Some((host, rest)) = text.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty()) else {
        return vec![FieldError::invalid(path, text, "must be a domain-prefixed path (such as \"acme.io/foo\")")];
    };
    let mut errors: Vec<FieldError> =
        names::dns_subdomain(host).into_iter().map(|w| FieldError::invalid(path, host, w)).collect();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    if !rest.bytes().all(allowed) {
        let what = names::regex_text(HTTP_PATH_FORM, HTTP_PATH_REGEX, &["/path"]);
        errors.push(FieldError::invalid(path, rest, what));
    }
    errors
}

/// `a.example.com`: a domain of three parts or more.
#[must_use]
pub fn fully_qualified(text: &str, path: &str) -> Vec<FieldError> {
    if text.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let wrong = names::dns_subdomain(text);
    if !wrong.is_empty() {
        return invalid(path, text, wrong);
    }
    if text.split('.').count() < 3 {
        let what = "should be a domain with at least three segments separated by dots";
        return vec![FieldError::invalid(path, text, what)];
    }
    Vec::new()
}

/// Names of CSI drivers.
#[must_use]
pub fn csi_driver(text: &str, path: &str) -> Vec<FieldError> {
    if text.is_empty() {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(FieldError::too_long(path, 63));
    }
    errors.extend(invalid(path, text, names::dns_subdomain(&text.to_lowercase())));
    errors
}

/// What is wrong with a text, as errors of a field.
#[must_use]
pub fn invalid(path: &str, text: &str, wrong: Vec<String>) -> Vec<FieldError> {
    wrong.into_iter().map(|w| FieldError::invalid(path, text, w)).collect()
}
