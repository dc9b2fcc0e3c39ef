//! Subresources: status, scale, binding, eviction, ephemeralcontainers, resize, log.

use crate::fixture::*;
use serde_json::{Value, json};

const CONTROLLERS: &str = "/api/v1/namespaces/default/replicationcontrollers";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const STRATEGIC: Option<&str> = Some("application/strategic-merge-patch+json");

#[tokio::test]
async fn row_24_scale_of_every_workload() {
    let f = Fixture::new().await;
    f.post(DEPLOYMENTS, deployment("d")).await.ok();
    let mut set = deployment("s");
    set["spec"]["serviceName"] = json!("s");
    let sets = "/apis/apps/v1/namespaces/default/statefulsets";
    f.post(sets, set).await.ok();
    let replicasets = "/apis/apps/v1/namespaces/default/replicasets";
    f.post(replicasets, deployment("r")).await.ok();
    let mut controller = deployment("c");
    controller["spec"]["selector"] = json!({"app": "c"});
    f.post(CONTROLLERS, controller).await.ok();
    for (path, name) in [(DEPLOYMENTS, "d"), (sets, "s"), (replicasets, "r"), (CONTROLLERS, "c")] {
        let path = format!("{path}/{name}/scale");
        let mut scale = f.get(&path).await.ok();
        assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
        assert_eq!(scale["spec"], json!({"replicas": 2}));
        assert_eq!(scale["status"], json!({"replicas": 0, "selector": format!("app={name}")}));
        scale["spec"]["replicas"] = json!(5);
        assert_eq!(f.put(&path, &scale).await.ok()["spec"]["replicas"], 5);
        let (code, _, _) = f.put(&path, &scale).await.refused();
        assert_eq!(code, 409, "its resourceVersion is no longer the newest");
        let patched = f.merge(&path, json!({"spec": {"replicas": 0}})).await.ok();
        assert_eq!(patched["spec"], json!({}));
        let object = f.get(path.trim_end_matches("/scale")).await.ok();
        assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(0), &json!(3)));
        let (code, reason, message) = f.merge(&path, json!({"spec": {"replicas": -1}})).await.refused();
        assert_eq!((code, reason.as_str()), (422, "Invalid"));
        let wanted = format!(
            "Scale.autoscaling {name:?} is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        );
        assert_eq!(message, wanted);
    }
    let jobs = f.get("/apis/batch/v1/namespaces/default/jobs/x/scale").await;
    assert_eq!(jobs.code, 404);
}

#[tokio::test]
async fn row_24_status_is_written_apart() {
    let f = Fixture::new().await;
    let mut wanted = deployment("d");
    wanted["status"] = json!({"replicas": 7});
    let made = f.post(DEPLOYMENTS, wanted).await.ok();
    assert_eq!(made["status"], json!({}));
    let path = format!("{DEPLOYMENTS}/d");
    let change = json!({"spec": {"replicas": 9}, "status": {"replicas": 1, "observedGeneration": 1}});
    let after = f.merge(&format!("{path}/status"), change.clone()).await.ok();
    assert_eq!((&after["spec"]["replicas"], &after["status"]["replicas"]), (&json!(2), &json!(1)));
    assert_eq!(after["metadata"]["generation"], 1);
    let after = f.merge(&path, json!({"spec": {"replicas": 9}, "status": {"replicas": 3}})).await.ok();
    assert_eq!((&after["spec"]["replicas"], &after["status"]["replicas"]), (&json!(9), &json!(1)));
    assert_eq!(after["metadata"]["generation"], 2);
    assert_eq!(f.get(&format!("{path}/status")).await.ok()["kind"], "Deployment");
    let refused = f.merge(&format!("{path}/status"), json!({"status": {"replicas": 1, "readyReplicas": 2}})).await;
    let (code, _, message) = refused.refused();
    assert_eq!(code, 422);
    assert!(
        message.contains("status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"),
        "{message}"
    );
}

