//! The balancer's tables as the measurements fill them.

use std::os::fd::AsFd as _;

use abi::balance::{self, MAX_ROWS, SLOTS_AN_ELEMENT, Vip, map};
use abi::{Addr, BACKEND_ALIVE, Be16, IPPROTO_TCP, IPPROTO_UDP};
use anyhow::{Context as _, Result, bail, ensure};
use aya::Ebpf;
use aya::maps::{Array, Map, MapData, PerCpuArray};
use datapath::balancer::{Rows, VipKey, vip};
use datapath::maglev::{self, Member};
use kernel::bpf::{Mapped, Raw};
use packet::host::v4;

use super::{BACKENDS, GATEWAY, ROUNDS, UDP_VIPS, VIPS};

/// The tables that user space writes.
pub struct Tables {
    vips: Mapped<Vip>,
    slots: Mapped<[u32; SLOTS_AN_ELEMENT as usize]>,
    rows: Rows,
    size: u32,
}

/// Elements of the table of slots that [`fill`] and [`ring_write`] need, for rings of `size` slots.
pub fn elements(size: u32) -> u32 {
    ((VIPS + UDP_VIPS) * size).div_ceil(SLOTS_AN_ELEMENT) + 65_536
}

/// Address of a backend, `1..=BACKENDS`.
pub fn backend(id: u32) -> Addr {
    v4(&format!("192.0.2.{}", 100 + id))
}

/// Packets sent to the first so many addresses so far, TCP and UDP.
pub fn packets(bpf: &Ebpf, addresses: u32) -> Result<u64> {
    let name = map::TRAFFIC;
    let traffic = PerCpuArray::<&MapData, Raw<balance::Traffic>>::try_from(bpf.map(name).context(name)?)?;
    let mut sum = 0;
    for number in (0..addresses).chain(VIPS..VIPS + addresses.min(UDP_VIPS)) {
        sum += traffic.get(&number, 0)?.iter().map(|cpu| cpu.0.packets).sum::<u64>();
    }
    Ok(sum)
}

/// Virtual address number `i`.
pub fn address(i: u32) -> Addr {
    let [_, _, a, b] = i.to_be_bytes();
    v4(&format!("10.0.{a}.{b}"))
}

/// Writes configuration, backends, addresses and rings of `size` slots.
pub fn fill(bpf: &mut Ebpf, size: u32) -> Result<Tables> {
    let source4 = v4("192.0.2.1");
    let config = balance::Config {
        source4,
        gateway_mac: GATEWAY,
        own_mac: [2, 0, 0, 0, 0, 1],
        mtu: 1_500,
        seed: 7,
        ready: 1,
        gate_per_s: u32::MAX,
        ..balance::Config::default()
    };
    Array::<&mut MapData, Raw<balance::Config>>::try_from(bpf.map_mut(map::CONFIG).context(map::CONFIG)?)?.set(
        0,
        Raw(config),
        0,
    )?;
    let elements = elements(size);
    let mut vips = mapped::<Vip>(bpf, map::VIPS, MAX_ROWS as usize)?;
    let mut slots = mapped(bpf, map::SLOTS, elements as usize)?;
    let mut backends = mapped::<balance::Backend>(bpf, map::BACKENDS, balance::MAX_BACKENDS as usize)?;
    for id in 1..=BACKENDS {
        let addr = backend(id);
        let backend = balance::Backend {
            addr,
            sum: balance::outer_sum(&source4, &addr),
            flags: BACKEND_ALIVE,
            ..balance::Backend::default()
        };
        ensure!(backends.set(id as usize, &backend), "backend {id}");
    }
    let ring = maglev::ring(&members(), size);
    let mut rows = Rows::default();
    for i in 0..VIPS + UDP_VIPS {
        let base = i * size;
        for (slot, member) in ring.iter().enumerate() {
            put_slot(&mut slots, base + slot as u32, balance::slot(*member as u16 + 1, 0))?;
        }
        let (address, proto) = if i < VIPS { (address(i), IPPROTO_TCP) } else { (address(i - VIPS), IPPROTO_UDP) };
        let key = VipKey { addr: address, port: Be16::new(80), proto };
        let row = rows.take(key)?;
        ensure!(vips.set(row as usize, &vip(&key, i, Vip::pack_ring(base, size), 0)), "row {row}");
    }
    Ok(Tables { vips, slots, rows, size })
}

fn mapped<T: kernel::bpf::Plain>(bpf: &Ebpf, name: &str, len: usize) -> Result<Mapped<T>> {
    let Map::Array(data) = bpf.map(name).with_context(|| name.to_owned())? else { bail!("{name} is no array") };
    Mapped::new(data.fd().as_fd(), len).with_context(|| format!("cannot map {name}"))
}

/// The backends, all alike.
pub fn members() -> Vec<Member> {
    (0..BACKENDS).map(|i| Member { hash: maglev::spread(u64::from(i)), weight: 1 }).collect()
}

fn put_slot(slots: &mut Mapped<[u32; SLOTS_AN_ELEMENT as usize]>, index: u32, value: u32) -> Result<()> {
    let at = (index / SLOTS_AN_ELEMENT) as usize;
    let mut pair = slots.get(at).context("beyond the slots")?;
    pair[(index % SLOTS_AN_ELEMENT) as usize] = value;
    slots.set(at, &pair);
    Ok(())
}

/// Every slot gets another backend, and keeps the one it had as its previous one.
pub fn change_all(tables: &mut Tables) {
    for at in 0..tables.slots.len() {
        let Some(pair) = tables.slots.get(at) else { continue };
        let changed = pair.map(|slot| {
            let current = slot & 0xffff;
            if current == 0 { 0 } else { balance::slot((current % BACKENDS) as u16 + 1, current as u16) }
        });
        tables.slots.set(at, &changed);
    }
}

/// A ring of 16,381 slots is computed anew and stored: microseconds of the stores.
pub fn ring_write(tables: &mut Tables) -> Result<(u32, f64)> {
    let size = 16_381;
    let ring = maglev::ring(&members(), size);
    let pairs: Vec<[u32; 2]> = ring
        .chunks(2)
        .map(|pair| [balance::slot(pair[0] as u16 + 1, 0), pair.get(1).map_or(0, |m| balance::slot(*m as u16 + 1, 0))])
        .collect();
    let base = ((VIPS + UDP_VIPS) * tables.size).div_ceil(SLOTS_AN_ELEMENT) as usize;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = std::time::Instant::now();
        for (i, pair) in pairs.iter().enumerate() {
            tables.slots.set(base + i, pair);
        }
        let row = tables.rows.iter().next().map(|(_, row)| row as usize).context("no row")?;
        let ring = Vip::pack_ring(base as u32 * SLOTS_AN_ELEMENT, size);
        ensure!(tables.vips.set_word(row, std::mem::offset_of!(Vip, ring), ring), "row {row}");
        best = best.min(start.elapsed().as_nanos() as f64 / 1_000.0);
    }
    Ok((size, best))
}
