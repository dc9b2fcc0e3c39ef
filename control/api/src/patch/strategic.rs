//! Strategic merge patch: lists merge by key, with the merge keys of the built-in schemas.
//!
//! Directives: `$patch: replace|delete|merge` in a map, `$patch: replace|delete` in a list, `$retainKeys`,
//! `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>`.

use serde_json::{Map, Value};

use super::go_text;
use crate::schema::{Field, Schema, Type};
use crate::{Gvk, Status};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// What is wrong with a patch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum PatchError {
    #[error("unknown patch type: {0}")]
    Directive(String),
    /// `item` as Go prints it.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey { item: String, key: &'static str },
    #[error("cannot merge lists without a merge key: {0}")]
    NoKeyDeclared(String),
    #[error("patch content doesn't match retainKeys list: {0}")]
    RetainKeys(String),
    #[error("{0} must be a list")]
    NotAList(String),
    #[error("the order in patch list doesn't match {0} list")]
    Order(String),
    #[error("the patch must be an object")]
    NotAnObject,
}

type Object = Map<String, Value>;

/// Applies a strategic merge patch. A malformed patch is a bad request.
pub fn apply(object: &Value, patch: &Value, schema: &Schema) -> Result<Value, Status> {
    let refuse = |e: PatchError| Status::bad_request(e.to_string());
    let Value::Object(patch) = patch else { return Err(refuse(PatchError::NotAnObject)) };
    let original = object.as_object().cloned().unwrap_or_default();
    merge_map(original, patch.clone(), Shape::of(*schema)).map(Value::Object).map_err(refuse)
}

/// Like [`apply`] for a kind by name; kinds without a built-in schema do not support it (415).
pub fn apply_kind(object: &Value, patch: &Value, gvk: &Gvk) -> Result<Value, Status> {
    match Schema::for_kind(gvk) {
        Some(schema) => apply(object, patch, &schema),
        None => Err(Status::unsupported_media_type(&["application/json-patch+json", "application/merge-patch+json"])),
    }
}

/// What is known of the fields of an object.
#[derive(Clone, Copy)]
enum Shape {
    Fields(Schema),
    /// A map whose values are all of one type.
    Values(&'static Type),
    Unknown,
}

impl Shape {
    fn of(schema: Schema) -> Self {
        Self::Fields(schema)
    }

    fn of_type(kind: &'static Type) -> Self {
        match kind {
            Type::Named(_) => kind.schema().map_or(Self::Unknown, Self::Fields),
            Type::Map(inner) => Self::Values(inner),
            Type::Scalar(_) | Type::List(_) => Self::Unknown,
        }
    }

    fn field(self, name: &str) -> Option<&'static Field> {
        match self {
            Self::Fields(schema) => schema.field(name),
            Self::Values(_) | Self::Unknown => None,
        }
    }

    fn child(self, name: &str) -> Self {
        match self {
            Self::Fields(schema) => schema.field(name).map_or(Self::Unknown, |f| Self::of_type(&f.kind)),
            Self::Values(kind) => Self::of_type(kind),
            Self::Unknown => Self::Unknown,
        }
    }
}

/// How a list merges.
#[derive(Clone, Copy)]
enum ListMerge {
    Replace,
    /// Elements are scalars, or maps told apart by the key.
    Merge {
        key: Option<&'static str>,
        element: Shape,
    },
}

fn list_merge(shape: Shape, name: &str) -> ListMerge {
    match shape.field(name) {
        Some(field) if field.merges() => {
            let element = field.kind.element().map_or(Shape::Unknown, Shape::of_type);
            ListMerge::Merge { key: field.merge_key, element }
        }
        _ => ListMerge::Replace,
    }
}