#[tokio::test]
async fn row_24_bindings() {
    let f = Fixture::new().await;
    for name in ["a", "b", "g"] {
        let mut wanted = pod(name);
        if name == "g" {
            wanted["spec"]["schedulingGates"] = json!([{"name": "wait"}]);
        }
        f.post(PODS, wanted).await.ok();
    }
    let binding =
        |name: &str, node: &str| json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
    let made = f.post(&format!("{PODS}/a/binding"), binding("a", "n1")).await;
    assert_eq!((made.code, &made.body["status"]), (201, &json!("Success")));
    let legacy = f.post("/api/v1/namespaces/default/bindings", binding("b", "n2")).await;
    assert_eq!(legacy.code, 201, "{}", legacy.body);
    let bound = f.get(&format!("{PODS}/b")).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n2");
    let scheduled = &bound["status"]["conditions"][0];
    assert_eq!((&scheduled["type"], &scheduled["status"]), (&json!("PodScheduled"), &json!("True")));
    let (code, reason, message) = f.post(&format!("{PODS}/a/binding"), binding("a", "n2")).await.refused();
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(
        message,
        "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n1\""
    );
    let (code, _, message) = f.post(&format!("{PODS}/g/binding"), binding("g", "n1")).await.refused();
    assert_eq!(code, 409);
    assert!(message.ends_with("pod g has non-empty .spec.schedulingGates"), "{message}");
    let gated = f.get(&format!("{PODS}/g")).await.ok();
    assert_eq!(gated["status"]["conditions"][0]["reason"], "SchedulingGated");
    assert_eq!(f.post(&format!("{PODS}/none/binding"), binding("none", "n1")).await.code, 404);
    let (code, _, message) = f.post(&format!("{PODS}/g/binding"), binding("other", "n1")).await.refused();
    assert_eq!((code, message.as_str()), (400, "name in URL does not match name in Binding object"));
    assert_eq!(f.get("/api/v1/namespaces/default/bindings").await.code, 405);
}

/// A running pod that is ready, or not.
async fn running(f: &Fixture, name: &str, ready: bool) {
    let mut wanted = pod(name);
    wanted["metadata"]["labels"] = json!({"app": "web"});
    f.post(PODS, wanted).await.ok();
    let binding = json!({"metadata": {"name": name}, "target": {"name": "n1"}});
    assert_eq!(f.post(&format!("{PODS}/{name}/binding"), binding).await.code, 201);
    let ready = if ready { "True" } else { "False" };
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
    f.call("PATCH", &format!("{PODS}/{name}/status"), STRATEGIC, status.to_string()).await.ok();
}

async fn evict(f: &Fixture, name: &str, options: Value) -> Answer {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}, "deleteOptions": options});
    f.post(&format!("{PODS}/{name}/eviction"), eviction).await
}

async fn budget_status(f: &Fixture, status: Value) {
    f.merge(&format!("{BUDGETS}/b/status"), json!({"status": status})).await.ok();
}

#[tokio::test]
async fn row_24_evictions_obey_budgets() {
    let f = Fixture::new().await;
    for name in ["p1", "p2", "p3"] {
        running(&f, name, true).await;
    }
    running(&f, "sick", false).await;
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    f.post(BUDGETS, budget.clone()).await.ok();
    // The controller has not looked yet.
    let refused = evict(&f, "p1", json!({})).await;
    assert_eq!(refused.headers["retry-after"], "10");
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "DisruptionBudget");
    let text = "The disruption budget b is still being processed by the server.";
    assert_eq!(refused.body["details"]["causes"][0]["message"], text);
    let (code, reason, message) = refused.refused();
    assert_eq!((code, reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(message, "Cannot evict pod as it would violate the pod's disruption budget.");

    let counts = |allowed: i64| json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 4, "disruptedPods": null});
    budget_status(&f, counts(1)).await;
    assert_eq!(evict(&f, "p1", json!({"dryRun": ["All"]})).await.code, 201);
    let untouched = f.get(&format!("{BUDGETS}/b")).await.ok();
    assert_eq!(untouched["status"]["disruptionsAllowed"], 1);
    assert!(f.get(&format!("{PODS}/p1")).await.ok()["metadata"].get("deletionTimestamp").is_none());

    let made = evict(&f, "p1", json!({})).await;
    assert_eq!((made.code, &made.body["status"]), (201, &json!("Success")));
    let gone = f.get(&format!("{PODS}/p1")).await.ok();
    assert!(gone["metadata"]["deletionTimestamp"].is_string());
    let why =
        gone["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "DisruptionTarget").unwrap();
    assert_eq!((&why["reason"], &why["message"]), (&json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting")));
    let spent = f.get(&format!("{BUDGETS}/b")).await.ok();
    assert_eq!(spent["status"]["disruptionsAllowed"], 0);
    assert!(spent["status"]["disruptedPods"]["p1"].is_string());

    let refused = evict(&f, "p2", json!({})).await;
    assert_eq!(refused.code, 429);
    let text = "The disruption budget b needs 2 healthy pods and has 3 currently";
    assert_eq!(refused.body["details"]["causes"][0]["message"], text);
    // One that is being deleted already may be evicted again; an unhealthy one while enough are healthy, too.
    assert_eq!(evict(&f, "p1", json!({"gracePeriodSeconds": 0})).await.code, 201);
    assert_eq!(evict(&f, "sick", json!({})).await.code, 201);
    // Two evictions for one free place.
    budget_status(&f, counts(1)).await;
    let (one, other) = tokio::join!(evict(&f, "p2", json!({})), evict(&f, "p3", json!({})));
    let mut codes = [one.code, other.code];
    codes.sort_unstable();
    assert_eq!(codes, [201, 429]);
    // Two budgets for one pod.
    let mut second = budget;
    second["metadata"]["name"] = json!("c");
    f.post(BUDGETS, second).await.ok();
    let left = if one.code == 429 { "p2" } else { "p3" };
    let (code, _, message) = evict(&f, left, json!({})).await.refused();
    assert_eq!(code, 500);
    assert_eq!(
        message,
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
    assert_eq!(evict(&f, "nobody", json!({})).await.code, 404);
}

#[tokio::test]
async fn row_24_unhealthy_pods_by_policy_and_pods_that_have_not_begun() {
    let f = Fixture::new().await;
    running(&f, "sick", false).await;
    let mut waiting = pod("waiting");
    waiting["metadata"]["labels"] = json!({"app": "web"});
    f.post(PODS, waiting).await.ok();
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "web"}}}});
    f.post(BUDGETS, budget).await.ok();
    budget_status(&f, json!({"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 2, "expectedPods": 2})).await;
    assert_eq!(evict(&f, "waiting", json!({})).await.code, 201);
    assert_eq!(f.get(&format!("{PODS}/waiting")).await.code, 404);
    assert_eq!(evict(&f, "sick", json!({})).await.code, 429);
    f.merge(&format!("{BUDGETS}/b"), json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}})).await.ok();
    assert_eq!(evict(&f, "sick", json!({})).await.code, 201);
}

