//! Katran, loaded from an object that was compiled with `bench/katran/bench.c`. Names and layouts are those of its
//! `balancer_maps.h` and `balancer_structs.h`; they have been the same in each of its versions with maps described by BTF.

use std::path::Path;

use abi::{IPPROTO_TCP, IPPROTO_UDP};
use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, PerCpuArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use datapath::maglev;

use super::{BACKENDS, GATEWAY, UDP_VIPS, program, tables};

/// Its program.
pub const PROGRAM: &str = "balancer_ingress";
/// Slots of each ring (`RING_SIZE`).
const RING: u32 = 65_537;
/// Virtual addresses that it is compiled for (`MAX_VIPS`): these many, TCP and UDP.
const VIPS: u32 = 2 * UDP_VIPS;
/// Flows that it remembers unless configured otherwise, of all CPUs together (`kDefaultLruSize`).
const FLOWS: u32 = 8_000_000;
/// Counters behind those of the addresses: packets and misses, and packets on a CPU without a table of flows.
const COUNT_FLOWS: u32 = VIPS;
const COUNT_FALLBACK: u32 = VIPS + 3;

/// Its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub packets: u64,
    /// Packets of flows that it had no record of.
    pub misses: u64,
    /// Packets on a CPU without a table of flows.
    pub fallback: u64,
}

/// Loads the programs and fills the maps: as many addresses as it has room for, each with a ring.
pub fn load(path: &Path, programs: &[&str]) -> Result<Ebpf> {
    let object = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let cpus = u32::try_from(aya::util::nr_cpus().map_err(|(what, e)| anyhow::anyhow!("{what}: {e}"))?)?;
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("fallback_cache", FLOWS / cpus);
    let mut bpf = loader.load(&object).context("cannot open Katran's object")?;
    for name in programs {
        let xdp: &mut Xdp = program(&mut bpf, name)?;
        xdp.load().with_context(|| format!("cannot load {name}"))?;
    }
    fill(&mut bpf, cpus)?;
    Ok(bpf)
}

/// What it has counted so far.
pub fn counts(bpf: &Ebpf) -> Result<Counts> {
    let stats = PerCpuArray::<&MapData, [u64; 2]>::try_from(bpf.map("stats").context("stats")?)?;
    let sum = |key: u32, half: usize| -> Result<u64> { Ok(stats.get(&key, 0)?.iter().map(|cpu| cpu[half]).sum()) };
    Ok(Counts { packets: sum(COUNT_FLOWS, 0)?, misses: sum(COUNT_FLOWS, 1)?, fallback: sum(COUNT_FALLBACK, 0)? })
}

fn fill(bpf: &mut Ebpf, cpus: u32) -> Result<()> {
    let mut control = Array::<&mut MapData, [u8; 8]>::try_from(bpf.map_mut("ctl_array").context("ctl_array")?)?;
    let mut mac = [0; 8];
    mac[..GATEWAY.len()].copy_from_slice(&GATEWAY);
    control.set(0, mac, 0)?;

    let mut reals = Array::<&mut MapData, [u8; 20]>::try_from(bpf.map_mut("reals").context("reals")?)?;
    for id in 1..=BACKENDS {
        let mut real = [0; 20];
        real[..4].copy_from_slice(&tables::backend(id).0[3].to_ne_bytes());
        reals.set(id, real, 0)?;
    }

    let vips = bpf.map_mut("vip_map").context("vip_map")?;
    let mut vips = HashMap::<&mut MapData, [u8; 20], [u8; 8]>::try_from(vips)?;
    for number in 0..VIPS {
        let proto = if number < UDP_VIPS { IPPROTO_TCP } else { IPPROTO_UDP };
        let mut key = [0; 20];
        key[..4].copy_from_slice(&tables::address(number % UDP_VIPS).0[3].to_ne_bytes());
        key[16..18].copy_from_slice(&80_u16.to_be_bytes());
        key[18] = proto;
        let mut value = [0; 8];
        value[4..].copy_from_slice(&number.to_ne_bytes());
        vips.insert(key, value, 0).context("an object with room for fewer addresses")?;
    }

    let ring = maglev::ring(&tables::members(), RING);
    let mut rings = Array::<&mut MapData, u32>::try_from(bpf.map_mut("ch_rings").context("ch_rings")?)?;
    ensure!(rings.len() == VIPS * RING, "{} slots, where {VIPS} rings of {RING} were expected", rings.len());
    for number in 0..VIPS {
        for (slot, member) in (0..).zip(&ring) {
            rings.set(number * RING + slot, u32::from(*member) + 1, 0)?;
        }
    }

    // A table of flows for each CPU. They can be one and the same: the measurement stays on one CPU.
    let mut per_cpu = ArrayOfMaps::<MapData, MapData>::try_from(bpf.take_map("lru_mapping").context("lru_mapping")?)?;
    let Some(Map::LruHashMap(flows)) = bpf.map("fallback_cache") else { anyhow::bail!("fallback_cache") };
    for cpu in 0..cpus {
        per_cpu.set(cpu, flows, 0)?;
    }
    Ok(())
}
