use expect_test::expect;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::type_check;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hexadecimal")).collect()
}

#[test]
fn bodies_that_kubectl_sends() {
    let mut out = String::new();
    for line in include_str!("requests.txt").lines().filter(|l| !l.starts_with('#')) {
        let (_, hex) = line.split_once(' ').expect("name and bytes");
        let object = decode(&unhex(hex)).expect("decodes");
        let schema = Schema::for_kind(&crate::meta::gvk(&object)).expect("known kind");
        type_check(&schema, &object).expect("of the right types");
        out.push_str(&format!("{object}\n"));
    }
    expect![[r#"
        {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"app":"web"},"name":"web"},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},"strategy":{},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"image":"nginx:1.2","name":"nginx","ports":[{"containerPort":80}],"resources":{}}]}}},"status":{"replicas":0}}
        {"apiVersion":"v1","data":{"a":"Yg=="},"kind":"Secret","metadata":{"name":"s"}}
        {"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","metadata":{},"spec":{},"status":{}}
        {"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","metadata":{},"spec":{"resourceAttributes":{"namespace":"default","resource":"pods","verb":"get"}},"status":{"allowed":false}}
        {"apiVersion":"v1","kind":"Service","metadata":{"labels":{"app":"web"},"name":"web"},"spec":{"ports":[{"name":"80-8080","port":80,"protocol":"TCP","targetPort":8080}],"selector":{"app":"web"},"type":"NodePort"},"status":{"loadBalancer":{}}}
    "#]].assert_eq(&out);
}

#[test]
fn refused() {
    assert_eq!(decode(b"{}"), Err(DecodeError::Magic));
    assert_eq!(decode(b"k8s\0"), Err(DecodeError::UnknownKind(Gvk::default())));
    assert_eq!(decode(b"k8s\0\x0a\x7f"), Err(DecodeError::Wire(WireError::Truncated)));
    let body = encode_body(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "é"}}));
    let cut = body.len() - 1;
    assert!(decode(&body[..cut]).is_err());
}

#[test]
fn zero_is_kept_where_it_counts() {
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "minReadySeconds": 0, "paused": false}});
    assert_eq!(decode(&encode_body(&object)).expect("decodes")["spec"], json!({"replicas": 0}));
    let object = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"automountServiceAccountToken": false, "hostNetwork": false,
        "containers": [{"name": "", "resources": {"limits": {"cpu": "1"}}}]}});
    assert_eq!(
        decode(&encode_body(&object)).expect("decodes")["spec"],
        json!({"automountServiceAccountToken": false, "containers": [{"name": "", "resources": {"limits": {"cpu": "1"}}}]})
    );
}

// An encoder, for these tests only.

