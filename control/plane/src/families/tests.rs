use super::*;

#[test]
fn one_or_one_of_each() {
    let one: Families<IpNet> = "10.244.0.0/16".parse().unwrap();
    assert_eq!((one.to_string().as_str(), one.list().len()), ("10.244.0.0/16", 1));
    let both: Families<IpAddr> = "2001:db8::1, 192.0.2.1".parse().unwrap();
    assert_eq!(both.to_string(), "2001:db8::1,192.0.2.1");
    assert!(both.first().is_ipv6());
    assert_eq!(both.of(true).unwrap().to_string(), "192.0.2.1");
    assert_eq!(one.of(false), None);
    for wrong in ["", "10.0.0.0/8,", "10.0.0.0/8,10.1.0.0/16", "10.0.0.0/8,fd00::/64,fd01::/64", "10.0.0.0/33"] {
        assert!(wrong.parse::<Families<IpNet>>().is_err(), "{wrong}");
    }
}

#[test]
fn kept_as_text() {
    let old: Families<IpNet> = serde_json::from_str(r#""10.244.0.0/16""#).unwrap();
    assert_eq!(serde_json::to_string(&old).unwrap(), r#""10.244.0.0/16""#);
    let both: Families<IpNet> = "10.244.0.0/16,fd00:10:244::/56".parse().unwrap();
    let text = serde_json::to_string(&both).unwrap();
    assert_eq!(text, r#""10.244.0.0/16,fd00:10:244::/56""#);
    assert_eq!(serde_json::from_str::<Families<IpNet>>(&text).unwrap(), both);
}
