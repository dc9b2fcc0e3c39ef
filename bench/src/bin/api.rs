//! `cargo xtask bench api [--json]`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bench::api::{self, Kind, Only, Report, Sizes};
use clap::Parser;

/// The driver shares the server's cores.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Seconds instead of minutes: shows that everything works, the figures mean nothing
    #[arg(long)]
    smoke: bool,
    /// Only these cases: create, lease, get, watch, list, restart
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Pods in the store for lists and the restart
    #[arg(long)]
    pods: Option<usize>,
    /// Measure ours over etcd, too
    #[arg(long)]
    etcd: bool,
    /// Measure kube-apiserver with etcd, too
    #[arg(long)]
    upstream: bool,
    /// Its binary
    #[arg(long, default_value = "kube-apiserver")]
    kube_apiserver: PathBuf,
    /// Measure the server of this kubeconfig instead of starting any
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// At this URL instead of the kubeconfig's
    #[arg(long, requires = "kubeconfig")]
    server: Option<String>,
    /// The gannet binary
    #[arg(long, env = "GANNET_BIN", default_value = "gannet")]
    gannet: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let reports = runtime.block_on(measure(&options))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        reports.iter().for_each(|report| print!("{}", api::table(report)));
    }
    Ok(())
}

async fn measure(options: &Options) -> Result<Vec<Report>> {
    let mut sizes = if options.smoke { Sizes::smoke() } else { Sizes::full() };
    if let Some(pods) = options.pods {
        sizes.pods = pods;
    }
    let only = Only(options.only.clone());
    if let Some(kubeconfig) = &options.kubeconfig {
        return Ok(vec![api::run_on(kubeconfig, options.server.as_deref(), &sizes, &only).await?]);
    }
    let mut kinds = vec![Kind::Gannet(options.gannet.clone())];
    if options.etcd {
        kinds.push(Kind::GannetOnEtcd(options.gannet.clone()));
    }
    if options.upstream {
        let binary = find(&options.kube_apiserver).with_context(|| {
            format!(
                "no {}: Debian packages none; download one and name it with --kube-apiserver",
                options.kube_apiserver.display()
            )
        })?;
        kinds.push(Kind::Upstream(binary));
    }
    let mut reports = Vec::new();
    for kind in kinds {
        reports.push(api::run(kind, &sizes, &only).await?);
    }
    Ok(reports)
}

/// The program at this path, or on PATH if it is a plain name.
fn find(program: &std::path::Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// A thousand clients have two thousand sockets, those of the server included.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard);
    }
}
