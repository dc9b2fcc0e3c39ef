//! What the kinds of core, apps, batch, autoscaling and policy make of wrong objects, as tables: a kind, the least
//! object that is fine, and changes to it.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{create_errors, created, lines, updated};
use crate::find_kind;

mod more;

fn template(labels: Value, restart: &str) -> Value {
    let containers = json!([{"name": "c", "image": "i"}]);
    json!({"metadata": {"labels": labels}, "spec": {"restartPolicy": restart, "containers": containers}})
}

fn object(api_version: &str, kind: &str, rest: Value) -> Value {
    let mut object =
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "default", "uid": "u"}});
    object.as_object_mut().expect("object").extend(rest.as_object().expect("object").clone());
    object
}

fn workload(kind: &str) -> Value {
    let labels = json!({"app": "x"});
    let spec = json!({"selector": {"matchLabels": labels}, "template": template(labels, "Always")});
    object("apps/v1", kind, json!({"spec": spec}))
}

fn job() -> Value {
    object("batch/v1", "Job", json!({"spec": {"template": template(json!({}), "Never")}}))
}

fn cron_job() -> Value {
    let own = json!({"spec": {"template": template(json!({}), "OnFailure")}});
    object("batch/v1", "CronJob", json!({"spec": {"schedule": "*/5 * * * *", "jobTemplate": own}}))
}

fn claim() -> Value {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    object("v1", "PersistentVolumeClaim", json!({"spec": spec}))
}

fn volume() -> Value {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}});
    let mut volume = object("v1", "PersistentVolume", json!({"spec": spec}));
    volume["metadata"].as_object_mut().expect("object").remove("namespace");
    volume
}

fn scaler() -> Value {
    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    object("autoscaling/v2", "HorizontalPodAutoscaler", json!({"spec": {"scaleTargetRef": target, "maxReplicas": 3}}))
}

/// The errors of each object with a JSON merge patch.
fn refused(base: &Value, changes: &[Value], want: Expect) {
    assert_eq!(create_errors(base.clone()), "", "the base is fine");
    let all: Vec<String> = changes
        .iter()
        .map(|change| format!("# {change}\n{}", create_errors(api::patch::merge::apply(base, change))))
        .collect();
    want.assert_eq(&all.concat());
}

/// The errors of each update with a JSON merge patch.
fn kept(base: &Value, changes: &[Value], want: Expect) {
    let old = created(base.clone());
    let all: Vec<String> = changes
        .iter()
        .map(|change| {
            let (_, errors) = updated(&old, |new| *new = api::patch::merge::apply(new, change));
            format!("# {change}\n{errors}")
        })
        .collect();
    want.assert_eq(&all.concat());
}

/// The errors of each status.
fn statuses(base: &Value, changes: &[Value], want: Expect) {
    let old = created(base.clone());
    let resource = find_kind(&api::meta::gvk(&old)).expect("a kind of the table");
    let all: Vec<String> = changes
        .iter()
        .map(|status| {
            let new = api::patch::merge::apply(&old, &json!({"status": status}));
            format!("# {status}\n{}", lines(resource.strategy.validate_status_update(&new, &old)))
        })
        .collect();
    want.assert_eq(&all.concat());
}

