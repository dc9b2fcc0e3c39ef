//! The JSONPath of printer columns and selectable fields: fields, indexes, slices, `*`, `..` and simple filters.

use serde_json::Value;

/// A parsed path. The empty path finds nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Descend(Option<String>),
    Filter(Box<Filter>),
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Operand,
    /// Empty: the left side is there.
    operator: String,
    right: Option<Operand>,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

/// Values found by one path; more are dropped.
const MAX_FOUND: usize = 1_000;
const MAX_STEPS: usize = 64;

impl JsonPath {
    /// Parses `.spec.list[?(@.a=="b")].c`, with or without braces; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let text = text.strip_prefix('$').unwrap_or(text);
        parse_steps(text, 0)
    }

    /// All values the path leads to.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        if self.steps.is_empty() {
            return Vec::new();
        }
        let mut found = vec![value];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                step.apply(value, &mut next);
                next.truncate(MAX_FOUND);
            }
            found = next;
        }
        found
    }

    /// Whether the path is made of named fields only.
    #[must_use]
    pub fn is_simple(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|step| matches!(step, Step::Field(_)))
    }
}

fn parse_steps(text: &str, depth: usize) -> Option<JsonPath> {
    if depth > 4 {
        return None;
    }
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if steps.len() >= MAX_STEPS {
            return None;
        }
        if let Some(after) = rest.strip_prefix("..") {
            let (name, next) = name(after);
            steps.push(Step::Descend((!name.is_empty() && name != "*").then_some(name)));
            rest = next;
        } else if let Some(after) = rest.strip_prefix('.') {
            if let Some(next) = after.strip_prefix('*') {
                steps.push(Step::All);
                rest = next;
            } else if after.starts_with('[') {
                rest = after;
            } else {
                let (name, next) = name(after);
                if name.is_empty() {
                    return None;
                }
                steps.push(Step::Field(name));
                rest = next;
            }
        } else if rest.starts_with('[') {
            let end = closing(rest)?;
            steps.push(bracket(rest[1..end].trim(), depth)?);
            rest = &rest[end + 1..];
        } else if steps.is_empty() {
            let (name, next) = name(rest);
            if name.is_empty() {
                return None;
            }
            steps.push(Step::Field(name));
            rest = next;
        } else {
            return None;
        }
    }
    Some(JsonPath { steps })
}

/// A name up to the next dot or bracket; `\.` is a dot of the name.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '.' | '[' | ']' | '(' | ')' | '=' | '!' | '<' | '>' | ' ' => return (name, &text[i..]),
            '\\' => {
                if let Some((_, c)) = chars.next() {
                    name.push(c);
                }
            }
            c => name.push(c),
        }
    }
    (name, "")
}

/// Where the bracket that opens the text closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            (None, _) => {}
        }
    }
    None
}

fn bracket(text: &str, depth: usize) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(quoted) = unquote(text) {
        return Some(Step::Field(quoted));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return filter_of(filter, depth).map(|filter| Step::Filter(Box::new(filter)));
    }
    if let Some((from, to)) = text.split_once(':') {
        let bound = |text: &str| match text.trim() {
            "" => Some(None),
            number => number.parse().ok().map(Some),
        };
        return Some(Step::Slice(bound(from)?, bound(to)?));
    }
    text.parse().ok().map(Step::Index)
}

fn unquote(text: &str) -> Option<String> {
    let inner = text
        .strip_prefix('\'')
        .and_then(|t| t.strip_suffix('\''))
        .or_else(|| text.strip_prefix('"').and_then(|t| t.strip_suffix('"')))?;
    Some(inner.replace("\\'", "'").replace("\\\"", "\""))
}

fn filter_of(text: &str, depth: usize) -> Option<Filter> {
    for operator in ["==", "!=", "<=", ">=", "<", ">"] {
        if let Some(at) = outside_quotes(text, operator) {
            let (left, right) = (text[..at].trim(), text[at + operator.len()..].trim());
            return Some(Filter {
                left: operand(left, depth)?,
                operator: operator.to_owned(),
                right: Some(operand(right, depth)?),
            });
        }
    }
    Some(Filter { left: operand(text.trim(), depth)?, operator: String::new(), right: None })
}

fn outside_quotes(text: &str, wanted: &str) -> Option<usize> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, _) if text[i..].starts_with(wanted) => return Some(i),
            (None, _) => {}
        }
    }
    None
}

fn operand(text: &str, depth: usize) -> Option<Operand> {
    if let Some(path) = text.strip_prefix('@') {
        return parse_steps(path, depth + 1).map(Operand::Path);
    }
    if let Some(quoted) = unquote(text) {
        return Some(Operand::Literal(quoted.into()));
    }
    serde_json::from_str(text).ok().map(Operand::Literal)
}

