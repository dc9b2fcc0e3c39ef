use k8s_openapi::api::core::v1::{Node, Pod};

use super::*;

const POD: &str = r#"{"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": {"containers": []}}"#;

fn stored(value: &str) -> Object {
    let key = Arc::from("/registry/core/pods/default/p");
    Object::stored(Kind::Pod, key, Bytes::copy_from_slice(value.as_bytes()), Revision(7)).expect("an object")
}

#[test]
fn it_holds_the_stores_own_bytes_and_key() {
    let (key, value) = (Arc::<str>::from("/registry/core/pods/default/p"), Bytes::copy_from_slice(POD.as_bytes()));
    let object = Object::stored(Kind::Pod, key.clone(), value.clone(), Revision(7)).expect("a pod");
    assert!(Arc::ptr_eq(object.store_key(), &key));
    assert_eq!(object.0.value.as_ptr(), value.as_ptr());
    assert_eq!((object.namespace(), object.name()), ("default", "p"));
}

#[test]
fn it_is_decoded_when_somebody_asks_and_then_kept_for_a_while() {
    let object = stored(POD);
    assert!(!object.was_decoded());
    let one = object.typed::<Pod>().expect("a pod");
    assert!(object.was_decoded());
    assert_eq!(one.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!(object.typed::<Pod>(), Some(one));
    assert_eq!(object.typed::<Node>(), None, "another kind");
}

#[test]
fn metadata_parts_and_json_need_no_typed_object() {
    let object = stored(POD);
    assert_eq!(object.meta().resource_version.as_deref(), Some("7"));
    assert_eq!(object.meta().uid.as_deref(), Some("u"));
    assert_eq!(object.to_value()["apiVersion"], "v1");
    assert_eq!(object.to_value()["metadata"]["resourceVersion"], "7");
    assert!(!object.was_decoded());
}

#[test]
fn what_is_not_of_its_type_is_nothing_when_it_is_asked_for() {
    let object = stored(r#"{"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": 7}}"#);
    assert_eq!(object.uid(), &Uid::of("u"));
    assert_eq!(object.typed::<Pod>(), None);
}

#[test]
fn an_object_is_small() {
    // The store's bytes are its own. 100,000 objects of this size are 20 MB.
    assert!(size_of::<Stored>() <= 200, "{}", size_of::<Stored>());
}
