//! The policy tables: two banks, one of which packets see.
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::{io, thread};

use abi::map;
use datapath::policy::{Observed, Step};

use super::object::open_map;
use super::table::Table;
use super::{Datapath, Error, sys};
use crate::sockets::Connection;

/// The tables, and whether programs may still run on what the last publication took out of sight.
pub struct Tables {
    generation: Table<u32, u32>,
    seats: Table<u32, abi::SeatValue>,
    identities: Table<abi::IdentityKey, u32>,
    rules: Table<abi::RuleKey, u32>,
    connections: Table<abi::FlowKey, abi::Connection>,
    grace: Mutex<Grace>,
}

/// The grace period after a publication. Waiting for it takes milliseconds, which the next change mostly finds over.
enum Grace {
    /// Published by another process, or by this one without a thread to wait.
    Unknown,
    Waiting(JoinHandle<io::Result<()>>),
    Over,
}

impl Tables {
    /// Opens the pinned tables.
    pub fn open(pins: &Path) -> Result<Tables, Error> {
        Ok(Tables {
            generation: Table::new(map::GENERATION, open_map(pins, map::GENERATION)?),
            seats: Table::new(map::SEATS, open_map(pins, map::SEATS)?),
            identities: Table::new(map::IDENTITIES, open_map(pins, map::IDENTITIES)?),
            rules: Table::new(map::RULES, open_map(pins, map::RULES)?),
            connections: Table::new(map::CONNECTIONS, open_map(pins, map::CONNECTIONS)?),
            grace: Mutex::new(Grace::Unknown),
        })
    }

    /// Waits until nobody reads the bank that is out of sight.
    fn settle(&self) -> Result<(), Error> {
        let mut grace = self.grace.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = match std::mem::replace(&mut *grace, Grace::Unknown) {
            Grace::Over => Ok(()),
            Grace::Unknown => sys::grace_period(),
            Grace::Waiting(thread) => thread.join().unwrap_or_else(|_| sys::grace_period()),
        };
        waited.map_err(Error::GracePeriod)?;
        *grace = Grace::Over;
        Ok(())
    }

    fn publish(&self, generation: u32) -> Result<(), Error> {
        let mut grace = self.grace.lock().unwrap_or_else(PoisonError::into_inner);
        *grace = Grace::Unknown;
        self.generation.put(&0, &generation)?;
        if let Ok(thread) = thread::Builder::new().name("grace-period".to_owned()).spawn(sys::grace_period) {
            *grace = Grace::Waiting(thread);
        }
        Ok(())
    }
}

impl Datapath {
    /// Reads the policy tables.
    pub fn observe_policy(&self) -> Result<Observed, Error> {
        let tables = &self.policy;
        Ok(Observed::new(
            tables.generation.get(&0)?.unwrap_or_default(),
            tables.identities.entries()?,
            tables.rules.entries()?,
            tables.seats.entries()?,
        ))
    }

    /// Tells the programs of connections that stood before their pods had a policy: who opened each, which no packet of them says. They are
    /// judged at their next packet, if `generation` is not the one that packets see then.
    pub fn remember(&self, connections: &[Connection], generation: u32) -> Result<(), Error> {
        let seen_s = super::now_s();
        let key = |one: &Connection| abi::FlowKey {
            src: datapath::addr(one.local.ip()),
            dst: datapath::addr(one.peer.ip()),
            sport: abi::Be16::new(one.local.port()),
            dport: abi::Be16::new(one.peer.port()),
            proto: abi::IPPROTO_TCP,
            ..abi::FlowKey::default()
        };
        let value = |one: &Connection| {
            let flags = if one.accepted { 0 } else { abi::CONNECTION_EGRESS };
            abi::Connection { generation, seen_s, flags }
        };
        let (keys, values): (Vec<_>, Vec<_>) = connections.iter().map(|one| (key(one), value(one))).unzip();
        self.policy.connections.put_all(&keys, &values)
    }

    /// Executes the steps in order; neighbouring writes to one table are one call.
    pub fn apply_policy(&self, steps: &[Step]) -> Result<(), Error> {
        let mut rest = steps;
        while let Some(first) = rest.first() {
            let kind = std::mem::discriminant(first);
            let run = rest.iter().take_while(|step| std::mem::discriminant(*step) == kind).count();
            let (batch, after) = rest.split_at(run);
            self.execute_policy(batch)?;
            rest = after;
        }
        Ok(())
    }

    /// Executes neighbouring steps of one kind.
    fn execute_policy(&self, steps: &[Step]) -> Result<(), Error> {
        let tables = &self.policy;
        let (mut identities, mut rules, mut seats) =
            ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let (mut strangers, mut void) = (Vec::new(), Vec::new());
        for step in steps {
            match *step {
                Step::Settle => tables.settle()?,
                Step::PutIdentity(key, value) => {
                    identities.0.push(key);
                    identities.1.push(value);
                }
                Step::DeleteIdentity(key) => strangers.push(key),
                Step::PutRule(key, value) => {
                    rules.0.push(key);
                    rules.1.push(value);
                }
                Step::DeleteRule(key) => void.push(key),
                Step::PutSeat(index, value) => {
                    seats.0.push(index);
                    seats.1.push(value);
                }
                Step::Publish(generation) => tables.publish(generation)?,
            }
        }
        tables.identities.put_all(&identities.0, &identities.1)?;
        tables.identities.remove_all(&strangers)?;
        tables.rules.put_all(&rules.0, &rules.1)?;
        tables.rules.remove_all(&void)?;
        tables.seats.put_all(&seats.0, &seats.1)
    }
}