#[tokio::test]
async fn row_24_ephemeral_containers_join_and_stay() {
    let f = Fixture::new().await;
    let mut refused = pod("x");
    refused["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "i"}]);
    let (code, _, message) = f.post(PODS, refused).await.refused();
    assert_eq!(code, 422);
    assert_eq!(message, "Pod \"x\" is invalid: spec.ephemeralContainers: Forbidden: cannot be set on create");
    f.post(PODS, pod("a")).await.ok();
    let path = format!("{PODS}/a/ephemeralcontainers");
    let patch = |container: Value| {
        json!({"metadata": {"labels": {"x": "y"}}, "spec": {"nodeName": "n9", "ephemeralContainers": [container]}})
            .to_string()
    };
    let debug = json!({"name": "debug", "image": "busybox", "targetContainerName": "c", "stdin": true});
    let after = f.call("PATCH", &path, STRATEGIC, patch(debug)).await.ok();
    let added = &after["spec"]["ephemeralContainers"][0];
    assert_eq!((&added["imagePullPolicy"], &added["terminationMessagePolicy"]), (&json!("Always"), &json!("File")));
    assert_eq!((after["spec"].get("nodeName"), &after["metadata"]["labels"]), (None, &json!({"app": "a"})));
    assert_eq!(after["metadata"]["generation"], 2);
    assert_eq!(f.get(&path).await.ok()["kind"], "Pod");
    for (container, wanted) in [
        (
            json!({"name": "debug", "image": "other"}),
            "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be changed\n",
        ),
        (json!({"name": "c", "image": "i"}), "spec.ephemeralContainers[0].name: Duplicate value: \"c\""),
        (
            json!({"name": "e", "image": "i", "targetContainerName": "zz"}),
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"zz\"",
        ),
        (
            json!({"name": "e", "image": "i", "ports": [{"containerPort": 1}]}),
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
        ),
        (
            json!({"name": "e", "image": "i", "livenessProbe": {"exec": {"command": ["x"]}}}),
            "spec.ephemeralContainers[0].livenessProbe: Forbidden: cannot be set for an Ephemeral Container",
        ),
    ] {
        let (code, _, message) = f.call("PATCH", &path, STRATEGIC, patch(container)).await.refused();
        assert_eq!(code, 422);
        assert!(message.contains(wanted), "{message}");
    }
    let mut whole = f.get(&format!("{PODS}/a")).await.ok();
    whole["spec"]["ephemeralContainers"] = json!([]);
    let (code, _, message) = f.put(&path, &whole).await.refused();
    assert_eq!(code, 422);
    assert!(message.contains("existing ephemeral containers \"debug\" may not be removed"), "{message}");
    // A plain update of the pod leaves them as they are.
    assert_eq!(f.put(&format!("{PODS}/a"), &whole).await.code, 422);
}

#[tokio::test]
async fn row_24_resize() {
    let f = Fixture::new().await;
    let mut wanted = pod("a");
    wanted["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}});
    f.post(PODS, wanted).await.ok();
    let path = format!("{PODS}/a/resize");
    let patch = |resources: Value| {
        json!({"spec": {"containers": [{"name": "c", "image": "new", "resources": resources}]}}).to_string()
    };
    let after = f.call("PATCH", &path, STRATEGIC, patch(json!({"requests": {"cpu": "150m"}}))).await.ok();
    let container = &after["spec"]["containers"][0];
    assert_eq!((&container["resources"]["requests"]["cpu"], &container["image"]), (&json!("150m"), &json!("i")));
    assert_eq!(after["metadata"]["generation"], 2);
    for (resources, wanted) in [
        (
            json!({"requests": {"cpu": "300m"}}),
            "spec.containers[0].resources.requests: Invalid value: \"300m\": must be less than or equal to cpu limit of 200m",
        ),
        (
            json!({"requests": {"ephemeral-storage": "1Gi"}}),
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
        (
            json!({"limits": {"cpu": null}}),
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        (
            json!({"requests": {"cpu": "200m"}, "limits": {"cpu": "200m"}}),
            "Pod QOS Class may not change as a result of resizing",
        ),
    ] {
        let (code, _, message) = f.call("PATCH", &path, STRATEGIC, patch(resources)).await.refused();
        assert_eq!(code, 422);
        assert!(message.contains(wanted), "{message}");
    }
    let direct =
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "10m"}}}]}}).to_string();
    let (code, _, message) = f.call("PATCH", &format!("{PODS}/a"), STRATEGIC, direct).await.refused();
    assert_eq!(code, 422);
    assert!(message.contains("pod updates may not change fields other than"), "{message}");
}

