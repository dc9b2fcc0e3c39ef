//! More of them: budgets, quotas, ranges, the small kinds and pods.

use expect_test::expect;
use serde_json::json;

use super::*;

#[test]
fn budgets_quotas_and_ranges() {
    refused(
        &object("policy/v1", "PodDisruptionBudget", json!({"spec": {"minAvailable": 1}})),
        &[
            json!({"spec": {"maxUnavailable": 1}}),
            json!({"spec": {"minAvailable": "101%"}}),
            json!({"spec": {"minAvailable": -1, "unhealthyPodEvictionPolicy": "Odd"}}),
            json!({"spec": {"minAvailable": "x", "selector": {"matchLabels": {"!": ""}}}}),
        ],
        expect![[r##"
            # {"spec":{"maxUnavailable":1}}
            spec: Invalid value: {"maxUnavailable":1,"minAvailable":1}: minAvailable and maxUnavailable cannot be both set
            # {"spec":{"minAvailable":"101%"}}
            spec.minAvailable: Invalid value: "101%": must not be greater than 100%
            # {"spec":{"minAvailable":-1,"unhealthyPodEvictionPolicy":"Odd"}}
            spec.minAvailable: Invalid value: -1: must be greater than or equal to 0
            spec.unhealthyPodEvictionPolicy: Unsupported value: "Odd": supported values: "AlwaysAllow", "IfHealthyBudget"
            # {"spec":{"minAvailable":"x","selector":{"matchLabels":{"!":""}}}}
            spec.minAvailable: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
            spec.selector.matchLabels: Invalid value: "!": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        "##]],
    );
    let quota = object(
        "v1",
        "ResourceQuota",
        json!({"spec": {"hard": {"pods": "1", "requests.cpu": "1", "count/jobs.batch": "2"}}}),
    );
    refused(
        &quota,
        &[
            json!({"spec": {"hard": {"pods": "1.5", "odd": "1", "cpu": "-1"}}}),
            json!({"spec": {"scopes": ["Odd"]}}),
            json!({"spec": {"scopes": ["BestEffort", "NotBestEffort"], "hard": {"requests.cpu": null, "count/jobs.batch": null}}}),
            json!({"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "Odd", "operator": "In"}, {"scopeName": "Terminating", "operator": "In", "values": ["a"]}]}}}),
        ],
        expect![[r##"
            # {"spec":{"hard":{"cpu":"-1","odd":"1","pods":"1.5"}}}
            spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0
            spec.hard[odd]: Invalid value: "odd": must be a standard resource for quota
            spec.hard[pods]: Invalid value: "1500m": must be an integer
            # {"spec":{"scopes":["Odd"]}}
            spec.scopes: Invalid value: ["Odd"]: unsupported scope
            # {"spec":{"hard":{"count/jobs.batch":null,"requests.cpu":null},"scopes":["BestEffort","NotBestEffort"]}}
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes
            # {"spec":{"scopeSelector":{"matchExpressions":[{"operator":"In","scopeName":"Odd"},{"operator":"In","scopeName":"Terminating","values":["a"]}]}}}
            spec.scopeSelector.matchExpressions.scopeName: Invalid value: "Odd": unsupported scope
            spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector
            spec.scopeSelector.matchExpressions.operator: Invalid value: "In": must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity
        "##]],
    );
    kept(
        &quota,
        &[json!({"spec": {"scopes": ["Terminating"]}}), json!({"spec": {"hard": {"pods": "2"}}})],
        expect![[r##"
            # {"spec":{"scopes":["Terminating"]}}
            spec.scopes: Invalid value: ["Terminating"]: field is immutable
            # {"spec":{"hard":{"pods":"2"}}}
        "##]],
    );
    let limits = |item: Value| json!({"spec": {"limits": [item]}});
    refused(
        &object("v1", "LimitRange", limits(json!({"type": "Container", "max": {"cpu": "2"}}))),
        &[
            limits(json!({"type": "Odd"})),
            limits(json!({"type": "Pod", "default": {"cpu": "1"}})),
            limits(json!({"type": "PersistentVolumeClaim"})),
            limits(json!({"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}})),
            limits(
                json!({"type": "Container", "default": {"cpu": "3"}, "max": {"cpu": "2"}, "defaultRequest": {"cpu": "4"}, "maxLimitRequestRatio": {"cpu": "0.5"}}),
            ),
        ],
        expect![[r##"
            # {"spec":{"limits":[{"type":"Odd"}]}}
            spec.limits[0].type: Invalid value: "Odd": must be a standard limit type or fully qualified
            # {"spec":{"limits":[{"default":{"cpu":"1"},"type":"Pod"}]}}
            spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'
            # {"spec":{"limits":[{"type":"PersistentVolumeClaim"}]}}
            spec.limits[0]: Required value: either minimum or maximum storage value is required, but neither was provided
            # {"spec":{"limits":[{"max":{"cpu":"1"},"min":{"cpu":"2"},"type":"Container"}]}}
            spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
            spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1
            spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1
            # {"spec":{"limits":[{"default":{"cpu":"3"},"defaultRequest":{"cpu":"4"},"max":{"cpu":"2"},"maxLimitRequestRatio":{"cpu":"0.5"},"type":"Container"}]}}
            spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than max value 2
            spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than default limit value 3
            spec.limits[0].default[cpu]: Invalid value: "2": default value 3 is greater than max value 2
            spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1
        "##]],
    );
}

#[test]
fn small_kinds() {
    let labels = json!({"app": "x"});
    let spec = json!({"selector": labels, "template": template(labels, "Always")});
    refused(
        &object("v1", "ReplicationController", json!({"spec": spec})),
        &[
            json!({"spec": {"template": null}}),
            json!({"spec": {"selector": {"app": "y"}}}),
            json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
        ],
        expect![[r##"
            # {"spec":{"template":null}}
            spec.template: Required value
            # {"spec":{"selector":{"app":"y"}}}
            spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`
            # {"spec":{"template":{"spec":{"restartPolicy":"Never"}}}}
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        "##]],
    );
    let revision = object("apps/v1", "ControllerRevision", json!({"revision": 1, "data": {"a": 1}}));
    refused(
        &revision,
        &[json!({"revision": -1, "data": null})],
        expect![[r##"
        # {"data":null,"revision":-1}
        revision: Invalid value: -1: must be greater than or equal to 0
        data: Required value: data is mandatory
    "##]],
    );
    kept(
        &revision,
        &[json!({"data": {"a": 2}}), json!({"revision": 2})],
        expect![[r##"
        # {"data":{"a":2}}
        data: Invalid value: {"a":2}: field is immutable
        # {"revision":2}
    "##]],
    );
    refused(
        &object("v1", "PodTemplate", json!({"template": template(json!({}), "Always")})),
        &[json!({"template": {"metadata": {"labels": {"!": ""}}, "spec": {"containers": []}}})],
        expect![[r##"
            # {"template":{"metadata":{"labels":{"!":""}},"spec":{"containers":[]}}}
            template.labels: Invalid value: "!": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            template.spec.containers: Required value
        "##]],
    );
}

#[test]
fn pods() {
    let pod = object("v1", "Pod", json!({"spec": {"containers": [{"name": "c", "image": "i"}]}}));
    let with = |fields: Value| {
        let mut container = json!({"name": "c", "image": "i"});
        container.as_object_mut().expect("object").extend(fields.as_object().expect("object").clone());
        json!({"spec": {"containers": [container]}})
    };
    refused(
        &pod,
        &[
            with(
                json!({"securityContext": {"runAsUser": -1, "procMount": "Odd", "privileged": true, "allowPrivilegeEscalation": false}}),
            ),
            with(
                json!({"securityContext": {"seccompProfile": {"type": "Localhost"}, "capabilities": {"add": ["CAP_SYS_ADMIN"]}, "allowPrivilegeEscalation": false}}),
            ),
            with(json!({"restartPolicy": "Odd", "resizePolicy": [{"resourceName": "disk", "restartPolicy": "Odd"}]})),
            with(json!({"volumeDevices": [{"name": "v", "devicePath": ""}]})),
            json!({"spec": {"securityContext": {"fsGroup": -1, "sysctls": [{"name": "A"}, {"name": "a.b"}, {"name": "a/b"}]}}}),
            json!({"spec": {"shareProcessNamespace": true, "hostPID": true, "os": {"name": "odd"}, "preemptionPolicy": "Odd"}}),
            json!({"spec": {"volumes": [{"name": "a", "nfs": {"server": "", "path": "x"}}, {"name": "b", "csi": {"driver": "D_"}}, {"name": "c", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}, {"name": "d", "iscsi": {"targetPortal": "p", "iqn": "x", "lun": 300}}]}}),
            json!({"spec": {"topologySpreadConstraints": [
                {"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2},
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "matchLabelKeys": ["a"], "nodeTaintsPolicy": "Odd"}]}}),
            json!({"spec": {"schedulingGates": [{"name": "g"}], "nodeName": "n"}}),
        ],
        expect![[r##"
            # {"spec":{"containers":[{"image":"i","name":"c","securityContext":{"allowPrivilegeEscalation":false,"privileged":true,"procMount":"Odd","runAsUser":-1}}]}}
            spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
            spec.containers[0].securityContext.procMount: Unsupported value: "Odd": supported values: "Default", "Unmasked"
            spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true,"procMount":"Odd","runAsUser":-1}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
            # {"spec":{"containers":[{"image":"i","name":"c","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"add":["CAP_SYS_ADMIN"]},"seccompProfile":{"type":"Localhost"}}}]}}
            spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost
            spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"capabilities":{"add":["CAP_SYS_ADMIN"]},"seccompProfile":{"type":"Localhost"}}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN
            # {"spec":{"containers":[{"image":"i","name":"c","resizePolicy":[{"resourceName":"disk","restartPolicy":"Odd"}],"restartPolicy":"Odd"}]}}
            spec.containers[0].restartPolicy: Unsupported value: "Odd": supported values: "Always", "Never", "OnFailure"
            spec.containers[0].resizePolicy[0].resourceName: Unsupported value: "disk": supported values: "cpu", "memory"
            spec.containers[0].resizePolicy[0].restartPolicy: Unsupported value: "Odd": supported values: "NotRequired", "RestartContainer"
            # {"spec":{"containers":[{"image":"i","name":"c","volumeDevices":[{"devicePath":"","name":"v"}]}]}}
            spec.containers[0].volumeDevices[0].name: Not found: "v"
            spec.containers[0].volumeDevices[0].devicePath: Required value
            # {"spec":{"securityContext":{"fsGroup":-1,"sysctls":[{"name":"A"},{"name":"a.b"},{"name":"a/b"}]}}}
            spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive
            spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$
            spec.securityContext.sysctls[2].name: Duplicate value: "a/b"
            # {"spec":{"hostPID":true,"os":{"name":"odd"},"preemptionPolicy":"Odd","shareProcessNamespace":true}}
            spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled
            spec.preemptionPolicy: Unsupported value: "Odd": supported values: "Never", "PreemptLowerPriority"
            spec.os.name: Unsupported value: "odd": supported values: "linux", "windows"
            # {"spec":{"volumes":[{"name":"a","nfs":{"path":"x","server":""}},{"csi":{"driver":"D_"},"name":"b"},{"ephemeral":{"volumeClaimTemplate":{"spec":{}}},"name":"c"},{"iscsi":{"iqn":"x","lun":300,"targetPortal":"p"},"name":"d"}]}}
            spec.volumes[0].nfs.server: Required value
            spec.volumes[0].nfs.path: Invalid value: "x": must be an absolute path
            spec.volumes[1].csi.driver: Invalid value: "D_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.volumes[2].ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required
            spec.volumes[2].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value
            spec.volumes[3].iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive
            spec.volumes[3].iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa
            # {"spec":{"topologySpreadConstraints":[{"maxSkew":0,"minDomains":2,"topologyKey":"z","whenUnsatisfiable":"ScheduleAnyway"},{"matchLabelKeys":["a"],"maxSkew":1,"nodeTaintsPolicy":"Odd","topologyKey":"z","whenUnsatisfiable":"ScheduleAnyway"}]}}
            spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
            spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway
            spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "{z, ScheduleAnyway}"
            spec.topologySpreadConstraints[1].nodeTaintsPolicy: Unsupported value: "Odd": supported values: "Honor", "Ignore"
            spec.topologySpreadConstraints[1].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set
            # {"spec":{"nodeName":"n","schedulingGates":[{"name":"g"}]}}
            spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared
        "##]],
    );
    let mut gated = pod.clone();
    gated["spec"]["schedulingGates"] = json!([{"name": "g"}, {"name": "h"}]);
    gated["spec"]["nodeSelector"] = json!({"a": "b"});
    kept(
        &gated,
        &[
            json!({"spec": {"schedulingGates": [{"name": "h"}], "nodeSelector": {"c": "d"}}}),
            json!({"spec": {"schedulingGates": [{"name": "new"}]}}),
            json!({"spec": {"nodeSelector": {"a": "other"}}}),
        ],
        expect![[r##"
            # {"spec":{"nodeSelector":{"c":"d"},"schedulingGates":[{"name":"h"}]}}
            # {"spec":{"schedulingGates":[{"name":"new"}]}}
            spec.schedulingGates: Forbidden: only deletion is allowed, but found new scheduling gate 'new'
            # {"spec":{"nodeSelector":{"a":"other"}}}
            spec.nodeSelector: Invalid value: {"a":"other"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)
        "##]],
    );
    kept(
        &pod,
        &[
            json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}], "activeDeadlineSeconds": 5}}),
            json!({"spec": {"nodeSelector": {"a": "b"}}}),
            json!({"spec": {"containers": [{"name": "c", "image": "new"}, {"name": "d", "image": "i"}]}}),
        ],
        expect![[r##"
            # {"spec":{"activeDeadlineSeconds":5,"tolerations":[{"key":"k","operator":"Exists"}]}}
            # {"spec":{"nodeSelector":{"a":"b"}}}
            spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
            changed: spec.nodeSelector
            # {"spec":{"containers":[{"image":"new","name":"c"},{"image":"i","name":"d"}]}}
            spec.containers: Forbidden: pod updates may not add or remove containers
        "##]],
    );
}