fn merge_map(mut original: Object, mut patch: Object, shape: Shape) -> Result<Object, PatchError> {
    match patch.remove(PATCH).as_ref().map(|d| d.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => return Ok(without_directives(patch)),
        Some("delete") => return Ok(Object::new()),
        Some(other) => return Err(PatchError::Directive(other.to_owned())),
    }
    retain_keys(&mut original, &mut patch)?;
    order_lists(&mut original, &mut patch, shape)?;
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE_PRIMITIVES) {
            let Value::Array(gone) = value else { return Err(PatchError::NotAList(key)) };
            if let Some(Value::Array(items)) = original.get_mut(name) {
                items.retain(|i| !gone.contains(i));
            }
            continue;
        }
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        let merged = match (original.remove(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                if shape.field(&key).is_some_and(Field::replaces) {
                    Value::Object(without_directives(new))
                } else {
                    Value::Object(merge_map(old, new, shape.child(&key))?)
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                Value::Array(merge_list(old, new, list_merge(shape, &key))?)
            }
            (_, Value::Object(new)) => match new.get(PATCH).and_then(Value::as_str) {
                Some("delete") => continue,
                _ => Value::Object(merge_map(Object::new(), new, shape.child(&key))?),
            },
            (_, Value::Array(new)) => Value::Array(merge_list(Vec::new(), new, list_merge(shape, &key))?),
            (_, scalar) => scalar,
        };
        original.insert(key, merged);
    }
    Ok(original)
}

fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let Some(directive) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = directive else { return Err(PatchError::NotAList(RETAIN_KEYS.to_owned())) };
    for (key, value) in patch.iter() {
        let listed = keys.iter().any(|k| k.as_str() == Some(key));
        if !value.is_null() && !is_directive(key) && !listed {
            return Err(PatchError::RetainKeys(key.clone()));
        }
    }
    original.retain(|k, _| keys.iter().any(|r| r.as_str() == Some(k)));
    Ok(())
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN_KEYS || key.starts_with(ELEMENT_ORDER) || key.starts_with(DELETE_PRIMITIVES)
}

/// Carries out `$setElementOrder/<list>`, with the list's own patch and deletions.
fn order_lists(original: &mut Object, patch: &mut Object, shape: Shape) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|k| k.starts_with(ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let name = directive[ELEMENT_ORDER.len()..].to_owned();
        let Some(Value::Array(order)) = patch.remove(&directive) else { return Err(PatchError::NotAList(directive)) };
        let gone = patch.remove(&format!("{DELETE_PRIMITIVES}{name}"));
        let patched = patch.remove(&name);
        let merge = list_merge(shape, &name);
        let key = match merge {
            ListMerge::Merge { key, .. } => key,
            ListMerge::Replace => None,
        };
        let mut old = match original.remove(&name) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        if let Some(Value::Array(gone)) = gone {
            old.retain(|i| !gone.contains(i));
        }
        let had_null = patched == Some(Value::Null);
        let new = match patched {
            Some(Value::Array(items)) => items,
            Some(Value::Null) | None => Vec::new(),
            Some(_) => return Err(PatchError::NotAList(name)),
        };
        if had_null || (old.is_empty() && new.is_empty()) {
            continue;
        }
        check_order(&new, &order, key, &name)?;
        let server_order = old.clone();
        let merged = match (merge, new.is_empty()) {
            (_, true) => old,
            (merge, false) => merge_list(old, new, merge)?,
        };
        let (listed, server_only): (Vec<Value>, Vec<Value>) =
            merged.into_iter().partition(|i| position(&order, i, key).is_some());
        let all = interleave(server_only, listed, &order, &server_order, key);
        original.insert(name, Value::Array(all));
    }
    Ok(())
}

/// The patch's items must all be in the order list, in that order.
fn check_order(new: &[Value], order: &[Value], key: Option<&'static str>, name: &str) -> Result<(), PatchError> {
    let mut last = 0;
    for item in new.iter().filter(|i| i.get(PATCH).is_none()) {
        match position(order, item, key) {
            Some(at) if at >= last => last = at,
            _ => return Err(PatchError::Order(name.to_owned())),
        }
    }
    Ok(())
}

fn same(a: &Value, b: &Value, key: Option<&str>) -> bool {
    match key {
        Some(key) if a.is_object() && b.is_object() => a.get(key).is_some() && a.get(key) == b.get(key),
        _ => a == b,
    }
}

fn position(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    list.iter().position(|other| same(other, item, key))
}

