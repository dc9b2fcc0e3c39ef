use std::collections::BTreeSet;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_freed_address_comes_last() {
    let mut pool = Pool::new("10.244.1.0/29".parse().unwrap(), &[]).unwrap();
    let mut used = BTreeSet::new();
    for want in ["10.244.1.2", "10.244.1.3"] {
        let got = pool.take(|ip| used.contains(&ip)).unwrap();
        assert_eq!(got, ip(want));
        used.insert(got);
    }
    used.remove(&ip("10.244.1.2"));
    let order: Vec<String> = std::iter::from_fn(|| {
        let got = pool.take(|ip| used.contains(&ip)).ok()?;
        used.insert(got);
        Some(got.to_string())
    })
    .collect();
    assert_eq!(order, ["10.244.1.4", "10.244.1.5", "10.244.1.6", "10.244.1.2"]);
    assert!(matches!(pool.take(|ip| used.contains(&ip)), Err(Error::Exhausted(5, _))));
}

#[test]
fn the_circle_goes_on_after_a_restart() {
    let range = "10.244.1.0/24".parse().unwrap();
    let mut pool = Pool::new(range, &[ip("fd00::1"), ip("10.244.1.254")]).unwrap();
    assert_eq!(pool.take(|_| false).unwrap(), ip("10.244.1.2"));
    let mut pool = Pool::new(range, &[ip("10.9.9.9")]).unwrap();
    assert_eq!(pool.take(|_| false).unwrap(), ip("10.244.1.2"));
}

#[test]
fn ranges_that_hold_no_pods() {
    for text in ["10.0.0.0/31", "10.0.0.1/32", "fd00::/127"] {
        assert!(matches!(Pool::new(text.parse().unwrap(), &[]), Err(Error::PodCidr(_))), "{text}");
    }
}

#[test]
fn both_families_alike() {
    let mut pool = Pool::new("fd00:1:2:3::/64".parse().unwrap(), &[]).unwrap();
    assert_eq!(pool.take(|_| false).unwrap(), ip("fd00:1:2:3::2"));
    assert_eq!(pool.take(|_| false).unwrap(), ip("fd00:1:2:3::3"));
    let mut pool = Pool::new("fd00:1:2:3::/64".parse().unwrap(), &[pool.last().unwrap()]).unwrap();
    assert_eq!(pool.take(|_| false).unwrap(), ip("fd00:1:2:3::4"));
    let mut whole = Pool::new("::/0".parse().unwrap(), &[ip("::f:fffe")]).unwrap();
    assert_eq!(whole.take(|_| false).unwrap(), ip("::2"), "no more than a node may use");
}
