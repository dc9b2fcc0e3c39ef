use super::*;

fn show(path: &str) -> String {
    match parse(path) {
        Ok(Path::Resource(t)) => {
            format!("{}/{} ns={} {} name={} sub={}", t.group, t.version, t.namespace, t.resource, t.name, t.subresource)
        }
        Ok(Path::Other(segments)) => format!("other {}", segments.join(" ")),
        Err(status) => format!("{}", status.code),
    }
}

#[test]
fn old_watch_paths() {
    for (path, want) in [
        ("/api/v1/watch/pods", Some("/api/v1/pods")),
        ("/api/v1/watch/namespaces/a/pods/p", Some("/api/v1/namespaces/a/pods/p")),
        ("/apis/apps/v1/watch/deployments", Some("/apis/apps/v1/deployments")),
        ("/api/v1/namespaces/watch/pods", None),
        ("/api/v1/watch", None),
        ("/apis/watch/v1/things", None),
    ] {
        assert_eq!(without_watch(path).as_deref(), want, "{path}");
    }
}

#[test]
fn paths() {
    for (path, want) in [
        ("/", "other "),
        ("/api", "other api"),
        ("/api/v1/", "other api v1"),
        ("/apis/apps/v1", "other apis apps v1"),
        ("/api/v1/pods", "/v1 ns= pods name= sub="),
        ("/api/v1/namespaces", "/v1 ns= namespaces name= sub="),
        ("/api/v1/namespaces/a", "/v1 ns= namespaces name=a sub="),
        ("/api/v1/namespaces/a/finalize", "/v1 ns= namespaces name=a sub=finalize"),
        ("/api/v1/namespaces/a/pods", "/v1 ns=a pods name= sub="),
        ("/api/v1/namespaces/a/pods/p/log", "/v1 ns=a pods name=p sub=log"),
        ("/api/v1/namespaces/a/pods/p/proxy/x/y", "/v1 ns=a pods name=p sub=proxy"),
        ("/apis/apps/v1/namespaces/a/deployments/d", "apps/v1 ns=a deployments name=d sub="),
        ("/api/v1/namespaces/a%2Fpods/p", "400"),
        ("/api/v1/namespaces/../pods", "400"),
        ("/api/v1/namespaces/%2e%2e/pods", "400"),
        ("/api/v1//pods", "400"),
        ("/api/v1/pods/%zz", "400"),
        ("/api/v1/pods/%ff", "400"),
        ("/api/v1/pods/a%00", "400"),
    ] {
        assert_eq!(show(path), want, "{path}");
    }
}
