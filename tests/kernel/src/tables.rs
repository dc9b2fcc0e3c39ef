//! The object's maps, filled from tables in memory and read back.

use std::{collections::BTreeMap, os::fd::AsFd as _};

use abi::{
    AffinityKey, AffinityValue, Connection, FlowKey, FragmentKey, FragmentValue, Hold, IdentityKey, RuleKey,
    edge::{EdgeRow, EdgeTraffic, MAX_EDGES},
    flow::{FLOW_LINE, FlowRecord},
    fragment, map,
};
use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, PerCpuValues, lpm_trie},
    util::nr_cpus,
};
use datapath::service_rows;
use kernel::bpf::{Mapped, Plain, Raw};
use packet::host::{EdgeMemory, FlowWords, Memory, SEATS};

/// Fills the maps that user space owns.
pub fn fill(bpf: &mut Ebpf, memory: &Memory) -> Result<()> {
    if let Some(config) = memory.config {
        array(bpf, map::CONFIG, [(0, config)])?;
    }
    array(bpf, map::SLOTS, memory.slots.iter().map(|(i, id)| (*i, *id)))?;
    array(bpf, map::BACKENDS, memory.backends.iter().map(|(i, b)| (*i, *b)))?;
    array(bpf, map::SERVICES, service_rows::table(memory.services.iter().map(|(key, value)| (*key, *value))))?;
    array(bpf, map::RATES, memory.rates.borrow().iter().map(|(i, rate)| (*i, *rate)))?;
    hash(bpf, map::PODS, &memory.pods)?;
    hash(bpf, map::VETHS, &memory.veths)?;
    let found = bpf.map_mut(map::ROUTES).context(map::ROUTES)?;
    let mut routes = lpm_trie::LpmTrie::<&mut MapData, Raw<abi::Addr>, Raw<abi::RouteValue>>::try_from(found)?;
    for (key, value) in &memory.routes {
        routes.insert(&lpm_trie::Key::new(key.prefix_len, Raw(key.addr)), Raw(*value), 0)?;
    }
    let found = bpf.map_mut(map::SOURCES).context(map::SOURCES)?;
    let mut sources = lpm_trie::LpmTrie::<&mut MapData, Raw<abi::Source>, u32>::try_from(found)?;
    for key in &memory.sources {
        sources.insert(&lpm_trie::Key::new(key.prefix_len, Raw(key.source)), 1, 0)?;
    }
    policy(bpf, memory)
}

/// Fills the policy tables, whatever they hold. As on a node, what packets see changes last.
pub fn policy(bpf: &mut Ebpf, memory: &Memory) -> Result<()> {
    let found = bpf.map_mut(map::IDENTITIES).context(map::IDENTITIES)?;
    let mut identities = lpm_trie::LpmTrie::<&mut MapData, [u32; 5], u32>::try_from(found)?;
    let stale: Vec<_> = identities.keys().collect::<Result<_, _>>()?;
    stale.iter().try_for_each(|key| identities.remove(key))?;
    for (IdentityKey { prefix_len, bank, addr }, number) in &memory.identities {
        let [a, b, c, d] = addr.0;
        identities.insert(&lpm_trie::Key::new(*prefix_len, [*bank, a, b, c, d]), number, 0)?;
    }
    let found = bpf.map_mut(map::RULES).context(map::RULES)?;
    let mut rules = lpm_trie::LpmTrie::<&mut MapData, [u32; 4], u32>::try_from(found)?;
    let stale: Vec<_> = rules.keys().collect::<Result<_, _>>()?;
    stale.iter().try_for_each(|key| rules.remove(key))?;
    for (RuleKey { prefix_len, bank, ruleset, identity, direction, proto, port }, action) in &memory.rules {
        let [high, low] = port.0.to_ne_bytes();
        let packet = u32::from_ne_bytes([*direction, *proto, high, low]);
        rules.insert(&lpm_trie::Key::new(*prefix_len, [*bank, *ruleset, *identity, packet]), action, 0)?;
    }
    anyhow::ensure!(memory.seats.keys().all(|index| SEATS.contains(index)), "seats beyond {SEATS:?}");
    let seats = SEATS.map(|index| (index, memory.seats.get(&index).copied().unwrap_or_default()));
    array(bpf, map::SEATS, seats)?;
    array(bpf, map::GENERATION, [(0, memory.generation)])
}

