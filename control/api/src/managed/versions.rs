//! Owners recorded at other versions of a kind than the one that is written.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::{
    ApplyError, Writer,
    diff::{self, Diff},
    entry::Entry,
    set::{self, FieldSet, Tree},
};
use crate::shape::{DEDUCED, Form, Shape, child};

/// The versions of a kind in which fields of its objects may be owned.
pub trait Versions: Sync {
    /// Why a conversion failed.
    type Error: Send;

    /// The kind's shape in a version (`v1`, `apps/v1`); `None` if it has no such version any more.
    fn shape(&self, api_version: &str) -> Option<&dyn Shape>;

    /// Whether the shapes are always the same: what somebody has come to own keeps its place.
    fn are_fixed(&self) -> bool;

    /// An object of one version of the kind as one of another.
    fn convert(&self, object: Value, api_version: &str) -> impl Future<Output = Result<Value, Self::Error>> + Send;
}

/// A kind whose versions differ in name only.
pub struct Alike<'a>(pub &'a dyn Shape);

impl Versions for Alike<'_> {
    type Error = Infallible;

    fn shape(&self, _: &str) -> Option<&dyn Shape> {
        Some(self.0)
    }

    fn are_fixed(&self) -> bool {
        true
    }

    async fn convert(&self, mut object: Value, api_version: &str) -> Result<Value, Infallible> {
        object["apiVersion"] = api_version.into();
        Ok(object)
    }
}

/// [`super::apply`] to a kind whose versions differ in name only, which waits for nothing.
pub fn apply_alike(
    live: Option<&Value>,
    applied: &Value,
    shape: &dyn Shape,
    writer: &Writer<'_>,
    ignored: &FieldSet,
    force: bool,
) -> Result<Value, ApplyError> {
    ready(super::apply(live, applied, &Alike(shape), writer, ignored, force))
}

/// What a future comes to that waits for nothing.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("names are changed at once"),
    }
}

/// The object in a version, converted if it is of another.
pub(super) async fn at<V: Versions>(versions: &V, object: Value, api_version: &str) -> Result<Value, V::Error> {
    if object["apiVersion"] == api_version { Ok(object) } else { versions.convert(object, api_version).await }
}

/// The shape in the version of a write, which the kind has.
pub(super) fn shape<'a, V: Versions>(versions: &'a V, api_version: &str) -> &'a dyn Shape {
    versions.shape(api_version).unwrap_or(DEDUCED)
}

/// What differs between two states, in each version in which somebody owns fields. `own` is what differs in the
/// version of the write.
pub(super) async fn differences<V: Versions>(
    versions: &V,
    (old, new): (&Value, &Value),
    (api_version, own): (&str, Diff),
    entries: &[Entry],
) -> Result<BTreeMap<String, Diff>, V::Error> {
    let mut all = BTreeMap::from([(api_version.to_owned(), own)]);
    for entry in entries {
        if all.contains_key(&entry.api_version) {
            continue;
        }
        let Some(shape) = versions.shape(&entry.api_version) else { continue };
        let old = at(versions, old.clone(), &entry.api_version).await?;
        let new = at(versions, new.clone(), &entry.api_version).await?;
        all.insert(entry.api_version.clone(), diff::compare(&old, &new, shape));
    }
    Ok(all)
}

/// Fits entries to the kind as it is now: those of versions that are gone go, and who owned parts of what has become
/// one piece (a list or a map that is atomic now) owns that piece.
pub(super) fn reconcile<V: Versions>(versions: &V, entries: &mut Vec<Entry>) {
    entries.retain_mut(|entry| match versions.shape(&entry.api_version) {
        Some(shape) => {
            join(&mut entry.fields.0, shape);
            true
        }
        None => false,
    });
}

fn join(tree: &mut Tree, shape: &dyn Shape) {
    for (step, node) in tree.iter_mut() {
        let below = match step.strip_prefix("f:") {
            Some(name) => child(shape, name),
            None => shape.element().filter(|_| step != "."),
        };
        let (Some(below), Value::Object(node)) = (below, node) else { continue };
        match below.form() {
            Form::Atomic => node.clear(),
            Form::Struct | Form::Map | Form::Set | Form::Keyed if !node.is_empty() => join(node, below),
            Form::Struct | Form::Map | Form::Set | Form::Keyed | Form::Scalar | Form::Deduced => {}
        }
    }
}

/// The set of one path, given as fields with a dot before each: `.spec.replicas`.
pub(super) fn path(fields: &str) -> FieldSet {
    let names = fields.split('.').filter(|name| !name.is_empty());
    FieldSet(
        names
            .rev()
            .fold(Tree::new(), |below, name| Tree::from_iter([(super::element::field(name), Value::Object(below))])),
    )
}

/// Whether the set has the one path of the other.
pub(super) fn has(set: &FieldSet, path: &FieldSet) -> bool {
    let (mut tree, mut path) = (&set.0, &path.0);
    while let Some((step, rest)) = set::children(path).next() {
        let Some(node) = set::below(tree, step) else { return false };
        if rest.is_empty() {
            return set::is_member(node);
        }
        (tree, path) = (node, rest);
    }
    false
}
