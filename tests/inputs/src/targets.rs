//! The entry points.

use std::sync::atomic::{AtomicUsize, Ordering};

use api::{FieldSelector, LabelSelector, Quantity};

use crate::server::{call, send};

/// An entry point.
pub struct Target {
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Inputs that get far.
    pub seeds: &'static [&'static [u8]],
    /// It takes microseconds, not milliseconds.
    pub quick: bool,
}

const POD: &[u8] = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"a":"b"},"annotations":{"c":"d"}},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"limits":{"cpu":"100m","memory":"1Gi"}},"env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]}],"volumes":[{"name":"v","emptyDir":{}}],"tolerations":[{"operator":"Exists"}]}}"#;
const SERVICE_YAML: &[u8] = b"apiVersion: v1\nkind: Service\nmetadata: &m\n  name: s\n  labels: {app: a}\nspec:\n  selector:\n    app: a\n  ports:\n  - {name: http, port: 80, targetPort: http}\n  - name: dns\n    port: 53\n    protocol: UDP\n  type: NodePort\n";
const STRATEGIC: &[u8] = br#"{"spec":{"replicas":3,"template":{"spec":{"$setElementOrder/containers":[{"name":"two"},{"name":"one"}],"containers":[{"name":"one","image":"i:9"},{"$patch":"delete","name":"two"}],"$retainKeys":["containers"]}},"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}"#;
const JSON_PATCH: &[u8] = br#"[{"op":"test","path":"/spec/replicas","value":2},{"op":"replace","path":"/spec/replicas","value":4},{"op":"add","path":"/metadata/labels","value":{"a~b":"c"}},{"op":"copy","from":"/metadata/labels","path":"/metadata/annotations"},{"op":"move","from":"/metadata/annotations/a~0b","path":"/metadata/annotations/x~1y"},{"op":"remove","path":"/spec/template/spec/containers/0/env"}]"#;
const APPLY: &[u8] = b"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\n  labels: {l: m}\nspec:\n  template:\n    spec:\n      containers:\n      - name: one\n        image: i:5\n        ports:\n        - containerPort: 80\n          protocol: TCP\n";
const CRD_SCHEMA: &[u8] = br#"{"type":"object","properties":{"spec":{"type":"object","required":["size"],"properties":{"size":{"type":"integer","minimum":1,"default":3},"names":{"type":"array","maxItems":10,"x-kubernetes-list-type":"set","items":{"type":"string","maxLength":20,"pattern":"^[a-z]+$"}},"any":{"x-kubernetes-preserve-unknown-fields":true,"type":"object"},"port":{"x-kubernetes-int-or-string":true}},"x-kubernetes-validations":[{"rule":"self.size <= 10","message":"too large"},{"rule":"self.size >= oldSelf.size"}]},"status":{"type":"object","nullable":true,"additionalProperties":{"type":"string"}}}}"#;
/// An Ed25519 request for `O=system:masters, CN=x`, as far as its subject.
const CSR: &[u8] = b"\x30\x81\x9d\x30\x51\x02\x01\x00\x30\x24\x31\x17\x30\x15\x06\x03\x55\x04\x0a\x0c\x0esystem:masters\x31\x09\x30\x07\x06\x03\x55\x04\x03\x0c\x00\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
const LOOSE: &str = r#"{"type":"object","x-kubernetes-preserve-unknown-fields":true}"#;
const CEL: &[&[u8]] = &[
    b"self.size <= 10 && self.names.all(n, n.startsWith('a'))",
    b"has(self.port) ? type(self.port) == int : self.names.exists_one(n, n.matches('^[a-z]+$'))",
    b"self.names.map(n, n + 'x').filter(n, size(n) > 2).size() == 0 || !(1 in [1, 2, 3])",
    b"duration('1h') > duration('30m') && quantity('1Gi').isGreaterThan(quantity('1Mi')) && url('https://a/b').getHost() == 'a'",
    b"oldSelf.size == self.size || self.size % 2 == 0 && -self.size < 9223372036854775807",
];

