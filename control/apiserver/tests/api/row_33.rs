//! Row 33: custom resource definitions and their objects.

use crate::fixture::{Answer, Events, Fixture};
use crate::webhook_server::Webhook;
use serde_json::{Value, json};

pub const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub const CRONTABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

/// A definition of `crontabs.stable.example.com` with one version of this schema below `spec`.
pub fn definition(spec: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }}}],
        },
    })
}

pub fn crontab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec})
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["type"] == kind))
        .unwrap_or(&Value::Null)
}

/// Posts a definition and waits, as clients do, until its condition says that it is served.
pub async fn establish(fixture: &Fixture, definition: Value) -> Value {
    let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
    fixture.post(DEFINITIONS, definition).await.ok();
    wait_for(fixture, &name, |object| condition(object, "Established")["status"] == "True").await
}

async fn wait_for(fixture: &Fixture, name: &str, done: impl Fn(&Value) -> bool) -> Value {
    let mut events =
        Events::open(fixture, &format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name%3D{name}")).await;
    loop {
        let event = events.next().await.expect("another event");
        if done(&event["object"]) {
            return event["object"].clone();
        }
    }
}

fn causes(answer: &Answer) -> Vec<String> {
    let causes = answer.body["details"]["causes"].as_array().cloned().unwrap_or_default();
    causes
        .iter()
        .map(|cause| format!("{}: {}", cause["field"].as_str().unwrap_or(""), cause["message"].as_str().unwrap_or("")))
        .collect()
}

#[tokio::test]
async fn row_33_a_definition_is_established_and_served() {
    let fixture = Fixture::new().await;
    let established =
        establish(&fixture, definition(json!({"type": "object", "properties": {"cronSpec": {"type": "string"}}})))
            .await;
    assert_eq!(condition(&established, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(condition(&established, "NamesAccepted")["message"], "no conflicts found");
    assert_eq!(condition(&established, "Established")["reason"], "InitialNamesAccepted");
    assert_eq!(condition(&established, "Established")["message"], "the initial names have been accepted");
    assert_eq!(
        established["status"]["acceptedNames"],
        json!({"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList", "shortNames": ["ct"], "categories": ["all"]})
    );
    assert_eq!(established["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(established["spec"]["conversion"], json!({"strategy": "None"}));

    let made = fixture.post(CRONTABS, crontab("a", json!({"cronSpec": "* * * * *"}))).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["metadata"]["generation"], 1);
    assert_eq!(made.body["kind"], "CronTab");
    let list = fixture.get(CRONTABS).await.ok();
    assert_eq!((list["kind"].as_str(), list["items"].as_array().map(Vec::len)), (Some("CronTabList"), Some(1)));
    assert_eq!(fixture.get(&format!("{CRONTABS}/b")).await.refused().2, "crontabs.stable.example.com \"b\" not found");
    let all = fixture.get("/apis/stable.example.com/v1/crontabs").await.ok();
    assert_eq!(all["items"][0]["metadata"]["name"], "a");

    // Without a resourceVersion an update is refused; a changed spec counts the generation, metadata does not.
    let (code, reason, message) =
        fixture.put(&format!("{CRONTABS}/a"), &crontab("a", json!({"cronSpec": "x"}))).await.refused();
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert_eq!(
        message,
        "crontabs.stable.example.com \"a\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    );
    let changed = fixture.merge(&format!("{CRONTABS}/a"), json!({"spec": {"cronSpec": "y"}})).await.ok();
    assert_eq!(changed["metadata"]["generation"], 2);
    let labelled = fixture.merge(&format!("{CRONTABS}/a"), json!({"metadata": {"labels": {"l": "1"}}})).await.ok();
    assert_eq!(labelled["metadata"]["generation"], 2);

    // The strategic form is not for custom resources.
    let strategic =
        fixture.call("PATCH", &format!("{CRONTABS}/a"), Some("application/strategic-merge-patch+json"), "{}").await;
    assert_eq!(
        strategic.refused().2,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    );
}

#[tokio::test]
async fn row_33_unknown_fields_go_and_defaults_come() {
    let fixture = Fixture::new().await;
    establish(
        &fixture,
        definition(json!({"type": "object", "properties": {
            "replicas": {"type": "integer", "default": 1},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "deep": {"type": "object", "default": {}, "properties": {"a": {"type": "string", "default": "A"}}}
        }})),
    )
    .await;
    let sent = crontab("a", json!({"port": "http", "free": {"x": {"y": 1}}, "gone": 1}));
    let made = fixture.post(CRONTABS, sent.clone()).await;
    let warnings: Vec<&str> = made.headers.get_all("warning").iter().filter_map(|w| w.to_str().ok()).collect();
    assert_eq!(warnings, [r#"299 - "unknown field \"spec.gone\"""#]);
    assert_eq!(made.ok()["spec"], json!({"port": "http", "free": {"x": {"y": 1}}, "replicas": 1, "deep": {"a": "A"}}));
    let (code, _, message) = fixture.post(&format!("{CRONTABS}?fieldValidation=Strict"), sent).await.refused();
    assert_eq!(code, 400);
    assert_eq!(
        message,
        "CronTab in version \"v1\" cannot be handled as a CronTab: strict decoding error: unknown field \"spec.gone\""
    );
    // A default that comes later is seen on objects that were stored before.
    let mut changed = fixture.get(&format!("{DEFINITIONS}/crontabs.stable.example.com")).await.ok();
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["late"] =
        json!({"type": "string", "default": "now"});
    let mut events = Events::open(&fixture, &format!("{CRONTABS}?watch=1")).await;
    assert_eq!(events.told().await, "ADDED a");
    fixture.put(&format!("{DEFINITIONS}/crontabs.stable.example.com"), &changed).await.ok();
    assert_eq!(events.next().await, None, "the watch ends with the old schema");
    let read = fixture.get(&format!("{CRONTABS}/a")).await.ok();
    assert_eq!(read["spec"]["late"], "now");
    let list = fixture.get(CRONTABS).await.ok();
    assert_eq!(list["items"][0]["spec"]["late"], "now");
}

#[tokio::test]
async fn row_33_values_are_held_to_the_schema() {
    let fixture = Fixture::new().await;
    establish(
        &fixture,
        definition(json!({"type": "object", "required": ["cronSpec"], "properties": {
            "cronSpec": {"type": "string", "pattern": "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$"},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
            "mode": {"type": "string", "enum": ["a", "b"]}
        }})),
    )
    .await;
    let refused = fixture.post(CRONTABS, crontab("a", json!({"cronSpec": "* * * *", "replicas": 15}))).await;
    assert_eq!(refused.code, 422);
    assert_eq!(
        refused.body["message"],
        "CronTab.stable.example.com \"a\" is invalid: [spec.cronSpec: Invalid value: \"* * * *\": spec.cronSpec in body should match '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$', spec.replicas: Invalid value: 15: spec.replicas in body should be less than or equal to 10]"
    );
    let refused = fixture.post(CRONTABS, crontab("a", json!({"mode": "c", "replicas": "x"}))).await;
    assert_eq!(
        causes(&refused)[..3],
        [
            "spec.cronSpec: Required value",
            "spec.mode: Unsupported value: \"c\": supported values: \"a\", \"b\"",
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
        ]
    );
    // A definition that is not structural, or not sound, is refused.
    let mut other = definition(json!({"type": "object", "properties": {"a": {}}}));
    other["metadata"]["name"] = json!("x.stable.example.com");
    let refused = fixture.post(DEFINITIONS, other).await;
    assert_eq!(
        causes(&refused),
        [
            "metadata.name: Invalid value: \"x.stable.example.com\": must be spec.names.plural+\".\"+spec.group",
            "spec.validation.openAPIV3Schema.properties[spec].properties[a].type: Required value: must not be empty for specified object fields",
        ]
    );
}

#[tokio::test]
async fn row_33_status_and_scale_are_subresources() {
    let fixture = Fixture::new().await;
    let mut with = definition(json!({"type": "object", "properties": {"replicas": {"type": "integer"}}}));
    with["spec"]["versions"][0]["subresources"] = json!({"status": {}, "scale": {
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}});
    establish(&fixture, with).await;
    let mut sent = crontab("a", json!({"replicas": 3}));
    sent["status"] = json!({"replicas": 9});
    let made = fixture.post(CRONTABS, sent).await.ok();
    assert_eq!(made.get("status"), None);
    let status = fixture
        .merge(
            &format!("{CRONTABS}/a/status"),
            json!({"spec": {"replicas": 7}, "status": {"replicas": 2, "selector": "a=b"}}),
        )
        .await
        .ok();
    assert_eq!((&status["spec"]["replicas"], &status["metadata"]["generation"]), (&json!(3), &json!(1)));
    let scale = fixture.get(&format!("{CRONTABS}/a/scale")).await.ok();
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!(scale["spec"], json!({"replicas": 3}));
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
    fixture.merge(&format!("{CRONTABS}/a/scale"), json!({"spec": {"replicas": 5}})).await.ok();
    let read = fixture.get(&format!("{CRONTABS}/a")).await.ok();
    assert_eq!((&read["spec"]["replicas"], &read["metadata"]["generation"]), (&json!(5), &json!(2)));
    let untouched = fixture.merge(&format!("{CRONTABS}/a"), json!({"status": {"replicas": 99}})).await.ok();
    assert_eq!(untouched["status"]["replicas"], 2);
}

#[tokio::test]
async fn row_33_columns_and_selectable_fields() {
    let fixture = Fixture::new().await;
    let mut with = definition(json!({"type": "object", "properties": {
        "cronSpec": {"type": "string"}, "replicas": {"type": "integer"}, "color": {"type": "string"}}}));
    let version = &mut with["spec"]["versions"][0];
    version["additionalPrinterColumns"] = json!([
        {"name": "Spec", "type": "string", "description": "The cron spec", "jsonPath": ".spec.cronSpec"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]);
    version["selectableFields"] = json!([{"jsonPath": ".spec.color"}]);
    establish(&fixture, with).await;
    for (name, color) in [("a", "red"), ("b", "blue")] {
        fixture.post(CRONTABS, crontab(name, json!({"cronSpec": "*", "replicas": 2, "color": color}))).await.ok();
    }
    let table = fixture.fetch(CRONTABS, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let table = crate::fixture::answer(table).await.ok();
    let names: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Name", "Spec", "Replicas", "Age"]);
    assert_eq!(table["columnDefinitions"][1]["description"], "The cron spec");
    assert_eq!(
        table["columnDefinitions"][2]["description"],
        "Custom resource definition column (in JSONPath format): .spec.replicas"
    );
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("a"), json!("*"), json!(2)]);
    let red = fixture.get(&format!("{CRONTABS}?fieldSelector=spec.color%3Dred")).await.ok();
    assert_eq!(red["items"].as_array().unwrap().len(), 1);
    let (code, _, message) = fixture.get(&format!("{CRONTABS}?fieldSelector=spec.replicas%3D2")).await.refused();
    assert_eq!((code, message.as_str()), (400, "field label not supported: spec.replicas"));
}

#[tokio::test]
async fn row_33_a_definition_takes_its_objects_with_it() {
    let fixture = Fixture::new().await;
    establish(&fixture, definition(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}))).await;
    let mut held = crontab("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    fixture.post(CRONTABS, held).await.ok();
    fixture.post(CRONTABS, crontab("free", json!({}))).await.ok();
    let name = "crontabs.stable.example.com";
    let marked = fixture.delete(&format!("{DEFINITIONS}/{name}"), json!({})).await;
    assert_eq!(marked.code, 200);
    let marked =
        wait_for(&fixture, name, |object| condition(object, "Terminating")["reason"] == "InstanceDeletionInProgress")
            .await;
    assert_eq!(marked["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let (code, reason, message) = fixture.post(CRONTABS, crontab("late", json!({}))).await.refused();
    assert_eq!((code, reason.as_str()), (405, "MethodNotAllowed"));
    assert_eq!(message, "create not allowed while custom resource definition is terminating");
    let mut events = Events::open(&fixture, &format!("{DEFINITIONS}?watch=1")).await;
    fixture.merge(&format!("{CRONTABS}/held"), json!({"metadata": {"finalizers": null}})).await.ok();
    while events.told().await != format!("DELETED {name}") {}
    let mut objects = Events::open(&fixture, &format!("{DEFINITIONS}?watch=1&resourceVersion=0")).await;
    // The event may be told before the resource is gone: another definition is served only after it.
    let mut again = definition(json!({"type": "object"}));
    again["metadata"]["name"] = json!("others.stable.example.com");
    again["spec"]["names"] = json!({"plural": "others", "kind": "CronTab"});
    fixture.post(DEFINITIONS, again).await.ok();
    while condition(&objects.next().await.unwrap()["object"], "Established")["status"] != "True" {}
    assert_eq!(fixture.get(CRONTABS).await.refused().2, "the server could not find the requested resource");
}

#[tokio::test]
async fn row_33_names_belong_to_who_came_first() {
    let fixture = Fixture::new().await;
    establish(&fixture, definition(json!({"type": "object"}))).await;
    let mut second = definition(json!({"type": "object"}));
    second["metadata"]["name"] = json!("tables.stable.example.com");
    second["spec"]["names"] = json!({"plural": "tables", "kind": "CronTab"});
    fixture.post(DEFINITIONS, second).await.ok();
    let told =
        wait_for(&fixture, "tables.stable.example.com", |object| !condition(object, "NamesAccepted").is_null()).await;
    assert_eq!(condition(&told, "NamesAccepted")["reason"], "ListKindConflict");
    assert_eq!(condition(&told, "NamesAccepted")["message"], "\"CronTabList\" is already in use");
    assert_eq!(condition(&told, "Established")["reason"], "NotAccepted");
    assert_eq!(fixture.get("/apis/stable.example.com/v1/tables").await.code, 404);
    // Once the first is gone, the second is served.
    fixture.delete(&format!("{DEFINITIONS}/crontabs.stable.example.com"), json!({})).await.ok();
    wait_for(&fixture, "tables.stable.example.com", |object| condition(object, "Established")["status"] == "True")
        .await;
    assert_eq!(fixture.get("/apis/stable.example.com/v1/tables").await.code, 200);
}

#[tokio::test]
async fn row_33_what_may_not_change() {
    let fixture = Fixture::new().await;
    let established = establish(&fixture, definition(json!({"type": "object"}))).await;
    let mut changed = established.clone();
    changed["spec"]["scope"] = json!("Cluster");
    changed["spec"]["names"]["kind"] = json!("Other");
    changed["spec"]["names"]["listKind"] = json!("OtherList");
    let refused = fixture.put(&format!("{DEFINITIONS}/crontabs.stable.example.com"), &changed).await;
    assert_eq!(
        causes(&refused),
        [
            "spec.scope: Invalid value: \"Cluster\": field is immutable",
            "spec.names.kind: Invalid value: \"Other\": field is immutable",
        ]
    );
    // A version that objects may be stored in stays.
    let mut changed = established;
    changed["spec"]["versions"][0]["name"] = json!("v2");
    let refused = fixture.put(&format!("{DEFINITIONS}/crontabs.stable.example.com"), &changed).await;
    assert_eq!(
        causes(&refused),
        [
            "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions"
        ]
    );
}

#[tokio::test]
async fn row_33_rules_are_checked() {
    let fixture = Fixture::new().await;
    establish(
        &fixture,
        definition(json!({
            "type": "object",
            "x-kubernetes-validations": [
                {"rule": "self.minReplicas <= self.replicas", "message": "replicas should be at least minReplicas"},
                {"rule": "self.replicas <= self.maxReplicas",
                 "messageExpression": "'at most %d, not %d'.format([self.maxReplicas, self.replicas])", "fieldPath": ".replicas"},
            ],
            "properties": {
                "minReplicas": {"type": "integer", "default": 0}, "maxReplicas": {"type": "integer", "default": 10},
                "replicas": {"type": "integer", "default": 1},
                "fixed": {"type": "string", "maxLength": 10, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]},
                "even": {"type": "integer", "x-kubernetes-validations": [{"rule": "self % 2 == 0", "reason": "FieldValueForbidden", "message": "odd"}]},
            },
        })),
    )
    .await;
    let refused =
        fixture.post(CRONTABS, crontab("a", json!({"minReplicas": 5, "replicas": 3, "maxReplicas": 2}))).await;
    assert_eq!(
        causes(&refused),
        [
            "spec: Invalid value: \"object\": replicas should be at least minReplicas",
            "spec.replicas: Invalid value: \"object\": at most 2, not 3",
        ]
    );
    let refused = fixture.post(CRONTABS, crontab("a", json!({"even": 3}))).await;
    assert_eq!(causes(&refused), ["spec.even: Forbidden: odd"]);
    fixture.post(CRONTABS, crontab("a", json!({"fixed": "x"}))).await.ok();
    let refused = fixture.merge(&format!("{CRONTABS}/a"), json!({"spec": {"fixed": "y"}})).await;
    assert_eq!(causes(&refused), ["spec.fixed: Invalid value: \"string\": failed rule: self == oldSelf"]);
    fixture.merge(&format!("{CRONTABS}/a"), json!({"spec": {"replicas": 2}})).await.ok();
}

#[tokio::test]
async fn row_33_rules_that_do_not_compile_or_cost_too_much_are_refused() {
    let fixture = Fixture::new().await;
    let refused = fixture
        .post(
            DEFINITIONS,
            definition(json!({"type": "object", "properties": {
                "a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self.b > 1"}]},
                "l": {"type": "array", "items": {"type": "string"},
                    "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x == y))"}]},
            }})),
        )
        .await;
    let told = causes(&refused);
    assert_eq!(refused.code, 422);
    assert!(
        told[0].starts_with("spec.validation.openAPIV3Schema.properties[spec].properties[a].x-kubernetes-validations[0].rule: Invalid value: \"self.b > 1\": compilation failed: ERROR: <input>:1:5: type 'int' does not support field selection"),
        "{told:#?}"
    );
    assert_eq!(
        told[1],
        "spec.validation.openAPIV3Schema.properties[spec].properties[l].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    );
}

#[tokio::test]
async fn row_33_what_was_wrong_before_may_stay() {
    let fixture = Fixture::new().await;
    establish(
        &fixture,
        definition(json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}})),
    )
    .await;
    fixture.post(CRONTABS, crontab("x", json!({"a": "long", "b": "y"}))).await.ok();
    let name = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let mut changed = fixture.get(&name).await.ok();
    changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"] = json!({
        "a": {"type": "string", "maxLength": 2}, "b": {"type": "string", "maxLength": 2}});
    let mut events = Events::open(&fixture, &format!("{CRONTABS}?watch=1")).await;
    assert_eq!(events.told().await, "ADDED x");
    fixture.put(&name, &changed).await.ok();
    assert_eq!(events.next().await, None);
    fixture.merge(&format!("{CRONTABS}/x"), json!({"spec": {"b": "z"}})).await.ok();
    let refused = fixture.merge(&format!("{CRONTABS}/x"), json!({"spec": {"a": "longer"}})).await;
    assert_eq!(causes(&refused), ["spec.a: Too long: may not be more than 2 bytes"]);
}

