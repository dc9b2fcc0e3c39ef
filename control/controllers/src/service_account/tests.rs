use expect_test::expect;
use serde_json::json;

use super::*;
use crate::testing::World;

fn controller() -> ServiceAccountController {
    ServiceAccountController { ca_pem: "PEM".to_owned() }
}

#[test]
fn a_namespace_is_furnished() {
    let mut world = World::new("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    world.settle(&[&controller()]);
    world.remove(Kind::ServiceAccount, "shop/default");
    world.patch(Kind::ConfigMap, "shop/kube-root-ca.crt", json!({"data": {"ca.crt": "forged"}}));
    world.log += "-- after damage\n";
    world.settle(&[&controller()]);
    expect![[r#"
        create serviceaccounts shop/default
        create configmaps shop/kube-root-ca.crt
        -- after damage
        create serviceaccounts shop/default
        update configmaps shop/kube-root-ca.crt
    "#]]
    .assert_eq(&world.take_log());
    let published = world.view.get::<ConfigMap>("shop", "kube-root-ca.crt").expect("it is published");
    assert_eq!(json!(published.data), json!({"ca.crt": "PEM"}));
}

#[test]
fn a_namespace_that_goes_is_not() {
    let yaml = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, deletionTimestamp: '2026-01-01T00:00:00Z'}}";
    expect![[r#""#]].assert_eq(&World::new(yaml).plan(&controller(), "shop"));
}