fn array<T: Plain + 'static>(bpf: &mut Ebpf, name: &str, values: impl IntoIterator<Item = (u32, T)>) -> Result<()> {
    let mut array = Array::<&mut MapData, Raw<T>>::try_from(bpf.map_mut(name).with_context(|| name.to_owned())?)?;
    for (index, value) in values {
        array.set(index, Raw(value), 0)?;
    }
    Ok(())
}

fn hash<K: Plain + 'static, V: Plain + 'static>(bpf: &mut Ebpf, name: &str, values: &BTreeMap<K, V>) -> Result<()> {
    let found = bpf.map_mut(name).with_context(|| name.to_owned())?;
    let mut map = HashMap::<&mut MapData, Raw<K>, Raw<V>>::try_from(found)?;
    for (key, value) in values {
        map.insert(Raw(*key), Raw(*value), 0)?;
    }
    Ok(())
}

/// Reads a hash map.
pub fn read<K: Plain + Ord + 'static, V: Plain + 'static>(bpf: &Ebpf, name: &str) -> Result<BTreeMap<K, V>> {
    let map = HashMap::<&MapData, Raw<K>, Raw<V>>::try_from(bpf.map(name).with_context(|| name.to_owned())?)?;
    map.iter().map(|entry| entry.map(|(k, v)| (k.0, v.0)).map_err(Into::into)).collect()
}

/// Empties a hash map.
pub fn clear<K: Plain + Ord + 'static, V: Plain + 'static>(bpf: &mut Ebpf, name: &str) -> Result<()> {
    let keys: Vec<K> = read::<K, V>(bpf, name)?.into_keys().collect();
    let found = bpf.map_mut(name).with_context(|| name.to_owned())?;
    let mut map = HashMap::<&mut MapData, Raw<K>, Raw<V>>::try_from(found)?;
    for key in keys {
        map.remove(&Raw(key))?;
    }
    Ok(())
}

/// The counters that are not zero, by number, summed over CPUs.
pub fn counters(bpf: &Ebpf) -> Result<BTreeMap<u32, u64>> {
    let map = PerCpuArray::<&MapData, u64>::try_from(bpf.map(map::COUNTERS).context(map::COUNTERS)?)?;
    let sums = (0..abi::COUNTERS).map(|i| anyhow::Ok((i, map.get(&i, 0)?.iter().sum::<u64>())));
    sums.filter(|sum| !matches!(sum, Ok((_, 0)))).collect()
}

/// Empties what the programs write.
pub fn reset(bpf: &mut Ebpf) -> Result<()> {
    let found = bpf.map_mut(map::COUNTERS).context(map::COUNTERS)?;
    let mut counters = PerCpuArray::<&mut MapData, u64>::try_from(found)?;
    for i in 0..abi::COUNTERS {
        let zeroes = vec![0; nr_cpus().map_err(|(_, e)| e)?];
        counters.set(i, PerCpuValues::try_from(zeroes)?, 0)?;
    }
    let empty = packet::host::FlowMemory::new(packet::host::FLOW_BITS, 0).words();
    array(bpf, map::FLOWS, (0..).zip(empty.records))?;
    array(bpf, map::FLOW_STATES, (0..).zip(lines(&empty.states)))?;
    array(bpf, map::FLOW_INDEX, (0..).zip(lines(&empty.index)))?;
    reset_edges(bpf)?;
    clear::<FlowKey, Connection>(bpf, map::CONNECTIONS)?;
    clear::<FragmentKey, FragmentValue>(bpf, map::FRAGMENTS)?;
    array(bpf, map::HOLD_ROWS, (0..fragment::HOLD_ROWS).map(|row| (row, 0_u64)))?;
    array(bpf, map::HOLDS, (0..fragment::MAX_HOLDS).map(|slot| (slot, Hold::default())))?;
    clear::<AffinityKey, AffinityValue>(bpf, map::AFFINITY)
}

