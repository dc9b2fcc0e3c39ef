//! Clearing what the tables hold in vain, once no program runs that may still use it.
use datapath::Plan;
use tokio::sync::mpsc;

use super::{Command, Error, Plane};

impl Plane {
    /// Waits for a grace period in a thread of its own if something is to be cleared: it takes milliseconds, and the
    /// next delta should not.
    pub(super) fn begin_sweep(&mut self, own: &mpsc::WeakSender<Command>) {
        if self.sweeping || self.doubtful || !self.planner.begin_sweep() {
            return;
        }
        let own = own.clone();
        let waiting = process::spawn_thread("grace-period", move || {
            let waited = kernel::bpf::grace_period();
            if let Some(own) = own.upgrade() {
                // A plane that is gone leaves the rest to the next one.
                let _ = own.blocking_send(Command::GracePeriodOver(waited));
            }
        });
        match waiting {
            Ok(_) => self.sweeping = true,
            Err(error) => tracing::error!(%error, "cannot start a thread to wait for a grace period"),
        }
    }

    /// Waits and clears at once. Twice: one sweep may be on its way.
    pub(super) fn sweep_now(&mut self) -> Result<(), Error> {
        for _ in 0..2 {
            if !self.doubtful && self.planner.begin_sweep() {
                kernel::bpf::grace_period()?;
                let steps = self.planner.finish_sweep();
                self.execute(&Plan { steps, ..Plan::default() })?;
            }
        }
        Ok(())
    }

    /// Clears what no program can use any more.
    pub(super) fn finish_sweep(&mut self, waited: Result<(), kernel::bpf::Error>) {
        self.sweeping = false;
        let cleared = waited.map_err(Error::from).and_then(|()| {
            if self.doubtful {
                return Ok(());
            }
            let steps = self.planner.finish_sweep();
            self.execute(&Plan { steps, ..Plan::default() })
        });
        if let Err(error) = cleared {
            tracing::error!(%error, "what the tables hold in vain could not be cleared");
        }
    }
}