/// Two versions: `hostPort` of v1beta1 is `host` and `port` of v1.
pub fn two_versions(conversion: Value) -> Value {
    let mut both =
        definition(json!({"type": "object", "properties": {"host": {"type": "string"}, "port": {"type": "string"}}}));
    both["spec"]["versions"].as_array_mut().unwrap().push(json!({
        "name": "v1beta1", "served": true, "storage": false, "deprecated": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"hostPort": {"type": "string"}}}}}},
    }));
    both["spec"]["conversion"] = conversion;
    both
}

pub const BETA: &str = "/apis/stable.example.com/v1beta1/namespaces/default/crontabs";

pub fn convert(review: &Value) -> Value {
    let request = &review["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap();
    let converted: Vec<Value> = request["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let mut object = object.clone();
            let spec = &object["spec"];
            object["spec"] = if wanted.ends_with("/v1") {
                let (host, port) = spec["hostPort"].as_str().unwrap_or("").split_once(':').unwrap_or_default();
                json!({"host": host, "port": port})
            } else {
                json!({"hostPort": format!("{}:{}", spec["host"].as_str().unwrap_or(""), spec["port"].as_str().unwrap_or(""))})
            };
            object["apiVersion"] = json!(wanted);
            object
        })
        .collect();
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "response": {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": converted}})
}

#[tokio::test]
async fn row_33_a_webhook_converts_between_versions() {
    let fixture = Fixture::new().await;
    let webhook = Webhook::raw(convert).await;
    let config = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1", "v1beta1"],
        "clientConfig": {"url": webhook.url, "caBundle": webhook.ca_bundle}}});
    establish(&fixture, two_versions(config)).await;
    let mut old = crontab("old", json!({"hostPort": "a.b:80"}));
    old["apiVersion"] = json!("stable.example.com/v1beta1");
    let made = fixture.post(BETA, old).await;
    assert_eq!(
        made.headers.get("warning").and_then(|w| w.to_str().ok()),
        Some("299 - \"stable.example.com/v1beta1 CronTab is deprecated\"")
    );
    assert_eq!(made.ok()["spec"], json!({"hostPort": "a.b:80"}));
    fixture.post(CRONTABS, crontab("new", json!({"host": "c", "port": "1"}))).await.ok();
    assert_eq!(fixture.get(&format!("{CRONTABS}/old")).await.ok()["spec"], json!({"host": "a.b", "port": "80"}));
    webhook.asked();
    // One call converts a whole list.
    let list = fixture.get(BETA).await.ok();
    let ports: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|item| item["spec"]["hostPort"].as_str().unwrap()).collect();
    assert_eq!(ports, ["c:1", "a.b:80"]);
    let asked = webhook.asked();
    assert_eq!(asked.len(), 1, "{asked:#?}");
    assert_eq!(asked[0]["objects"].as_array().unwrap().len(), 2);
    assert_eq!(asked[0]["desiredAPIVersion"], "stable.example.com/v1beta1");
    // Watches tell in their version; writes through the other are seen.
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut events = Events::open(&fixture, &format!("{BETA}?watch=1&resourceVersion={revision}")).await;
    fixture.merge(&format!("{CRONTABS}/new"), json!({"spec": {"port": "2"}})).await.ok();
    let event = events.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["spec"]["hostPort"]), (&json!("MODIFIED"), &json!("c:2")));
    assert_eq!(event["object"]["apiVersion"], "stable.example.com/v1beta1");
    fixture.merge(&format!("{BETA}/new"), json!({"spec": {"hostPort": "d:3"}})).await.ok();
    assert_eq!(fixture.get(&format!("{CRONTABS}/new")).await.ok()["spec"], json!({"host": "d", "port": "3"}));
}

