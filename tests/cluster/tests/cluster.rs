//! A whole cluster of two nodes with the real kubectl and the real containerd: what users do, what breaks, and what is
//! left at the end. Scenarios share one cluster and run one after the other, each in a namespace of its own.

#[path = "cluster/crash.rs"]
mod crash;
#[path = "cluster/families.rs"]
mod families;
#[path = "cluster/host.rs"]
mod host;
#[path = "cluster/network.rs"]
mod network;
#[path = "cluster/pods.rs"]
mod pods;
#[path = "cluster/policies.rs"]
mod policies;
#[path = "cluster/refusals.rs"]
mod refusals;
#[path = "cluster/seeing.rs"]
mod seeing;
#[path = "cluster/tiers.rs"]
mod tiers;
#[path = "cluster/verbs.rs"]
mod verbs;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use cluster_tests::{Cluster, Traces};

/// One scenario; it may use the namespace that bears its name.
type Scenario = (&'static str, fn(&Cluster, &str) -> Result<()>);

/// Crashes come last: they are the ones that could spoil the others.
const SCENARIOS: &[Scenario] = &[
    ("nodes-are-listed", verbs::nodes_are_listed),
    ("everything-is-listed", verbs::everything_is_listed),
    ("deployment-lives", verbs::deployment_lives),
    ("manifest-is-applied", verbs::manifest_is_applied),
    ("watch-shows-changes", verbs::watch_shows_changes),
    ("labels-select", verbs::labels_select),
    ("logs-follow", pods::logs_follow),
    ("exec-runs", pods::exec_runs),
    ("port-forward-carries", pods::port_forward_carries),
    ("volumes-are-mounted", pods::volumes_are_mounted),
    ("init-and-restart", pods::init_and_restart),
    ("probes-decide", pods::probes_decide),
    ("deletion-is-graceful", pods::deletion_is_graceful),
    ("pods-reach-pods", network::pods_reach_pods),
    ("services-answer", network::services_answer),
    ("names-resolve", network::names_resolve),
    ("two-families-serve", families::two_families_serve),
    ("network-is-seen", seeing::network_is_seen),
    ("policies-hold", policies::policies_hold),
    ("policies-cut-connections", policies::policies_cut_connections),
    ("policies-hold-from-the-start", policies::policies_hold_from_the_start),
    ("no-packet-comes-before-the-policy", policies::no_packet_comes_before_the_policy),
    ("tiers-hold", tiers::tiers_hold),
    ("no-rules-are-ours", network::no_rules_are_ours),
    ("mistakes-are-told", refusals::mistakes_are_told),
    ("missing-image-is-told", refusals::missing_image_is_told),
    ("second-up-is-refused", refusals::second_up_is_refused),
    ("host-goes-up-and-down", host::host_goes_up_and_down),
    ("node-daemon-is-killed", crash::node_daemon_is_killed),
    ("control-plane-is-killed", crash::control_plane_is_killed),
    ("supervisor-is-killed", crash::supervisor_is_killed),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let listing = arguments.iter().any(|argument| argument == "--list");
    let filter: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|(name, _)| filter.is_empty() || filter.iter().any(|part| name.contains(*part)))
        .collect();
    if listing {
        for (name, _) in chosen {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len() + 2);
    let mut counts = Counts::default();
    let started = Instant::now();
    run(&chosen, &mut counts);
    let verdict = if counts.failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        counts.passed,
        counts.failed,
        SCENARIOS.len() - chosen.len(),
        started.elapsed().as_secs_f64()
    );
    if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
}

impl Counts {
    fn note(&mut self, name: &str, started: Instant, result: Result<()>) -> bool {
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("test {name} ... ok ({seconds:.1} s)");
                true
            }
            Err(error) => {
                self.failed += 1;
                println!("test {name} ... FAILED ({seconds:.1} s)\n{error:#}");
                false
            }
        }
    }
}

fn run(chosen: &[&Scenario], counts: &mut Counts) {
    let started = Instant::now();
    let mut cluster = match Cluster::create(2) {
        Ok(cluster) => cluster,
        Err(error) => {
            counts.note("cluster-starts", started, Err(error));
            return;
        }
    };
    counts.note("cluster-starts", started, Ok(()));
    for (name, scenario) in chosen {
        let started = Instant::now();
        let result = in_namespace(&cluster, name, *scenario);
        if !counts.note(name, started, result) {
            println!("{}", cluster.logs());
        }
    }
    let started = Instant::now();
    let result = cluster_leaves_nothing(&mut cluster);
    counts.note("cluster-leaves-nothing", started, result);
}

fn in_namespace(cluster: &Cluster, name: &str, scenario: fn(&Cluster, &str) -> Result<()>) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.run(&["create", "namespace", name])?;
    scenario(cluster, name)?;
    kubectl.run(&["delete", "namespace", name, "--wait=false"]).map(drop)
}

/// Deletes the cluster with pods in it and looks for traces of it.
fn cluster_leaves_nothing(cluster: &mut Cluster) -> Result<()> {
    let before = Traces::of(&cluster.name, &Cluster::RANGES)?;
    if before.lines().is_empty() {
        bail!("a running cluster leaves no trace at all: the look is blind");
    }
    let kubectl = cluster.kubectl();
    kubectl.run(&["run", "left", "--image=gannet.local/hello:1"])?;
    kubectl.run(&["wait", "--for=condition=Ready", "pod/left", "--timeout=60s"])?;
    let sockets = cluster.shim_sockets();
    if sockets.is_empty() {
        bail!("no pod runs: the look is blind");
    }
    cluster.delete()?;
    if let Some(socket) = sockets.iter().find(|socket| socket.exists()) {
        bail!("left behind: {}", socket.display());
    }
    let after = Traces::of(&cluster.name, &Cluster::RANGES)?;
    if !after.lines().is_empty() {
        bail!("left behind:\n{}", after.lines().join("\n"));
    }
    let again = cluster.delete()?;
    if !again.contains("no cluster") {
        bail!("a second delete says {again:?}");
    }
    Ok(())
}