#[test]
fn stateful_sets() {
    let mut base = workload("StatefulSet");
    base["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "d"}, "spec": claim()["spec"]}]);
    refused(
        &base,
        &[
            json!({"spec": {"podManagementPolicy": "Odd"}}),
            json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}}),
            json!({"spec": {"updateStrategy": {"type": "Odd"}}}),
            json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": -1, "maxUnavailable": 0}}}}),
            json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Odd"}}}),
            json!({"spec": {"replicas": -1, "minReadySeconds": -1, "ordinals": {"start": -1}}}),
            json!({"spec": {"selector": null}}),
            json!({"spec": {"selector": {"matchLabels": null}}}),
            json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}}}),
        ],
        expect![[r##"
            # {"spec":{"podManagementPolicy":"Odd"}}
            spec.podManagementPolicy: Invalid value: "Odd": must be 'OrderedReady' or 'Parallel'
            # {"spec":{"updateStrategy":{"rollingUpdate":{"partition":1},"type":"OnDelete"}}}
            spec.updateStrategy.rollingUpdate: Invalid value: {"partition":1}: only allowed for updateStrategy 'RollingUpdate'
            # {"spec":{"updateStrategy":{"type":"Odd"}}}
            spec.updateStrategy: Invalid value: {"type":"Odd"}: must be 'RollingUpdate' or 'OnDelete'
            # {"spec":{"updateStrategy":{"rollingUpdate":{"maxUnavailable":0,"partition":-1},"type":"RollingUpdate"}}}
            spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0
            spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0
            # {"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Odd"}}}
            spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Odd": supported values: "Delete", "Retain"
            # {"spec":{"minReadySeconds":-1,"ordinals":{"start":-1},"replicas":-1}}
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0
            spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0
            # {"spec":{"selector":null}}
            spec.selector: Required value
            spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`
            # {"spec":{"selector":{"matchLabels":null}}}
            spec.selector: Invalid value: {}: empty selector is invalid for statefulset
            # {"spec":{"template":{"spec":{"activeDeadlineSeconds":5,"restartPolicy":"Never"}}}}
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
            spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported
        "##]],
    );
    kept(
        &base,
        &[
            json!({"spec": {"replicas": 3, "minReadySeconds": 1, "template": {"metadata": {"labels": {"b": "c"}}}}}),
            json!({"spec": {"serviceName": "other"}}),
            json!({"spec": {"volumeClaimTemplates": null}}),
        ],
        expect![[r##"
            # {"spec":{"minReadySeconds":1,"replicas":3,"template":{"metadata":{"labels":{"b":"c"}}}}}
            # {"spec":{"serviceName":"other"}}
            spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
            # {"spec":{"volumeClaimTemplates":null}}
            spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
        "##]],
    );
    statuses(
        &base,
        &[json!({"replicas": 1, "readyReplicas": 2, "availableReplicas": 3})],
        expect![[r##"
        # {"availableReplicas":3,"readyReplicas":2,"replicas":1}
        status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas
    "##]],
    );
}

#[test]
fn daemon_sets() {
    refused(
        &workload("DaemonSet"),
        &[
            json!({"spec": {"updateStrategy": {"type": "Odd"}}}),
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}}),
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": "10%"}}}}),
            json!({"spec": {"template": {"metadata": {"labels": {"app": "y"}}, "spec": {"restartPolicy": "OnFailure"}}}}),
        ],
        expect![[r##"
            # {"spec":{"updateStrategy":{"type":"Odd"}}}
            spec.updateStrategy.type: Unsupported value: "Odd": supported values: "OnDelete", "RollingUpdate"
            # {"spec":{"updateStrategy":{"rollingUpdate":{"maxUnavailable":0}}}}
            spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0
            # {"spec":{"updateStrategy":{"rollingUpdate":{"maxSurge":"10%","maxUnavailable":1}}}}
            spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set when maxUnavailable is non-zero
            # {"spec":{"template":{"metadata":{"labels":{"app":"y"}},"spec":{"restartPolicy":"OnFailure"}}}}
            spec.template.metadata.labels: Invalid value: {"app":"y"}: `selector` does not match template `labels`
            spec.template.spec.restartPolicy: Unsupported value: "OnFailure": supported values: "Always"
        "##]],
    );
    kept(
        &workload("DaemonSet"),
        &[json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}})],
        expect![[r##"
        # {"spec":{"selector":{"matchLabels":{"a":"b"}}}}
        spec.selector: Invalid value: {"matchLabels":{"a":"b","app":"x"}}: field is immutable
    "##]],
    );
}

#[test]
fn jobs() {
    let rule = |rule: Value| json!({"spec": {"podFailurePolicy": {"rules": [rule]}}});
    refused(
        &job(),
        &[
            json!({"spec": {"parallelism": -1, "completions": -1, "backoffLimit": -1, "activeDeadlineSeconds": -1, "ttlSecondsAfterFinished": -1}}),
            json!({"spec": {"template": {"spec": {"restartPolicy": null}}}}),
            json!({"spec": {"template": {"spec": {"restartPolicy": "Odd"}}}}),
            json!({"spec": {"completionMode": "Indexed", "completions": null, "parallelism": 1}}),
            json!({"spec": {"completionMode": "Odd", "backoffLimitPerIndex": 1}}),
            json!({"spec": {"completionMode": "Indexed", "completions": 3, "maxFailedIndexes": 4}}),
            json!({"spec": {"managedBy": "me", "podReplacementPolicy": "Odd"}}),
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
            json!({"spec": {"manualSelector": true}}),
            json!({"spec": {"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}}}),
            json!({"spec": {"template": {"metadata": {"labels": {"controller-uid": "other"}}}}}),
            rule(json!({"action": "Odd"})),
            rule(
                json!({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [0, 2, 1, 1], "containerName": "zz"}}),
            ),
            rule(json!({"action": "Ignore", "onPodConditions": [{"type": "!", "status": "Odd"}]})),
            json!({"spec": {"completionMode": "Indexed", "completions": 3, "successPolicy": {"rules": [{"succeededIndexes": "0,2-1"}, {"succeededCount": 4}, {}]}}}),
        ],
        expect![[r##"
            # {"spec":{"activeDeadlineSeconds":-1,"backoffLimit":-1,"completions":-1,"parallelism":-1,"ttlSecondsAfterFinished":-1}}
            spec.parallelism: Invalid value: -1: must be greater than or equal to 0
            spec.completions: Invalid value: -1: must be greater than or equal to 0
            spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0
            spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0
            # {"spec":{"template":{"spec":{"restartPolicy":null}}}}
            spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
            # {"spec":{"template":{"spec":{"restartPolicy":"Odd"}}}}
            spec.template.spec.restartPolicy: Unsupported value: "Odd": supported values: "Always", "Never", "OnFailure"
            spec.template.spec.restartPolicy: Unsupported value: "Odd": supported values: "Never", "OnFailure"
            # {"spec":{"completionMode":"Indexed","completions":null,"parallelism":1}}
            spec.completions: Required value: when completion mode is Indexed
            # {"spec":{"backoffLimitPerIndex":1,"completionMode":"Odd"}}
            spec.completionMode: Unsupported value: "Odd": supported values: "Indexed", "NonIndexed"
            spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode
            # {"spec":{"completionMode":"Indexed","completions":3,"maxFailedIndexes":4}}
            spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions
            spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified
            # {"spec":{"managedBy":"me","podReplacementPolicy":"Odd"}}
            spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")
            spec.podReplacementPolicy: Unsupported value: "Odd": supported values: "Failed", "TerminatingOrFailed"
            # {"spec":{"selector":{"matchLabels":{"a":"b"}}}}
            spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"u"}}: `selector` not auto-generated
            spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"x","controller-uid":"u","job-name":"x"}: `selector` does not match template `labels`
            # {"spec":{"manualSelector":true}}
            spec.selector: Required value
            # {"spec":{"manualSelector":true,"selector":{"matchLabels":{"a":"b"}}}}
            spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`
            # {"spec":{"template":{"metadata":{"labels":{"controller-uid":"other"}}}}}
            spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"x","controller-uid":"other","job-name":"x"}: must be 'u'
            # {"spec":{"podFailurePolicy":{"rules":[{"action":"Odd"}]}}}
            spec.podFailurePolicy.rules[0].action: Unsupported value: "Odd": supported values: "Count", "FailIndex", "FailJob", "Ignore"
            spec.podFailurePolicy.rules[0]: Invalid value: {"action":"Odd"}: specifying one of OnExitCodes and OnPodConditions is required
            # {"spec":{"podFailurePolicy":{"rules":[{"action":"FailIndex","onExitCodes":{"containerName":"zz","operator":"In","values":[0,2,1,1]}}]}}}
            spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set
            spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "zz": must be one of the container or initContainer names in the pod template
            spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator
            spec.podFailurePolicy.rules[0].onExitCodes.values[3]: Duplicate value: 1
            spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [0,2,1,1]: must be ordered
            # {"spec":{"podFailurePolicy":{"rules":[{"action":"Ignore","onPodConditions":[{"status":"Odd","type":"!"}]}]}}}
            spec.podFailurePolicy.rules[0].onPodConditions[0].type: Invalid value: "!": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: "Odd": supported values: "False", "True", "Unknown"
            # {"spec":{"completionMode":"Indexed","completions":3,"successPolicy":{"rules":[{"succeededIndexes":"0,2-1"},{"succeededCount":4},{}]}}}
            spec.successPolicy.rules[0].succeededIndexes: Invalid value: "0,2-1": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1
            spec.successPolicy.rules[1].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)
            spec.successPolicy.rules[2]: Required value: at least one of succeededCount or succeededIndexes must be specified
        "##]],
    );
    kept(
        &job(),
        &[
            json!({"spec": {"parallelism": 3, "suspend": true, "activeDeadlineSeconds": 5}}),
            json!({"spec": {"completions": 3}}),
            json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "other"}]}}, "completionMode": "Indexed"}}),
            json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
        ],
        expect![[r##"
            # {"spec":{"activeDeadlineSeconds":5,"parallelism":3,"suspend":true}}
            # {"spec":{"completions":3}}
            spec.completions: Invalid value: 3: field is immutable
            # {"spec":{"completionMode":"Indexed","template":{"spec":{"containers":[{"image":"other","name":"c"}]}}}}
            spec.template: Invalid value: {"metadata":{"labels":{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"x","controller-uid":"u","job-name":"x"}},"spec":{"containers":[{"image":"other","imagePullPolicy":"Always","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Never","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}: field is immutable
            spec.completionMode: Invalid value: "Indexed": field is immutable
            # {"spec":{"selector":{"matchLabels":{"a":"b"}}}}
            spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"u"}}: field is immutable
        "##]],
    );
    let mut waiting = job();
    waiting["spec"]["suspend"] = json!(true);
    kept(
        &waiting,
        &[json!({"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}})],
        expect![[r##"
        # {"spec":{"template":{"spec":{"nodeSelector":{"a":"b"}}}}}
    "##]],
    );
    let done = json!([{"type": "Complete", "status": "True"}]);
    statuses(
        &job(),
        &[
            json!({"active": -1}),
            json!({"conditions": done, "active": 1}),
            json!({"completionTime": "2026-01-01T00:00:00Z"}),
            json!({"conditions": done, "completionTime": "2026-01-01T00:00:00Z", "succeeded": 1}),
        ],
        expect![[r##"
            # {"active":-1}
            status.active: Invalid value: -1: must be greater than or equal to 0
            # {"active":1,"conditions":[{"status":"True","type":"Complete"}]}
            status.completionTime: Required value: completionTime is required for Complete jobs
            status.active: Invalid value: 1: active>0 is invalid for finished job
            # {"completionTime":"2026-01-01T00:00:00Z"}
            status.completionTime: Invalid value: "2026-01-01T00:00:00Z": cannot set completionTime when there is no Complete=True condition
            # {"completionTime":"2026-01-01T00:00:00Z","conditions":[{"status":"True","type":"Complete"}],"succeeded":1}
        "##]],
    );
}

#[test]
fn cron_jobs() {
    refused(
        &cron_job(),
        &[
            json!({"spec": {"schedule": null}}),
            json!({"spec": {"schedule": "61 * * * *", "concurrencyPolicy": "Odd"}}),
            json!({"spec": {"schedule": "TZ=UTC 0 * * * *"}}),
            json!({"spec": {"schedule": "CRON_TZ=UTC 0 * * * *", "timeZone": "UTC"}}),
            json!({"spec": {"timeZone": "Mars/Olympus"}}),
            json!({"spec": {"timeZone": "Local"}}),
            json!({"spec": {"timeZone": ""}}),
            json!({"spec": {"timeZone": "europe/berlin"}}),
            json!({"metadata": {"name": "a".repeat(53)}}),
            json!({"spec": {"jobTemplate": {"spec": {"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}}}}}),
            json!({"spec": {"startingDeadlineSeconds": -1, "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}}}),
        ],
        expect![[r##"
            # {"spec":{"schedule":null}}
            spec.schedule: Required value
            # {"spec":{"concurrencyPolicy":"Odd","schedule":"61 * * * *"}}
            spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61
            spec.concurrencyPolicy: Unsupported value: "Odd": supported values: "Allow", "Forbid", "Replace"
            # {"spec":{"schedule":"TZ=UTC 0 * * * *"}}
            spec.schedule: Invalid value: "TZ=UTC 0 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead
            # {"spec":{"schedule":"CRON_TZ=UTC 0 * * * *","timeZone":"UTC"}}
            spec.schedule: Invalid value: "CRON_TZ=UTC 0 * * * *": cannot use both timeZone field and TZ or CRON_TZ in schedule
            # {"spec":{"timeZone":"Mars/Olympus"}}
            spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus
            # {"spec":{"timeZone":"Local"}}
            spec.timeZone: Invalid value: "Local": must be an explicit time zone as defined in https://www.iana.org/time-zones
            # {"spec":{"timeZone":""}}
            spec.timeZone: Invalid value: "": must be nil or non-empty string
            # {"spec":{"timeZone":"europe/berlin"}}
            spec.timeZone: Invalid value: "europe/berlin": unknown time zone europe/berlin
            # {"metadata":{"name":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}
            metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": must be no more than 52 characters
            # {"spec":{"jobTemplate":{"spec":{"manualSelector":true,"selector":{"matchLabels":{"a":"b"}}}}}}
            spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be auto-generated
            spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "false", "nil"
            # {"spec":{"jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Always"}}}},"startingDeadlineSeconds":-1}}
            spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        "##]],
    );
}

#[test]
fn claims_and_volumes() {
    refused(
        &claim(),
        &[
            json!({"spec": {"accessModes": null, "resources": null}}),
            json!({"spec": {"accessModes": ["Odd", "ReadWriteOncePod"]}}),
            json!({"spec": {"resources": {"requests": {"storage": "0"}}}}),
            json!({"spec": {"storageClassName": "A_", "volumeMode": "Odd"}}),
            json!({"spec": {"dataSource": {"kind": "Odd", "name": "x"}}}),
        ],
        expect![[r##"
            # {"spec":{"accessModes":null,"resources":null}}
            spec.accessModes: Required value: at least 1 access mode is required
            spec.resources[storage]: Required value
            # {"spec":{"accessModes":["Odd","ReadWriteOncePod"]}}
            spec.accessModes: Unsupported value: "Odd": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
            spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
            # {"spec":{"resources":{"requests":{"storage":"0"}}}}
            spec.resources[storage]: Invalid value: "0": must be greater than zero
            # {"spec":{"storageClassName":"A_","volumeMode":"Odd"}}
            spec.storageClassName: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.volumeMode: Unsupported value: "Odd": supported values: "Block", "Filesystem"
            # {"spec":{"dataSource":{"kind":"Odd","name":"x"}}}
            spec.dataSource: Invalid value: "Odd": must be 'PersistentVolumeClaim' when referencing the default apiGroup
            spec.dataSourceRef: Invalid value: "Odd": must be 'PersistentVolumeClaim' when referencing the default apiGroup
        "##]],
    );
    kept(
        &claim(),
        &[
            json!({"spec": {"volumeName": "v", "storageClassName": "c"}}),
            json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}),
            json!({"spec": {"accessModes": ["ReadOnlyMany"]}}),
        ],
        expect![[r##"
            # {"spec":{"storageClassName":"c","volumeName":"v"}}
            # {"spec":{"resources":{"requests":{"storage":"2Gi"}}}}
            spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
            # {"spec":{"accessModes":["ReadOnlyMany"]}}
            spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        "##]],
    );
    refused(
        &volume(),
        &[
            json!({"spec": {"accessModes": null, "capacity": null, "hostPath": null}}),
            json!({"spec": {"nfs": {"server": "s", "path": "p"}, "capacity": {"cpu": "1"}}}),
            json!({"spec": {"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}}),
            json!({"spec": {"hostPath": null, "local": {"path": "/x"}}}),
            json!({"spec": {"hostPath": null, "csi": {"driver": "d"}, "volumeMode": "Odd", "persistentVolumeReclaimPolicy": "Odd"}}),
        ],
        expect![[r##"
            # {"spec":{"accessModes":null,"capacity":null,"hostPath":null}}
            spec.accessModes: Required value
            spec.capacity: Required value
            spec: Required value: must specify a volume type
            # {"spec":{"capacity":{"cpu":"1"},"nfs":{"path":"p","server":"s"}}}
            spec.capacity: Unsupported value: {"cpu":"1","storage":"1Gi"}: supported values: "storage"
            spec.nfs: Forbidden: may not specify more than 1 volume type
            # {"spec":{"hostPath":{"path":"/"},"persistentVolumeReclaimPolicy":"Recycle"}}
            spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'
            # {"spec":{"hostPath":null,"local":{"path":"/x"}}}
            metadata.annotations: Required value: Local volume requires node affinity
            # {"spec":{"csi":{"driver":"d"},"hostPath":null,"persistentVolumeReclaimPolicy":"Odd","volumeMode":"Odd"}}
            spec.persistentVolumeReclaimPolicy: Unsupported value: "Odd": supported values: "Delete", "Recycle", "Retain"
            spec.csi.volumeHandle: Required value
            spec.volumeMode: Unsupported value: "Odd": supported values: "Block", "Filesystem"
        "##]],
    );
    kept(
        &volume(),
        &[
            json!({"spec": {"hostPath": {"path": "/y"}, "volumeMode": "Block"}}),
            json!({"spec": {"capacity": {"storage": "2Gi"}}}),
        ],
        expect![[r##"
            # {"spec":{"hostPath":{"path":"/y"},"volumeMode":"Block"}}
            spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
            spec.volumeMode: Invalid value: "Block": field is immutable
            # {"spec":{"capacity":{"storage":"2Gi"}}}
        "##]],
    );
}

#[test]
fn autoscalers() {
    let metric = |metric: Value| json!({"spec": {"metrics": [metric]}});
    refused(
        &scaler(),
        &[
            json!({"spec": {"minReplicas": 0, "maxReplicas": 0}}),
            json!({"spec": {"minReplicas": 4, "scaleTargetRef": {"kind": null, "name": "a/b"}}}),
            metric(json!({"type": ""})),
            metric(json!({"type": "Odd"})),
            metric(
                json!({"type": "Pods", "resource": {"name": "cpu", "target": {"type": "Odd", "averageUtilization": 0}}}),
            ),
            metric(json!({"type": "Resource", "resource": {"name": "", "target": {"type": "Utilization"}}})),
            metric(
                json!({"type": "External", "external": {"metric": {"name": ""}, "target": {"type": "Value", "value": "-1"}}}),
            ),
            metric(
                json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "", "target": {"type": "Utilization", "averageUtilization": 5}}}),
            ),
            json!({"spec": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 4000, "selectPolicy": "Odd", "policies": [{"type": "Odd", "value": 0, "periodSeconds": 2000}]}, "scaleDown": {"policies": []}}}}),
        ],
        expect![[r##"
            # {"spec":{"maxReplicas":0,"minReplicas":0}}
            spec.minReplicas: Invalid value: 0: must be greater than or equal to 1
            spec.maxReplicas: Invalid value: 0: must be greater than 0
            # {"spec":{"minReplicas":4,"scaleTargetRef":{"kind":null,"name":"a/b"}}}
            spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`
            spec.scaleTargetRef.kind: Required value
            spec.scaleTargetRef.name: Invalid value: "a/b": may not contain '/'
            # {"spec":{"metrics":[{"type":""}]}}
            spec.metrics[0].type: Required value: must specify a metric source type
            # {"spec":{"metrics":[{"type":"Odd"}]}}
            spec.metrics[0].type: Unsupported value: "Odd": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
            # {"spec":{"metrics":[{"resource":{"name":"cpu","target":{"averageUtilization":0,"type":"Odd"}},"type":"Pods"}]}}
            spec.metrics[0].resource.target.type: Invalid value: "Odd": must be either Utilization, Value, or AverageValue
            spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0
            spec.metrics[0].pods: Required value: must populate information for the given metric source
            spec.metrics[0].resource: Forbidden: must populate the given metric source only
            # {"spec":{"metrics":[{"resource":{"name":"","target":{"type":"Utilization"}},"type":"Resource"}]}}
            spec.metrics[0].resource.name: Required value: must specify a resource name
            spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization
            # {"spec":{"metrics":[{"external":{"metric":{"name":""},"target":{"type":"Value","value":"-1"}},"type":"External"}]}}
            spec.metrics[0].external.metric.name: Required value: must specify a metric name
            spec.metrics[0].external.target.value: Invalid value: "-1": must be positive
            # {"spec":{"metrics":[{"containerResource":{"container":"","name":"cpu","target":{"averageUtilization":5,"type":"Utilization"}},"type":"ContainerResource"}]}}
            spec.metrics[0].containerResource.container: Required value: must specify a container
            # {"spec":{"behavior":{"scaleDown":{"policies":[]},"scaleUp":{"policies":[{"periodSeconds":2000,"type":"Odd","value":0}],"selectPolicy":"Odd","stabilizationWindowSeconds":4000}}}}
            spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600
            spec.behavior.scaleUp.selectPolicy: Unsupported value: "Odd": supported values: "Disabled", "Max", "Min"
            spec.behavior.scaleUp.policies[0].type: Unsupported value: "Odd": supported values: "Percent", "Pods"
            spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero
            spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 2000: must be less than or equal to 1800
            spec.behavior.scaleDown.policies: Required value: must specify at least one Policy
        "##]],
    );
}
