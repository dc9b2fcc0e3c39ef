//! Where objects live in the store, and how its errors and bytes become answers.

use api::{Revision, Status, meta};
use bytes::Bytes;
use registry::Resource;
use serde_json::Value;

/// An object with the revision that wrote it, in the form of the resource it is read through. The value has no
/// resourceVersion, exactly as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) value: Value,
    pub(crate) bytes: Bytes,
    pub(crate) revision: Revision,
}

impl Stored {
    /// Parses stored bytes.
    pub(crate) fn new(resource: &Resource, bytes: &Bytes, revision: Revision) -> Result<Self, Status> {
        let bytes = view(resource, bytes)?;
        Ok(Self { value: parse(&bytes)?, bytes, revision })
    }

    /// The bytes as served: with the resourceVersion.
    pub(crate) fn served(&self) -> Bytes {
        served(&self.bytes, self.revision)
    }

    /// The value as served: with the resourceVersion.
    pub(crate) fn versioned(&self) -> Value {
        let mut value = self.value.clone();
        meta::set_resource_version(&mut value, self.revision);
        value
    }
}

/// Stored bytes in the form of the resource. Most resources are stored as they are; a view is converted.
pub(crate) fn view(resource: &Resource, bytes: &Bytes) -> Result<Bytes, Status> {
    match &resource.conversion {
        None => Ok(bytes.clone()),
        Some(conversion) => {
            let mut value = parse(bytes)?;
            conversion.from_storage(&mut value);
            Ok(write(&value))
        }
    }
}

/// The bytes to store for an object of the resource, whose own are `bytes`.
pub(crate) fn to_store(resource: &Resource, value: &Value, bytes: &Bytes) -> Bytes {
    match &resource.conversion {
        None => bytes.clone(),
        Some(conversion) => {
            let mut value = value.clone();
            conversion.to_storage(&mut value);
            write(&value)
        }
    }
}

/// Bytes that most objects fit in.
const USUAL: usize = 1024;

/// A value's bytes.
pub(crate) fn write(value: &Value) -> Bytes {
    let mut bytes = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut bytes, value).expect("a JSON value is writable");
    bytes.into()
}

/// Stored bytes with the resourceVersion put in. The one function given to [`store::Event::served`].
pub(crate) fn served(bytes: &[u8], revision: Revision) -> Bytes {
    meta::splice_revision(bytes, revision).into()
}

/// Parses stored bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(|error| Status::internal(format!("a stored object is damaged: {error}")))
}

/// The key of an object, or with an empty name the prefix of its namespace, or with both empty of all of the kind.
pub(crate) fn key(resource: &Resource, namespace: &str, name: &str) -> String {
    let (group, kind) = &resource.storage;
    make_key(group, kind, if resource.namespaced { namespace } else { "" }, name)
}

/// [`key`] for a kind of the core group, by name.
pub(crate) fn core_key(resource: &str, namespace: &str, name: &str) -> String {
    make_key("core", resource, namespace, name)
}

fn make_key(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    let mut key = format!("/registry/{group}/{resource}/");
    if !namespace.is_empty() {
        key.push_str(namespace);
        key.push('/');
    }
    key.push_str(name);
    key
}

/// A store failure that is nobody's mistake. Conflicts are the caller's to understand.
pub(crate) fn unavailable(error: store::Error) -> Status {
    match error {
        store::Error::TooLarge { size_bytes, limit_bytes, .. } => {
            Status::too_large(&format!("the object has {size_bytes} bytes, the limit is {limit_bytes}"))
        }
        store::Error::Compacted { compacted } => {
            Status::expired(format!("The resourceVersion is too old: the oldest kept is {compacted}"))
        }
        store::Error::Future { .. } | store::Error::Conflict { .. } | store::Error::Lagged => Status::internal(error),
        store::Error::Stopped => Status::service_unavailable("the store has stopped"),
        store::Error::Unavailable | store::Error::NoSpace => Status::service_unavailable(error.to_string()),
        store::Error::OutcomeUnknown => Status::timeout(&error.to_string()),
    }
}
