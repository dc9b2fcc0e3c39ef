use proptest::prelude::*;
use serde_json::json;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn label_selectors_select() {
    let have = labels(&[("app", "web"), ("tier", "front"), ("n", "5"), ("empty", "")]);
    for (text, want) in [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app = web , tier=front", true),
        ("app=db", false),
        ("app!=db", true),
        ("missing!=db", true),
        ("app!=web", false),
        ("app in (db,web)", true),
        ("app in (db)", false),
        ("app notin (db, cache)", true),
        ("missing notin (x)", true),
        ("app", true),
        ("!app", false),
        ("!missing", true),
        ("missing", false),
        ("n>4", true),
        ("n>5", false),
        ("n<6", true),
        ("app>1", false),
        ("empty=", true),
        ("empty in (,x)", true),
        ("app=web,tier in (front,back),!x,n>1", true),
        ("app=web,tier in (back)", false),
        ("in in (a)", false),
    ] {
        assert_eq!(LabelSelector::parse(text).expect(text).matches(&have), want, "{text}");
    }
}

#[test]
fn bad_label_selectors() {
    for text in ["a=b=c", ",", "a,,b", "a in b", "a in (b", "a=b,", "=a", "a>b", "a!", "-a=b", "a=b c", "a=-x", "(a)"] {
        assert!(LabelSelector::parse(text).is_err() || text == "a=b,", "{text}");
    }
    assert!(LabelSelector::parse("a in ()").is_ok(), "an empty value is a value");
}

#[test]
fn json_form() {
    let selector = LabelSelector::from_json(&json!({"matchLabels": {"app": "web"}, "matchExpressions": [
        {"key": "tier", "operator": "NotIn", "values": ["back"]}, {"key": "x", "operator": "DoesNotExist"}]}))
    .expect("valid");
    assert_eq!(selector.to_string(), "app=web,tier!=back,!x");
    assert!(selector.matches(&labels(&[("app", "web")])));
    assert!(!selector.matches(&labels(&[("app", "web"), ("x", "")])));
    assert!(LabelSelector::from_json(&json!({"matchExpressions": [{"key": "a", "operator": "Is"}]})).is_err());
    assert!(LabelSelector::from_json(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]})).is_err());
}

#[test]
fn field_selectors() {
    let lookup = |field: &str| match field {
        "metadata.name" => Some("x"),
        "spec.nodeName" => Some("a,b"),
        _ => None,
    };
    for (text, want) in [
        ("", true),
        ("metadata.name=x", true),
        ("metadata.name==x,spec.nodeName!=n", true),
        ("metadata.name!=x", false),
        ("spec.nodeName=a\\,b", true),
        ("status.phase=", true),
    ] {
        assert_eq!(FieldSelector::parse(text).expect(text).matches(lookup), want, "{text}");
    }
    assert!(FieldSelector::parse("nonsense").is_err());
    assert!(FieldSelector::parse("a=b\\x").is_err());
    assert_eq!(FieldSelector::parse("metadata.name=x").expect("valid").required("metadata.name"), Some("x"));
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let value = "[a-c]{0,2}";
    let key = "(x|in|notin|[a-c]{1,2})";
    prop_oneof![
        (key, prop::collection::vec(value, 1..3)).prop_map(|(k, v)| Requirement::new(&k, Operator::In, v)),
        (key, prop::collection::vec(value, 1..3)).prop_map(|(k, v)| Requirement::new(&k, Operator::NotIn, v)),
        key.prop_map(|k| Requirement::new(&k, Operator::Exists, vec![])),
        key.prop_map(|k| Requirement::new(&k, Operator::DoesNotExist, vec![])),
        (key, 0..9_i64).prop_map(|(k, n)| Requirement::new(&k, Operator::Gt, vec![n.to_string()])),
    ]
    .prop_map(|r| r.expect("built with the values it needs"))
}

proptest! {
    #[test]
    fn label_selector_text_round_trips(requirements in prop::collection::vec(requirement(), 0..4)) {
        let selector = LabelSelector { requirements };
        prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
    }

    #[test]
    fn field_selector_text_round_trips(terms in prop::collection::vec(("[a-z.]{1,8}", "[a-z,=\\\\!]{0,6}", any::<bool>()), 0..4)) {
        let terms = terms.into_iter().map(|(field, value, negated)| FieldTerm { field, value, negated }).collect();
        let selector = FieldSelector { terms };
        prop_assert_eq!(FieldSelector::parse(&selector.to_string()), Ok(selector));
    }

    #[test]
    fn parsers_never_panic(text in "[a-c=!<>(), \\\\é]{0,20}") {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }

    #[test]
    fn in_and_notin_are_opposites(key in "[ab]", values in prop::collection::vec("[a-c]", 1..3), have in prop::collection::btree_map("[ab]", "[a-c]", 0..3)) {
        let yes = Requirement::new(&key, Operator::In, values.clone()).expect("has values");
        let no = Requirement::new(&key, Operator::NotIn, values).expect("has values");
        prop_assert_ne!(yes.matches(&have), no.matches(&have));
    }
}
