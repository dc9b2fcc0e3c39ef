use expect_test::expect;

use super::*;
use crate::testing::World;

#[test]
fn a_namespace_is_furnished() {
    let mut world = World::new("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}");
    world.settle(&[&ServiceAccountController]);
    world.remove(Kind::ServiceAccount, "shop/default");
    world.log += "-- after damage\n";
    world.settle(&[&ServiceAccountController]);
    expect![[r#"
        create serviceaccounts shop/default
        -- after damage
        create serviceaccounts shop/default
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn a_namespace_that_goes_is_not() {
    let yaml = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, deletionTimestamp: '2026-01-01T00:00:00Z'}}";
    expect![[r#""#]].assert_eq(&World::new(yaml).plan(&ServiceAccountController, "shop"));
}
