//! What merging, field ownership and field validation know of a value's type, whoever defines the type: the built-in
//! schema tables here, the structural schema of a custom resource elsewhere.

use std::borrow::Cow;

use serde_json::Value;

use crate::schema::{Body, Definition, Field, Scalar, Type};

#[cfg(test)]
mod tests;

/// The type of a value. A tree is walked by borrowing: the children of a shape live as long as it does.
pub trait Shape: Send + Sync {
    /// What a value of the type is to a merge.
    fn form(&self) -> Form;

    /// The type of the named field of a [`Form::Struct`]; `None` if the type does not name it.
    fn field(&self, name: &str) -> Option<&dyn Shape>;

    /// The type of a list's elements and of a [`Form::Map`]'s values. For a [`Form::Struct`], the type of the fields
    /// that [`Shape::field`] does not name (`additionalProperties`, `x-kubernetes-preserve-unknown-fields`); `None` if
    /// there are to be no others.
    fn element(&self) -> Option<&dyn Shape>;

    /// The keys of a [`Form::Keyed`] list, empty for all else.
    fn keys(&self) -> &[ListKey] {
        &[]
    }

    /// Whether an object without content (a decoded empty Go struct, say) has the field all the same: it decides only
    /// whether a create counts the field itself as set, beside what is in it.
    fn always_there(&self) -> bool {
        false
    }
}

/// How values of a type merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text, number, boolean, int-or-string: replaced.
    Scalar,
    /// A map or a list that is replaced whole (`x-kubernetes-map-type: atomic`, lists without a list type).
    Atomic,
    /// Named fields, merged one by one.
    Struct,
    /// A map with values of one type, merged entry by entry.
    Map,
    /// A list of scalars, each at most once (`x-kubernetes-list-type: set`).
    Set,
    /// A list of objects told apart by keys (`x-kubernetes-list-type: map`).
    Keyed,
    /// Not known: maps merge entry by entry with values of this same form, lists and scalars are replaced.
    Deduced,
}

/// A key of a [`Form::Keyed`] list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListKey {
    pub name: Cow<'static, str>,
    /// What an element without the key is taken to have.
    pub default: Option<Value>,
}

/// The shape of values about which nothing is known.
pub static DEDUCED: &dyn Shape = &Deduced;

/// The type of a map's entry or a struct's field, wherever the shape has it.
#[must_use]
pub fn child<'a>(shape: &'a dyn Shape, name: &str) -> Option<&'a dyn Shape> {
    shape.field(name).or_else(|| shape.element())
}

struct Deduced;

impl Shape for Deduced {
    fn form(&self) -> Form {
        Form::Deduced
    }

    fn field(&self, _: &str) -> Option<&dyn Shape> {
        None
    }

    fn element(&self) -> Option<&dyn Shape> {
        Some(DEDUCED)
    }
}

impl Shape for Definition {
    fn form(&self) -> Form {
        match &self.body {
            Body::Object(_) if self.map_type == Some("atomic") => Form::Atomic,
            Body::Object(_) => Form::Struct,
            Body::Scalar(Scalar::Any) => Form::Atomic,
            Body::Scalar(_) => Form::Scalar,
        }
    }

    fn field(&self, name: &str) -> Option<&dyn Shape> {
        match &self.body {
            Body::Object(fields) => {
                fields.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &fields[i] as &dyn Shape)
            }
            Body::Scalar(_) => None,
        }
    }

    fn element(&self) -> Option<&dyn Shape> {
        None
    }
}

impl Shape for Type {
    fn form(&self) -> Form {
        match self {
            Self::Scalar(Scalar::Any) | Self::List(_) => Form::Atomic,
            Self::Scalar(_) => Form::Scalar,
            Self::Named(_) => self.schema().map_or(Form::Deduced, |schema| schema.definition().form()),
            Self::Map(_) => Form::Map,
        }
    }

    fn field(&self, name: &str) -> Option<&dyn Shape> {
        self.schema().and_then(|schema| schema.definition().field(name))
    }

    fn element(&self) -> Option<&dyn Shape> {
        match self {
            Self::List(inner) | Self::Map(inner) => Some(&**inner),
            Self::Scalar(_) | Self::Named(_) => None,
        }
    }
}

impl Shape for Field {
    fn form(&self) -> Form {
        match (&self.kind, self.list_type, self.map_type) {
            (Type::List(_), Some("set"), _) => Form::Set,
            (Type::List(_), Some("map"), _) => Form::Keyed,
            (Type::Map(_) | Type::Named(_), _, Some("atomic")) => Form::Atomic,
            (Type::Named(_), _, Some("granular")) => Form::Struct,
            _ => self.kind.form(),
        }
    }

    fn field(&self, name: &str) -> Option<&dyn Shape> {
        self.kind.field(name)
    }

    fn element(&self) -> Option<&dyn Shape> {
        Shape::element(&self.kind)
    }

    fn keys(&self) -> &[ListKey] {
        &self.keys
    }

    fn always_there(&self) -> bool {
        const BY_VALUE: [&str; 7] =
            ["metadata", "spec", "status", "template", "strategy", "updateStrategy", "jobTemplate"];
        self.required || BY_VALUE.contains(&self.name)
    }
}
