use super::*;

#[test]
fn interface_names_fit_and_differ() {
    let one = host_ifname("aa", "eth0").unwrap();
    assert_eq!(one.len(), 13);
    assert_eq!(one, host_ifname("aa", "").unwrap());
    assert_ne!(one, host_ifname("ab", "eth0").unwrap());
    assert_ne!(one, host_ifname("aa", "eth1").unwrap());
    assert!(matches!(host_ifname("", "eth0"), Err(Error::Missing(_))));
}
