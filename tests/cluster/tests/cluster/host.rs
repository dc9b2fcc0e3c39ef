//! `gannet up` and `gannet down` as on a machine of their own: a network namespace plays the host, another the gateway.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use cluster_tests::{Background, Cluster, eventually, output};

/// The host's address and its gateway's.
const HOST: &str = "10.186.0.1";
const GATEWAY: &str = "10.186.0.254";

/// Two namespaces with a wire between them; they go when it is dropped.
struct Wire {
    host: String,
    gateway: String,
}

impl Wire {
    fn lay(name: &str) -> Result<Self> {
        let wire = Self { host: format!("{name}-host"), gateway: format!("{name}-gate") };
        let ip = |words: &str| output(Command::new("ip").args(words.split(' '))).map(drop);
        let (host, gateway) = (&wire.host, &wire.gateway);
        ip(&format!("netns add {host}"))?;
        ip(&format!("netns add {gateway}"))?;
        ip(&format!("-n {host} link add up0 type veth peer name up0 netns {gateway}"))?;
        for (namespace, address) in [(host, HOST), (gateway, GATEWAY)] {
            ip(&format!("-n {namespace} address add {address}/24 dev up0"))?;
            ip(&format!("-n {namespace} link set up0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        ip(&format!("-n {host} route add default via {GATEWAY} dev up0"))?;
        Ok(wire)
    }

    fn command(namespace: &str, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg(program).env_remove("KUBECONFIG");
        command
    }

    /// A command on the host.
    fn on_host(&self, program: &str) -> Command {
        Self::command(&self.host, program)
    }

    /// A command on the gateway.
    fn on_gateway(&self, program: &str) -> Command {
        Self::command(&self.gateway, program)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for namespace in [&self.host, &self.gateway] {
            // What is gone needs no removal.
            let _ = output(Command::new("ip").args(["netns", "delete", namespace]));
        }
    }
}

/// Ends what a failed test left running.
struct Down<'a> {
    wire: &'a Wire,
    gannet: PathBuf,
    place: Vec<String>,
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = output(self.wire.on_host(&self.gannet.to_string_lossy()).arg("down").args(&self.place).arg("--purge"));
    }
}

pub fn host_goes_up_and_down(cluster: &Cluster, namespace: &str) -> Result<()> {
    let wire = Wire::lay(&cluster.name)?;
    let gannet = PathBuf::from(cluster.plain_gannet().get_program());
    let program = gannet.to_string_lossy().into_owned();
    let state = tempfile::tempdir()?;
    let data_dir = state.path().join("gannet").to_string_lossy().into_owned();
    let instance = format!("{}-host", cluster.name);
    let place: Vec<String> =
        ["--data-dir", &data_dir, "--instance", &instance].iter().map(ToString::to_string).collect();
    let site = ["--data-dir", data_dir.as_str()];

    let nothing = output(wire.on_host(&program).arg("down").args(&place))?;
    ensure!(nothing.contains("nothing is up"), "{nothing}");

    // A port that somebody else has ends the start, with the reason.
    let taken = Background::start(wire.on_host("busybox").args(["nc", "-l", "-p", "6443"]))?;
    eventually("the port is taken", || {
        let sockets = output(wire.on_host("ss").args(["-ltn"]))?;
        ensure!(sockets.contains(":6443"), "{sockets}");
        Ok(())
    })?;
    let refused = output(wire.on_host(&program).args(["up", "--node-name", "host"]).args(&place));
    let Err(refused) = refused else { bail!("it started without its port") };
    ensure!(format!("{refused:#}").contains("another process has the port"), "{refused:#}");
    drop(taken);

    let mut up = Background::start(wire.on_host(&program).args(["up", "--node-name", "host"]).args(&place))?;
    let _down = Down { wire: &wire, gannet, place: place.clone() };
    up.line(Duration::from_secs(60), |line| line.contains("gannet is up"))?;
    output(wire.on_host(&program).args(["image", "load"]).args(site).arg(Cluster::images()?))?;
    output(wire.on_host(&program).args(["status", "--wait"]).args(site))?;
    let manifest = state.path().join("hello.yaml");
    std::fs::write(&manifest, include_str!("../../../../examples/hello.yaml"))?;
    output(wire.on_host(&program).args(["apply", "-f"]).arg(&manifest).args(site))?;
    let again = output(wire.on_host(&program).args(["apply", "-f"]).arg(&manifest).args(site))?;
    ensure!(again.lines().all(|line| line.ends_with("unchanged")), "applied again: {again}");
    output(wire.on_host(&program).args(["status", "--wait"]).args(site))?;
    let answers = output(wire.on_host(&program).args(["net", "test", "default/hello"]).args(site))?;
    ensure!(answers.matches("12 of 12 answered").count() == 2, "by name from a pod, by VIP from the host: {answers}");
    let url = format!("http://{HOST}:30080/");
    let fetch = ["timeout", "5", "busybox", "wget", "-q", "-O", "-", &url];
    let answer = output(wire.on_gateway("busybox").args(fetch))?;
    ensure!(answer.contains(&format!("client={GATEWAY}")) || answer.contains("pod=hello-"), "{namespace}: {answer}");

    let down = output(wire.on_host(&program).arg("down").args(&place).arg("--purge"))?;
    ensure!(down.contains("containerd") && down.contains("state directory"), "{down}");
    let links = output(wire.on_host("ip").args(["-brief", "link"]))?;
    ensure!(links.lines().count() == 2, "left on the host:\n{links}");
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    ensure!(!mounts.contains(&data_dir), "left mounted:\n{mounts}");
    let processes = output(Command::new("ps").args(["-eo", "args"]))?;
    ensure!(!processes.contains(&data_dir), "left running:\n{processes}");
    Ok(())
}
