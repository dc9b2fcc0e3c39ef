use super::*;

#[test]
fn names_say_scheme_and_port() {
    let named = |scheme, name, port| Some(Named { scheme, name, port });
    assert_eq!(parse("web"), named(Scheme::Http, "web", ""));
    assert_eq!(parse("web:80"), named(Scheme::Http, "web", "80"));
    assert_eq!(parse("https:web"), named(Scheme::Https, "web", ""));
    assert_eq!(parse("https:web:"), named(Scheme::Https, "web", ""));
    assert_eq!(parse("http:web:http"), named(Scheme::Http, "web", "http"));
    assert_eq!(parse("ftp:web:21"), None);
    assert_eq!(parse(""), None);
}

#[test]
fn tails_are_passed_on_as_they_are_written() {
    let tail = |uri: &str| tail_of(&uri.parse().expect("a path"), "/api/v1/namespaces/n/pods/p:80/proxy");
    assert_eq!(tail("/api/v1/namespaces/n/pods/p:80/proxy"), "/");
    assert_eq!(tail("/api/v1/namespaces/n/pods/p:80/proxy/a/?x=1"), "/a/?x=1");
    assert_eq!(tail("/api/v1/namespaces/n/pods/p%3A80/proxy/a%20b"), "/a%20b");
}
