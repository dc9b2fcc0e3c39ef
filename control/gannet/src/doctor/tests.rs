use super::*;

fn line(name: &'static str, required: bool, reason: Option<&str>) -> Line {
    Line {
        name,
        required,
        present: reason.is_none(),
        reason: reason.map(str::to_owned),
        without: "it is slow",
        fix: "buy one".to_owned(),
    }
}

#[test]
fn only_what_is_required_stops_a_node() {
    assert!(report(String::new(), vec![line("a", true, None), line("b", false, Some("gone"))]).ready);
    assert!(!report(String::new(), vec![line("a", true, Some("gone"))]).ready);
}

#[test]
fn what_is_absent_says_what_follows() {
    let lines = vec![line("veth", true, None), line("tcx", true, Some("EINVAL")), line("fq", false, Some("ENOENT"))];
    let text = render(&report("6.1.0".to_owned(), lines));
    let expected = "kernel 6.1.0\npresent  veth\n\
        MISSING  tcx: EINVAL\n         without it: it is slow\n         fix: buy one\n\
        absent   fq: ENOENT\n         without it: it is slow\n         fix: buy one\n\
        Gannet cannot run here: mend what is MISSING.\n";
    assert_eq!(text, expected);
}

#[test]
fn this_machine_is_described() {
    let report = report(release().unwrap(), kernel::probe::features().into_iter().map(Line::from).collect());
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    let features = json["features"].as_array().unwrap();
    for feature in features {
        assert_eq!(feature["present"], feature.get("reason").is_none(), "{feature}");
    }
    assert!(features.iter().any(|feature| feature["name"] == "tcx"));
    assert_eq!(json["kernel"], release().unwrap());
}