fn merge_list(old: Vec<Value>, new: Vec<Value>, merge: ListMerge) -> Result<Vec<Value>, PatchError> {
    let (key, element) = match merge {
        ListMerge::Replace => return Ok(list_without_directives(new)),
        ListMerge::Merge { key, element } => (key, element),
    };
    let maps = new.iter().chain(&old).any(Value::is_object);
    if !maps {
        let mut merged = old.clone();
        for item in &new {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(arrange(merged, &new, &old, None));
    }
    let Some(key) = key else { return Err(PatchError::NoKeyDeclared(Value::Array(new).to_string())) };
    let mut base = old;
    let mut items: Vec<Object> = Vec::with_capacity(new.len());
    let mut replaces = false;
    for item in new {
        let Value::Object(mut item) = item else {
            return Err(PatchError::NoMergeKey { item: go_text(&item), key });
        };
        match item.get(PATCH).map(|d| d.as_str().unwrap_or_default().to_owned()).as_deref() {
            None => items.push(item),
            Some("merge") => {
                item.remove(PATCH);
                items.push(item);
            }
            Some("replace") => replaces = true,
            Some("delete") => {
                let Some(value) = item.get(key) else {
                    return Err(PatchError::NoMergeKey { item: go_text(&Value::Object(item)), key });
                };
                base.retain(|i| i.get(key) != Some(value));
            }
            Some(other) => return Err(PatchError::Directive(other.to_owned())),
        }
    }
    if replaces {
        return Ok(items.into_iter().map(|i| Value::Object(without_directives(i))).collect());
    }
    let server_order = base.clone();
    let mut patch_order = Vec::with_capacity(items.len());
    for item in items {
        let Some(value) = item.get(key).cloned() else {
            return Err(PatchError::NoMergeKey { item: go_text(&Value::Object(item)), key });
        };
        patch_order.push(Value::Object(Object::from_iter([(key.to_owned(), value.clone())])));
        match base.iter_mut().find(|i| i.get(key) == Some(&value)) {
            Some(found) => {
                let old = found.as_object_mut().map(std::mem::take).unwrap_or_default();
                *found = Value::Object(merge_map(old, item, element)?);
            }
            None => base.push(Value::Object(merge_map(Object::new(), item, element)?)),
        }
    }
    Ok(arrange(base, &patch_order, &server_order, Some(key)))
}

/// Orders a merged list: the patch's items as the patch orders them, the others as they were.
fn arrange(merged: Vec<Value>, patch_order: &[Value], server_order: &[Value], key: Option<&str>) -> Vec<Value> {
    let (patched, server_only): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|i| position(patch_order, i, key).is_some());
    interleave(server_only, patched, patch_order, server_order, key)
}

/// Merges two lists without common items; where the server's order says nothing, the patch's items come first.
fn interleave(
    mut server_only: Vec<Value>,
    mut patched: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    let rank = |order: &[Value], i: &Value| position(order, i, key).unwrap_or(usize::MAX);
    patched.sort_by_key(|i| rank(patch_order, i));
    server_only.sort_by_key(|i| rank(server_order, i));
    let mut out = Vec::with_capacity(server_only.len() + patched.len());
    let (mut left, mut right) = (server_only.into_iter().peekable(), patched.into_iter().peekable());
    loop {
        let take_left = match (left.peek(), right.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(l), Some(r)) => match (position(server_order, l, key), position(server_order, r, key)) {
                (Some(l), Some(r)) => l < r,
                _ => false,
            },
        };
        out.extend(if take_left { left.next() } else { right.next() });
    }
}

fn without_directives(map: Object) -> Object {
    map.into_iter().filter(|(k, v)| !is_directive(k) && !v.is_null()).map(|(k, v)| (k, clean(v))).collect()
}

fn list_without_directives(list: Vec<Value>) -> Vec<Value> {
    let is_marker = |v: &Value| v.get(PATCH).is_some_and(|d| matches!(d.as_str(), Some("replace" | "delete")));
    list.into_iter().filter(|v| !is_marker(v)).map(clean).collect()
}

fn clean(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(list) => Value::Array(list_without_directives(list)),
        other => other,
    }
}
