//! The servers, one at a time: the one that answered last is asked next, and left for the following one when it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{
    Certificate, Client, CompactionOptions, ConnectOptions, Error as EtcdError, GetOptions, GetResponse, Identity,
    KeyValue, KvClient, ResponseHeader, TlsOptions, Txn, TxnResponse, WatchClient, WatchOptions, WatchStream,
};
use tokio::time::timeout;

use super::fault::Fault;
use crate::{Entry, Error, OpenError, Part, Revision};

/// A server that does not accept a connection by then is left.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pings on the connection; etcd refuses more than one in 5 s.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// One attempt of a call. etcd itself gives up after 5 s and two elections.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// All attempts of a call together.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause after a failed attempt, doubled with each up to the limit.
const BACKOFF: Duration = Duration::from_millis(20);
const BACKOFF_LIMIT: Duration = Duration::from_millis(500);
/// Largest answer. etcd's own limit for what it sends is 2 GiB; a page of a list has a few hundred values.
const MESSAGE_LIMIT: usize = 1 << 30;
/// What etcd takes in one request unless its `--max-request-bytes` says otherwise.
const REQUEST_LIMIT: usize = 1536 * 1024;

/// Where the store is.
#[derive(Debug, Clone)]
pub struct EtcdConfig {
    /// The servers, as `host:port`.
    pub endpoints: Vec<String>,
    /// What all keys in etcd begin with, so that others may use the same cluster.
    pub prefix: String,
    /// TLS towards the servers; without it connections are plain text.
    pub tls: Option<EtcdTls>,
}

/// TLS towards the servers.
#[derive(Clone, Default)]
pub struct EtcdTls {
    /// Who must have signed the servers' certificates.
    pub ca_pem: Vec<u8>,
    /// Our certificate and its key, if the servers ask for one.
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdTls").field("identity", &self.identity_pem.is_some()).finish_non_exhaustive()
    }
}

/// The cluster.
pub(super) struct Endpoints {
    members: Vec<Member>,
    /// The one to ask.
    current: AtomicUsize,
    prefix: String,
    names: String,
}

#[derive(Clone)]
struct Member {
    name: Arc<str>,
    kv: KvClient,
    watch: WatchClient,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoints").field("names", &self.names).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Endpoints {
    /// Prepares a connection to each server; none is made yet.
    pub(super) async fn new(config: &EtcdConfig) -> Result<Endpoints, OpenError> {
        let names = config.endpoints.join(",");
        let mut members = Vec::new();
        for name in &config.endpoints {
            let scheme = if config.tls.is_some() { "https" } else { "http" };
            let client = Client::connect([format!("{scheme}://{name}")], Some(options(config.tls.as_ref())))
                .await
                .map_err(|source| OpenError::Etcd { endpoints: names.clone(), source: Box::new(source) })?;
            members.push(Member {
                name: name.as_str().into(),
                kv: client.kv_client().max_decoding_message_size(MESSAGE_LIMIT),
                watch: client.watch_client().max_decoding_message_size(MESSAGE_LIMIT),
            });
        }
        if members.is_empty() {
            let source = Box::new(EtcdError::InvalidArgs("no server is named".to_owned()));
            return Err(OpenError::Etcd { endpoints: names, source });
        }
        Ok(Endpoints { members, current: AtomicUsize::new(0), prefix: config.prefix.clone(), names })
    }

