//! The world and its steps.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{Apiserver, User};
use cache::{Object, View};
use client::Client;
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;
use process::simulation::Simulation;
use rcgen::{CertificateParams, KeyPair};
use reconcile::Controller;
use store::Backend;

use crate::actor::Actor;
use crate::check::{Availability, Check};
use crate::gate::Permit;
use crate::kubelet::Kubelet;
use crate::plant::{Bug, plant};
use crate::rng::Rng;
use crate::schedule::Scheduler;
use crate::settle;
use crate::user::{self, Manner};

const NODES: usize = 3;
/// Deeds kept for the report of a failure.
const LOG_LINES: usize = 40;
/// Requests of one plan, and keys of one round, before it counts as a loop.
const MAX_WORK: usize = 100_000;

/// How a seed is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Steps before the faults stop.
    pub steps: usize,
    /// Crashes, lost messages, silent nodes, rough users. Without them only rolling updates happen, and those must not
    /// cost availability.
    pub faults: bool,
    /// A bug that is to be found.
    pub bug: Option<Bug>,
}

/// A run that went well.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Writes to the store, heartbeats aside.
    pub writes: usize,
    /// Crashes of a part.
    pub crashes: usize,
    /// Requests or answers lost.
    pub losses: usize,
}

/// A run that did not.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The step at which it showed; past the last one: while it settled.
    pub step: usize,
    /// What is wrong.
    pub what: String,
    /// What happened last.
    pub log: Vec<String>,
    /// How it was run.
    pub plan: Plan,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.log {
            writeln!(f, "  {line}")?;
        }
        let calm = if self.plan.faults { "" } else { "GANNET_SIM_CALM=1 " };
        writeln!(f, "seed {} step {}: {}", self.seed, self.step, self.what)?;
        write!(f, "again: {calm}GANNET_SIM_SEED={} cargo test -p sim --test seeds one_seed -- --nocapture", self.seed)
    }
}

/// A future of in-process calls, which never wait.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::task::unconstrained(future).now_or_never().expect("calls in one process over a store in memory do not wait")
}

/// Runs one seed.
///
/// # Errors
/// What went wrong, with the command that shows it again.
pub fn run(seed: u64, plan: Plan) -> Result<Report, Box<Failure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let mut world = World::new(seed, plan);
    let mut step = 0;
    let outcome = (|| {
        while step < plan.steps {
            step += 1;
            world.step()?;
        }
        world.end_faults()?;
        settle::until_quiet(&mut world)?;
        settle::accomplished(world.check.view())
    })();
    match outcome {
        Ok(()) => Ok(Report { writes: world.check.writes, ..world.report }),
        Err(what) => {
            let recent = std::mem::take(&mut world.check.recent);
            let log = world.log.into_iter().chain(recent).collect();
            Err(Box::new(Failure { seed, step, what, log, plan }))
        }
    }
}

pub struct World {
    pub check: Check,
    plan: Plan,
    rng: Rng,
    clock: Simulation,
    admin: Client,
    actors: Vec<Actor>,
    scheduler: Scheduler,
    kubelets: Vec<Kubelet>,
    log: VecDeque<String>,
    report: Report,
}

impl World {
    fn new(seed: u64, plan: Plan) -> World {
        let start = jiff::Timestamp::from_second(1_770_000_000).expect("in range");
        let clock = Simulation::start(seed, start);
        let store: Arc<dyn Backend> = store::memory_with(store::Config { window_events: 3000, ..Default::default() });
        let availability = if plan.faults { Availability::Disturbed } else { Availability::Checked };
        let check = Check::new(store.as_ref(), availability);
        let server = now(Apiserver::new(server_config(store.clone()))).expect("an empty store");
        let admin = server.transport(User::gannet());
        let config = controllers::Config {
            cluster_cidrs: vec!["10.244.0.0/16".parse().expect("a range")],
            ca_pem: "ca".to_owned(),
            started: process::now(),
        };
        let actors = controllers::all(&config)
            .into_iter()
            .map(|controller| {
                let controller: Arc<dyn Controller> = Arc::from(controller);
                Actor::new(plant(controller, plan.bug), store.clone(), admin.clone())
            })
            .collect();
        let kubelets = (0..NODES).map(|index| Kubelet::new(index, admin.clone())).collect();
        let scheduler = Scheduler::new(store, admin.clone());
        let shop = serde_json::json!({"metadata": {"name": "shop"}});
        now(admin.create_value(&api::Gvr::new("", "v1", "namespaces"), "", &shop)).expect("a fresh name");
        World {
            check,
            plan,
            rng: Rng::new(seed),
            clock,
            admin,
            actors,
            scheduler,
            kubelets,
            log: VecDeque::new(),
            report: Report::default(),
        }
    }

    /// One step, drawn from the seed.
    fn step(&mut self) -> Result<(), String> {
        let who = self.rng.below(self.actors.len() + 1);
        match self.rng.below(100) {
            0..20 => {
                let count = 1 + self.rng.below(30);
                match self.actors.get_mut(who) {
                    Some(actor) => actor.deliver(count),
                    None => self.scheduler.deliver(count),
                }
            }
            20..35 => drop(match self.actors.get_mut(who) {
                Some(actor) => actor.start(),
                None => self.scheduler.start(),
            }),
            35..65 => self.proceed(who),
            65..80 => self.kubelet_step(),
            80..86 => {
                let manner = if self.plan.faults { Manner::Rough } else { Manner::Gentle };
                let deed = user::act(&self.admin, self.check.view(), &mut self.rng, manner);
                self.note(deed);
            }
            86..91 => {
                let seconds = 1 + self.rng.below(8);
                self.advance(Duration::from_secs(u64::try_from(seconds).expect("small")))?;
            }
            91..97 => {
                // Somebody does everything at hand.
                self.catch_up(who);
            }
            _ if self.plan.faults => self.fault(who),
            _ => {}
        }
        self.check.look()
    }

