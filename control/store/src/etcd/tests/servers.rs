//! etcd servers on loopback, each with a directory and ports of its own, ended with the value that holds them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{EtcdConfig, EtcdTls};

/// What the engines of all tests run on: a test's own runtime may end before its store.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

/// A cluster.
pub(crate) struct Servers {
    members: Vec<Member>,
    tls: Option<EtcdTls>,
    _dir: TempDir,
}

struct Member {
    arguments: Vec<String>,
    address: SocketAddr,
    child: Option<Child>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Member {
    fn start(&mut self) {
        let child = Command::new("etcd")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed: apt-get install etcd-server");
        self.child = Some(child);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports that are free now. Held together while they are chosen, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Servers {
    /// Starts `count` members that know each other.
    pub(crate) fn start(count: usize, extra: &[&str]) -> Servers {
        Servers::launch(count, extra, None)
    }

    /// One member that asks for certificates of its own authority, and an identity of another authority.
    pub(crate) fn start_tls() -> (Servers, EtcdTls) {
        let dir = tempfile::tempdir().unwrap();
        let (ours, others) = (Authority::new(), Authority::new());
        let (certificate, key) = ours.issue();
        let path = |name: &str| dir.path().join(name).display().to_string();
        for (name, text) in [("ca.pem", &ours.pem), ("cert.pem", &certificate), ("key.pem", &key)] {
            std::fs::write(path(name), text).unwrap();
        }
        let extra = [
            "--client-cert-auth".to_owned(),
            format!("--trusted-ca-file={}", path("ca.pem")),
            format!("--cert-file={}", path("cert.pem")),
            format!("--key-file={}", path("key.pem")),
        ];
        let tls = |authority: &Authority| {
            let (certificate, key) = authority.issue();
            EtcdTls {
                ca_pem: ours.pem.clone().into_bytes(),
                identity_pem: Some((certificate.into_bytes(), key.into_bytes())),
            }
        };
        let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
        let servers = Servers::launch(1, &extra, Some((tls(&ours), dir)));
        (servers, tls(&others))
    }

    fn launch(count: usize, extra: &[&str], tls: Option<(EtcdTls, TempDir)>) -> Servers {
        let (tls, dir) = tls.map_or_else(|| (None, tempfile::tempdir().unwrap()), |(tls, dir)| (Some(tls), dir));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let ports = free_ports(2 * count);
        let (client_ports, peer_ports) = ports.split_at(count);
        let peers: Vec<String> =
            peer_ports.iter().enumerate().map(|(at, port)| format!("m{at}=http://127.0.0.1:{port}")).collect();
        let members = (0..count)
            .map(|at| {
                let client = format!("{scheme}://127.0.0.1:{}", client_ports[at]);
                let peer = format!("http://127.0.0.1:{}", peer_ports[at]);
                let data: PathBuf = dir.path().join(format!("m{at}"));
                let mut arguments = vec![
                    format!("--name=m{at}"),
                    format!("--data-dir={}", data.display()),
                    format!("--listen-client-urls={client}"),
                    format!("--advertise-client-urls={client}"),
                    format!("--listen-peer-urls={peer}"),
                    format!("--initial-advertise-peer-urls={peer}"),
                    format!("--initial-cluster={}", peers.join(",")),
                    "--heartbeat-interval=50".to_owned(),
                    "--election-timeout=500".to_owned(),
                ];
                if !extra.iter().any(|flag| flag.starts_with("--max-request-bytes")) {
                    arguments.push("--max-request-bytes=8388608".to_owned());
                }
                arguments.extend(extra.iter().map(|flag| (*flag).to_owned()));
                let mut member =
                    Member { arguments, address: (Ipv4Addr::LOCALHOST, client_ports[at]).into(), child: None };
                member.start();
                member
            })
            .collect();
        Servers { members, tls, _dir: dir }
    }

    pub(crate) fn config(&self) -> EtcdConfig {
        EtcdConfig {
            endpoints: self.members.iter().map(|member| member.address.to_string()).collect(),
            prefix: "/test".to_owned(),
            tls: self.tls.clone(),
        }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.address).collect()
    }

    /// A client of somebody else's.
    pub(crate) async fn client(&self) -> etcd_client::Client {
        let mut client = etcd_client::Client::connect([self.members[0].address.to_string()], None).await.unwrap();
        let ready = tokio::time::timeout(Duration::from_secs(30), async {
            while client.status().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        ready.await.expect("etcd answers");
        client
    }

    pub(crate) fn kill(&mut self, member: usize) {
        self.members[member].kill();
    }

    pub(crate) fn restart(&mut self, member: usize) {
        self.members[member].start();
    }

    /// kill -9 of the member that leads. Returns which.
    pub(crate) async fn kill_leader(&mut self) -> usize {
        for at in 0..self.members.len() {
            let address = self.members[at].address.to_string();
            let mut client = etcd_client::Client::connect([address], None).await.unwrap();
            let Ok(status) = client.status().await else { continue };
            if status.header().is_some_and(|header| header.member_id() == status.leader()) {
                self.kill(at);
                return at;
            }
        }
        panic!("no member leads");
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A TCP relay that can be closed: connections through it break, new ones are refused.
pub(crate) struct Valve {
    address: SocketAddr,
    open: Arc<watch::Sender<bool>>,
    /// Whether the relays of the last closing are broken.
    closed: watch::Receiver<bool>,
}

impl Valve {
    pub(crate) async fn open(target: SocketAddr) -> Valve {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(watch::Sender::new(true));
        let mut state = open.subscribe();
        let (broken, closed) = watch::channel(false);
        process::spawn("valve", async move {
            let mut relays = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((mut near, _)) = accepted else { return };
                        if !*state.borrow() {
                            continue;
                        }
                        relays.spawn(async move {
                            let Ok(mut far) = tokio::net::TcpStream::connect(target).await else { return };
                            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                        });
                    }
                    changed = state.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let open = *state.borrow_and_update();
                        if !open {
                            relays.shutdown().await;
                        }
                        broken.send_replace(!open);
                    }
                }
            }
        });
        Valve { address, open, closed }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn close(&self) {
        self.open.send_replace(false);
        // The relays break before the next write, or it would pass.
        self.closed.clone().wait_for(|closed| *closed).await.expect("the relay lives");
    }

    pub(crate) fn reopen(&self) {
        self.open.send_replace(true);
    }
}
