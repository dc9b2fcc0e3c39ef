//! Policies of the whole cluster around the namespace's own, as an administrator applies them.

use anyhow::{Result, ensure};
use cluster_tests::{Cluster, eventually, output};

use crate::policies::{HELLO, SLEEP, Town};

/// The definition, with a schema that takes everything.
const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: clusternetworkpolicies.policy.networking.k8s.io
  annotations: {api-approved.kubernetes.io: 'https://github.com/kubernetes-sigs/network-policy-api'}
spec:
  group: policy.networking.k8s.io
  scope: Cluster
  names: {kind: ClusterNetworkPolicy, plural: clusternetworkpolicies, singular: clusternetworkpolicy, shortNames: [cnp]}
  versions:
  - name: v1alpha2
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

pub fn tiers_hold(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let town = Town { kubectl: cluster.kubectl(), cluster, namespace };
    kubectl.apply(DEFINITION)?;
    kubectl.run(&[
        "wait",
        "--for=condition=Established",
        "crd/clusternetworkpolicies.policy.networking.k8s.io",
        "--timeout=30s",
    ])?;
    let home = format!("{{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}");
    let of =
        |role: &str| format!("{{pods: {{namespaceSelector: {home}, podSelector: {{matchLabels: {{role: {role}}}}}}}}}");
    let cluster_policy = |name: &str, tier: &str, priority: u32, rules: &str| {
        kubectl.apply(&format!(
            "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: {name}}}\n\
             spec: {{tier: {tier}, priority: {priority}, subject: {}, ingress: [{rules}]}}\n",
            of("server")
        ))
    };
    town.pod("server", 1, "role: server", HELLO)?;
    town.pod("friend", 2, "role: friend", SLEEP)?;
    town.pod("stranger", 1, "role: stranger", SLEEP)?;
    let url = format!("http://{}:8080/", town.ready("server")?);
    town.ready("friend")?;
    town.ready("stranger")?;
    town.settles("without a policy all is open", &url, &[("friend", true), ("stranger", true)])?;

    cluster_policy("closed", "Baseline", 10, &format!("{{action: Deny, from: [{{namespaces: {home}}}]}}"))?;
    town.settles("the baseline closes", &url, &[("friend", false), ("stranger", false)])?;
    town.policy(
        "friends",
        "{podSelector: {matchLabels: {role: server}}, ingress: [{from: [{podSelector: {matchLabels: {role: friend}}}]}]}",
    )?;
    town.settles("the namespace overrules it", &url, &[("friend", true), ("stranger", false)])?;
    let traced = |from: &str| -> Result<(bool, String)> {
        let pods = [format!("{namespace}/{from}"), format!("{namespace}/server:8080")];
        let trace = cluster.gannet(&["net", "trace", &pods[0], &pods[1]]).output()?;
        Ok((trace.status.success(), String::from_utf8_lossy(&trace.stdout).into_owned()))
    };
    let (passes, told) = traced("stranger")?;
    let pod = format!("(pod {namespace}/server)");
    ensure!(!passes && told.contains("policy-ingress into the pod") && told.contains(&pod), "{told}");
    let (passes, told) = traced("friend")?;
    ensure!(passes && told.contains("from_overlay") && told.contains("on this node"), "{told}");

    let http = "protocols: [{tcp: {destinationPort: {number: 8080}}}]";
    cluster_policy("strangers", "Admin", 20, &format!("{{action: Accept, from: [{}], {http}}}", of("stranger")))?;
    town.settles("the administrator overrules both", &url, &[("friend", true), ("stranger", true)])?;
    let rules =
        format!("{{action: Deny, from: [{}], {http}}}, {{action: Pass, from: [{}]}}", of("friend"), of("stranger"));
    cluster_policy("first", "Admin", 10, &rules)?;
    town.settles("the lower priority comes first", &url, &[("friend", false), ("stranger", false)])?;
    let (passes, told) = traced("friend")?;
    ensure!(!passes && told.contains("from_overlay") && told.contains("policy-ingress"), "{told}");

    cluster_policy("later", "Admin", 30, "{action: Deny, from: [{planets: {}}]}")?;
    eventually("a rule that is not understood is told", || {
        let told = output(&mut cluster.gannet(&["status"]))?;
        ensure!(told.contains("ClusterNetworkPolicy later ingress[0]: a peer is not understood"), "{told}");
        Ok(())
    })?;
    eventually("the tables are as they should be", || output(&mut cluster.gannet(&["net", "verify"])))?;
    kubectl.run(&["delete", "clusternetworkpolicies", "first", "later", "strangers", "closed"])?;
    town.settles("what is left is the namespace's", &url, &[("friend", true), ("stranger", false)])?;
    kubectl.run(&["delete", "crd", "clusternetworkpolicies.policy.networking.k8s.io"]).map(drop)
}
