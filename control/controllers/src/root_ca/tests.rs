use expect_test::expect;
use serde_json::json;

use super::*;
use crate::testing::World;

fn controller() -> RootCaPublisher {
    RootCaPublisher { ca_pem: "PEM".to_owned() }
}

#[test]
fn the_certificate_is_published() {
    let mut world = World::new("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    world.settle(&[&controller()]);
    world.patch(Kind::ConfigMap, "shop/kube-root-ca.crt", json!({"data": {"ca.crt": "forged"}}));
    world.log += "-- after damage\n";
    world.settle(&[&controller()]);
    expect![[r#"
        create configmaps shop/kube-root-ca.crt
        -- after damage
        update configmaps shop/kube-root-ca.crt
    "#]]
    .assert_eq(&world.take_log());
    let published = world.view.get::<ConfigMap>("shop", "kube-root-ca.crt").expect("it is published");
    assert_eq!(json!(published.data), json!({"ca.crt": "PEM"}));
}

#[test]
fn a_namespace_that_goes_gets_none() {
    let yaml = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, deletionTimestamp: '2026-01-01T00:00:00Z'}}";
    expect![[r#""#]].assert_eq(&World::new(yaml).plan(&controller(), "shop"));
}
