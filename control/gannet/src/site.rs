//! Which cluster a command speaks to, and the way there: a kubeconfig.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use client::Client;

use crate::cli::{DATA_DIR, KubeconfigArguments, SiteArguments};
use crate::dev::Cluster;

/// A cluster on this machine, or one that `KUBECONFIG` points to.
pub struct Site {
    pub kubeconfig: PathBuf,
    /// State directories of its nodes on this machine.
    pub node_dirs: Vec<PathBuf>,
    /// The state directory of the node that also serves, if it is here.
    pub server_dir: Option<PathBuf>,
    /// How many nodes it has when all are there.
    pub expected_nodes: usize,
}

impl SiteArguments {
    /// The cluster that is meant: the one named; else the one of `KUBECONFIG`; else the server on this machine; else
    /// the only cluster of `gannet dev`.
    pub fn site(&self) -> anyhow::Result<Site> {
        if let Some(name) = &self.name {
            return Ok(Site::dev(&Cluster::open(name)?));
        }
        if let Some(data_dir) = &self.data_dir {
            return Ok(Site::server(data_dir));
        }
        if let Some(kubeconfig) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) {
            let kubeconfig = PathBuf::from(kubeconfig);
            let clusters = Cluster::all()?;
            let known = clusters.iter().find(|cluster| cluster.kubeconfig() == kubeconfig);
            return Ok(known.map_or_else(
                || Site { kubeconfig, node_dirs: Vec::new(), server_dir: None, expected_nodes: 1 },
                Site::dev,
            ));
        }
        let own = Path::new(DATA_DIR);
        if own.join("kubeconfig").exists() {
            return Ok(Site::server(own));
        }
        match Cluster::all()?.as_slice() {
            [] => bail!("no cluster is up on this machine; `gannet up` or `gannet dev create` starts one"),
            [cluster] => Ok(Site::dev(cluster)),
            several => {
                let names: Vec<&str> = several.iter().map(|cluster| cluster.name.as_str()).collect();
                bail!("several clusters are up: choose one with --name: {}", names.join(", "))
            }
        }
    }
}

impl Site {
    fn dev(cluster: &Cluster) -> Self {
        let node_dirs: Vec<PathBuf> = cluster.members().map(|member| member.data_dir).collect();
        Self {
            kubeconfig: cluster.kubeconfig(),
            server_dir: node_dirs.first().cloned(),
            expected_nodes: node_dirs.len(),
            node_dirs,
        }
    }

    fn server(data_dir: &Path) -> Self {
        Self {
            kubeconfig: data_dir.join("kubeconfig"),
            node_dirs: vec![data_dir.to_path_buf()],
            server_dir: Some(data_dir.to_path_buf()),
            expected_nodes: 1,
        }
    }

    /// A client of its API.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::from_kubeconfig(&self.kubeconfig).with_context(|| format!("kubeconfig {}", self.kubeconfig.display()))
    }
}

/// `gannet kubeconfig`
pub fn print_kubeconfig(arguments: &KubeconfigArguments) -> anyhow::Result<()> {
    let site = arguments.site.site()?;
    if arguments.path {
        println!("{}", site.kubeconfig.display());
        return Ok(());
    }
    let text = std::fs::read_to_string(&site.kubeconfig)
        .with_context(|| format!("cannot read {}; is the control plane up?", site.kubeconfig.display()))?;
    print!("{text}");
    Ok(())
}

/// `gannet token`
pub fn print_token(arguments: &SiteArguments) -> anyhow::Result<()> {
    let site = arguments.site()?;
    let path = site.server_dir.context("the server of this cluster is not on this machine")?.join("join-token");
    let token = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    println!("{}", token.trim());
    Ok(())
}

/// A runtime for a command that speaks to the API.
pub fn command_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// How often [`announce_ready`] asks.
const READY_POLL: Duration = Duration::from_millis(500);

/// Waits until the API answers and says what to do next.
pub async fn announce_ready(kubeconfig: PathBuf) {
    loop {
        if let Ok(client) = Client::from_kubeconfig(&kubeconfig)
            && client.get_bytes("/readyz").await.is_ok()
        {
            break;
        }
        tokio::time::sleep(READY_POLL).await;
    }
    println!("gannet is up. Try next:");
    println!("  export KUBECONFIG={}", kubeconfig.display());
    println!("  kubectl get nodes");
    println!("  gannet status --wait");
    println!("  gannet token     # then, on another machine: gannet up --join URL --token TOKEN");
}
