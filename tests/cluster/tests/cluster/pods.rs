//! Pods: their logs, their processes, their volumes, their lives.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cluster_tests::{Cluster, Kubectl, eventually, output_within};

/// Longest wait of a kubectl that waits itself.
const WAIT: &str = "--timeout=90s";
/// Longest wait for lines of a process beside the test.
const LIMIT: Duration = Duration::from_secs(60);

/// A pod of one busybox container that runs a script.
fn script_pod(name: &str, script: &str, more: &str) -> String {
    let script = serde_json::json!(script);
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  restartPolicy: Never\n{more}\n  containers:\n  - {{name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, {script}]}}\n"
    )
}

fn apply(kubectl: &Kubectl, namespace: &str, manifest: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), manifest)?;
    kubectl.run(&["-n", namespace, "apply", "-f", &file.path().to_string_lossy()]).map(drop)
}

pub fn logs_follow(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    apply(&kubectl, namespace, &script_pod("count", "for i in 1 2 3 4 5; do echo line $i; sleep 1; done", ""))?;
    kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", "pod/count", WAIT])?;
    let mut follow = kubectl.background(&["-n", namespace, "logs", "-f", "count"])?;
    follow.line(LIMIT, |line| line == "line 1")?;
    let lines = follow.rest(LIMIT)?;
    ensure!(lines == ["line 1", "line 2", "line 3", "line 4", "line 5"], "{lines:?}");
    let tail = kubectl.run(&["-n", namespace, "logs", "count", "--tail=2"])?;
    ensure!(tail == "line 4\nline 5\n", "{tail:?}");
    let stamped = kubectl.run(&["-n", namespace, "logs", "count", "--timestamps", "--tail=1"])?;
    ensure!(stamped.contains('T') && stamped.contains("Z line 5"), "{stamped:?}");
    Ok(())
}

pub fn exec_runs(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    apply(&kubectl, namespace, &script_pod("shell", "sleep 3600", ""))?;
    kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", "pod/shell", WAIT])?;
    let said = kubectl.run(&["-n", namespace, "exec", "shell", "--", "sh", "-c", "echo out; hostname"])?;
    ensure!(said == "out\nshell\n", "{said:?}");
    let failed = kubectl.refused(&["-n", namespace, "exec", "shell", "--", "sh", "-c", "exit 7"])?;
    ensure!(failed.contains("exit code 7"), "{failed}");
    // A terminal for kubectl, so that -it asks for one in the container.
    let kubeconfig = cluster.directory().join("kubeconfig");
    let line = format!("kubectl -n {namespace} exec -it shell -- sh -c 'tty; stty size; echo done'");
    let mut terminal = Command::new("script");
    terminal.env("KUBECONFIG", kubeconfig).args(["-qec", &line, "/dev/null"]);
    let said = output_within(LIMIT, &mut terminal)?;
    ensure!(said.contains("/dev/pts/") && said.contains("done"), "{said:?}");
    Ok(())
}

pub fn port_forward_carries(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.run(&["-n", namespace, "run", "web", "--image=gannet.local/hello:1", "--port=8080"])?;
    kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", "pod/web", WAIT])?;
    let mut forward = kubectl.background(&["-n", namespace, "port-forward", "pod/web", ":8080"])?;
    let line = forward.line(LIMIT, |line| line.contains("127.0.0.1:"))?;
    let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).context("no port")?;
    for _ in 0..3 {
        let mut stream = TcpStream::connect(("127.0.0.1", port.parse()?))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.contains("pod=web"), "{answer:?}");
    }
    Ok(())
}

pub fn volumes_are_mounted(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.run(&["-n", namespace, "create", "configmap", "settings", "--from-literal=colour=blue"])?;
    kubectl.run(&["-n", namespace, "create", "secret", "generic", "keys", "--from-literal=word=open"])?;
    apply(
        &kubectl,
        namespace,
        r#"
apiVersion: v1
kind: Pod
metadata: {name: mounts}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command:
    - sh
    - -c
    - |
      echo "config $(cat /settings/colour) $COLOUR"
      echo "secret $(cat /keys/word)"
      echo x > /scratch/file && echo "scratch $(cat /scratch/file)"
      test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo token
      grep -q BEGIN /var/run/secrets/kubernetes.io/serviceaccount/ca.crt && echo ca
      echo "memory $(cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max)"
    env:
    - name: COLOUR
      valueFrom: {configMapKeyRef: {name: settings, key: colour}}
    resources: {limits: {memory: 32Mi}}
    volumeMounts:
    - {name: settings, mountPath: /settings}
    - {name: keys, mountPath: /keys}
    - {name: scratch, mountPath: /scratch}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: keys, secret: {secretName: keys}}
  - {name: scratch, emptyDir: {}}
"#,
    )?;
    succeeded(&kubectl, namespace, "mounts")?;
    let log = kubectl.run(&["-n", namespace, "logs", "mounts"])?;
    let expected = "config blue blue\nsecret open\nscratch x\ntoken\nca\nmemory 33554432\n";
    ensure!(log == expected, "{log}");
    Ok(())
}

