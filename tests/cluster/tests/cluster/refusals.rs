//! Mistakes, and the words they are answered with.

use anyhow::{Result, ensure};
use cluster_tests::{Cluster, eventually, output};

pub fn mistakes_are_told(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let pod = |spec: &str| {
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: bad, namespace: {namespace}}}\nspec: {spec}\n")
    };
    let cases = [
        (pod("{containers: [{name: a, image: b, resources: {limits: {memory: 1Gx}}}]}"), "quantit"),
        (pod("{containers: []}"), "spec.containers: Required value"),
        (pod("{containers: [{name: A_b, image: b}]}"), "spec.containers[0].name: Invalid value"),
        (pod("{containers: [{name: a, image: b}], restartPolicy: Sometimes}"), "Unsupported value: \"Sometimes\""),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: [".to_owned(), "error"),
        ("apiVersion: v9\nkind: Pod\nmetadata: {name: x}".to_owned(), "no matches for kind \"Pod\" in version \"v9\""),
        (
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: {namespace}}}\nspec: {{ports: [{{port: 99999}}]}}"
            ),
            "spec.ports[0].port: Invalid value: 99999",
        ),
    ];
    for (manifest, expected) in cases {
        match kubectl.apply(&manifest) {
            Ok(said) => anyhow::bail!("accepted, {expected:?} expected: {said}\n{manifest}"),
            Err(error) => {
                let said = format!("{error:#}");
                ensure!(said.contains(expected), "{expected:?} expected, but:\n{said}");
            }
        }
    }
    // The server's own check; kubectl asks for it by itself since 1.25.
    let unknown = cluster.scratch("unknown-field.json");
    let body = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"bad"},"spec":{"containers":[{"name":"a","image":"b","imagee":"c"}]}}"#;
    std::fs::write(&unknown, body)?;
    let path = format!("/api/v1/namespaces/{namespace}/pods?fieldValidation=Strict");
    let said = kubectl.refused(&["create", "--raw", &path, "-f", &unknown.display().to_string()])?;
    ensure!(said.contains("unknown field \"spec.containers[0].imagee\""), "{said}");
    let absent = kubectl.refused(&["-n", namespace, "get", "pod", "absent"])?;
    ensure!(absent.contains("Error from server (NotFound): pods \"absent\" not found"), "{absent}");
    kubectl.run(&["-n", namespace, "create", "configmap", "twice"])?;
    let twice = kubectl.refused(&["-n", namespace, "create", "configmap", "twice"])?;
    ensure!(twice.contains("configmaps \"twice\" already exists"), "{twice}");
    Ok(())
}

pub fn missing_image_is_told(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.run(&["-n", namespace, "run", "lost", "--image=gannet.local/absent:1", "--image-pull-policy=Never"])?;
    eventually("the pod says that its image is missing", || {
        let waiting = kubectl
            .field(&["-n", namespace, "get", "pod", "lost"], "/status/containerStatuses/0/state/waiting/reason")?;
        ensure!(waiting == "ErrImageNeverPull", "{waiting}");
        Ok(())
    })
}

pub fn second_up_is_refused(cluster: &Cluster, _: &str) -> Result<()> {
    let directory = cluster.node_dir(1);
    let second = output(
        cluster.plain_gannet().args(["up", "--node-ip", "127.0.0.1", "--uplink", "lo", "--data-dir"]).arg(&directory),
    );
    let said = format!("{:#}", second.err().ok_or_else(|| anyhow::anyhow!("a second up was not refused"))?);
    let pid = cluster.pid(1, "up")?.to_string();
    ensure!(said.contains(&pid) && said.contains("gannet down"), "{said}");
    let again = output(cluster.gannet(&["dev", "create", "--nodes", "2"]).args(Cluster::RANGE_ARGUMENTS))?;
    ensure!(again.matches("runs already").count() == 2, "{again}");
    Ok(())
}
