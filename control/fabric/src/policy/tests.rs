//! Policies as text in, records out; numbers are shown as letters in their order of appearance.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::{Expect, expect};

mod tiers;

use super::*;
use crate::tests::{objects, view};

const CLUSTER: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop, team: a}}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system, labels: {kubernetes.io/metadata.name: kube-system}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, uid: u1, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
status: {phase: Running, podIP: 10.244.0.2, podIPs: [{ip: 10.244.0.2}, {ip: 'fd00::2'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, uid: u2, labels: {app: db}}
spec: {nodeName: n2, containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}
status: {phase: Running, podIP: 10.244.1.2}
---
apiVersion: v1
kind: Pod
metadata: {name: host, namespace: shop, uid: u3, labels: {app: web}}
spec: {nodeName: n2, hostNetwork: true, containers: [{name: c}]}
status: {phase: Running, podIP: 192.0.2.2}
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: shop, uid: u4, labels: {app: web}}
spec: {nodeName: n2, containers: [{name: c}]}
status: {phase: Succeeded, podIP: 10.244.1.9}
---
";

fn policy(name: &str, spec: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: shop}}
spec: {spec}
---
"
    )
}

fn check(policies: &[String], expect: Expect) {
    let policies = compile(&view(&objects(&format!("{CLUSTER}{}", policies.concat()))));
    let warnings: String = policies.warnings().iter().map(|warning| format!("{warning}\n")).collect();
    expect.assert_eq(&format!("{}{warnings}", dump(&policies)));
}

fn dump(policies: &Policies) -> String {
    let mut letters: BTreeMap<u32, char> = BTreeMap::new();
    let mut letter = |number: u32| match number {
        0 => '-',
        _ => {
            let next = char::from(b'a' + letters.len() as u8);
            *letters.entry(number).or_insert(next)
        }
    };
    let mut out = String::new();
    for (prefix, identity) in &policies.identities {
        let _ = writeln!(out, "{prefix} is {}", letter(identity.number));
    }
    for (node, pods) in &policies.pods {
        for pod in pods.values() {
            let _ = writeln!(out, "{node}: {} {} has {}", pod.pod, pod.uid, letter(pod.ruleset));
        }
    }
    let mut rulesets: Vec<_> = policies.rulesets.values().map(|ruleset| (letter(ruleset.number), ruleset)).collect();
    rulesets.sort_by_key(|(letter, _)| *letter);
    for (name, ruleset) in rulesets {
        let _ = writeln!(out, "{name}: ingress {} egress {}", ruleset.ingress, ruleset.egress);
        let mut lines: Vec<String> = ruleset
            .rules
            .iter()
            .map(|rule| {
                let way = if rule.egress { "to" } else { "from" };
                let (first, last) = (rule.first_port, rule.last_port);
                let not = if rule.deny { " denied" } else { "" };
                format!("  {way} {} {}/{first}-{last}{not}\n", letter(rule.identity), rule.protocol)
            })
            .collect();
        lines.sort();
        out.push_str(&lines.concat());
    }
    out
}

#[test]
fn nothing_selects_nobody() {
    check(
        &[],
        expect![[r#"
        n1: shop/web u1 has -
        n2: shop/db u2 has -
        n2: shop/done u4 has -
    "#]],
    );
}

#[test]
fn default_deny() {
    check(
        &[policy("deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")],
        expect![[r#"
        n1: shop/web u1 has a
        n2: shop/db u2 has a
        n2: shop/done u4 has a
        a: ingress true egress true
    "#]],
    );
}

#[test]
fn types_follow_from_rules_where_they_are_absent() {
    check(
        &[
            policy("in", "{podSelector: {matchLabels: {app: web}}}"),
            policy("both", "{podSelector: {matchLabels: {app: db}}, egress: [{}]}"),
        ],
        expect![[r#"
            n1: shop/web u1 has a
            n2: shop/db u2 has b
            n2: shop/done u4 has a
            a: ingress true egress false
            b: ingress true egress true
              to - 0/0-65535
        "#]],
    );
}

#[test]
fn peers_are_classes() {
    check(
        &[policy(
            "db",
            "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress],
              ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5432}]},
                        {from: [{namespaceSelector: {matchLabels: {team: b}}}]}],
              egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}},
                              podSelector: {matchLabels: {k8s-app: kube-dns}}}],
                        ports: [{port: 53, protocol: UDP}, {port: dns-tcp, protocol: TCP}]}]}",
        )],
        expect![[r#"
            10.244.0.2/32 is a
            dns is b
            fd00::2/128 is a
            n1: shop/web u1 has -
            n2: shop/db u2 has c
            n2: shop/done u4 has -
            c: ingress true egress true
              from a 6/5432-5432
              to b 17/53-53
              to b 6/53-53
        "#]],
    );
}