pub fn init_and_restart(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    apply(
        &kubectl,
        namespace,
        r#"
apiVersion: v1
kind: Pod
metadata: {name: phases}
spec:
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 1
  volumes: [{name: shared, emptyDir: {}}]
  initContainers:
  - {name: first, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, "echo first > /shared/log"], volumeMounts: [{name: shared, mountPath: /shared}]}
  - {name: second, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, "echo second >> /shared/log"], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sh, -c, "echo run >> /shared/log; cat /shared/log; test $(grep -c run /shared/log) = 2"], volumeMounts: [{name: shared, mountPath: /shared}]}
"#,
    )?;
    succeeded(&kubectl, namespace, "phases")?;
    let log = kubectl.run(&["-n", namespace, "logs", "phases"])?;
    ensure!(log == "first\nsecond\nrun\nrun\n", "{log:?}");
    let restarts =
        kubectl.field(&["-n", namespace, "get", "pod", "phases"], "/status/containerStatuses/0/restartCount")?;
    ensure!(restarts == "1", "{restarts} restarts");
    let previous = kubectl.run(&["-n", namespace, "logs", "phases", "--previous"])?;
    ensure!(previous == "first\nsecond\nrun\n", "{previous:?}");
    Ok(())
}

pub fn probes_decide(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    apply(
        &kubectl,
        namespace,
        r#"
apiVersion: v1
kind: Pod
metadata: {name: probed}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "touch /tmp/live; sleep 3600"]
    readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
    livenessProbe: {exec: {command: [test, -e, /tmp/live]}, periodSeconds: 1, failureThreshold: 2}
"#,
    )?;
    let pod = ["-n", namespace, "get", "pod", "probed"];
    eventually("the container runs unready", || {
        let ready = kubectl.field(&pod, "/status/containerStatuses/0/ready")?;
        let phase = kubectl.field(&pod, "/status/phase")?;
        ensure!(phase == "Running" && ready == "false", "{phase} {ready}");
        Ok(())
    })?;
    kubectl.run(&["-n", namespace, "exec", "probed", "--", "touch", "/tmp/ready"])?;
    kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", "pod/probed", WAIT])?;
    kubectl.run(&["-n", namespace, "exec", "probed", "--", "rm", "/tmp/live"])?;
    eventually("the container is restarted", || {
        let restarts = kubectl.field(&pod, "/status/containerStatuses/0/restartCount")?;
        ensure!(restarts == "1", "{restarts} restarts");
        Ok(())
    })
}

pub fn deletion_is_graceful(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let script = "trap 'echo asked; sleep 1; echo bye; exit 0' TERM; echo up; while true; do sleep 0.1; done";
    let manifest = script_pod("polite", script, "")
        .replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 20");
    apply(&kubectl, namespace, &manifest)?;
    kubectl.run(&["-n", namespace, "wait", "--for=condition=Ready", "pod/polite", WAIT])?;
    let mut follow = kubectl.background(&["-n", namespace, "logs", "-f", "polite"])?;
    follow.line(LIMIT, |line| line == "up")?;
    let started = Instant::now();
    kubectl.run(&["-n", namespace, "delete", "pod", "polite", "--wait=false"])?;
    follow.line(LIMIT, |line| line == "bye")?;
    kubectl.run(&["-n", namespace, "wait", "--for=delete", "pod/polite", WAIT])?;
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(15), "the pod was gone after {took:?} only");
    Ok(())
}

/// Waits for a pod's end by looking: `kubectl wait --for=jsonpath` is younger than the kubectl of some distributions.
fn succeeded(kubectl: &Kubectl, namespace: &str, pod: &str) -> Result<()> {
    eventually("the pod has succeeded", || {
        let phase = kubectl.field(&["-n", namespace, "get", "pod", pod], "/status/phase")?;
        ensure!(phase == "Succeeded", "{phase}");
        Ok(())
    })
}
