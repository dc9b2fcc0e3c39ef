//! Arguments that say where the objects are kept.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use plane::{EtcdConfig, EtcdTls, StorePlace};

/// Where the objects are kept.
#[derive(Args, Clone, Debug, Default)]
pub struct StoreArguments {
    /// Servers of an etcd cluster that keeps the objects; without it they are in a file below --data-dir
    #[arg(long = "store", value_name = "etcd://HOST:PORT,...")]
    url: Option<String>,
    /// What the keys in etcd begin with
    #[arg(long = "store-prefix", value_name = "PREFIX", default_value = "/gannet", requires = "url")]
    prefix: String,
    /// File with the authority of etcd's certificates (PEM)
    #[arg(long = "store-ca", value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// File with our certificate for etcd (PEM)
    #[arg(long = "store-cert", value_name = "FILE", requires_all = ["url", "ca", "key"])]
    cert: Option<PathBuf>,
    /// File with its key (PEM)
    #[arg(long = "store-key", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl StoreArguments {
    /// The same as words of a command line.
    pub fn words(&self) -> Vec<OsString> {
        let Some(url) = &self.url else { return Vec::new() };
        let mut words: Vec<OsString> =
            vec!["--store".into(), url.into(), "--store-prefix".into(), self.prefix.clone().into()];
        for (flag, path) in [("--store-ca", &self.ca), ("--store-cert", &self.cert), ("--store-key", &self.key)] {
            if let Some(path) = path {
                words.extend([flag.into(), path.into()]);
            }
        }
        words
    }

    /// The place, its files read.
    pub fn place(&self) -> anyhow::Result<StorePlace> {
        let Some(url) = &self.url else { return Ok(StorePlace::Embedded) };
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let tls = match (&self.ca, &self.cert, &self.key) {
            (Some(ca), Some(cert), Some(key)) => {
                Some(EtcdTls { ca_pem: read(ca)?, identity_pem: Some((read(cert)?, read(key)?)) })
            }
            (Some(ca), _, _) => Some(EtcdTls { ca_pem: read(ca)?, identity_pem: None }),
            (None, _, _) => None,
        };
        Ok(StorePlace::Etcd(EtcdConfig { endpoints: servers(url)?, prefix: self.prefix.clone(), tls }))
    }
}

/// The servers that `etcd://host:port,host:port` names.
fn servers(url: &str) -> anyhow::Result<Vec<String>> {
    let Some(list) = url.strip_prefix("etcd://") else {
        bail!("--store {url:?}: give etcd://HOST:PORT, and more servers after commas");
    };
    let servers: Vec<String> = list.trim_end_matches('/').split(',').map(str::to_owned).collect();
    for server in &servers {
        let port = server.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        if port.is_none_or(|(host, _)| host.is_empty() || host.contains('/')) {
            bail!("--store {url:?}: {server:?} is no HOST:PORT, such as 192.0.2.1:2379");
        }
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::servers;

    #[test]
    fn servers_are_hosts_with_ports() {
        assert_eq!(servers("etcd://a:2379,[::1]:2380").unwrap(), ["a:2379", "[::1]:2380"]);
        for bad in ["a:2379", "etcd://", "etcd://a", "etcd://a:b", "etcd://:1", "http://a:1", "etcd://a:1,"] {
            assert!(servers(bad).is_err(), "{bad}");
        }
    }
}
