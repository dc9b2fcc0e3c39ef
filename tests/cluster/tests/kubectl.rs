//! What people do with a stock kubectl that needs no node: a control plane of its own for each scenario.

use anyhow::{Result, ensure};
use cluster_tests::{Background, Kubectl, Plane, output};
use std::time::Duration;

const DEPLOYMENT: &str = include_str!("kubectl/deployment.yaml");

/// Whether kubectl is at least 1.`minor`: older ones lack verbs that newer ones have.
fn at_least(kubectl: &Kubectl, minor: u32) -> Result<bool> {
    let version = kubectl.json(&["version", "--client"])?;
    let text = version["clientVersion"]["minor"].as_str().unwrap_or_default();
    Ok(text.trim_end_matches('+').parse::<u32>()? >= minor)
}

#[test]
fn explain_shows_every_field() -> Result<()> {
    let plane = Plane::start()?;
    let kubectl = plane.kubectl();
    let all = kubectl.run(&["explain", "--recursive", "deployments"])?;
    for field in ["progressDeadlineSeconds", "topologySpreadConstraints", "maxUnavailable"] {
        ensure!(all.contains(field), "no {field} in\n{all}");
    }
    let one = kubectl.run(&["explain", "pods.spec.containers.resources"])?;
    ensure!(one.contains("limits") && one.contains("requests"), "{one}");
    ensure!(kubectl.refused(&["explain", "pods.spec.nonsense"])?.contains("does not exist"), "a field that is not");
    Ok(())
}

#[test]
fn resources_are_listed_as_upstream_names_them() -> Result<()> {
    let plane = Plane::start()?;
    let kubectl = plane.kubectl();
    let all = kubectl.run(&["api-resources", "--no-headers"])?;
    for line in [
        ["pods", "po", "v1", "true", "Pod"].as_slice(),
        &["statefulsets", "sts", "apps/v1", "true", "StatefulSet"],
        &["cronjobs", "cj", "batch/v1", "true", "CronJob"],
        &["horizontalpodautoscalers", "hpa", "autoscaling/v2", "true", "HorizontalPodAutoscaler"],
        &["ingresses", "ing", "networking.k8s.io/v1", "true", "Ingress"],
        &["networkpolicies", "netpol", "networking.k8s.io/v1", "true", "NetworkPolicy"],
        &["poddisruptionbudgets", "pdb", "policy/v1", "true", "PodDisruptionBudget"],
        &["clusterroles", "rbac.authorization.k8s.io/v1", "false", "ClusterRole"],
        &["customresourcedefinitions", "crd,crds", "apiextensions.k8s.io/v1", "false", "CustomResourceDefinition"],
        &["storageclasses", "sc", "storage.k8s.io/v1", "false", "StorageClass"],
        &["certificatesigningrequests", "csr", "certificates.k8s.io/v1", "false", "CertificateSigningRequest"],
        &["persistentvolumeclaims", "pvc", "v1", "true", "PersistentVolumeClaim"],
        &["priorityclasses", "pc", "scheduling.k8s.io/v1", "false", "PriorityClass"],
    ] {
        let found = all.lines().any(|shown| shown.split_whitespace().eq(line.iter().copied()));
        ensure!(found, "no {line:?} in\n{all}");
    }
    let versions = kubectl.run(&["api-versions"])?;
    ensure!(versions.lines().any(|line| line == "flowcontrol.apiserver.k8s.io/v1"), "{versions}");
    Ok(())
}

#[test]
fn diff_and_dry_run_change_nothing() -> Result<()> {
    let plane = Plane::start()?;
    let kubectl = plane.kubectl();
    let path = plane.file("web.yaml", DEPLOYMENT)?;
    let dry = kubectl.run(&["apply", "-f", &path, "--dry-run=server"])?;
    ensure!(dry.contains("created (server dry run)"), "{dry}");
    ensure!(kubectl.refused(&["get", "deployment", "web"])?.contains("NotFound"), "a dry run stored it");
    kubectl.run(&["apply", "-f", &path])?;
    kubectl.run(&["diff", "-f", &path])?;
    let changed = plane.file("changed.yaml", &DEPLOYMENT.replace("replicas: 2", "replicas: 3"))?;
    let shown = kubectl.refused(&["diff", "-f", &changed])?;
    ensure!(shown.contains("+  replicas: 3") && shown.contains("-  replicas: 2"), "{shown}");
    let replicas = kubectl.field(&["get", "deployment", "web"], "/spec/replicas")?;
    ensure!(replicas == "2", "diff stored {replicas}");
    kubectl.run(&["delete", "-f", &path, "--dry-run=server"])?;
    kubectl.run(&["get", "deployment", "web"]).map(drop)
}

