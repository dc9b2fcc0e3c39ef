use super::Query;
use super::logs::{Entry, Options};

#[test]
fn log_lines() {
    let entry = Entry::parse(b"2026-01-02T03:04:05.000000006Z stdout F hello world\n").unwrap();
    assert_eq!((entry.time, entry.whole, entry.text), ("2026-01-02T03:04:05.000000006Z", true, &b"hello world"[..]));
    assert!(!Entry::parse(b"t stderr P part").unwrap().whole);
    assert_eq!(Entry::parse(b"t stdout F \n").unwrap().text, b"");
    assert_eq!(Entry::parse(b"t stdout F\n").unwrap().text, b"");
    assert_eq!(Entry::parse(b"torn"), None);
    assert_eq!(Entry::parse(b"t stdlog F x"), None);
}

#[test]
fn log_options() {
    let now = "2026-01-01T00:01:00Z".parse().unwrap();
    let options = |query: &str| Options::parse(&Query::parse(Some(query)), now);
    let parsed = options("follow=true&tailLines=5&sinceSeconds=60&timestamps=1&limitBytes=9").unwrap();
    assert!(parsed.follow && parsed.timestamps && !parsed.previous);
    assert_eq!((parsed.tail, parsed.limit_bytes), (Some(5), Some(9)));
    assert_eq!(parsed.since, Some("2026-01-01T00:00:00Z".parse().unwrap()));
    for bad in
        ["tailLines=-1", "sinceSeconds=x", "sinceTime=yesterday", "sinceTime=2026-01-01T00:00:00Z&sinceSeconds=1"]
    {
        assert!(options(bad).is_err(), "{bad}");
    }
    assert!(options("sinceSeconds=18446744073709551615").is_ok());
}
