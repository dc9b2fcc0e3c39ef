//! What a change costs to plan and to write.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use datapath::{Plan, Planner};
use serde::Serialize;
use wire::fabric::{Algorithm, Delta, Endpoint, EndpointPort, Protocol, Service, ServicePort};

use super::{micros, service};
use crate::node::Node;

/// Endpoint changes timed a size.
const CHANGES: usize = 50;
/// Ports of the Service whose roll from one set of endpoints to another is timed.
const ROLL_PORTS: u32 = 400;

/// Rings of the Services that are rolled; 509 slots is what four endpoints have by themselves.
pub(super) const ROLLS: [u32; 3] = [0, 509, 2_039];

/// From a delta to written tables.
#[derive(Clone, Debug, Serialize)]
pub struct Programming {
    /// Services, or ports of one.
    pub entries: u32,
    pub plan_ms: f64,
    pub write_ms: f64,
}

/// All endpoints of a Service's ports replaced.
#[derive(Clone, Debug, Serialize)]
pub struct Roll {
    pub ports: u32,
    /// Slots of the ports' Maglev rings, 0 for a slot an endpoint.
    pub ring: u32,
    pub plan_ms: f64,
    pub write_ms: f64,
}

/// Makes a delta live; returns the time spent planning and writing. What is used no more is cleared after that.
pub(super) fn commit(node: &Node, planner: &mut Planner, delta: Delta) -> Result<(Duration, Duration)> {
    let epoch = planner.state().epoch.0 + 1;
    let begin = process::instant();
    let rejected = planner.apply(&Delta { epoch, ..delta })?;
    let plan = planner.plan();
    let planned = begin.elapsed();
    node.datapath.apply(&plan)?;
    let written = begin.elapsed() - planned;
    ensure!(rejected.is_empty() && plan.refused.is_empty(), "the tables are too small: {:?}", plan.refused.len());
    if planner.begin_sweep() {
        kernel::bpf::grace_period()?;
        node.datapath.apply(&Plan { steps: planner.finish_sweep(), ..Plan::default() })?;
    }
    Ok((planned, written))
}

/// An endpoint added to the last Service: medians of planning and writing and the 99th percentile of both, in
/// microseconds. It is taken away again outside the measurement.
pub(super) fn changes(node: &Node, planner: &mut Planner) -> Result<[f64; 3]> {
    let number = planner.state().services.len() as u32 - 1;
    let (mut plans, mut writes, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..CHANGES {
        let one: IpAddr = "10.244.0.2".parse()?;
        let other: IpAddr = format!("10.244.7.{}", 2 + turn % 200).parse()?;
        for backends in [&[one, other][..], &[one]] {
            let services = vec![service(number, backends)];
            let (planned, written) = commit(node, planner, Delta { services, ..Delta::default() })?;
            if backends.len() == 2 {
                plans.push(planned);
                writes.push(written);
                both.push(planned + written);
            }
        }
    }
    Ok([micros(&mut plans, 50), micros(&mut writes, 50), micros(&mut both, 99)])
}

/// What a node does that has nothing yet: the delta of all Services, each with two endpoints of its own.
pub(super) fn cold(node: &Node, planner: &mut Planner, services: u32) -> Result<Programming> {
    commit(node, planner, Delta { full: true, ..Delta::default() })?;
    let all = (0..services).map(|number| {
        let [_, high, middle, low] = number.to_be_bytes();
        let backends = [1, 11].map(|net| IpAddr::from([10, net + high, middle, low]));
        let whole = service(number, &backends);
        Service { ports: whole.ports[..1].to_vec(), ..whole }
    });
    let full = Delta { full: true, services: all.collect(), ..Delta::default() };
    let (planned, written) = commit(node, planner, full)?;
    Ok(Programming { entries: services, plan_ms: millis(planned), write_ms: millis(written) })
}

/// All endpoints of one Service of many ports are replaced by others. `ring`: slots of its Maglev rings, 0 for none.
pub(super) fn roll(node: &Node, planner: &mut Planner, ring: u32) -> Result<Roll> {
    let algorithm = if ring == 0 { Algorithm::Even } else { Algorithm::Maglev };
    let many = |subnet: u8| {
        let ports = (0..ROLL_PORTS).map(|i| ServicePort {
            name: format!("p{i}"),
            protocol: Protocol::Tcp.into(),
            port: 1_000 + i,
            node_port: 0,
        });
        let served = (0..ROLL_PORTS).map(|i| EndpointPort {
            name: format!("p{i}"),
            protocol: Protocol::Tcp.into(),
            port: 5_000 + i,
        });
        let served: Vec<EndpointPort> = served.collect();
        let endpoint = |host| Endpoint {
            ip: IpAddr::from([10, 3, subnet, host]).to_string(),
            ports: served.clone(),
            ..Endpoint::default()
        };
        let whole = service(0, &[]);
        let services = vec![Service {
            ports: ports.collect(),
            endpoints: (1..=4).map(endpoint).collect(),
            algorithm: algorithm.into(),
            maglev_size: ring,
            ..whole
        }];
        Delta { services, ..Delta::default() }
    };
    commit(node, planner, many(0))?;
    let (planned, written) = commit(node, planner, many(1))?;
    Ok(Roll { ports: ROLL_PORTS, ring, plan_ms: millis(planned), write_ms: millis(written) })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
