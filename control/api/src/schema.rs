//! The built-in schemas: fields, types, merge keys and list types of the kinds served, from a table that
//! `cargo xtask codegen` derives.

use std::sync::OnceLock;

use crate::{Gvk, shape::ListKey};

mod check;
mod parse;
#[cfg(test)]
mod tests;

pub use check::{TypeError, prune, type_check, unknown_fields};

/// The schema of one type; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Schema(&'static Definition);

/// One named type.
#[derive(Debug)]
pub struct Definition {
    /// OpenAPI name, such as `io.k8s.api.core.v1.Pod`.
    pub name: &'static str,
    /// Kinds this type is (several for types that groups share, none for parts of kinds).
    pub kinds: Vec<Gvk>,
    pub body: Body,
    /// `x-kubernetes-map-type` of the type.
    pub map_type: Option<&'static str>,
    /// The fields of the protobuf message, by number.
    pub message: Vec<Slot>,
}

/// One field of a protobuf message.
#[derive(Debug)]
pub struct Slot {
    pub number: u32,
    pub part: Part,
}

/// What a field of a protobuf message holds.
#[derive(Debug)]
pub enum Part {
    /// Index of the field of the object.
    Field(usize),
    /// A message whose fields are the object's own in JSON.
    Inlined(Vec<Slot>),
}

/// What a named type consists of.
#[derive(Debug)]
pub enum Body {
    /// Sorted by name.
    Object(Vec<Field>),
    Scalar(Scalar),
}

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Type,
    pub required: bool,
    /// Its zero means something else than its absence although it is optional (a Go pointer).
    pub zero_counts: bool,
    /// In protobuf the list is a message of its own.
    pub wrapped: bool,
    /// `x-kubernetes-patch-merge-key`.
    pub merge_key: Option<&'static str>,
    /// `x-kubernetes-patch-strategy` as written, such as `merge,retainKeys`.
    pub patch_strategy: Option<&'static str>,
    /// `x-kubernetes-list-type`: `atomic`, `set` or `map`.
    pub list_type: Option<&'static str>,
    /// `x-kubernetes-list-map-keys`.
    pub map_keys: Vec<&'static str>,
    /// The same with their defaults, sorted by name.
    pub keys: Vec<ListKey>,
    /// `x-kubernetes-map-type`: `atomic` or `granular`.
    pub map_type: Option<&'static str>,
}

/// The type of a value.
#[derive(Debug)]
pub enum Type {
    Scalar(Scalar),
    /// Index of a definition.
    Named(usize),
    List(Box<Type>),
    /// A map from texts.
    Map(Box<Type>),
}

/// Types without parts the schema knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    String,
    /// Base64.
    Bytes,
    Int32,
    Int64,
    Double,
    Boolean,
    /// Any object.
    Any,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
}

impl Schema {
    /// The schema of a kind; `None` for kinds that are not built in.
    #[must_use]
    pub fn for_kind(gvk: &Gvk) -> Option<Self> {
        tables().by_kind.get(gvk).map(|i| Self(&tables().definitions[*i]))
    }

    /// The schema of a type by its OpenAPI name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        tables().by_name.get(name).map(|i| Self(&tables().definitions[*i]))
    }

    #[must_use]
    pub fn definition(&self) -> &'static Definition {
        self.0
    }

    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        match &self.0.body {
            Body::Object(fields) => fields.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &fields[i]),
            Body::Scalar(_) => None,
        }
    }
}

impl Field {
    #[must_use]
    pub fn merges(&self) -> bool {
        self.has_strategy("merge")
    }

    #[must_use]
    pub fn replaces(&self) -> bool {
        self.has_strategy("replace")
    }

    fn has_strategy(&self, wanted: &str) -> bool {
        self.patch_strategy.is_some_and(|s| s.split(',').any(|s| s == wanted))
    }
}

impl Type {
    /// The named type this is, if it is one.
    #[must_use]
    pub fn schema(&self) -> Option<Schema> {
        match self {
            Self::Named(index) => Some(Schema(&definitions()[*index])),
            Self::Scalar(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The type of the elements of a list or the values of a map.
    #[must_use]
    pub fn element(&'static self) -> Option<&'static Type> {
        match self {
            Self::List(inner) | Self::Map(inner) => Some(inner),
            Self::Scalar(_) | Self::Named(_) => None,
        }
    }

    /// The scalar this is, directly or by name.
    #[must_use]
    pub fn scalar(&self) -> Option<Scalar> {
        match self {
            Self::Scalar(scalar) => Some(*scalar),
            Self::Named(index) => match definitions()[*index].body {
                Body::Scalar(scalar) => Some(scalar),
                Body::Object(_) => None,
            },
            Self::List(_) | Self::Map(_) => None,
        }
    }
}

impl Scalar {
    /// `type` and `format` as OpenAPI writes them; a missing type means any value.
    #[must_use]
    pub fn openapi(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::String | Self::Quantity => ("string", None),
            Self::Bytes => ("string", Some("byte")),
            Self::Int32 => ("integer", Some("int32")),
            Self::Int64 => ("integer", Some("int64")),
            Self::Double => ("number", Some("double")),
            Self::Boolean => ("boolean", None),
            Self::Any => ("object", None),
            Self::IntOrString => ("string", Some("int-or-string")),
            Self::Time | Self::MicroTime => ("string", Some("date-time")),
        }
    }
}

/// All types, sorted by name: what an OpenAPI document lists.
#[must_use]
pub fn definitions() -> &'static [Definition] {
    &tables().definitions
}

fn tables() -> &'static parse::Tables {
    static TABLES: OnceLock<parse::Tables> = OnceLock::new();
    TABLES.get_or_init(|| parse::parse(include_str!("schema/tables.txt")))
}
