//! `gannet net` on a live cluster: drops, traces, and tables that somebody has meddled with.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Array, MapData};
use cluster_tests::{Cluster, eventually, output};

/// Longest wait of a kubectl that waits itself.
const WAIT: &str = "--timeout=90s";

pub fn network_is_seen(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl();
    let run = |words: &[&str]| kubectl.run(&[&["-n", namespace], words].concat());
    let net = |words: &[&str]| output(&mut cluster.gannet(&[&["net"], words].concat()));
    run(&["create", "deployment", "web", "--image=gannet.local/hello:1", "--replicas=2", "--port=8080"])?;
    run(&["expose", "deployment", "web", "--port=80", "--target-port=8080"])?;
    run(&["create", "service", "clusterip", "nobody", "--tcp=80:8080"])?;
    run(&["run", "caller", "--image=busybox", "--image-pull-policy=IfNotPresent", "--", "sleep", "3600"])?;
    run(&["wait", "--for=condition=Available", "deployment/web", WAIT])?;
    run(&["wait", "--for=condition=Ready", "pod/caller", WAIT])?;
    let call = |service: &str| {
        run(&["exec", "caller", "--", "timeout", "5", "wget", "-q", "-O", "-", &format!("http://{service}/")])
    };

    let (caller, web, nobody) =
        (format!("{namespace}/caller"), format!("{namespace}/web"), format!("{namespace}/nobody"));
    eventually("a call is seen with its Service and its backend", || {
        call("web")?;
        let flows = net(&["flows", "--pod", &caller, "--service", &web])?;
        ensure!(flows.contains("=> ") && flows.contains("(pod "), "{flows}");
        Ok(())
    })?;
    eventually("a call to a Service without backends is told", || {
        ensure!(call("nobody").is_err(), "it has no backend, and answers");
        let drops = net(&["drops", "--service", &nobody])?;
        ensure!(drops.contains("no-backend") && drops.contains("endpointslices"), "{drops}");
        ensure!(drops.contains(&format!("service {nobody}")) && drops.contains(&format!("pod {caller}")), "{drops}");
        Ok(())
    })?;

    let trace = net(&["trace", &caller, &format!("{web}:80")])?;
    ensure!(trace.contains("becomes backend") && trace.contains(&format!("(pod {namespace}/web-")), "{trace}");
    let refused = cluster.gannet(&["net", "trace", &caller, &format!("{nobody}:80")]).output()?;
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    ensure!(!refused.status.success() && told.contains("DROPPED"), "{told}");
    for (verb, part) in [("services", "slot "), ("maps", "SERVICES"), ("progs", "from_pod"), ("top", "NEW/S")] {
        let told = net(&[verb])?;
        ensure!(told.contains(part), "net {verb}: {told}");
    }

    let vip: Ipv4Addr = kubectl.field(&["-n", namespace, "get", "service", "web"], "/spec/clusterIP")?.parse()?;
    eventually("the tables are as they should be", || net(&["verify"]))?;
    take_away(cluster, vip)?;
    let verify = cluster.gannet(&["net", "verify"]).output()?;
    let told = String::from_utf8_lossy(&verify.stdout).into_owned();
    ensure!(!verify.status.success(), "a missing Service is not noticed: {told}");
    ensure!(told.contains(&format!("SERVICES: {vip}:80/TCP cluster of service {web}: missing")), "{told}");
    net(&["verify", "--repair"])?;
    net(&["verify"])?;
    call("web").map(drop)
}

/// Deletes a Service's entry from the first node's table, behind the daemon's back.
fn take_away(cluster: &Cluster, vip: Ipv4Addr) -> Result<()> {
    let pin = cluster.node_dir(1).join("bpf").join(abi::SCHEMA).join(abi::map::SERVICES);
    let data = MapData::from_pin(&pin).with_context(|| pin.display().to_string())?;
    let mut table = Array::<MapData, [u64; 4]>::try_from(aya::maps::Map::Array(data))?;
    let address = u64::from(u32::from_ne_bytes(vip.octets()));
    for row in 0..table.len() {
        let [a, b, c, value] = table.get(&row, 0)?;
        // The address lies before the port, and what the entry leads to is last.
        if b >> 32 == address && value != 0 {
            return Ok(table.set(row, [a, b, c, 0], 0)?);
        }
    }
    bail!("the Service is not in the table")
}
