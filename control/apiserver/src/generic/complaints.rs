//! The unknown and the duplicate fields of a document, in the order and words in which Kubernetes tells them: JSON in
//! the document's order, YAML with its lines first. Only read for documents that have some.

use super::decode::{Document, Node};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::Spanned;
use std::{collections::BTreeMap, collections::BTreeSet, fmt, fmt::Write};

/// Precedes the lines of a YAML document's duplicate keys.
pub(crate) const YAML_ERRORS: &str = "yaml: unmarshal errors:";
/// Complaints told; more are of no use to anybody.
const LIMIT: usize = 100;

/// The complaints about a document with these unknown and duplicate fields.
pub(crate) fn of(document: &Document, unknown: &[String], duplicates: &[String]) -> Vec<String> {
    match document {
        Document::Json(bytes) => {
            let mut search = Search {
                unknown: unknown.iter().map(String::as_str).collect(),
                duplicates: duplicates.iter().map(|path| (path.as_str(), 0)).collect(),
                path: String::new(),
                found: Vec::new(),
            };
            let mut json = serde_json::Deserializer::from_slice(bytes);
            let _ = At(&mut search).deserialize(&mut json);
            search.found
        }
        Document::Yaml(bytes) => {
            let lines = (!duplicates.is_empty()).then(|| yaml_errors(bytes)).flatten();
            lines.into_iter().chain(unknown.iter().map(|path| format!("unknown field {path:?}"))).take(LIMIT).collect()
        }
    }
}

/// What a strict YAML reader says of a document's duplicate keys, if it has any.
pub(crate) fn yaml_errors(bytes: &[u8]) -> Option<String> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
    };
    let Keys(found) = serde_saphyr::from_slice_with_options(bytes, options).ok()?;
    let mut text = YAML_ERRORS.to_owned();
    for (line, key) in found.iter().take(LIMIT) {
        let _ = write!(text, "\n  line {line}: key {key:?} already set in map");
    }
    (!found.is_empty()).then_some(text)
}

/// The duplicate keys of a YAML document, with their lines.
struct Keys(Vec<(u64, String)>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeysVisitor)
    }
}

struct KeysVisitor;

macro_rules! scalars {
    ($($name:ident: $kind:ty),*) => {
        $(fn $name<E>(self, _: $kind) -> Result<Self::Value, E> {
            Ok(Self::Value::none())
        })*
    };
}

impl Keys {
    fn none() -> Self {
        Self(Vec::new())
    }
}

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Keys, E> {
        Ok(Keys::none())
    }

    fn visit_none<E>(self) -> Result<Keys, E> {
        Ok(Keys::none())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Keys, D::Error> {
        Keys::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Keys, A::Error> {
        let mut all = Keys::none();
        while let Some(Keys(below)) = seq.next_element()? {
            all.0.extend(below);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Keys, A::Error> {
        let mut all = Keys::none();
        let mut seen = BTreeSet::new();
        while let Some(key) = entries.next_key::<Spanned<Node>>()? {
            let text = match &key.value.value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if !seen.insert(text.clone()) && all.0.len() < LIMIT {
                all.0.push((key.referenced.line(), text));
            }
            let Keys(below) = entries.next_value()?;
            all.0.extend(below);
        }
        Ok(all)
    }
}

/// A walk over a JSON document.
struct Search<'a> {
    unknown: BTreeSet<&'a str>,
    /// With how often each has been met.
    duplicates: BTreeMap<&'a str, usize>,
    path: String,
    found: Vec<String>,
}

struct At<'s, 'a>(&'s mut Search<'a>);

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let length = self.0.path.len();
        for index in 0.. {
            let _ = write!(self.0.path, "[{index}]");
            let next = seq.next_element_seed(At(self.0))?;
            self.0.path.truncate(length);
            if next.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let length = self.0.path.len();
        while let Some(name) = entries.next_key::<String>()? {
            if length > 0 {
                self.0.path.push('.');
            }
            self.0.path.push_str(&name);
            let below = self.0.meet();
            if below {
                entries.next_value_seed(At(self.0))?;
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
            self.0.path.truncate(length);
        }
        Ok(())
    }
}

impl Search<'_> {
    /// Tells of the field that the walk has come to. True if there may be more below it.
    fn meet(&mut self) -> bool {
        let path = self.path.as_str();
        let known = !self.unknown.contains(path);
        let complaint = if known {
            let count = self.duplicates.get_mut(path);
            count.and_then(|count| {
                *count += 1;
                (*count == 2).then(|| format!("duplicate field {path:?}"))
            })
        } else {
            Some(format!("unknown field {path:?}"))
        };
        if let Some(complaint) = complaint.filter(|complaint| !self.found.contains(complaint))
            && self.found.len() < LIMIT
        {
            self.found.push(complaint);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_order() {
        let bytes = br#"{"spec": {"unknown1": 1, "dupe": 1, "dupe": {"x": 1, "x": 2}, "paused": true, "paused": false, "l": [{"z": 0, "p": 1, "p": 2, "p": 3}]}}"#;
        let unknown = ["spec.dupe", "spec.l[0].z", "spec.unknown1"].map(str::to_owned);
        let duplicates = ["spec.dupe", "spec.dupe.x", "spec.paused", "spec.l[0].p"].map(str::to_owned);
        assert_eq!(
            of(&Document::Json(bytes[..].into()), &unknown, &duplicates),
            [
                r#"unknown field "spec.unknown1""#,
                r#"unknown field "spec.dupe""#,
                r#"duplicate field "spec.paused""#,
                r#"unknown field "spec.l[0].z""#,
                r#"duplicate field "spec.l[0].p""#,
            ]
        );
    }

    #[test]
    fn yaml_with_lines() {
        let bytes = b"spec:\n  a: 1\n  a: 2\n  l:\n  - b: 1\n    b: 2\n  foo: 1\n";
        assert_eq!(
            of(&Document::Yaml(bytes[..].into()), &["spec.foo".to_owned()], &["spec.a".to_owned()]),
            [
                "yaml: unmarshal errors:\n  line 3: key \"a\" already set in map\n  line 6: key \"b\" already set in map",
                r#"unknown field "spec.foo""#,
            ]
        );
    }
}
