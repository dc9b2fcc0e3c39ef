//! Loads the object named by the environment, as the node does, but pins nothing.

use std::path::PathBuf;

use abi::{
    flow::{flow_buckets, flow_records, flow_state_lines},
    map,
};
use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    programs::{Program, ProgramError},
};

/// Names the BPF object; set by xtask, the same as for building the node.
pub const OBJECT: &str = "GANNET_BPF_OBJECT";

/// What the programs take the clock, the interface and the tunnel's sender from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// The kernel, as in production.
    Kernel,
    /// `skb->cb`, as the differential test needs it.
    TestRun,
}

/// The object's bytes.
pub fn object() -> Result<Vec<u8>> {
    let Some(path) = std::env::var_os(OBJECT) else {
        bail!("{OBJECT} is not set: run this through `cargo xtask test`, or set it to what `cargo xtask ebpf` built");
    };
    let path = PathBuf::from(path);
    std::fs::read(&path).with_context(|| format!("cannot read the BPF object {}", path.display()))
}

/// Creates the maps and relocates the programs, without loading any.
pub fn open(inputs: Inputs) -> Result<Ebpf> {
    let flag: u32 = match inputs {
        Inputs::Kernel => 0,
        Inputs::TestRun => 1,
    };
    let bits = packet::host::FLOW_BITS;
    let mut loader = EbpfLoader::new();
    loader.override_global("TEST_RUN", &flag, true);
    if inputs == Inputs::TestRun {
        // The host's tables are of this size.
        loader.override_global("FLOW_TABLE_BITS", &bits, true);
        loader.map_max_entries(map::FLOWS, flow_records(bits));
        loader.map_max_entries(map::FLOW_STATES, flow_state_lines(bits));
        loader.map_max_entries(map::FLOW_INDEX, flow_buckets(bits));
    }
    loader.load(&object()?).context("cannot open the BPF object")
}

/// Loads one program into the kernel; the error carries the verifier's log.
pub fn program(bpf: &mut Ebpf, name: &str) -> Result<()> {
    let program = bpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    let loaded = match program {
        Program::SchedClassifier(p) => p.load(),
        Program::CgroupSockAddr(p) => p.load(),
        Program::CgroupSock(p) => p.load(),
        Program::Xdp(p) => p.load(),
        other => bail!("program {name} has an unexpected type {:?}", other.prog_type()),
    };
    match loaded {
        Ok(()) => Ok(()),
        Err(ProgramError::LoadError { io_error, verifier_log }) => {
            bail!("the verifier refuses {name}: {io_error}\n{verifier_log}")
        }
        Err(e) => Err(e).with_context(|| format!("cannot load {name}")),
    }
}

/// Instructions that the verifier went through for a loaded program.
pub fn instructions(bpf: &Ebpf, name: &str) -> Result<u32> {
    let info = match bpf.program(name).with_context(|| format!("the object has no program {name}"))? {
        Program::SchedClassifier(p) => p.info()?,
        Program::CgroupSockAddr(p) => p.info()?,
        Program::CgroupSock(p) => p.info()?,
        Program::Xdp(p) => p.info()?,
        other => bail!("program {name} has an unexpected type {:?}", other.prog_type()),
    };
    info.verified_instruction_count().context("this kernel does not tell verified instructions (5.16 does)")
}
