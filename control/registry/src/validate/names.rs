//! Forms of names. Each function returns what is wrong with a text; nothing if it is fine.

const MAX_LABEL: usize = 63;
const MAX_SUBDOMAIN: usize = 253;
const LABEL_FORM: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const LABEL_REGEX: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORM: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const SUBDOMAIN_REGEX: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_1035_FORM: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const LABEL_1035_REGEX: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED_FORM: &str =
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const QUALIFIED_REGEX: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const VALUE_FORM: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const VALUE_REGEX: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// The wording for a text that does not match a form.
#[must_use]
pub fn regex_text(form: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{form} (regex used for validation is '{regex}')");
    }
    let listed: Vec<String> = examples.iter().map(|e| format!("'{e}'")).collect();
    format!("{form} (e.g. {}, regex used for validation is '{regex}')", listed.join(",  or "))
}

/// The wording for a text that is too long.
#[must_use]
pub fn max_length_text(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn is_lower_alphanumeric(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(|b| is_lower_alphanumeric(*b));
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|b| is_lower_alphanumeric(*b) || *b == b'-')
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// `my-name`: names of namespaces, containers, volumes.
#[must_use]
pub fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_LABEL {
        wrong.push(max_length_text(MAX_LABEL));
    }
    if !is_label(text) {
        wrong.push(regex_text(LABEL_FORM, LABEL_REGEX, &["my-name", "123-abc"]));
    }
    wrong
}

/// `example.com`: names of most objects.
#[must_use]
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_SUBDOMAIN {
        wrong.push(max_length_text(MAX_SUBDOMAIN));
    }
    if !text.split('.').all(is_label) {
        wrong.push(regex_text(SUBDOMAIN_FORM, SUBDOMAIN_REGEX, &["example.com"]));
    }
    wrong
}

/// `my-name`, starting with a letter: names of Services.
#[must_use]
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_LABEL {
        wrong.push(max_length_text(MAX_LABEL));
    }
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        wrong.push(regex_text(LABEL_1035_FORM, LABEL_1035_REGEX, &["my-name", "abc-123"]));
    }
    wrong
}

/// `example.com/MyName`: keys of labels and annotations.
#[must_use]
pub fn qualified(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(dns_subdomain(prefix).into_iter().map(|w| format!("prefix part {w}")));
            }
            name
        }
        _ => {
            let text = regex_text(QUALIFIED_FORM, QUALIFIED_REGEX, &["MyName", "my.name", "123-abc"]);
            return vec![format!(
                "a qualified name {text} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_LABEL {
        wrong.push(format!("name part {}", max_length_text(MAX_LABEL)));
    }
    if !is_qualified_part(name) {
        let text = regex_text(QUALIFIED_FORM, QUALIFIED_REGEX, &["MyName", "my.name", "123-abc"]);
        wrong.push(format!("name part {text}"));
    }
    wrong
}

/// Values of labels.
#[must_use]
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_LABEL {
        wrong.push(max_length_text(MAX_LABEL));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        wrong.push(regex_text(VALUE_FORM, VALUE_REGEX, &["MyValue", "my_value", "12345"]));
    }
    wrong
}

/// Names of ports that probes and Services refer to (RFC 6335).
#[must_use]
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 15 {
        wrong.push("must be no more than 15 characters".to_owned());
    }
    if !text.bytes().all(|b| is_lower_alphanumeric(b) || b == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// Names of environment variables.
#[must_use]
pub fn env_var(text: &str) -> Vec<String> {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// Keys of ConfigMaps and Secrets.
#[must_use]
pub fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_SUBDOMAIN {
        wrong.push(max_length_text(MAX_SUBDOMAIN));
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        let form = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        wrong.push(regex_text(form, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    if text == "." {
        wrong.push("must not be '.'".to_owned());
    } else if text == ".." {
        wrong.push("must not be '..'".to_owned());
    } else if text.starts_with("..") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// Port numbers.
#[must_use]
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65_535).contains(&port) { Vec::new() } else { vec!["must be between 1 and 65535, inclusive".to_owned()] }
}

/// IP addresses.
#[must_use]
pub fn ip(text: &str) -> Vec<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        Vec::new()
    } else {
        vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
    }
}