#[tokio::test]
async fn row_24_log_options() {
    let f = Fixture::new().await;
    let mut two = pod("a");
    two["spec"]["containers"] = json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
    two["spec"]["initContainers"] = json!([{"name": "z", "image": "i"}]);
    f.post(PODS, two).await.ok();
    let log = |query: &str| format!("{PODS}/a/log?{query}");
    let (code, _, message) = f.get(&log("")).await.refused();
    let wanted =
        "a container name must be specified for pod a, choose one of: [a b] or one of the init containers: [z]";
    assert_eq!((code, message.as_str()), (400, wanted));
    let invalid = |what: &str| format!("PodLogOptions \"a\" is invalid: {what}");
    for (query, wanted) in [
        ("tailLines=-1", invalid("tailLines: Invalid value: -1: must be greater than or equal to 0")),
        ("limitBytes=0", invalid("limitBytes: Invalid value: 0: must be greater than 0")),
        ("sinceSeconds=0", invalid("sinceSeconds: Invalid value: 0: must be greater than 0")),
        (
            "stream=Both",
            invalid("stream: Unsupported value: \"Both\": supported values: \"All\", \"Stderr\", \"Stdout\""),
        ),
    ] {
        let (code, reason, message) = f.get(&log(&format!("container=a&{query}"))).await.refused();
        assert_eq!((code, reason.as_str(), message), (422, "Invalid", wanted));
    }
    let both = f.get(&log("container=a&sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z")).await.refused();
    assert_eq!(both.0, 422);
    assert!(both.2.contains("at most one of `sinceTime` or `sinceSeconds` may be specified"), "{}", both.2);
    assert_eq!(f.get(&log("container=a&tailLines=x")).await.code, 400);
    let fine = f.get(&log("container=a&follow=true&previous=false&timestamps=true&tailLines=0&limitBytes=1")).await;
    assert_eq!((fine.code, fine.body.as_str()), (200, Some("")));
    assert_eq!(f.get(&format!("{PODS}/nobody/log")).await.code, 404);
}

#[tokio::test]
async fn row_24_token_and_component_statuses() {
    let f = Fixture::new().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = f.post(path, json!({"spec": {"audiences": ["a"], "expirationSeconds": 600}})).await.ok();
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("TokenRequest"), &json!("authentication.k8s.io/v1")));
    assert!(made["status"]["token"].is_string() && made["status"]["expirationTimestamp"].is_string());
    let all = f.get("/api/v1/componentstatuses").await;
    assert_eq!(all.headers["warning"], "299 - \"v1 ComponentStatus is deprecated in v1.19+\"");
    assert_eq!((&all.body["kind"], all.body["items"].as_array().unwrap().len()), (&json!("ComponentStatusList"), 3));
    let one = f.get("/api/v1/componentstatuses/scheduler").await.ok();
    assert_eq!(one["conditions"][0]["type"], "Healthy");
    assert_eq!(f.get("/api/v1/componentstatuses/x").await.code, 404);
    assert_eq!(f.post("/api/v1/componentstatuses", json!({})).await.code, 405);
}
