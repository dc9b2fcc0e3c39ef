use expect_test::expect;

use super::*;
use crate::testing::World;

fn controller(cidrs: &[&str]) -> NodeIpamController {
    NodeIpamController { cluster_cidrs: cidrs.iter().map(|cidr| cidr.parse().expect("a range")).collect() }
}

fn nodes(names: &[&str]) -> String {
    names.iter().map(|name| format!("---\n{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}}}\n")).collect()
}

#[test]
fn each_node_gets_a_range() {
    let mut world = World::new(&nodes(&["a", "b", "c"]));
    world.settle(&[&controller(&["10.244.0.0/16"])]);
    expect![[r#"
        patch nodes a {"spec":{"podCIDR":"10.244.0.0/24","podCIDRs":["10.244.0.0/24"]}}
        patch nodes b {"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}}
        patch nodes c {"spec":{"podCIDR":"10.244.2.0/24","podCIDRs":["10.244.2.0/24"]}}
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn a_range_comes_back_when_its_node_is_gone() {
    let mut world = World::new(&nodes(&["a", "b"]));
    world.settle(&[&controller(&["10.244.0.0/16"])]);
    world.remove(Kind::Node, "a");
    world.apply(&nodes(&["c", "d"]));
    world.take_log();
    world.settle(&[&controller(&["10.244.0.0/16"])]);
    expect![[r#"
        patch nodes c {"spec":{"podCIDR":"10.244.0.0/24","podCIDRs":["10.244.0.0/24"]}}
        patch nodes d {"spec":{"podCIDR":"10.244.2.0/24","podCIDRs":["10.244.2.0/24"]}}
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn both_families() {
    let mut world = World::new(&nodes(&["a"]));
    world.settle(&[&controller(&["10.244.0.0/16", "fd00:10:244::/48"])]);
    expect![[r#"
        patch nodes a {"spec":{"podCIDR":"10.244.0.0/24","podCIDRs":["10.244.0.0/24","fd00:10:244::/64"]}}
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn a_range_that_overlaps_is_not_given() {
    let taken = "{apiVersion: v1, kind: Node, metadata: {name: big}, spec: {podCIDR: 10.244.0.0/22, podCIDRs: [10.244.0.0/22]}}\n";
    let mut world = World::new(&(taken.to_owned() + &nodes(&["a"])));
    world.settle(&[&controller(&["10.244.0.0/16"])]);
    expect![[r#"
        patch nodes a {"spec":{"podCIDR":"10.244.4.0/24","podCIDRs":["10.244.4.0/24"]}}
    "#]]
    .assert_eq(&world.take_log());
}

#[test]
fn the_last_range_is_the_last() {
    let mut world = World::new(&nodes(&["a", "b", "c"]));
    world.settle(&[&controller(&["10.244.0.0/23"])]);
    expect![[r#"
        patch nodes a {"spec":{"podCIDR":"10.244.0.0/24","podCIDRs":["10.244.0.0/24"]}}
        patch nodes b {"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]}}
          [Warning Node/c CIDRNotAvailable] Node c status is now: CIDRNotAvailable
          [Warning Node/c CIDRNotAvailable] Node c status is now: CIDRNotAvailable
    "#]]
    .assert_eq(&world.take_log());
}
