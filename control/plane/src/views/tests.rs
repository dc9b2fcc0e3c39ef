use std::collections::BTreeSet;

use futures::FutureExt;
use store::{Expect, Op};

use super::*;

fn put(store: &dyn Backend, key: &str, value: &'static str) {
    let put = store.commit(key, Expect::Any, Op::Put(Bytes::from_static(value.as_bytes())));
    put.now_or_never().expect("memory answers at once").expect("it is written");
}

fn names(view: &View) -> BTreeSet<String> {
    view.tables.all(Kind::Pod).map(|pod| pod.name().to_owned()).collect()
}

#[test]
fn what_is_listed_and_watched_is_not_decoded_and_what_is_no_object_is_left_out() {
    const POD: &str = r#"{"metadata":{"name":"a","namespace":"default","uid":"u"},"spec":{"containers":[]}}"#;
    let store = store::memory();
    put(store.as_ref(), "/registry/core/pods/default/a", POD);
    put(store.as_ref(), "/registry/core/pods/default/broken", "[");
    put(store.as_ref(), "/registry/core/events/default/e", "{}");
    let mut reflector = Reflector::default();
    let listed = restart(store.as_ref(), &mut reflector).now_or_never().expect("memory answers at once");
    let mut watch = store.watch(PREFIX, listed.expect("a list")).expect("a watch");
    assert_eq!(names(reflector.view()), BTreeSet::from(["a".to_owned()]));
    put(store.as_ref(), "/registry/core/pods/default/b", POD);
    put(store.as_ref(), "/registry/core/pods/default/a", "no longer one");
    while let Some(event) = watch.next().now_or_never() {
        assert!(fold(&mut reflector, event.expect("the store runs")));
    }
    let view = reflector.view();
    assert_eq!(names(view), BTreeSet::from(["b".to_owned()]));
    assert_eq!(view.revision.0, store.revision().0);
    assert!(!view.tables.all(Kind::Pod).any(Object::was_decoded));
}
