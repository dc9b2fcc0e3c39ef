use super::machine::Transcript;
use super::*;

#[test]
fn a_console_is_read() {
    let mut transcript = Transcript::default();
    for line in [
        "\u{1b}[2JSeaBIOS",
        "\u{1b}cgannet-guest started",
        "cannot load module sctp",
        "gannet-guest begin verify",
        "from_pod 63955 320",
        "gannet-guest end verify 0",
        "gannet-guest begin differential",
        "panicked",
        "gannet-guest end differential 101",
        "gannet-guest begin endless",
    ] {
        transcript.take(line);
    }
    assert!(transcript.started && !transcript.done);
    assert_eq!(transcript.rest, ["\u{1b}[2JSeaBIOS", "cannot load module sctp"]);
    assert!(transcript.succeeded("verify").is_ok());
    assert_eq!(transcript.lines("verify"), ["from_pod 63955 320"]);
    assert!(transcript.succeeded("differential").expect_err("it failed").to_string().contains("101:\npanicked"));
    assert!(transcript.succeeded("endless").expect_err("it failed").to_string().contains("did not end"));
    assert!(transcript.succeeded("features").expect_err("it failed").to_string().contains("never came"));
}

#[test]
fn dependencies_of_modules_are_read() {
    assert_eq!(
        modules::depends(b"\0license=GPL\0depends=udp-tunnel,ip6_udp_tunnel\0name=vxlan\0"),
        ["udp_tunnel", "ip6_udp_tunnel"]
    );
    assert!(modules::depends(b"\0depends=\0").is_empty());
    assert!(modules::depends(b"built in").is_empty());
}

#[test]
fn loads_stand_among_other_lines() {
    let lines = ["a 12 32", "b refused", "1455: (bc) w1 = w4", "processed 3311 insns (limit 1000000)", "", "c 13 64"];
    let (costs, refused) = loads(lines.into_iter()).expect("the sample reads");
    assert_eq!(costs.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(refused, ["b"]);
    assert!(loads(std::iter::empty()).is_err(), "a loader that says nothing is no success");
}

#[test]
fn kernels_are_compared() {
    let outcome = |release: &str, line: &str| Outcome {
        series: Series::of(release).expect("the sample reads"),
        features: features([line].into_iter()).expect("the sample reads"),
        costs: Costs::new(),
        refused: Vec::new(),
    };
    let outcomes = [
        outcome("6.1.0", r#"{"feature": "network", "needed": true, "absent": "Invalid argument"}"#),
        outcome("6.12.0", r#"{"feature": "network", "needed": true, "absent": null}"#),
    ];
    assert_eq!(outcomes[0].lacking(), ["network"]);
    assert!(outcomes[1].lacking().is_empty());
    assert_eq!(feature_table(&outcomes), "(* needed)     6.1    6.12\nnetwork*       -     yes\n");
}
