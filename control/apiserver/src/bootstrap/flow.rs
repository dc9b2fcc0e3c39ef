//! The priority levels and flow schemas that Kubernetes has from the start.

use super::Wanted;
use serde_json::{Value, json};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// Says that the server may bring the object up to date.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Priority levels: name, shares, percent lendable, and queues, hand size, queue length of those that queue.
type Level = (&'static str, i64, i64, Option<(i64, i64, i64)>);
const LEVELS: [Level; 7] = [
    ("catch-all", 5, 0, None),
    ("global-default", 20, 50, Some((128, 6, 50))),
    ("leader-election", 10, 0, Some((16, 4, 50))),
    ("node-high", 40, 25, Some((64, 6, 50))),
    ("system", 30, 33, Some((64, 6, 50))),
    ("workload-high", 40, 50, Some((128, 6, 50))),
    ("workload-low", 100, 90, Some((128, 6, 50))),
];

pub(super) fn wanted() -> Vec<Wanted> {
    let mut wanted = vec![level(
        "exempt",
        json!({
            "type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
        }),
    )];
    for (name, shares, lendable, queues) in LEVELS {
        let response = match queues {
            Some((queues, hand, length)) => json!({
                "type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": length},
            }),
            None => json!({"type": "Reject"}),
        };
        wanted.push(level(
            name,
            json!({
                "type": "Limited",
                "limited": {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response},
            }),
        ));
    }
    wanted.extend(schemas());
    wanted
}

fn level(name: &'static str, spec: Value) -> Wanted {
    let object = json!({"metadata": {"annotations": {AUTO_UPDATE: "true"}}, "spec": spec});
    Wanted::new((GROUP, "prioritylevelconfigurations"), "", name, object)
}

fn schemas() -> Vec<Wanted> {
    let everything = || rules(&["*"], &["*"], &["*"], &["*"], true);
    let all_paths = || json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    let leases = |namespaces: &[&str]| {
        rules(&["get", "create", "update"], &["coordination.k8s.io"], &["leases"], namespaces, false)
    };
    let everybody = || [group("system:unauthenticated"), group("system:authenticated")];
    let manager = || user("system:kube-controller-manager");
    let scheduler = || user("system:kube-scheduler");
    let system_account = |name: &str| account("kube-system", name);
    let by_user = Some("ByUser");
    vec![
        schema(
            "exempt",
            1,
            "exempt",
            None,
            json!([
                {"subjects": [group("system:masters")], "resourceRules": everything(), "nonResourceRules": all_paths()},
            ]),
        ),
        schema(
            "probes",
            2,
            "exempt",
            None,
            json!([{
                "subjects": everybody(),
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
            }]),
        ),
        schema(
            "system-leader-election",
            100,
            "leader-election",
            by_user,
            json!([{
                "subjects": [manager(), scheduler(), system_account("*")], "resourceRules": leases(&["kube-system"]),
            }]),
        ),
        schema(
            "endpoint-controller",
            150,
            "workload-high",
            by_user,
            json!([{
                "subjects": [manager(), system_account("endpoint-controller"), system_account("endpointslicemirroring-controller")],
                "resourceRules": [
                    rule(&["get", "create", "update"], &[""], &["endpoints"], &["*"], false),
                    rule(&["get", "create", "update"], &["discovery.k8s.io"], &["endpointslices"], &["*"], false),
                ],
            }]),
        ),
        schema(
            "workload-leader-election",
            200,
            "leader-election",
            by_user,
            json!([
                {"subjects": [system_account("*")], "resourceRules": leases(&["*"])},
            ]),
        ),
        schema(
            "system-node-high",
            400,
            "node-high",
            by_user,
            json!([{
                "subjects": [group("system:nodes")],
                "resourceRules": [
                    rule(&["*"], &[""], &["nodes", "nodes/status"], &["*"], true),
                    rule(&["*"], &["coordination.k8s.io"], &["leases"], &["*"], false),
                ],
            }]),
        ),
        schema(
            "system-nodes",
            500,
            "system",
            by_user,
            json!([
                {"subjects": [group("system:nodes")], "resourceRules": everything(), "nonResourceRules": all_paths()},
            ]),
        ),
        schema(
            "kube-controller-manager",
            800,
            "workload-high",
            by_user,
            json!([
                {"subjects": [manager()], "resourceRules": everything(), "nonResourceRules": all_paths()},
            ]),
        ),
        schema(
            "kube-scheduler",
            800,
            "workload-high",
            by_user,
            json!([
                {"subjects": [scheduler()], "resourceRules": everything(), "nonResourceRules": all_paths()},
            ]),
        ),
        schema(
            "kube-system-service-accounts",
            900,
            "workload-high",
            by_user,
            json!([
                {"subjects": [system_account("*")], "resourceRules": everything(), "nonResourceRules": all_paths()},
            ]),
        ),
        schema(
            "service-accounts",
            9000,
            "workload-low",
            by_user,
            json!([{
                "subjects": [group("system:serviceaccounts")],
                "resourceRules": everything(), "nonResourceRules": all_paths(),
            }]),
        ),
        schema(
            "global-default",
            9900,
            "global-default",
            by_user,
            json!([
                {"subjects": everybody(), "resourceRules": everything(), "nonResourceRules": all_paths()},
            ]),
        ),
        schema(
            "catch-all",
            10_000,
            "catch-all",
            by_user,
            json!([
                {"subjects": everybody(), "resourceRules": everything(), "nonResourceRules": all_paths()},
            ]),
        ),
    ]
}

fn schema(name: &'static str, precedence: i64, level: &str, method: Option<&str>, rules: Value) -> Wanted {
    let mut spec = json!({
        "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "rules": rules,
    });
    if let Some(method) = method {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    let object = json!({"metadata": {"annotations": {AUTO_UPDATE: "true"}}, "spec": spec});
    Wanted {
        status: Some(json!({"conditions": [{
            "type": "Dangling", "status": "False", "reason": "Found",
            "lastTransitionTime": api::time::format(process::now()),
            "message": format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"),
        }]})),
        ..Wanted::new((GROUP, "flowschemas"), "", name, object)
    }
}

fn rules(verbs: &[&str], groups: &[&str], resources: &[&str], namespaces: &[&str], cluster: bool) -> Value {
    json!([rule(verbs, groups, resources, namespaces, cluster)])
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], namespaces: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "namespaces": namespaces});
    if cluster {
        rule["clusterScope"] = json!(true);
    }
    rule
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}})
}