#[tokio::test]
async fn row_33_a_webhook_that_fails_is_told() {
    let fixture = Fixture::new().await;
    let webhook = Webhook::raw(|review| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {
            "uid": review["request"]["uid"], "result": {"status": "Failed", "message": "no way"}}})
    })
    .await;
    let config = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"url": webhook.url, "caBundle": webhook.ca_bundle}}});
    establish(&fixture, two_versions(config)).await;
    fixture.post(CRONTABS, crontab("a", json!({"host": "h"}))).await.ok();
    let (code, _, message) = fixture.get(&format!("{BETA}/a")).await.refused();
    assert_eq!(code, 500);
    assert_eq!(message, "conversion webhook for stable.example.com/v1, Kind=CronTab failed: no way");
}

#[tokio::test]
async fn row_33_without_a_webhook_versions_differ_in_name_only() {
    let fixture = Fixture::new().await;
    let mut both = two_versions(json!({"strategy": "None"}));
    both["spec"]["versions"][1]["schema"] = both["spec"]["versions"][0]["schema"].clone();
    establish(&fixture, both).await;
    fixture.post(CRONTABS, crontab("a", json!({"host": "h"}))).await.ok();
    let read = fixture.get(&format!("{BETA}/a")).await.ok();
    assert_eq!((&read["apiVersion"], &read["spec"]["host"]), (&json!("stable.example.com/v1beta1"), &json!("h")));
    let list = fixture.get(BETA).await.ok();
    assert_eq!(list["items"][0]["apiVersion"], "stable.example.com/v1beta1");
}