    /// Everybody reads and does everything there is to do.
    pub fn everybody_works(&mut self) -> Result<(), String> {
        for who in 0..=self.actors.len() {
            self.catch_up(who);
            self.check.look()?;
        }
        for index in 0..self.kubelets.len() {
            for _ in 0..MAX_WORK {
                let view = self.check.view().clone();
                let kubelet = &mut self.kubelets[index];
                let pods = pods_on(&view, &kubelet.name);
                let Some(deed) = kubelet.step(pods.iter().map(AsRef::as_ref), &mut self.rng) else { break };
                self.note(deed);
                self.check.look()?;
            }
        }
        Ok(())
    }

    /// Lets time pass; nodes that are up are heard of.
    pub fn advance(&mut self, by: Duration) -> Result<(), String> {
        self.clock.advance(by);
        for kubelet in &self.kubelets {
            kubelet.heartbeat();
        }
        self.check.look()
    }

    /// Nodes come back, nobody is cordoned.
    fn end_faults(&mut self) -> Result<(), String> {
        self.note("faults end".to_owned());
        for kubelet in &mut self.kubelets {
            kubelet.up = true;
            let body = serde_json::json!({"spec": {"unschedulable": null}});
            let patch = client::Patch::Merge(body);
            now(self.admin.patch::<k8s_openapi::api::core::v1::Node>("", &kubelet.name, None, patch))
                .map_err(|error| error.to_string())?;
        }
        self.advance(Duration::from_secs(1))
    }

    fn catch_up(&mut self, who: usize) {
        for _ in 0..MAX_WORK {
            let (rng, pass) = (&mut self.rng, Permit::Pass);
            let worked = match self.actors.get_mut(who) {
                Some(actor) => {
                    actor.deliver(usize::MAX);
                    actor.proceed(rng, pass) || actor.start()
                }
                None => {
                    self.scheduler.deliver(usize::MAX);
                    self.scheduler.proceed(rng, pass) || self.scheduler.start()
                }
            };
            if !worked {
                return;
            }
        }
    }

    fn proceed(&mut self, who: usize) {
        let permit = match self.rng.below(40) {
            0 if self.plan.faults => Permit::LoseRequest,
            1 if self.plan.faults => Permit::LoseAnswer,
            _ => Permit::Pass,
        };
        let worked = match self.actors.get_mut(who) {
            Some(actor) => actor.proceed(&mut self.rng, permit),
            None => self.scheduler.proceed(&mut self.rng, permit),
        };
        if worked && permit != Permit::Pass {
            self.report.losses += 1;
            let name = self.name(who);
            self.note(format!("{name}: {permit:?}"));
        }
    }

    fn kubelet_step(&mut self) {
        let view = self.check.view().clone();
        let index = self.rng.below(NODES);
        let kubelet = &mut self.kubelets[index];
        let pods = pods_on(&view, &kubelet.name);
        if let Some(deed) = kubelet.step(pods.iter().map(AsRef::as_ref), &mut self.rng) {
            self.note(deed);
        }
    }

    fn fault(&mut self, who: usize) {
        let name = self.name(who);
        match self.rng.below(4) {
            0 | 1 => {
                self.report.crashes += 1;
                self.note(format!("{name} crashes"));
                match self.actors.get_mut(who) {
                    Some(actor) => actor.crash(),
                    None => self.scheduler.crash(),
                }
            }
            2 => {
                self.note(format!("{name} loses its watch"));
                match self.actors.get_mut(who) {
                    Some(actor) => actor.lose_watch(),
                    None => self.scheduler.lose_watch(),
                }
            }
            _ => {
                let index = self.rng.below(NODES);
                let kubelet = &mut self.kubelets[index];
                kubelet.up = !kubelet.up;
                let line = format!("{} is {}", kubelet.name, if kubelet.up { "up" } else { "silent" });
                self.note(line);
            }
        }
    }

    fn name(&self, who: usize) -> &'static str {
        self.actors.get(who).map_or("scheduler", Actor::name)
    }

    fn note(&mut self, line: String) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }
}

fn server_config(store: Arc<dyn Backend>) -> apiserver::Config {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(Vec::new()).and_then(|params| params.self_signed(&key));
    let certificate = certificate.expect("a certificate").pem();
    apiserver::Config {
        store,
        service_cidrs: vec!["10.96.0.0/16".parse().expect("a range")],
        node_port_range: 30000..=32767,
        client_ca_pem: certificate.clone().into_bytes(),
        sa_key_pem: key.serialize_pem().into_bytes(),
        issuer: plane::ISSUER.to_owned(),
        kubelet_client: client::Identity::certificate(certificate.clone(), key.serialize_pem()),
        kubelet_ca_pem: certificate.into_bytes(),
        extra: None,
        advertise: "192.0.2.1:6443".parse().expect("an address"),
        goaway_chance: 0.0,
        event_ttl: apiserver::EVENT_TTL,
        may_proxy_to: apiserver::is_proxyable,
    }
}

fn pods_on(view: &View, node: &str) -> Vec<Arc<Pod>> {
    view.pods_on(node).filter_map(Object::typed).collect()
}