/// The fragments that wait or have waited, by slot, and the words of their rows.
pub fn holds(bpf: &Ebpf) -> Result<(BTreeMap<u32, Hold>, BTreeMap<u32, u64>)> {
    let slots = (0..).zip(elements::<Hold>(bpf, map::HOLDS)?).filter(|(_, hold)| hold.key != FragmentKey::default());
    let rows = (0..).zip(elements::<u64>(bpf, map::HOLD_ROWS)?).filter(|(_, word)| *word != 0);
    Ok((slots.collect(), rows.collect()))
}

/// The bytes in a slot.
pub fn held(bpf: &Ebpf, slot: u32, bytes: usize) -> Result<Vec<u8>> {
    let found = bpf.map(map::HELD).context(map::HELD)?;
    let all = Array::<&MapData, [u8; fragment::HELD_BYTES as usize]>::try_from(found)?.get(&slot, 0)?;
    Ok(all[..bytes].to_vec())
}

/// The flow table, word for word.
pub fn flows(bpf: &Ebpf) -> Result<FlowWords> {
    let words = |name| Ok::<_, anyhow::Error>(elements::<Line>(bpf, name)?.into_iter().flatten().collect());
    Ok(FlowWords {
        records: elements::<FlowRecord>(bpf, map::FLOWS)?,
        states: words(map::FLOW_STATES)?,
        index: words(map::FLOW_INDEX)?,
    })
}

/// Rows of the table of edges that are not all zero, and what went by in them.
pub fn edges(bpf: &Ebpf) -> Result<EdgeMemory> {
    let rows = edge_rows(bpf)?;
    let map = PerCpuArray::<&MapData, Raw<EdgeTraffic>>::try_from(bpf.map(map::TRAFFIC).context(map::TRAFFIC)?)?;
    let mut traffic = BTreeMap::new();
    for row in rows.keys() {
        let mut sum = EdgeTraffic::default();
        for one in map.get(row, 0)?.iter() {
            for (way, part) in sum.ways.iter_mut().zip(one.0.ways) {
                way.packets += part.packets;
                way.bytes += part.bytes;
            }
        }
        if sum != EdgeTraffic::default() {
            traffic.insert(*row, sum);
        }
    }
    Ok(EdgeMemory { rows: rows.into(), traffic: traffic.into() })
}

fn edge_rows(bpf: &Ebpf) -> Result<BTreeMap<u32, EdgeRow>> {
    let rows = mapped_edges(bpf)?;
    let all = (0..MAX_EDGES).filter_map(|row| Some((row, rows.get(row as usize)?)));
    Ok(all.filter(|(_, row)| *row != EdgeRow::default()).collect())
}

fn mapped_edges(bpf: &Ebpf) -> Result<Mapped<EdgeRow>> {
    let Some(aya::maps::Map::Array(data)) = bpf.map(map::EDGES) else { bail!("{} is no array", map::EDGES) };
    Ok(Mapped::new(data.fd().as_fd(), MAX_EDGES as usize)?)
}

fn reset_edges(bpf: &mut Ebpf) -> Result<()> {
    let (used, mut rows) = (edge_rows(bpf)?, mapped_edges(bpf)?);
    let found = bpf.map_mut(map::TRAFFIC).context(map::TRAFFIC)?;
    let mut traffic = PerCpuArray::<&mut MapData, Raw<EdgeTraffic>>::try_from(found)?;
    for row in used.into_keys() {
        let zeroes = vec![Raw(EdgeTraffic::default()); nr_cpus().map_err(|(_, e)| e)?];
        traffic.set(row, PerCpuValues::try_from(zeroes)?, 0)?;
        rows.set(row as usize, &EdgeRow::default());
    }
    Ok(())
}

type Line = [u64; FLOW_LINE as usize];

fn lines(words: &[u64]) -> Vec<Line> {
    words.chunks_exact(FLOW_LINE as usize).filter_map(|line| line.try_into().ok()).collect()
}

fn elements<T: Plain + 'static>(bpf: &Ebpf, name: &str) -> Result<Vec<T>> {
    let found = bpf.map(name).with_context(|| name.to_owned())?;
    let array = Array::<&MapData, Raw<T>>::try_from(found)?;
    array.iter().map(|value| Ok(value?.0)).collect()
}