fn tag(out: &mut Vec<u8>, number: u32, wire_type: u64) {
    varint(out, u64::from(number) << 3 | wire_type);
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    tag(out, number, 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn encode_body(object: &Value) -> Vec<u8> {
    let gvk = crate::meta::gvk(object);
    let schema = Schema::for_kind(&gvk).expect("known kind");
    let (mut type_meta, mut unknown) = (Vec::new(), Vec::new());
    bytes(&mut type_meta, 1, gvk.api_version().as_bytes());
    bytes(&mut type_meta, 2, gvk.kind.as_bytes());
    bytes(&mut unknown, 1, &type_meta);
    bytes(&mut unknown, 2, &encode(schema, object));
    [MAGIC, &unknown].concat()
}

fn encode(schema: Schema, object: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let definition = schema.definition();
    let mut inner = vec![Vec::new(); definition.inlined.len()];
    for (name, value) in object.as_object().into_iter().flatten() {
        if matches!(name.as_str(), "apiVersion" | "kind") && schema.field(name).is_none_or(|f| f.number == 0) {
            continue;
        }
        let field = schema.field(name).expect("fields of the schema");
        if field.number > 0 {
            encode_field(&mut out, field.number, &field.kind, value);
        }
        for (i, (_, names)) in definition.inlined.iter().enumerate() {
            if let Some((_, number)) = names.iter().find(|(n, _)| n == name).filter(|_| field.number == 0) {
                encode_field(&mut inner[i], *number, &field.kind, value);
            }
        }
    }
    for ((number, _), content) in definition.inlined.iter().zip(inner) {
        bytes(&mut out, *number, &content);
    }
    out
}

fn encode_field(out: &mut Vec<u8>, number: u32, kind: &'static Type, value: &Value) {
    match (kind, value) {
        (Type::List(inner), Value::Array(items)) => items.iter().for_each(|i| encode_field(out, number, inner, i)),
        (Type::Map(inner), Value::Object(map)) => {
            for (key, value) in map {
                let mut entry = Vec::new();
                bytes(&mut entry, 1, key.as_bytes());
                match (&**inner, value) {
                    (Type::List(element), Value::Array(items)) => {
                        let mut list = Vec::new();
                        items.iter().for_each(|i| encode_field(&mut list, 1, element, i));
                        bytes(&mut entry, 2, &list);
                    }
                    (inner, value) => encode_field(&mut entry, 2, inner, value),
                }
                bytes(out, number, &entry);
            }
        }
        (kind, value) => encode_value(out, number, kind, value),
    }
}

fn encode_value(out: &mut Vec<u8>, number: u32, kind: &'static Type, value: &Value) {
    let text = value.as_str().unwrap_or_default();
    let mut message = Vec::new();
    match kind.scalar() {
        None => bytes(out, number, &encode(kind.schema().expect("named"), value)),
        Some(Scalar::String) => bytes(out, number, text.as_bytes()),
        Some(Scalar::Bytes) => bytes(out, number, &base64::decode(text).expect("base64")),
        Some(Scalar::Boolean) => {
            tag(out, number, 0);
            varint(out, u64::from(value == true));
        }
        Some(Scalar::Int32 | Scalar::Int64) => {
            tag(out, number, 0);
            varint(out, value.as_i64().expect("a number") as u64);
        }
        Some(Scalar::Double) => {
            tag(out, number, 1);
            out.extend_from_slice(&value.as_f64().expect("a number").to_le_bytes());
        }
        Some(Scalar::Any) => {
            bytes(&mut message, 1, value.to_string().as_bytes());
            bytes(out, number, &message);
        }
        Some(Scalar::Quantity) => {
            bytes(&mut message, 1, text.as_bytes());
            bytes(out, number, &message);
        }
        Some(Scalar::IntOrString) => {
            tag(&mut message, 1, 0);
            varint(&mut message, u64::from(value.is_string()));
            tag(&mut message, 2, 0);
            varint(&mut message, value.as_i64().unwrap_or(0) as u64);
            bytes(&mut message, 3, text.as_bytes());
            bytes(out, number, &message);
        }
        Some(Scalar::Time | Scalar::MicroTime) => {
            let at = time::parse(text).expect("a time");
            tag(&mut message, 1, 0);
            varint(&mut message, at.as_second() as u64);
            tag(&mut message, 2, 0);
            varint(&mut message, at.subsec_nanosecond() as u64);
            bytes(out, number, &message);
        }
    }
}

/// An object with every field of its schema set, lists and maps with two entries, nested as deep as asked.
fn full(kind: &'static Type, depth: usize) -> Value {
    match (kind, kind.scalar()) {
        (_, Some(Scalar::String)) => "text".into(),
        (_, Some(Scalar::Bytes)) => "AP8=".into(),
        (_, Some(Scalar::Int32 | Scalar::Int64)) => (-7).into(),
        (_, Some(Scalar::Double)) => 1.5.into(),
        (_, Some(Scalar::Boolean)) => true.into(),
        (_, Some(Scalar::Any)) => json!({"any": [1]}),
        (_, Some(Scalar::Quantity)) => "100m".into(),
        (_, Some(Scalar::IntOrString)) => {
            if depth % 2 == 0 {
                json!("http")
            } else {
                json!(80)
            }
        }
        (_, Some(Scalar::Time)) => "2026-01-01T00:00:00Z".into(),
        (_, Some(Scalar::MicroTime)) => "2026-01-01T00:00:00.000001Z".into(),
        (Type::List(inner), None) => (0..2).map(|_| full(inner, depth)).collect(),
        (Type::Map(inner), None) => json!({"a": full(inner, depth), "b": full(inner, depth)}),
        (Type::Named(_), None) => full_object(kind.schema().expect("named"), depth),
        (Type::Scalar(_), None) => unreachable!("scalars are scalars"),
    }
}

fn full_object(schema: Schema, depth: usize) -> Value {
    let Body::Object(fields) = &schema.definition().body else { unreachable!("only objects are asked for") };
    let reachable = |f: &&Field| {
        let inlined = schema.definition().inlined.iter().flat_map(|(_, names)| names);
        f.number > 0 || inlined.clone().any(|(name, _)| *name == f.name)
    };
    let deeper = |f: &&Field| depth > 0 || f.kind.scalar().is_some();
    let present = fields.iter().filter(reachable).filter(deeper);
    Value::Object(present.map(|f| (f.name.to_owned(), full(&f.kind, depth.saturating_sub(1)))).collect())
}

#[test]
fn every_field_of_every_kind_survives() {
    for definition in crate::schema::definitions() {
        for gvk in &definition.kinds {
            let mut object = full_object(Schema::for_kind(gvk).expect("known kind"), 4);
            object["apiVersion"] = gvk.api_version().into();
            object["kind"] = gvk.kind.clone().into();
            let body = encode_body(&object);
            assert_eq!(decode(&body).expect("decodes"), object, "{gvk}");
        }
    }
}

proptest! {
    #[test]
    fn never_panics(at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
        let text = include_str!("requests.txt").lines().nth(1).expect("a request");
        let mut body = unhex(text.split_once(' ').expect("name and bytes").1);
        let (at, cut) = (at % body.len(), cut % body.len());
        body[at] = byte;
        let _ = decode(&body);
        let _ = decode(&body[..cut]);
    }

    #[test]
    fn never_panics_on_noise(kind in 0_usize..40, noise in prop::collection::vec(any::<u8>(), 0..60)) {
        let definitions: Vec<_> = crate::schema::definitions().iter().filter(|d| !d.kinds.is_empty()).collect();
        let _ = message(definitions[kind % definitions.len()], &noise, 0);
    }
}
