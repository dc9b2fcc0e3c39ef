use super::{Form, ListKey, Shape, child};
use crate::{Gvk, Schema};

fn at(kind: &str, path: &[&str]) -> (Form, Vec<ListKey>) {
    let (group, kind) = kind.split_once('/').unwrap_or(("", kind));
    let schema = Schema::for_kind(&Gvk::new(group, "v1", kind)).unwrap();
    let mut shape: &dyn Shape = schema.definition();
    for step in path {
        shape = child(shape, step).unwrap();
    }
    (shape.form(), shape.keys().to_vec())
}

#[test]
fn forms_of_built_in_fields() {
    for (kind, path, want) in [
        ("Pod", &["metadata", "labels"][..], Form::Map),
        ("Pod", &["metadata", "finalizers"], Form::Set),
        ("Pod", &["metadata", "ownerReferences"], Form::Keyed),
        ("Pod", &["spec", "containers"], Form::Keyed),
        ("Pod", &["spec", "containers", "-", "args"], Form::Atomic),
        ("Pod", &["spec", "containers", "-", "resources", "limits", "cpu"], Form::Scalar),
        ("Pod", &["spec", "nodeSelector"], Form::Atomic),
        ("Pod", &["spec", "tolerations"], Form::Atomic),
        ("apps/Deployment", &["spec", "selector"], Form::Atomic),
        ("apps/Deployment", &["spec", "strategy", "rollingUpdate", "maxSurge"], Form::Scalar),
        ("apps/Deployment", &["spec"], Form::Struct),
    ] {
        assert_eq!(at(kind, path).0, want, "{kind} {path:?}");
    }
}

#[test]
fn keys_have_their_defaults() {
    let (_, keys) = at("Pod", &["spec", "containers", "-", "ports"]);
    assert_eq!(keys.iter().map(|k| &*k.name).collect::<Vec<_>>(), ["containerPort", "protocol"]);
    assert_eq!(keys[0].default, None);
    assert_eq!(keys[1].default, Some("TCP".into()));
}
