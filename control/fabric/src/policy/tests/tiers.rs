//! Policies of the whole cluster, around those of the namespaces.

use super::*;

fn cluster(name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {{name: {name}}}
spec: {spec}
---
"
    )
}

fn admin(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: policy.networking.k8s.io/v1alpha1
kind: {kind}
metadata: {{name: {name}}}
spec: {spec}
---
"
    )
}

#[test]
fn the_admin_tier_stands_before_and_the_baseline_behind() {
    check(
        &[
            admin(
                "AdminNetworkPolicy",
                "no-sql",
                "{priority: 5, subject: {namespaces: {matchLabels: {team: a}}},
                  egress: [{action: Pass, to: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}}],
                            ports: [{namedPort: sql}]},
                           {action: Deny, to: [{networks: [0.0.0.0/0]}], ports: [{portNumber: {protocol: TCP, port: 5432}}]}]}",
            ),
            policy("db", "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress]}"),
            admin(
                "BaselineAdminNetworkPolicy",
                "default",
                "{subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
            ),
        ],
        expect![[r#"
            0.0.0.0/0 is a
            10.244.0.2/32 is b
            10.244.1.2/32 is c
            dns is b
            fd00::2/128 is d
            n1: shop/web u1 has e
            n2: shop/db u2 has f
            n2: shop/done u4 has e
            e: ingress true egress true
              from - 0/0-65535
              from b 0/0-65535 denied
              from c 0/0-65535 denied
              from d 0/0-65535 denied
              to - 0/0-65535
              to a 6/5432-5432 denied
              to b 6/5432-5432 denied
            f: ingress true egress true
        "#]],
    );
}

#[test]
fn priorities_decide() {
    check(
        &[
            cluster(
                "later",
                "{tier: Admin, priority: 20, subject: {pods: {podSelector: {matchLabels: {app: db}}}},
                  ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
            ),
            cluster(
                "first",
                "{tier: Admin, priority: 10, subject: {namespaces: {}},
                  ingress: [{action: Accept, from: [{pods: {podSelector: {matchLabels: {app: web}}}}],
                             protocols: [{tcp: {destinationPort: {number: 5432}}}, {udp: {}},
                                         {sctp: {destinationPort: {range: {start: 10, end: 19}}}}]}]}",
            ),
        ],
        expect![[r#"
            10.244.0.2/32 is a
            10.244.1.2/32 is b
            dns is b
            fd00::2/128 is a
            n1: shop/web u1 has c
            n2: shop/db u2 has d
            n2: shop/done u4 has c
            c: ingress true egress false
              from - 0/0-65535
            d: ingress true egress false
              from - 0/0-65535
              from a 0/0-65535 denied
              from a 132/10-19
              from a 17/0-65535
              from a 6/5432-5432
              from b 0/0-65535 denied
        "#]],
    );
}

#[test]
fn nodes_are_peers_where_a_rule_names_them() {
    check(
        &[cluster(
            "nodes",
            "{tier: Admin, priority: 1, subject: {pods: {podSelector: {matchLabels: {app: db}}}},
              egress: [{action: Deny, to: [{nodes: {matchLabels: {zone: x}}}]}]}",
        ) + "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {zone: x}}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}, {type: Hostname, address: n1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}
---
"],
        expect![[r#"
            192.0.2.1/32 is a
            n1: shop/web u1 has -
            n2: shop/db u2 has b
            n2: shop/done u4 has -
            b: ingress false egress true
              to - 0/0-65535
              to a 0/0-65535 denied
        "#]],
    );
}

#[test]
fn what_is_not_understood_opens_nothing() {
    check(
        &[
            cluster(
                "allows",
                "{tier: Admin, priority: 1, subject: {pods: {podSelector: {matchLabels: {app: web}}}},
                  egress: [{action: Accept, to: [{domainNames: [example.com]}, {networks: [192.0.2.0/24]}]},
                           {action: Accept, to: [{planets: {}}]},
                           {action: Accept, to: [{namespaces: {sameLabels: [team]}}]},
                           {action: Accept, to: [{namespaces: {}}], protocols: [{icmp: {}}]},
                           {action: Accept, to: [{namespaces: {}}], weather: rain}]}",
            ),
            cluster(
                "denies",
                "{tier: Baseline, priority: 1, subject: {namespaces: {}}, ingress: [{action: Pass, from: [{nodes: {}}]}]}",
            ),
            cluster(
                "nobody",
                "{tier: Admin, priority: 1, subject: {serviceAccounts: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}",
            ),
            cluster("nowhere", "{tier: Middle, priority: 1, subject: {namespaces: {}}}"),
        ],
        expect![[r#"
            10.244.0.2/32 is a
            10.244.1.2/32 is a
            192.0.2.0/24 is b
            dns is a
            fd00::2/128 is a
            n1: shop/web u1 has c
            n2: shop/db u2 has d
            n2: shop/done u4 has c
            c: ingress true egress true
              to - 0/0-65535
            d: ingress true egress false
            ClusterNetworkPolicy allows egress[0]: domainNames are not supported; the peer matches nothing
            ClusterNetworkPolicy allows egress[1]: a peer is not understood; a rule that allows is left out, another one denies everything
            ClusterNetworkPolicy allows egress[2]: a peer is not understood; a rule that allows is left out, another one denies everything
            ClusterNetworkPolicy allows egress[3]: a port is not understood; a rule that allows is left out, another one denies everything
            ClusterNetworkPolicy allows egress[4]: the field "weather" is not known; a rule that allows is left out, another one denies everything
            ClusterNetworkPolicy denies ingress[0]: a peer is not understood; a rule that allows is left out, another one denies everything
            ClusterNetworkPolicy nobody: the subject is not understood; the policy has no effect
            ClusterNetworkPolicy nowhere: the tier is neither Admin nor Baseline; the policy has no effect
        "#]],
    );
}