impl Step {
    fn apply<'a>(&self, value: &'a Value, found: &mut Vec<&'a Value>) {
        match (self, value) {
            (Step::Field(name), Value::Object(map)) => found.extend(map.get(name).filter(|v| !v.is_null())),
            // A field of a list is that of each of its items.
            (Step::Index(index), Value::Array(items)) => found.extend(at(items, *index)),
            (Step::Slice(from, to), Value::Array(items)) => {
                let bound = |bound: Option<i64>, otherwise: usize| match bound {
                    None => otherwise,
                    Some(i) if i < 0 => items.len().saturating_sub(usize::try_from(-i).unwrap_or(usize::MAX)),
                    Some(i) => usize::try_from(i).unwrap_or(usize::MAX).min(items.len()),
                };
                let (from, to) = (bound(*from, 0), bound(*to, items.len()));
                if from < to {
                    found.extend(&items[from..to]);
                }
            }
            (Step::All, Value::Array(items)) => found.extend(items),
            (Step::All, Value::Object(map)) => found.extend(map.values()),
            (Step::Descend(name), value) => descend(value, name.as_deref(), found),
            (Step::Filter(filter), Value::Array(items)) => found.extend(items.iter().filter(|v| filter.matches(v))),
            _ => {}
        }
    }
}

fn at(items: &[Value], index: i64) -> Option<&Value> {
    let index = if index < 0 { i64::try_from(items.len()).ok()?.checked_add(index)? } else { index };
    items.get(usize::try_from(index).ok()?)
}

fn descend<'a>(value: &'a Value, name: Option<&str>, found: &mut Vec<&'a Value>) {
    if found.len() >= MAX_FOUND {
        return;
    }
    match (name, value) {
        (None, value) => found.push(value),
        (Some(name), Value::Object(map)) => found.extend(map.get(name)),
        (Some(_), _) => {}
    }
    match value {
        Value::Object(map) => map.values().for_each(|value| descend(value, name, found)),
        Value::Array(items) => items.iter().for_each(|value| descend(value, name, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Filter {
    fn matches(&self, value: &Value) -> bool {
        fn side<'a>(operand: &'a Operand, value: &'a Value) -> Option<&'a Value> {
            match operand {
                Operand::Path(path) if path.steps.is_empty() => Some(value),
                Operand::Path(path) => path.find(value).first().copied(),
                Operand::Literal(literal) => Some(literal),
            }
        }
        let left = side(&self.left, value);
        let Some(right) = &self.right else { return left.is_some() };
        let (Some(left), Some(right)) = (left, side(right, value)) else { return false };
        let order = match (left, right) {
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Number(a), Value::Number(b)) => a.as_f64().and_then(|a| b.as_f64().and_then(|b| a.partial_cmp(&b))),
            _ => (left == right).then_some(std::cmp::Ordering::Equal),
        };
        match (self.operator.as_str(), order) {
            ("==", order) => order.is_some_and(std::cmp::Ordering::is_eq),
            ("!=", order) => !order.is_some_and(std::cmp::Ordering::is_eq),
            ("<", Some(order)) => order.is_lt(),
            ("<=", Some(order)) => order.is_le(),
            (">", Some(order)) => order.is_gt(),
            (">=", Some(order)) => order.is_ge(),
            _ => false,
        }
    }
}

/// A value as text: strings as they are, the rest as JSON.
#[must_use]
pub fn print(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_where_kubectl_leads() {
        let object = json!({"spec": {"replicas": 3, "a.b": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}});
        for (path, expected) in [
            (".spec.replicas", json!([3])),
            ("{.spec.replicas}", json!([3])),
            ("spec.replicas", json!([3])),
            (".spec['a.b']", json!([1])),
            (".spec.a\\.b", json!([1])),
            (".spec.list[0].n", json!(["x"])),
            (".spec.list[-1].n", json!(["y"])),
            (".spec.list[*].v", json!([1, 2])),
            (".spec.list[0:1].v", json!([1])),
            (".spec.list[?(@.v>1)].n", json!(["y"])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".status.conditions[?(@.type=='Ready')].status", json!(["True"])),
            ("..n", json!(["x", "y"])),
            (".spec.absent.deeper", json!([])),
        ] {
            let found = JsonPath::parse(path).unwrap();
            assert_eq!(json!(found.find(&object)), expected, "{path}");
        }
        for wrong in [".", ".spec[", ".spec[x]", ".a b"] {
            assert_eq!(JsonPath::parse(wrong), None, "{wrong}");
        }
    }
}