    pub(super) fn names(&self) -> &str {
        &self.names
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key in etcd.
    pub(super) fn key(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }

    /// Our key of a key in etcd, if it is ours.
    pub(super) fn own_key(&self, key: &[u8]) -> Option<Arc<str>> {
        let own = std::str::from_utf8(key.strip_prefix(self.prefix.as_bytes())?);
        own.inspect_err(|_| tracing::warn!("a key below the store's prefix in etcd is no text and is left out"))
            .ok()
            .map(Arc::from)
    }

    /// What etcd returned, as our entry.
    pub(super) fn entry(&self, kv: KeyValue) -> Option<Entry> {
        let (created, modified) = (from_etcd(kv.create_revision()), from_etcd(kv.mod_revision()));
        let (key, value) = kv.into_key_value();
        Some(Entry { key: self.own_key(&key)?, value: Bytes::from(value), created, modified })
    }

    /// A linearizable read, or one of an older revision. Retried on every server until the time for a call is over.
    pub(super) async fn read(&self, key: Vec<u8>, options: GetOptions) -> Result<GetResponse, Error> {
        let attempts = async {
            let mut pause = BACKOFF;
            loop {
                let (index, mut member) = self.member();
                let outcome = timeout(ATTEMPT_TIMEOUT, member.kv.get(key.clone(), Some(options.clone()))).await;
                match outcome
                    .map_err(|_| Fault::Ambiguous)
                    .and_then(|answer| answer.map_err(|error| fault(&member, &error)))
                {
                    Ok(response) => return Ok(response),
                    Err(Fault::Compacted) => return Err(Error::Compacted { compacted: Revision(0) }),
                    Err(Fault::NotDone | Fault::Ambiguous | Fault::NoSpace | Fault::TooLarge) => self.leave(index),
                }
                pause = rest(pause).await;
            }
        };
        timeout(CALL_TIMEOUT, attempts).await.unwrap_or(Err(Error::Unavailable))
    }

    /// A transaction that writes `size_bytes`. Tried again only when it is certain that nothing was done.
    pub(super) async fn write(&self, transaction: Txn, size_bytes: usize) -> Result<TxnResponse, Error> {
        let started = process::instant();
        let mut pause = BACKOFF;
        loop {
            let (index, mut member) = self.member();
            let outcome = timeout(ATTEMPT_TIMEOUT, member.kv.txn(transaction.clone())).await;
            match outcome
                .map_err(|_| Fault::Ambiguous)
                .and_then(|answer| answer.map_err(|error| fault(&member, &error)))
            {
                Ok(response) => return Ok(response),
                Err(Fault::NoSpace) => return Err(Error::NoSpace),
                Err(Fault::TooLarge) => {
                    return Err(Error::TooLarge { part: Part::Value, size_bytes, limit_bytes: REQUEST_LIMIT });
                }
                Err(Fault::NotDone) if started.elapsed() < CALL_TIMEOUT => self.leave(index),
                Err(Fault::NotDone) => return Err(Error::Unavailable),
                Err(Fault::Ambiguous | Fault::Compacted) => {
                    self.leave(index);
                    return Err(Error::OutcomeUnknown);
                }
            }
            pause = rest(pause).await;
        }
    }

    /// Forgets etcd's history up to `upto`. Nothing to do is success.
    pub(super) async fn compact(&self, upto: Revision) -> Result<(), Error> {
        let attempts = async {
            let mut pause = BACKOFF;
            loop {
                let (index, mut member) = self.member();
                let call = member.kv.compact(to_etcd(upto), Some(CompactionOptions::new()));
                match timeout(ATTEMPT_TIMEOUT, call).await.map(|answer| answer.map_err(|error| fault(&member, &error)))
                {
                    Ok(Ok(_) | Err(Fault::Compacted)) => return,
                    Ok(Err(Fault::NotDone | Fault::Ambiguous | Fault::NoSpace | Fault::TooLarge)) | Err(_) => {
                        self.leave(index);
                    }
                }
                pause = rest(pause).await;
            }
        };
        timeout(CALL_TIMEOUT, attempts).await.map_err(|_| Error::Unavailable)
    }

    /// A watch of all of etcd's keys from `start` on.
    pub(super) async fn watch(&self, start: Revision) -> Result<WatchStream, EtcdError> {
        let (index, mut member) = self.member();
        let options = WatchOptions::new().with_all_keys().with_start_revision(to_etcd(start));
        let opened = timeout(ATTEMPT_TIMEOUT, member.watch.watch(Vec::new(), Some(options))).await;
        let opened = opened.unwrap_or_else(|_| Err(EtcdError::WatchError("no answer".to_owned())));
        opened.inspect_err(|_| self.leave(index))
    }

    /// Asks another server next time, if `index` is still the one that is asked.
    pub(super) fn leave(&self, index: usize) {
        let next = (index + 1) % self.members.len();
        let _ = self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// As [`Endpoints::leave`], whichever is asked now.
    pub(super) fn leave_current(&self) {
        self.leave(self.current.load(Ordering::Relaxed));
    }

    fn member(&self) -> (usize, Member) {
        let index = self.current.load(Ordering::Relaxed);
        (index, self.members[index].clone())
    }
}

fn options(tls: Option<&EtcdTls>) -> ConnectOptions {
    let options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
        .with_keep_alive_while_idle(true)
        .with_require_leader(true);
    let Some(tls) = tls else { return options };
    let mut encrypted = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.ca_pem));
    if let Some((certificate, key)) = &tls.identity_pem {
        encrypted = encrypted.identity(Identity::from_pem(certificate, key));
    }
    options.with_tls(encrypted)
}

fn fault(member: &Member, error: &EtcdError) -> Fault {
    tracing::debug!(server = &*member.name, %error, "a call to etcd failed");
    Fault::of(error)
}

/// Sleeps, and returns how long to sleep the next time.
pub(super) async fn rest(pause: Duration) -> Duration {
    tokio::time::sleep(pause).await;
    (pause * 2).min(BACKOFF_LIMIT)
}

/// The first pause of [`rest`].
pub(super) const FIRST_REST: Duration = BACKOFF;

/// A revision of etcd's as ours.
pub(super) fn from_etcd(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0))
}

/// A revision of ours as etcd's.
pub(super) fn to_etcd(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// The revision an answer shows.
pub(super) fn revision_of(header: Option<&ResponseHeader>) -> Revision {
    from_etcd(header.map_or(0, ResponseHeader::revision))
}
