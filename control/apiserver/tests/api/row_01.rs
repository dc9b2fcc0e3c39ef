use crate::fixture::*;

#[tokio::test]
async fn row_01_health_and_version() {
    let f = Fixture::new().await;
    for path in
        ["/healthz", "/livez", "/readyz", "/readyz/ping", "/readyz/etcd", "/livez/poststarthook/rbac/bootstrap-roles"]
    {
        let answer = f.get(path).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.ok(), "ok", "{path}");
    }
    let verbose = f.get("/readyz?verbose").await.ok();
    let verbose = verbose.as_str().unwrap();
    assert!(verbose.starts_with("[+]ping ok\n[+]log ok\n[+]etcd ok\n"), "{verbose}");
    assert!(verbose.ends_with("[+]shutdown ok\nreadyz check passed\n"), "{verbose}");
    let excluded = f.get("/livez?verbose&exclude=etcd&exclude=nope").await.ok();
    let excluded = excluded.as_str().unwrap();
    assert!(excluded.contains("[+]etcd excluded: ok\n"), "{excluded}");
    assert!(excluded.contains("warn: some health checks cannot be excluded: no matches for \"nope\"\n"), "{excluded}");
    assert_eq!(f.get("/readyz/nope").await.code, 404);
    let version = f.get("/version").await.ok();
    assert_eq!((&version["major"], &version["minor"]), (&"1".into(), &"36".into()));
    assert_eq!(version["gitVersion"], "v1.36.0+gannet");
}

#[tokio::test]
async fn row_01_metrics() {
    let f = Fixture::new().await;
    f.post(MAPS, config_map("counted", serde_json::json!({}))).await.ok();
    let answer = f.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.ok();
    let text = text.as_str().unwrap();
    let counter = "apiserver_request_total{code=\"201\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"POST\",version=\"v1\"} ";
    for part in [
        "# TYPE apiserver_request_total counter\n",
        counter,
        "# TYPE apiserver_request_duration_seconds histogram\n",
        "apiserver_request_duration_seconds_bucket{le=\"0.005\",",
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
        "kubernetes_build_info{",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("# EOF"));
    let open = answer_of(&f, "application/openmetrics-text; version=1.0.0").await;
    assert!(open.ends_with("# EOF\n"));
}

async fn answer_of(f: &Fixture, accept: &str) -> String {
    answer(f.fetch("/metrics", accept).await).await.ok().as_str().unwrap().to_owned()
}
