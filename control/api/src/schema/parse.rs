//! Reads the committed table. A line at the margin starts a type: its name, then its kinds (`group/version/Kind`),
//! then `t:` and its map type; `NAME = SCALAR` is a type without fields. An indented line is a field: name (`!` if
//! required), type (`[]` list of, `{}` map of, `#` named), then flags (`m:` merge key, `s:` patch strategy, `l:` list
//! type, `k:` map keys, `t:` map type, `n:` protobuf number, `z:1` zero counts, `w:1` wrapped list). `n:2.1` is field 1 of
//! the message in field 2, which JSON inlines.

use std::collections::BTreeMap;

use super::{Body, Definition, Field, Part, Scalar, Slot, Type};
use crate::{Gvk, shape::ListKey};

pub(super) struct Tables {
    pub(super) definitions: Vec<Definition>,
    pub(super) by_name: BTreeMap<&'static str, usize>,
    pub(super) by_kind: BTreeMap<Gvk, usize>,
}

pub(super) fn parse(text: &'static str) -> Tables {
    let lines = || text.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    let names = lines().filter(|l| !l.starts_with(' ')).map(|l| l.split(' ').next().unwrap_or(l));
    let by_name: BTreeMap<&str, usize> = names.enumerate().map(|(i, n)| (n, i)).collect();
    let mut definitions: Vec<Definition> = Vec::with_capacity(by_name.len());
    for line in lines() {
        match line.strip_prefix(' ') {
            None => definitions.push(definition(line)),
            Some(line) => {
                let last = definitions.last_mut().expect("a field follows the type it belongs to");
                if let Body::Object(fields) = &mut last.body {
                    let (field, numbers) = field(line, &by_name);
                    put(&mut last.message, numbers, fields.len());
                    fields.push(field);
                }
            }
        }
    }
    let mut by_kind = BTreeMap::new();
    for (i, definition) in definitions.iter().enumerate() {
        by_kind.extend(definition.kinds.iter().map(|k| (k.clone(), i)));
    }
    Tables { definitions, by_name, by_kind }
}

fn definition(line: &'static str) -> Definition {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let mut made =
        Definition { name, kinds: Vec::new(), body: Body::Object(Vec::new()), map_type: None, message: Vec::new() };
    while let Some(word) = words.next() {
        if word == "=" {
            made.body = Body::Scalar(scalar(words.next().unwrap_or_default()));
        } else if let Some(map_type) = word.strip_prefix("t:") {
            made.map_type = Some(map_type);
        } else {
            let mut parts = word.split('/');
            let mut next = || parts.next().unwrap_or_default();
            made.kinds.push(Gvk::new(next(), next(), next()));
        }
    }
    made
}

/// A field, and its place in the protobuf message.
fn field(line: &'static str, by_name: &BTreeMap<&str, usize>) -> (Field, &'static str) {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let kind = kind(words.next().unwrap_or_default(), by_name);
    let mut made = Field {
        name: name.trim_end_matches('!'),
        kind,
        required: name.ends_with('!'),
        zero_counts: false,
        wrapped: false,
        merge_key: None,
        patch_strategy: None,
        list_type: None,
        map_keys: Vec::new(),
        keys: Vec::new(),
        map_type: None,
    };
    let mut numbers = "";
    for (flag, value) in words.filter_map(|w| w.split_once(':')) {
        match flag {
            "m" => made.merge_key = Some(value),
            "s" => made.patch_strategy = Some(value),
            "l" => made.list_type = Some(value),
            "t" => made.map_type = Some(value),
            "n" => numbers = value,
            "z" => made.zero_counts = true,
            "w" => made.wrapped = true,
            "k" => {
                made.map_keys = value.split(',').collect();
                made.keys = list_keys(&made.map_keys);
            }
            other => unreachable!("flag {other} in the committed table"),
        }
    }
    (made, numbers)
}

/// Keys by name. The defaults are those of the only optional keys there are: a port's protocol, a reference's name.
fn list_keys(names: &[&'static str]) -> Vec<ListKey> {
    let default = |name: &str| match name {
        "protocol" => Some("TCP".into()),
        "name" => Some("".into()),
        _ => None,
    };
    let mut names = names.to_vec();
    names.sort_unstable();
    names.into_iter().map(|name| ListKey { name: name.into(), default: default(name) }).collect()
}

/// Adds field `index` to a message at `numbers` (`2`, or `2.1` in an inlined message), in the order of numbers.
fn put(message: &mut Vec<Slot>, numbers: &'static str, index: usize) {
    if numbers.is_empty() {
        return;
    }
    let (first, rest) = numbers.split_once('.').unwrap_or((numbers, ""));
    let first = number(first);
    let at = message.partition_point(|slot| slot.number < first);
    if rest.is_empty() {
        return message.insert(at, Slot { number: first, part: Part::Field(index) });
    }
    if message.get(at).is_none_or(|slot| slot.number != first) {
        message.insert(at, Slot { number: first, part: Part::Inlined(Vec::new()) });
    }
    if let Part::Inlined(inner) = &mut message[at].part {
        put(inner, rest, index);
    }
}

fn number(text: &str) -> u32 {
    text.parse().expect("numbers in the committed table are numbers")
}

fn kind(word: &'static str, by_name: &BTreeMap<&str, usize>) -> Type {
    if let Some(element) = word.strip_prefix("[]") {
        Type::List(Box::new(kind(element, by_name)))
    } else if let Some(element) = word.strip_prefix("{}") {
        Type::Map(Box::new(kind(element, by_name)))
    } else if let Some(name) = word.strip_prefix('#') {
        Type::Named(by_name[name])
    } else {
        Type::Scalar(scalar(word))
    }
}

fn scalar(word: &str) -> Scalar {
    match word {
        "string" => Scalar::String,
        "bytes" => Scalar::Bytes,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "double" => Scalar::Double,
        "boolean" => Scalar::Boolean,
        "any" => Scalar::Any,
        "quantity" => Scalar::Quantity,
        "intstr" => Scalar::IntOrString,
        "time" => Scalar::Time,
        "microtime" => Scalar::MicroTime,
        other => unreachable!("type {other} in the committed table"),
    }
}
