use expect_test::{Expect, expect};
use wire::agent::AttachReply;

use crate::{request, result, run};

const CONFIG: &str =
    r#"{"cniVersion":"1.0.0","name":"gannet","type":"gannet-cni","agentSocket":"/nonexistent/agent.sock"}"#;

fn environment(text: &'static str) -> impl Fn(&str) -> Option<String> {
    move |name| text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

const ADD: &str = "CNI_COMMAND=ADD
    CNI_CONTAINERID=c1
    CNI_NETNS=/run/netns/x
    CNI_IFNAME=eth0
    CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-1;K8S_POD_UID=u-1";

fn outcome(environment_text: &'static str, input: &str, expected: Expect) {
    let text = match run(&environment(environment_text), input) {
        Ok(value) => value.map(|value| value.to_string()).unwrap_or_default(),
        Err(error) => result::failure(error.code(), &error.to_string()).to_string(),
    };
    expected.assert_eq(&text);
}

#[test]
fn a_call_is_read_from_environment_and_stdin() {
    let variable = environment(ADD);
    let command = request::command(&variable).unwrap();
    let call = request::parse(command, &variable, CONFIG).unwrap();
    expect![[r#"
        Invocation {
            command: Add,
            version: "1.0.0",
            socket: "/nonexistent/agent.sock",
            container_id: "c1",
            netns: "/run/netns/x",
            ifname: "eth0",
            pod_namespace: "default",
            pod_name: "web-1",
            pod_uid: "u-1",
            port_mappings: [],
            bandwidth: Bandwidth {
                ingress_rate: 0,
                egress_rate: 0,
            },
        }
    "#]]
    .assert_debug_eq(&call);
}

#[test]
fn failures_carry_the_codes_of_the_specification() {
    outcome("", CONFIG, expect![[r#"{"cniVersion":"1.0.0","code":4,"msg":"the environment lacks CNI_COMMAND"}"#]]);
    outcome(
        "CNI_COMMAND=GC",
        CONFIG,
        expect![[r#"{"cniVersion":"1.0.0","code":4,"msg":"CNI_COMMAND is GC, not ADD, DEL, CHECK or VERSION"}"#]],
    );
    outcome(
        "CNI_COMMAND=ADD",
        CONFIG,
        expect![[r#"{"cniVersion":"1.0.0","code":4,"msg":"the environment lacks CNI_NETNS"}"#]],
    );
    outcome(
        ADD,
        "{",
        expect![[
            r#"{"cniVersion":"1.0.0","code":6,"msg":"cannot decode the configuration: EOF while parsing an object at line 1 column 1"}"#
        ]],
    );
    outcome(
        ADD,
        r#"{"cniVersion":"1.0.0"}"#,
        expect![[r#"{"cniVersion":"1.0.0","code":7,"msg":"the configuration lacks agentSocket"}"#]],
    );
    outcome(
        ADD,
        r#"{"cniVersion":"9.9.9"}"#,
        expect![[r#"{"cniVersion":"1.0.0","code":1,"msg":"CNI version 9.9.9 is not supported"}"#]],
    );
    outcome(
        "CNI_COMMAND=VERSION",
        CONFIG,
        expect![[r#"{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}"#]],
    );
}

#[test]
fn without_a_daemon_add_must_be_repeated_and_del_of_a_gone_namespace_succeeds() {
    outcome(
        ADD,
        CONFIG,
        expect![[
            r#"{"cniVersion":"1.0.0","code":11,"msg":"the node daemon does not answer at /nonexistent/agent.sock: transport error"}"#
        ]],
    );
    let gone = "CNI_COMMAND=DEL\nCNI_CONTAINERID=c1\nCNI_IFNAME=eth0\nCNI_NETNS=/nonexistent/netns";
    outcome(gone, CONFIG, expect![""]);
    let there = "CNI_COMMAND=DEL\nCNI_CONTAINERID=c1\nCNI_IFNAME=eth0\nCNI_NETNS=/proc/self/ns/net";
    outcome(
        there,
        CONFIG,
        expect![[
            r#"{"cniVersion":"1.0.0","code":11,"msg":"the node daemon does not answer at /nonexistent/agent.sock: transport error"}"#
        ]],
    );
}

#[test]
fn the_loopback_interface_needs_no_daemon() {
    let config = r#"{"cniVersion":"0.3.1","name":"cni-loopback","type":"loopback"}"#;
    outcome(
        ADD,
        config,
        expect![[
            r#"{"cniVersion":"0.3.1","dns":{},"interfaces":[{"mac":"00:00:00:00:00:00","name":"lo","sandbox":"/run/netns/x"}],"ips":[{"address":"127.0.0.1/8","interface":0,"version":"4"}]}"#
        ]],
    );
    outcome("CNI_COMMAND=DEL", config, expect![""]);
}

#[test]
fn results_have_the_shape_of_their_version() {
    let reply = AttachReply {
        addresses: vec!["10.244.1.7/32".into(), "fd00::7/128".into()],
        gateways: vec!["169.254.1.1".into(), "fd67::1".into()],
        host_ifname: "gn0123456789a".into(),
        mac: "02:00:00:00:00:07".into(),
        mtu: 1450,
    };
    expect![[r#"{"cniVersion":"1.0.0","dns":{},"interfaces":[{"name":"gn0123456789a"},{"mac":"02:00:00:00:00:07","name":"eth0","sandbox":"/run/netns/x"}],"ips":[{"address":"10.244.1.7/32","gateway":"169.254.1.1","interface":1},{"address":"fd00::7/128","gateway":"fd67::1","interface":1}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}"#]].assert_eq(&result::success("1.0.0", "eth0", "/run/netns/x", &reply).to_string());
    expect![[r#"[{"address":"10.244.1.7/32","gateway":"169.254.1.1","interface":1,"version":"4"},{"address":"fd00::7/128","gateway":"fd67::1","interface":1,"version":"6"}]"#]].assert_eq(&result::success("0.4.0", "eth0", "/run/netns/x", &reply)["ips"].to_string());
}

#[test]
fn the_configuration_list_names_plugin_and_socket() {
    expect![[r#"
        {
          "cniVersion": "1.0.0",
          "name": "gannet",
          "plugins": [
            {
              "agentSocket": "/var/lib/gannet/agent.sock",
              "capabilities": {
                "bandwidth": true,
                "portMappings": true
              },
              "type": "gannet-cni"
            }
          ]
        }
    "#]]
    .assert_eq(&crate::conflist::render("/var/lib/gannet/agent.sock".as_ref()));
}

#[test]
fn host_ports_come_from_the_runtime() {
    let input = CONFIG.replace(
        "}",
        r#","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":""},{"HostPort":53,"ContainerPort":53,"Protocol":"udp","HostIP":"127.0.0.1"}]}}"#,
    );
    let call = request::parse(request::Command::Add, &environment(ADD), &input).unwrap();
    let mappings = call.port_mappings.iter();
    let lines: Vec<String> = mappings
        .map(|one| format!("{}:{} -> {}/{}", one.host_ip, one.host_port, one.container_port, one.protocol))
        .collect();
    assert_eq!(lines, [":8080 -> 80/tcp", "127.0.0.1:53 -> 53/udp"]);
}

#[test]
fn limits_come_from_the_runtime() {
    let input = CONFIG.replace(
        "}",
        r#","runtimeConfig":{"bandwidth":{"ingressRate":10000000,"ingressBurst":4294967295,"egressRate":5000000,"egressBurst":4294967295}}}"#,
    );
    let call = request::parse(request::Command::Add, &environment(ADD), &input).unwrap();
    assert_eq!((call.bandwidth.ingress_rate, call.bandwidth.egress_rate), (10_000_000, 5_000_000));
}