/// All of them.
pub static TARGETS: &[Target] = &[
    Target { name: "quantity", run: quantity, seeds: &[b"100m", b"1.5Gi", b"-12e-3", b"+.5k", b"9223372036854775807"], quick: true },
    Target {
        name: "label_selector",
        run: label_selector,
        seeds: &[b"a=b,c!=d,e in (f, g),h notin (i),j,!k", b"example.com/x in (,y),z>3,w<4"],
        quick: true,
    },
    Target { name: "field_selector", run: field_selector, seeds: &[b"metadata.name=a,spec.nodeName!=b\\,c,status.phase==d"], quick: true },
    Target { name: "json", run: json, seeds: &[POD, b"[[[[{\"a\":[1,2.5e3,\"\\u00e9\\ud83d\\ude00\",null,true]}]]]]"], quick: true },
    Target { name: "protobuf", run: protobuf, seeds: &[POD, b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x08\x0a\x06\x0a\x01s\x1a\x01d"], quick: true },
    Target { name: "body_json", run: body_json, seeds: &[POD], quick: false },
    Target { name: "body_yaml", run: body_yaml, seeds: &[SERVICE_YAML, b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\nkind: Service\n"], quick: false },
    Target { name: "body_protobuf", run: body_protobuf, seeds: &[POD], quick: false },
    Target { name: "strategic_patch", run: strategic_patch, seeds: &[STRATEGIC], quick: false },
    Target { name: "merge_patch", run: merge_patch, seeds: &[STRATEGIC, br#"{"metadata":{"labels":null},"spec":{"replicas":null}}"#], quick: false },
    Target { name: "json_patch", run: json_patch, seeds: &[JSON_PATCH], quick: false },
    Target { name: "apply", run: apply, seeds: &[APPLY], quick: false },
    Target {
        name: "path",
        run: path,
        seeds: &[
            b"/api/v1/namespaces/default/pods/p/log?tailLines=3&limitBytes=1",
            b"/apis/apps/v1/deployments?labelSelector=a%3Db,c&fieldSelector=metadata.name%3Dd&limit=2&resourceVersion=1&resourceVersionMatch=Exact",
            b"/api/v1/configmaps?limit=1&continue=eyJ2IjoiZ2FubmV0L3YxIiwicnYiOjEsInN0YXJ0IjoiYSJ9",
            b"/api/v1/namespaces/%2e%2e/pods//x/../y%2fz?dryRun=All&fieldManager=%ff&pretty=1",
            b"/openapi/v3/apis/apps/v1?hash=x", b"/apis/apps/v1/namespaces/default/deployments/d/scale", b"/readyz/ping?verbose&exclude=x",
        ],
        quick: false,
    },
    Target { name: "continue_token", run: continue_token, seeds: &[br#"{"v":"gannet/v1","rv":3,"start":"default/a"}"#], quick: false },
    Target { name: "crd", run: crd, seeds: &[CRD_SCHEMA], quick: false },
    Target { name: "cel", run: cel, seeds: CEL, quick: false },
    Target {
        name: "json_path",
        run: json_path,
        seeds: &[b".spec.names[0]", b".spec.names[*]", b".spec['size']", b".spec.any[?(@.a==\"b\")].c[-1:]", b"..name"],
        quick: false,
    },
    Target {
        name: "custom_patch",
        run: custom_patch,
        seeds: &[
            br#"{"spec":{"size":3,"names":["a","b"],"any":{"x":{"y":null}}}}"#,
            br#"[{"op":"add","path":"/spec/names/-","value":"c"},{"op":"remove","path":"/spec/size"}]"#,
            b"apiVersion: fuzz.example/v1\nkind: Thing\nmetadata: {name: t}\nspec:\n  names: [z]\n  any: {q: 1}\n",
        ],
        quick: false,
    },
    Target {
        name: "managed_fields",
        run: managed_fields,
        seeds: &[br#"[{"manager":"f","operation":"Apply","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:data":{".":{},"f:k":{}},"f:metadata":{"f:labels":{"k:{\"a\":1}":{"v:\"x\"":{}},"i:0":{}}}}}]"#],
        quick: false,
    },
    Target {
        name: "accept",
        run: accept,
        seeds: &[
            b"application/json;as=Table;v=v1;g=meta.k8s.io,application/json;q=0.5",
            b"application/vnd.kubernetes.protobuf, */*;q=0.1",
            b"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
            b"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        ],
        quick: false,
    },
    Target { name: "certificate_request", run: certificate_request, seeds: &[CSR], quick: false },
];

fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// What was parsed is written so that it parses to the same again.
fn quantity(input: &[u8]) {
    let Some(parsed) = text(input).and_then(|text| Quantity::parse(text).ok()) else { return };
    let written = parsed.to_string();
    let again = Quantity::parse(&written).expect("a written quantity parses");
    assert_eq!(again.to_string(), written);
    let _ = (parsed.value(), parsed.milli_value(), parsed.add(again), parsed.sub(again));
}

fn label_selector(input: &[u8]) {
    let Some(parsed) = text(input).and_then(|text| LabelSelector::parse(text).ok()) else { return };
    let written = parsed.to_string();
    let again = LabelSelector::parse(&written).expect("a written selector parses");
    assert_eq!(again.to_string(), written);
    let labels = [("a", "b"), ("e", "f"), ("z", "5")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labels = labels.into_iter().collect();
    assert_eq!(parsed.matches(&labels), again.matches(&labels));
}

fn field_selector(input: &[u8]) {
    let Some(parsed) = text(input).and_then(|text| FieldSelector::parse(text).ok()) else { return };
    let written = parsed.to_string();
    let again = FieldSelector::parse(&written).expect("a written selector parses");
    assert_eq!(again.to_string(), written);
    assert_eq!(parsed.matches(|_| Some("a")), again.matches(|_| Some("a")));
}

/// The revision is put into any object without changing the rest.
fn json(input: &[u8]) {
    let Ok(object @ serde_json::Value::Object(_)) = serde_json::from_slice(input) else { return };
    let stored = serde_json::to_vec(&object).expect("a value is writable");
    if object["metadata"].is_object() && object["metadata"].get("resourceVersion").is_none() {
        let served = api::meta::splice_revision(&stored, api::Revision(7));
        let mut served: serde_json::Value = serde_json::from_slice(&served).expect("spliced JSON is JSON");
        assert_eq!(served["metadata"]["resourceVersion"], "7");
        served["metadata"].as_object_mut().expect("an object").remove("resourceVersion");
        assert_eq!(served, object);
    }
}

/// What was decoded encodes, and decodes to the same.
fn protobuf(input: &[u8]) {
    // Seeds are JSON: they reach deeper as what they encode to.
    let encoded = serde_json::from_slice(input).ok().and_then(|object| api::protobuf::encode(&object).ok());
    let bytes = encoded.as_deref().unwrap_or(input);
    let Ok(object) = api::protobuf::decode(bytes) else { return };
    let Ok(written) = api::protobuf::encode(&object) else { return };
    let again = api::protobuf::decode(&written).expect("what was encoded decodes");
    let twice = api::protobuf::encode(&again).expect("and encodes");
    assert_eq!(twice, written);
}

fn body_json(input: &[u8]) {
    create("application/json", input);
}

fn body_yaml(input: &[u8]) {
    create("application/yaml", input);
}

fn body_protobuf(input: &[u8]) {
    let encoded = serde_json::from_slice(input).ok().and_then(|object| api::protobuf::encode(&object).ok());
    create("application/vnd.kubernetes.protobuf", encoded.as_deref().unwrap_or(input));
}

fn create(content_type: &str, body: &[u8]) {
    for path in ["/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/services"] {
        call("POST", &format!("{path}?dryRun=All&fieldValidation=Strict"), content_type, body);
    }
}

fn strategic_patch(input: &[u8]) {
    patch("application/strategic-merge-patch+json", "", input);
}

fn merge_patch(input: &[u8]) {
    patch("application/merge-patch+json", "", input);
}

fn json_patch(input: &[u8]) {
    patch("application/json-patch+json", "", input);
}

fn apply(input: &[u8]) {
    patch("application/apply-patch+yaml", "&fieldManager=f&force=true", input);
}

fn patch(content_type: &str, more: &str, body: &[u8]) {
    for path in ["/apis/apps/v1/namespaces/default/deployments/d", "/api/v1/namespaces/default/configmaps/a"] {
        call("PATCH", &format!("{path}?dryRun=All{more}"), content_type, body);
    }
}

fn path(input: &[u8]) {
    let Some(path) = text(input).filter(|path| path.starts_with('/')) else { return };
    for method in ["GET", "HEAD", "POST", "DELETE", "PUT"] {
        // What is deleted is missed by later inputs: a run must not depend on those before it.
        let path = match (method, path.contains('?')) {
            ("GET" | "HEAD", _) => path.to_owned(),
            (_, true) => format!("{path}&dryRun=All"),
            (_, false) => format!("{path}?dryRun=All"),
        };
        call(method, &path, "application/json", b"");
    }
}

fn continue_token(input: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut token = String::new();
    for chunk in input.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digits = (0..=chunk.len()).map(|at| char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]));
        token.extend(digits);
    }
    call("GET", &format!("/api/v1/configmaps?limit=1&continue={token}"), "application/json", b"");
}

/// The Accept header of what can be answered in many forms.
fn accept(input: &[u8]) {
    for path in ["/apis/apps/v1/namespaces/default/deployments", "/apis", "/openapi/v3", "/version"] {
        send("GET", path, &[("accept", input)], b"");
    }
}

/// Owners of fields as a client states them, and an apply on top of them.
fn managed_fields(input: &[u8]) {
    let Ok(stated @ serde_json::Value::Array(_)) = serde_json::from_slice(input) else { return };
    let object = serde_json::json!({"metadata": {"name": "m", "managedFields": stated}, "data": {"k": "v"}});
    if call("POST", "/api/v1/namespaces/default/configmaps", "application/json", object.to_string().as_bytes())
        != Some(201)
    {
        return;
    }
    let path = "/api/v1/namespaces/default/configmaps/m";
    call("PUT", path, "application/json", object.to_string().as_bytes());
    let applied = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"k":"w"}}"#;
    call("PATCH", &format!("{path}?fieldManager=f"), "application/apply-patch+yaml", applied);
    call("PATCH", &format!("{path}?fieldManager=f&force=true"), "application/apply-patch+yaml", applied);
    call("DELETE", path, "application/json", b"");
}

/// The request within a CertificateSigningRequest; a DER input is wrapped.
fn certificate_request(input: &[u8]) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let pem = match input.starts_with(b"-----") {
        true => input.to_vec(),
        false => format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            STANDARD.encode(input)
        )
        .into_bytes(),
    };
    let object = serde_json::json!({"metadata": {"name": "c"}, "spec": {"request": STANDARD.encode(pem),
        "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}});
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests?dryRun=All";
    call("POST", path, "application/json", object.to_string().as_bytes());
}

/// A definition with the input as its schema, and objects of it.
fn crd(input: &[u8]) {
    if let Some(schema) = text(input).filter(|schema| schema.trim_start().starts_with('{')) {
        define(schema, "", |_, _| {});
    }
}

/// A definition with the input as its rule.
fn cel(input: &[u8]) {
    let Some(rule) = text(input) else { return };
    let schema = serde_json::json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer"}, "names": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 9}},
        "port": {"x-kubernetes-int-or-string": true}},
        "x-kubernetes-validations": [{"rule": rule}]}}});
    define(&schema.to_string(), "", |_, _| {});
}

/// A definition with the input as a column's path, and its objects as a table.
fn json_path(input: &[u8]) {
    let Some(path) = text(input) else { return };
    let columns = serde_json::json!([{"name": "A", "type": "string", "jsonPath": path}, {"name": "B", "type": "date", "jsonPath": path}]);
    define(LOOSE, &format!(r#","additionalPrinterColumns":{columns}"#), |objects, _| {
        send("GET", objects, &[("accept", b"application/json;as=Table;v=v1;g=meta.k8s.io")], b"");
    });
}

/// Every kind of patch that custom resources take, by their schema.
fn custom_patch(input: &[u8]) {
    let Some(schema) = text(CRD_SCHEMA) else { return };
    define(schema, "", |objects, version| {
        // An applied object says its version, which is another for each definition.
        let stated = text(input).map(|input| input.replace("fuzz.example/v1", version).into_bytes());
        let body = stated.as_deref().unwrap_or(input);
        for (content_type, more) in [
            ("application/merge-patch+json", ""),
            ("application/json-patch+json", ""),
            ("application/apply-patch+yaml", "&fieldManager=f"),
            ("application/apply-patch+yaml", "&fieldManager=f&force=true"),
        ] {
            call("PATCH", &format!("{objects}/t?dryRun=All{more}"), content_type, body);
        }
    });
}

/// Defines a kind with this schema and these further fields of its version, and writes objects of it; `visit` gets the
/// path of their collection and their apiVersion while they are there.
fn define(schema: &str, more: &str, visit: impl Fn(&str, &str)) {
    const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    /// Requests after which a definition that is not served never will be.
    const PATIENCE: usize = 20;
    // A definition of its own each time: the one before may still be going.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let definition = format!(
        r#"{{"metadata":{{"name":"things.g{number}.fuzz.example"}},"spec":{{"group":"g{number}.fuzz.example","scope":"Namespaced",
        "names":{{"plural":"things","singular":"thing","kind":"Thing","listKind":"ThingList"}},
        "versions":[{{"name":"v1","served":true,"storage":true,"schema":{{"openAPIV3Schema":{schema}}}{more}}}]}}}}"#
    );
    if call("POST", DEFINITIONS, "application/json", definition.as_bytes()) != Some(201) {
        return;
    }
    let version = format!("g{number}.fuzz.example/v1");
    let objects = format!("/apis/{version}/namespaces/default/things");
    if (0..PATIENCE).any(|_| call("GET", &objects, "application/json", b"") == Some(200)) {
        for spec in [r#"{"size":2,"names":["ab"],"port":"x"}"#, r#"{"size":-1,"names":["b","b"],"other":{"a":[1]}}"#] {
            let object =
                format!(r#"{{"apiVersion":"{version}","kind":"Thing","metadata":{{"name":"t"}},"spec":{spec}}}"#);
            call("POST", &objects, "application/json", object.as_bytes());
            call("PUT", &format!("{objects}/t"), "application/json", object.as_bytes());
        }
        visit(&objects, &version);
        call("DELETE", &format!("{objects}/t"), "application/json", b"");
    }
    call("DELETE", &format!("{DEFINITIONS}/things.g{number}.fuzz.example"), "application/json", b"");
}
