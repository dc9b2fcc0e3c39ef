use expect_test::expect;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn body(object: &Value) -> Vec<u8> {
    encode(object).expect("a built-in kind")
}
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
        {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"app":"web"},"name":"web"},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web"}},"strategy":{},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"image":"nginx:1.2","name":"nginx","ports":[{"containerPort":80}],"resources":{}}]}}},"status":{}}
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
    let body = body(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "é"}}));
    let cut = body.len() - 1;
    assert!(decode(&body[..cut]).is_err());
}

#[test]
fn zero_is_kept_where_it_counts() {
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0, "minReadySeconds": 0, "paused": false}});
    assert_eq!(decode(&body(&object)).expect("decodes")["spec"], json!({"replicas": 0}));
    let object = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"automountServiceAccountToken": false, "hostNetwork": false,
        "containers": [{"name": "", "resources": {"limits": {"cpu": "1"}}}]}});
    assert_eq!(
        decode(&body(&object)).expect("decodes")["spec"],
        json!({"automountServiceAccountToken": false, "containers": [{"name": "", "resources": {"limits": {"cpu": "1"}}}]})
    );
}

/// An object with every field of its schema set, lists and maps with two entries, nested as deep as asked.
fn full(kind: &'static Type, depth: usize) -> Value {
    if let Some(choice) = kind.schema().and_then(|schema| choice::Choice::of(schema.definition())) {
        return match (choice, depth % 2) {
            (choice::Choice::Allowed, 0) => json!(false),
            (choice::Choice::Schemas, 0) => json!([{"type": "text"}, {"minLength": 0}]),
            (choice::Choice::Texts, 0) => json!(["a", ""]),
            (_, _) => json!({"type": "text", "default": [1, {"a": null}]}),
        };
    }
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
    let mut numbered = Vec::new();
    indexes(&schema.definition().message, &mut numbered);
    let deeper = |f: &&Field| depth > 0 || f.kind.scalar().is_some();
    let present = numbered.into_iter().map(|i| &fields[i]).filter(deeper);
    Value::Object(present.map(|f| (f.name.to_owned(), full(&f.kind, depth.saturating_sub(1)))).collect())
}

fn indexes(slots: &[Slot], into: &mut Vec<usize>) {
    for slot in slots {
        match &slot.part {
            Part::Field(index) => into.push(*index),
            Part::Inlined(inner) => indexes(inner, into),
        }
    }
}

#[test]
fn every_field_of_every_kind_survives() {
    for definition in crate::schema::definitions() {
        let has_message = !definition.message.is_empty();
        for gvk in definition.kinds.iter().filter(|_| has_message).take(2) {
            let mut object = full_object(Schema::for_kind(gvk).expect("known kind"), 3);
            object["apiVersion"] = gvk.api_version().into();
            object["kind"] = gvk.kind.clone().into();
            let body = body(&object);
            assert_eq!(decode(&body).expect("decodes"), object, "{gvk}");
        }
    }
}

/// An object with fields drawn from a seed, zero values among them where they count.
fn drawn(kind: &'static Type, seed: &mut u64, depth: usize) -> Value {
    let mut draw = |n: u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % n
    };
    match (kind, kind.scalar()) {
        (_, Some(Scalar::String)) => ["", "é", "a/b", "\u{1f980}\n"][draw(4) as usize].into(),
        (_, Some(Scalar::Int32)) => [0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN)][draw(5) as usize].into(),
        (_, Some(Scalar::Int64)) => [0, 1, -1, i64::MAX, i64::MIN][draw(5) as usize].into(),
        (_, Some(Scalar::Boolean)) => (draw(2) == 0).into(),
        (_, Some(Scalar::Double)) => [0.0, -1.5, 1e300][draw(3) as usize].into(),
        (_, Some(Scalar::Quantity)) => ["0", "1500m", "9223372036854775807", "1Ki"][draw(4) as usize].into(),
        (_, Some(Scalar::IntOrString)) => [json!(0), json!("25%"), json!(-3), json!("")][draw(4) as usize].clone(),
        (_, Some(Scalar::Time)) => {
            ["1970-01-01T00:00:01Z", "1969-12-31T23:59:59Z", "9999-12-01T23:59:59Z"][draw(3) as usize].into()
        }
        (Type::List(inner), None) => (0..=draw(2)).map(|_| drawn(inner, seed, depth)).collect(),
        (Type::Map(inner), None) => json!({"k": drawn(inner, seed, depth)}),
        (Type::Named(_), None) => drawn_object(kind.schema().expect("named"), seed, depth),
        (_, _) => full(kind, depth),
    }
}

fn drawn_object(schema: Schema, seed: &mut u64, depth: usize) -> Value {
    let Body::Object(fields) = &schema.definition().body else { unreachable!("only objects are asked for") };
    let mut numbered = Vec::new();
    indexes(&schema.definition().message, &mut numbered);
    let mut object = Map::new();
    for field in numbered.into_iter().map(|i| &fields[i]) {
        let plain = matches!(field.kind, Type::Scalar(_));
        *seed = seed.rotate_left(7).wrapping_add(field.name.len() as u64);
        if !(plain || depth > 0 && seed.is_multiple_of(3)) {
            continue;
        }
        let value = drawn(&field.kind, seed, depth.saturating_sub(1));
        if field.required || field.zero_counts || !is_zero(&value) || !plain {
            object.insert(field.name.to_owned(), value);
        }
    }
    Value::Object(object)
}

#[test]
fn a_plain_deployment_is_written_as_go_writes_it() {
    // Fields in the order of their numbers; IntOrString with all of its parts; the envelope with its empty tail.
    let object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
        "spec": {"minAvailable": 1}});
    let hex: String = body(&object).iter().map(|byte| format!("{byte:02x}")).collect();
    let envelope = "6b3873000a200a09706f6c6963792f76311213506f6444697372757074696f6e427564676574";
    assert_eq!(hex, format!("{envelope}120f0a030a016112080a06080010011a001a002200"));
}

#[test]
fn metadata_alone() {
    let object = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "x"}});
    let body = body(&object);
    assert!(body.windows(6).any(|w| w == [0x12, 5, 0x0a, 3, 0x0a, 1]), "{body:x?}");
    let custom = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}});
    assert!(matches!(encode(&custom), Err(EncodeError::UnknownKind(_))));
}

#[test]
fn frames_have_their_length() {
    let frame = watch_frame("ADDED", b"k8s\0rest");
    assert_eq!(frame[..4], [0, 0, 0, 19]);
    assert_eq!(frame[4..], *b"\x0a\x05ADDED\x12\x0a\x0a\x08k8s\0rest");
}

#[test]
fn an_object_inside_a_raw_extension() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}});
    let mut raw = Vec::new();
    encode::put_bytes(&mut raw, 1, &body(&pod));
    assert_eq!(special(Scalar::Any, &raw, 0), Ok(pod));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_kind_goes_there_and_back(seed in any::<u64>()) {
        let mut seed = seed;
        for definition in crate::schema::definitions().iter().filter(|d| !d.message.is_empty()) {
            for gvk in definition.kinds.iter().take(1) {
                let mut object = drawn_object(Schema::for_kind(gvk).expect("known kind"), &mut seed, 5);
                object["apiVersion"] = gvk.api_version().into();
                object["kind"] = gvk.kind.clone().into();
                prop_assert_eq!(decode(&body(&object)).expect("decodes"), object, "{}", gvk);
            }
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
