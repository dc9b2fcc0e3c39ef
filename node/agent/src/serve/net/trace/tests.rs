use packet::host::world;

use super::*;

fn ask(from: &str, to: &str, proto: u8) -> Value {
    let (from, to) = (from.parse().expect("address"), to.parse().expect("address and port"));
    let question = Question { from, to, proto, by: None, native: false };
    trace(&world(), &question)
}

#[test]
fn a_tcp_connection_to_a_service_is_translated_at_the_socket_to_one_of_its_backends() {
    let answer = ask("10.244.1.2", "10.96.0.20:80", IPPROTO_TCP);
    let (socket, packet) = (&answer["steps"][0], &answer["steps"][1]);
    assert_eq!(socket["does"], "translates", "{answer}");
    let backends = ["10.244.1.2:8080", "10.244.1.3:8080", "10.244.2.5:8080"];
    assert!(backends.iter().any(|one| socket["backend"] == *one), "{answer}");
    assert_eq!(packet["to"], socket["backend"], "{answer}");
}

#[test]
fn a_datagram_to_another_nodes_pod_goes_to_that_node() {
    let answer = ask("10.244.1.2", "10.244.2.9:53", IPPROTO_UDP);
    assert_eq!((answer["verdict"].as_str(), answer["node"].as_str()), (Some("node"), Some("192.0.2.2")), "{answer}");
}

#[test]
fn a_native_route_leads_to_the_other_node_and_goes_on_there() {
    let answer = ask("10.244.1.2", "10.244.4.5:8080", IPPROTO_TCP);
    assert_eq!((answer["verdict"].as_str(), answer["node"].as_str()), (Some("node"), Some("192.0.2.4")), "{answer}");
    assert_eq!(answer["native"], true, "{answer}");
    let by = "192.0.2.4".parse().expect("address");
    let (from, to) = ("10.244.4.5".parse().expect("address"), "10.244.1.3:8080".parse().expect("address and port"));
    let question = Question { from, to, proto: IPPROTO_TCP, by: Some(by), native: true };
    let answer = arrive(&world(), &question, by);
    assert_eq!((&answer["verdict"], &answer["steps"][0]["hook"]), (&json!("pod"), &json!("from_uplink")), "{answer}");
    // Who is reached through a tunnel does not come in without it.
    let question = Question { from: "10.244.2.9".parse().expect("address"), ..question };
    assert_eq!(arrive(&world(), &question, by)["verdict"], "drop");
}

#[test]
fn a_service_without_backends_is_refused_with_what_to_do() {
    let answer = ask("10.244.1.2", "10.96.0.21:80", IPPROTO_TCP);
    assert_eq!((answer["verdict"].as_str(), answer["reason"].as_str()), (Some("drop"), Some("refused-no-backend")));
    assert!(answer["advice"].as_str().is_some_and(|text| text.contains("endpointslices")), "{answer}");
}

#[test]
fn what_leaves_the_cluster_is_masqueraded() {
    let answer = ask("10.244.1.2", "203.0.113.5:443", IPPROTO_TCP);
    let source = answer["steps"][1]["sourceBecomes"].as_str().unwrap_or_default();
    assert!(answer["verdict"] == "uplink" && source.starts_with("192.0.2.1:"), "{answer}");
}

#[test]
fn a_sender_that_is_not_here_is_said_so() {
    assert_eq!(ask("10.244.9.9", "10.96.0.20:80", IPPROTO_TCP)["verdict"], "none");
}

#[test]
fn a_policy_that_holds_the_packet_back_is_named_with_its_pod() {
    let question = |to: &str| Question {
        from: "10.244.1.2".parse().expect("address"),
        to: to.parse().expect("address and port"),
        proto: IPPROTO_TCP,
        by: None,
        native: false,
    };
    for (seat, flags, reason, pod, way) in [
        ("10.244.1.2", abi::SEAT_EGRESS, "policy-egress", "10.244.1.2", "out of the pod"),
        ("10.244.1.3", abi::SEAT_INGRESS, "policy-ingress", "10.244.1.3", "into the pod"),
    ] {
        let mut tables = world();
        let seat = tables.pods[&datapath::addr(seat.parse().expect("address"))].seat;
        tables.seats.insert(seat * 2 | abi::bank(tables.generation), abi::SeatValue { ruleset: 1, flags });
        let answer = trace(&tables, &question("10.244.1.3:8080"));
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (text("reason"), text("policyOf"), text("way")),
            (reason.into(), pod.into(), way.into()),
            "{answer}"
        );
    }
}

#[test]
fn what_comes_over_the_overlay_meets_the_receivers_policy() {
    let mut tables = world();
    let from = "10.244.2.9".parse().expect("address");
    let to: SocketAddr = "10.244.1.3:8080".parse().expect("address and port");
    let by = "192.0.2.2".parse().expect("address");
    let question = Question { from, to, proto: IPPROTO_TCP, by: Some(by), native: false };
    assert_eq!(arrive(&tables, &question, by)["verdict"], "pod");
    let seat = tables.pods[&datapath::addr(to.ip())].seat;
    tables
        .seats
        .insert(seat * 2 | abi::bank(tables.generation), abi::SeatValue { ruleset: 1, flags: abi::SEAT_INGRESS });
    let answer = arrive(&tables, &question, by);
    assert_eq!(
        (answer["reason"].as_str(), answer["policyOf"].as_str()),
        (Some("policy-ingress"), Some("10.244.1.3")),
        "{answer}"
    );
}
