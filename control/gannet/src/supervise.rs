//! `gannet up`: starts the control plane and the node daemon as children, starts them again when they die, and ends
//! with them. On a machine that joins, the node daemon alone.
//!
//! Tasks: none; one current-thread runtime waits for children and signals. It must stay one thread: the children's
//! death signal is tied to the thread that started them.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::cli::UpArguments;
use crate::{CANNOT_START, join, lock, settings, site};

/// Set for children of a supervisor.
const SUPERVISED: &str = "GANNET_SUPERVISED";
/// Pause before a child that died is started again; doubles with each death.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A child that ran this long starts over with the first pause.
const STEADY: Duration = Duration::from_secs(30);
/// How long children get to end on their own.
const GRACE: Duration = Duration::from_secs(10);

/// A child's end: with its supervisor. Called first thing by what `up` starts.
pub fn follow_parent() -> anyhow::Result<()> {
    if std::env::var_os(SUPERVISED).is_some() {
        nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
        if nix::unistd::getppid() == Pid::from_raw(1) {
            bail!("the supervisor ended while this process started");
        }
    }
    Ok(())
}

/// One supervised process.
struct Role {
    name: &'static str,
    words: Vec<OsString>,
    child: Option<Child>,
    started: Instant,
    pause: Duration,
    /// When to start it again.
    due: Option<Instant>,
    /// Whether it ever ran steadily: until then an unusable configuration ends the supervisor.
    proven: bool,
}

/// Runs until a signal or a child's unusable configuration ends it.
pub fn up(arguments: &UpArguments) -> anyhow::Result<()> {
    if arguments.detached {
        nix::unistd::setsid().context("cannot leave the terminal's session")?;
    }
    settings::check_machine()?;
    let node = &arguments.node;
    let place = node.place()?;
    let fix = format!("`gannet down{}` stops it", down_arguments(&node.data_dir, &node.instance));
    let _role = lock::take(&node.data_dir, "up", &fix)?;
    // Asked once: a binary that is replaced while it runs has no path any more, but its successor has.
    let binary = std::env::current_exe().context("cannot find the path of this binary")?;
    let mut roles = Vec::new();
    let mut words = vec![OsString::from("node")];
    words.extend(node.words(&place));
    match &arguments.join {
        Some(url) => {
            join::check_url(url)?;
            words.extend(["--join".into(), url.into()]);
            if let Some(token) = &arguments.token {
                words.extend(["--token".into(), token.into()]);
            } else if let Some(path) = &arguments.token_file {
                words.extend(["--token-file".into(), path.into()]);
            }
        }
        None => {
            let mut control = vec![OsString::from("control"), "--data-dir".into(), node.data_dir.clone().into()];
            control.extend(["--advertise".into(), place.node_ips.first().to_string().into()]);
            control.extend(arguments.server.words());
            roles.push(Role::new("control", control));
            let url = format!("https://{}", SocketAddr::new(place.node_ips.first(), arguments.server.api_port));
            words.extend(["--join".into(), url.into(), "--token-file".into(), node.data_dir.join("join-token").into()]);
        }
    }
    roles.push(Role::new("node", words));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kubeconfig = arguments.join.is_none().then(|| node.data_dir.join("kubeconfig"));
    runtime.block_on(async {
        let shutdown = process::shutdown_on_signals()?;
        let result = supervise(&binary, &mut roles, &shutdown, kubeconfig).await;
        stop(&mut roles).await;
        result
    })
}

/// The arguments by which `gannet down` finds this instance.
pub fn down_arguments(data_dir: &Path, instance: &str) -> String {
    let mut text = String::new();
    if data_dir != Path::new(crate::cli::DATA_DIR) {
        text.push_str(&format!(" --data-dir {}", data_dir.display()));
    }
    if instance != "node" {
        text.push_str(&format!(" --instance {instance}"));
    }
    text
}

impl Role {
    fn new(name: &'static str, words: Vec<OsString>) -> Self {
        Self {
            name,
            words,
            child: None,
            started: process::instant(),
            pause: FIRST_PAUSE,
            due: Some(process::instant()),
            proven: false,
        }
    }

    fn start(&mut self, binary: &Path) -> anyhow::Result<()> {
        let child =
            Command::new(binary).args(&self.words).env(SUPERVISED, "1").stdin(std::process::Stdio::null()).spawn();
        self.child = Some(child.with_context(|| format!("cannot start `gannet {}`", self.name))?);
        self.started = process::instant();
        self.due = None;
        Ok(())
    }

    /// Decides what follows from the child's end.
    fn ended(&mut self, status: ExitStatus) -> anyhow::Result<()> {
        self.child = None;
        let now = process::instant();
        let steady = now.duration_since(self.started) >= STEADY;
        self.proven |= steady;
        if status.code() == Some(i32::from(CANNOT_START)) && !self.proven {
            bail!("`gannet {}` cannot start; its line above says why", self.name);
        }
        if steady {
            self.pause = FIRST_PAUSE;
        }
        eprintln!(
            "gannet: `gannet {}` ended ({status}); starting it again in {} ms",
            self.name,
            self.pause.as_millis()
        );
        self.due = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

async fn supervise(
    binary: &Path,
    roles: &mut [Role],
    shutdown: &process::Shutdown,
    kubeconfig: Option<PathBuf>,
) -> anyhow::Result<()> {
    let mut announce = kubeconfig.map(|path| Box::pin(site::announce_ready(path)));
    loop {
        let now = process::instant();
        for role in roles.iter_mut() {
            if role.due.is_some_and(|due| due <= now) {
                role.start(binary)?;
            }
        }
        let next_due = roles.iter().filter_map(|role| role.due).min();
        let alarm = async {
            match next_due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let announced = async {
            match announce.as_mut() {
                Some(waiting) => waiting.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = alarm => {}
            () = announced => announce = None,
            (index, status) = first_end(roles) => roles[index].ended(status?)?,
        }
    }
}

/// Waits for the first child to end.
async fn first_end(roles: &mut [Role]) -> (usize, std::io::Result<ExitStatus>) {
    let waits = roles.iter_mut().enumerate().filter_map(|(index, role)| {
        let child = role.child.as_mut()?;
        Some(Box::pin(async move { (index, child.wait().await) }))
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    futures::future::select_all(waits).await.0
}

/// Ends the children, the node daemon first: it reports to the control plane until its end.
async fn stop(roles: &mut [Role]) {
    for role in roles.iter_mut().rev() {
        let Some(child) = role.child.as_mut() else { continue };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended in between; then there is nothing to stop.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
            eprintln!("gannet: `gannet {}` did not end in {} s; killing it", role.name, GRACE.as_secs());
            let _ = child.kill().await;
        }
    }
}
