//! What merging knows of a custom resource's values.

use api::Schema;
use api::shape::{DEDUCED, Form, ListKey, Shape};

use super::schema::{Additional, Props};

impl Shape for Props {
    fn form(&self) -> Form {
        if self.int_or_string {
            return Form::Scalar;
        }
        match (self.kind.as_str(), self.list_type.as_str(), self.map_type.as_str()) {
            ("array", "set", _) => Form::Set,
            ("array", "map", _) => Form::Keyed,
            ("array", _, _) | ("object", _, "atomic") => Form::Atomic,
            ("object", _, _) if self.properties.is_empty() && matches!(self.additional, Additional::Schema(_)) => {
                Form::Map
            }
            ("object", _, _) if self.properties.is_empty() && self.preserve_unknown && !self.embedded => Form::Deduced,
            ("object", _, _) => Form::Struct,
            ("", _, _) => Form::Deduced,
            _ => Form::Scalar,
        }
    }

    fn field(&self, name: &str) -> Option<&dyn Shape> {
        if name == "metadata" && (self.embedded || self.is_root) {
            let schema = Schema::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
            return schema.map(|schema| schema.definition() as &dyn Shape);
        }
        if matches!(name, "apiVersion" | "kind") && (self.embedded || self.is_root) {
            return Some(&TEXT);
        }
        self.properties.get(name).map(|schema| schema as &dyn Shape)
    }

    fn element(&self) -> Option<&dyn Shape> {
        match (&self.items, &self.additional) {
            (Some(items), _) => Some(&**items),
            (None, Additional::Schema(schema)) => Some(&**schema),
            (None, Additional::Any) => Some(DEDUCED),
            (None, Additional::Absent | Additional::Forbidden) => self.preserve_unknown.then_some(DEDUCED),
        }
    }

    fn keys(&self) -> &[ListKey] {
        &self.keys
    }
}

struct Text;
static TEXT: Text = Text;

impl Shape for Text {
    fn form(&self) -> Form {
        Form::Scalar
    }

    fn field(&self, _: &str) -> Option<&dyn Shape> {
        None
    }

    fn element(&self) -> Option<&dyn Shape> {
        None
    }
}