#[test]
fn server_side_apply_shows_conflicts() -> Result<()> {
    let plane = Plane::start()?;
    let kubectl = plane.kubectl();
    let path = plane.file("web.yaml", DEPLOYMENT)?;
    let first = kubectl.run(&["apply", "--server-side", "-f", &path])?;
    ensure!(first.contains("serverside-applied"), "{first}");
    kubectl.run(&["scale", "deployment", "web", "--replicas=5"])?;
    let refused = kubectl.refused(&["apply", "--server-side", "-f", &path])?;
    ensure!(refused.contains("conflict") && refused.contains(".spec.replicas"), "{refused}");
    kubectl.run(&["apply", "--server-side", "--force-conflicts", "-f", &path])?;
    let replicas = kubectl.field(&["get", "deployment", "web"], "/spec/replicas")?;
    ensure!(replicas == "2", "forced to {replicas}");
    let other = kubectl.refused(&["apply", "--server-side", "--field-manager=other", "-f", &{
        plane.file("other.yaml", &DEPLOYMENT.replace("web:1", "web:2"))?
    }])?;
    ensure!(other.contains("conflict with \"kubectl\""), "{other}");
    Ok(())
}

#[test]
fn apply_prunes_what_is_gone() -> Result<()> {
    let plane = Plane::start()?;
    let kubectl = plane.kubectl();
    let map = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: s}}}}\ndata: {{a: b}}\n---\n"
        )
    };
    let both = plane.file("both.yaml", &(map("one") + &map("two")))?;
    let one = plane.file("one.yaml", &map("one"))?;
    kubectl.run(&["apply", "-f", &both, "--prune", "-l", "set=s"])?;
    let said = kubectl.run(&["apply", "-f", &one, "--prune", "-l", "set=s"])?;
    ensure!(said.contains("configmap/two pruned"), "{said}");
    ensure!(kubectl.refused(&["get", "configmap", "two"])?.contains("NotFound"), "two is still there");
    Ok(())
}

#[test]
fn rights_are_told() -> Result<()> {
    let plane = Plane::start()?;
    let kubectl = plane.kubectl();
    let all = kubectl.run(&["auth", "can-i", "--list"])?;
    ensure!(all.contains("*.*"), "the administrator's: {all}");
    kubectl.run(&["create", "role", "reader", "--verb=get,list", "--resource=pods,configmaps"])?;
    kubectl.run(&["create", "rolebinding", "reads", "--role=reader", "--user=jane"])?;
    let jane = |words: &[&str]| kubectl.run(&[words, &["--as=jane"]].concat());
    ensure!(jane(&["auth", "can-i", "list", "pods"])?.trim() == "yes", "jane may list pods");
    ensure!(kubectl.refused(&["auth", "can-i", "delete", "pods", "--as=jane"])?.contains("no"), "nor delete them");
    let listed = jane(&["auth", "can-i", "--list"])?;
    ensure!(listed.contains("pods") && listed.contains("[get list]"), "{listed}");
    jane(&["get", "pods"])?;
    let refused = kubectl.refused(&["delete", "configmap", "x", "--as=jane"])?;
    let text = r#"configmaps "x" is forbidden: User "jane" cannot delete resource "configmaps" in API group "" in the namespace "default""#;
    ensure!(refused.contains(text), "{refused}");
    Ok(())
}