#[test]
fn blocks_and_their_exceptions() {
    check(
        &[policy(
            "web",
            "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress],
              egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.244.0.0/16]}},
                             {ipBlock: {cidr: 10.244.1.2/32}}]},
                       {to: [{ipBlock: {cidr: nonsense}}], ports: [{port: 1}]}]}",
        )],
        expect![[r#"
            10.0.0.0/8 is a
            10.244.0.0/16 is -
            10.244.1.2/32 is b
            n1: shop/web u1 has c
            n2: shop/db u2 has -
            n2: shop/done u4 has c
            c: ingress false egress true
              to a 0/0-65535
              to b 0/0-65535
        "#]],
    );
}

#[test]
fn ports_by_name_number_and_range() {
    check(
        &[policy(
            "all",
            "{podSelector: {}, policyTypes: [Ingress, Egress],
              ingress: [{ports: [{port: http}, {port: 8081}, {port: 8079, endPort: 8085}]}],
              egress: [{ports: [{port: sql}, {port: http, protocol: UDP}]},
                       {to: [{podSelector: {}}], ports: [{protocol: SCTP}]}]}",
        )],
        expect![[r#"
            10.244.0.2/32 is a
            10.244.1.2/32 is b
            fd00::2/128 is a
            n1: shop/web u1 has c
            n2: shop/db u2 has d
            n2: shop/done u4 has d
            c: ingress true egress true
              from - 6/8079-8085
              to a 132/0-65535
              to b 132/0-65535
              to b 6/5432-5432
            d: ingress true egress true
              from - 6/8079-8085
              to a 132/0-65535
              to b 132/0-65535
              to b 6/5432-5432
        "#]],
    );
}

#[test]
fn a_class_keeps_its_number() {
    let with = |policies: &[String]| compile(&view(&objects(&format!("{CLUSTER}{}", policies.concat()))));
    let one = policy("one", "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}");
    let other = policy("a", "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}");
    let (alone, both) = (with(std::slice::from_ref(&one)), with(&[other, one]));
    assert_eq!(alone.identities["10.244.0.2/32"], both.identities["10.244.0.2/32"]);
    assert!(!alone.identities.contains_key("10.244.1.2/32"));
    assert_ne!(both.identities["10.244.1.2/32"].number, both.identities["10.244.0.2/32"].number);
}

#[test]
fn a_pod_of_a_class_that_is_there_touches_its_own_records() {
    let text = format!(
        "{CLUSTER}{}",
        policy("db", "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}")
    );
    let before = view(&objects(&text));
    let mut after = before.clone();
    let pod = "
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, uid: u9, labels: {app: web}}
spec: {nodeName: n2, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
status: {phase: Running, podIP: 10.244.1.77}
";
    after.insert(objects(pod).remove(0));
    let known = compile(&before);
    let changes: Vec<Change> = after.changes_since(&before).collect();
    let now = update(&after, &changes, &known);
    assert_eq!(now, compile(&after));
    assert!(now.rulesets.ptr_eq(&known.rulesets) && Arc::ptr_eq(&now.pods["n1"], &known.pods["n1"]));
    let mut delta = Delta::default();
    now.diff(&known, &mut delta);
    assert_eq!((delta.identities.len(), delta.rulesets.len()), (1, 0));
    assert_eq!(now.identities["10.244.1.77/32"].number, now.identities["10.244.0.2/32"].number);
}
