use expect_test::{Expect, expect};

use super::*;

const WHOLE: &str = r#"
interface: eth0
source: [192.0.2.1, "2001:db8::1"]
gateway: 02:00:00:00:00:09
mtu: 1500
seed: 7
drain: 5m
metrics: 127.0.0.1:9200
healthCheck: {tcp: 8080, interval: 500ms, timeout: 1s, unhealthy: 3, healthy: 2}
services:
- address: 203.0.113.10
  port: 443
  protocol: TCP
  affinity: ClientIP
  backends:
  - address: 192.0.2.20
    weight: 10
  - address: 192.0.2.21
- address: "2001:db8::10"
  port: 53
  protocol: UDP
  healthCheck: {http: {port: 80, path: /healthz}}
"#;

#[test]
fn a_whole_file_is_read() {
    let config = Config::parse(WHOLE).expect("the file is well");
    assert_eq!(config.gateway, Gateway::Mac(Mac([2, 0, 0, 0, 0, 9])));
    assert_eq!(config.drain.0, Duration::from_secs(300));
    assert_eq!(config.services[0].backends.iter().map(|b| b.weight).collect::<Vec<_>>(), [10, 1]);
    assert_eq!(config.services[0].affinity, Affinity::ClientIp);
    assert_eq!(config.services[1].key().proto, IPPROTO_UDP);
    assert_eq!(config.health_check.map(|check| check.interval.0), Some(Duration::from_millis(500)));
}

#[test]
fn one_line_is_enough() {
    let config = Config::parse("interface: eth0").expect("the file is well");
    assert_eq!((config.gateway, config.seed, config.drain), (Gateway::Auto, 0, drain()));
}

fn refused(text: &str, want: Expect) {
    let error = Config::parse(text).expect_err("the file is not well").to_string();
    want.assert_eq(error.lines().next().unwrap_or_default());
}

#[test]
fn mistakes_have_a_place() {
    refused(
        "interface: eth0\nintreface: eth1\n",
        expect![
            "error: line 2 column 1: unknown field `intreface`, expected one of interface, source, gateway, mtu, seed, drain, metrics, healthCheck, services"
        ],
    );
    refused(
        "interface: eth0\ngateway: nobody\n",
        expect![[r#"error: line 2 column 10: "nobody" is not auto, no MAC and no IP address"#]],
    );
    refused(
        "interface: eth0\ndrain: 5 days\n",
        expect![[r#"error: line 2 column 8: "5 days" is no time such as 500ms, 2s, 5m or 1h"#]],
    );
    refused(
        "interface: eth0\nservices:\n- address: 203.0.113.300\n  port: 1\n",
        expect!["error: line 3 column 12: invalid IP address syntax"],
    );
    refused(
        "interface: eth0\nservices:\n- {address: 203.0.113.3, port: 0}\n",
        expect!["services[0].port: wanted: from 1 to 65535"],
    );
    refused(
        "interface: eth0\nservices:\n- {address: 203.0.113.3, port: 1}\n- {address: 203.0.113.3, port: 1}\n",
        expect!["services[1]: wanted: the same address, port and protocol as an earlier one"],
    );
    refused(
        "interface: eth0\nservices:\n- address: 203.0.113.3\n  port: 1\n  backends: [{address: 192.0.2.1}, {address: 192.0.2.1}]\n",
        expect!["services[0].backends[1].address: wanted: the same as an earlier one's"],
    );
    refused("interface: eth0\nhealthCheck: {interval: 2s}\n", expect!["healthCheck: wanted: either tcp or http"]);
    refused(
        "interface: eth0\nsource: [192.0.2.1, 192.0.2.2]\n",
        expect!["source[1]: wanted: one address of each family"],
    );
}

#[test]
fn the_example_is_well() {
    let config = Config::parse(include_str!("../../../../examples/lb.yaml")).expect("the example is well");
    assert_eq!(config.services.len(), 2);
}