#[test]
fn outputs_and_selectors() -> Result<()> {
    let plane = Plane::start()?;
    let kubectl = plane.kubectl();
    kubectl.run(&["run", "one", "--image=web:1", "--labels=app=a"])?;
    kubectl.run(&["run", "two", "--image=web:2", "--labels=app=b"])?;
    let named = kubectl.run(&["get", "pods", "--field-selector=metadata.name=one", "-o", "name"])?;
    ensure!(named.trim() == "pod/one", "{named}");
    let pending = kubectl.run(&["get", "pods", "--field-selector=status.phase=Pending", "-o", "name"])?;
    ensure!(pending.lines().count() == 2, "{pending}");
    let wrong = kubectl.refused(&["get", "pods", "--field-selector=spec.nonsense=x"])?;
    ensure!(wrong.contains("field label not supported"), "{wrong}");
    let columns = "custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[0].image";
    let shown = kubectl.run(&["get", "pods", "-l", "app in (a,b)", "-o", columns])?;
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(lines == [["NAME", "IMAGE"], ["one", "web:1"], ["two", "web:2"]], "{shown}");
    let path = kubectl.run(&[
        "get",
        "pods",
        "-o",
        "jsonpath={range .items[*]}{.metadata.name}={.spec.containers[*].image};{end}",
    ])?;
    ensure!(path == "one=web:1;two=web:2;", "{path}");
    let raw = kubectl.run(&["get", "--raw", "/api/v1/namespaces/default/pods?limit=1"])?;
    ensure!(raw.contains("\"continue\":") && raw.contains("\"remainingItemCount\":1"), "{raw}");
    Ok(())
}

#[test]
fn waits_and_events() -> Result<()> {
    let plane = Plane::start()?;
    let kubectl = plane.kubectl();
    kubectl.run(&["create", "configmap", "c", "--from-literal=a=b"])?;
    kubectl.run(&["run", "lonely", "--image=web:1"])?;
    if at_least(&kubectl, 23)? {
        kubectl.run(&["wait", "--for=jsonpath={.data.a}=b", "configmap/c", "--timeout=10s"])?;
        let mut waits: Background =
            kubectl.background(&["wait", "--for=jsonpath={.data.a}=c", "configmap/c", "--timeout=30s"])?;
        kubectl.run(&["patch", "configmap", "c", "-p", r#"{"data": {"a": "c"}}"#])?;
        waits.line(Duration::from_secs(30), |line| line.contains("condition met"))?;
    }
    kubectl.run(&["wait", "--for=condition=PodScheduled=false", "pod/lonely", "--timeout=30s"])?;
    let shown = if at_least(&kubectl, 26)? {
        kubectl.run(&["events", "--for", "pod/lonely"])?
    } else {
        kubectl.run(&["get", "events", "--field-selector=involvedObject.name=lonely"])?
    };
    ensure!(shown.contains("FailedScheduling"), "{shown}");
    kubectl.run(&["wait", "--for=delete", "pod/absent", "--timeout=5s"])?;
    Ok(())
}

#[test]
fn one_bad_document_stops_none_of_the_others() -> Result<()> {
    let plane = Plane::start()?;
    let kubectl = plane.kubectl();
    let path = plane.file(
        "many.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: Bad_Name}\nspec: {ports: [{port: 99999}]}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: last}\n",
    )?;
    let refused = output(&mut kubectl.command(&["create", "-f", &path])).err().map(|error| format!("{error:#}"));
    let refused = refused.unwrap_or_default();
    for part in ["Bad_Name", "metadata.name: Invalid value", "spec.ports[0].port: Invalid value: 99999"] {
        ensure!(refused.contains(part), "no {part:?} in {refused}");
    }
    kubectl.run(&["get", "configmap", "first", "last"]).map(drop)
}

#[test]
fn what_was_acknowledged_survives_a_crash() -> Result<()> {
    let mut plane = Plane::start()?;
    let kubectl = plane.kubectl();
    kubectl.run(&["apply", "-f", &plane.file("web.yaml", DEPLOYMENT)?])?;
    let before = kubectl.field(&["get", "deployment", "web"], "/metadata/uid")?;
    plane.crash_and_restart()?;
    ensure!(kubectl.field(&["get", "deployment", "web"], "/metadata/uid")? == before, "another object");
    Ok(())
}
