//! Typed access to one map.
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Error;
use super::sys;

/// Entries moved by one batched call.
const BATCH: usize = 4096;

/// Types whose bytes are all meaningful, for any bytes.
///
/// # Safety
/// `repr(C)` or primitive, without padding, valid for every bit pattern.
pub unsafe trait Plain: Copy {}

// SAFETY: primitives.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: abi's structs are repr(C), padded by explicit fields (their sizes are asserted there) and made of integers.
unsafe impl Plain for abi::Addr {}
// SAFETY: as above.
unsafe impl Plain for abi::Config {}
// SAFETY: as above.
unsafe impl Plain for abi::ServiceKey {}
// SAFETY: as above.
unsafe impl Plain for abi::service::ServiceRow {}
// SAFETY: as above.
unsafe impl Plain for abi::ServiceValue {}
// SAFETY: as above.
unsafe impl Plain for abi::Backend {}
// SAFETY: as above.
unsafe impl Plain for abi::Rate {}
// SAFETY: as above.
unsafe impl Plain for abi::PodValue {}
// SAFETY: as above.
unsafe impl Plain for abi::VethValue {}
// SAFETY: as above.
unsafe impl Plain for abi::RouteKey {}
// SAFETY: as above.
unsafe impl Plain for abi::RouteValue {}
// SAFETY: as above.
unsafe impl Plain for abi::SourceKey {}
// SAFETY: as above.
unsafe impl Plain for abi::Source {}

// SAFETY: as above.
unsafe impl Plain for abi::FlowKey {}
// SAFETY: as above.
unsafe impl Plain for abi::flow::FlowRecord {}
// SAFETY: as above.
unsafe impl Plain for abi::flow::FlowRun {}
// SAFETY: as above.
unsafe impl Plain for abi::FragmentKey {}
// SAFETY: as above.
unsafe impl Plain for abi::FragmentValue {}
// SAFETY: as above.
unsafe impl Plain for abi::Hold {}
// SAFETY: as above.
unsafe impl Plain for abi::AffinityKey {}
// SAFETY: as above.
unsafe impl Plain for abi::AffinityValue {}

// SAFETY: as above.
unsafe impl Plain for abi::edge::EdgeRow {}
// SAFETY: as above.
unsafe impl Plain for abi::edge::EdgeTraffic {}
// SAFETY: as above.
unsafe impl Plain for abi::event::Event {}
// SAFETY: as above.
unsafe impl Plain for abi::balance::Vip {}
// SAFETY: as above.
unsafe impl Plain for abi::balance::Backend {}
// SAFETY: as above.
unsafe impl Plain for abi::balance::Config {}
// SAFETY: as above.
unsafe impl Plain for abi::balance::Traffic {}
// SAFETY: an array of what is plain has no padding either.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}
// SAFETY: as above.
unsafe impl Plain for abi::SeatValue {}
// SAFETY: as above.
unsafe impl Plain for abi::IdentityKey {}
// SAFETY: as above.
unsafe impl Plain for abi::RuleKey {}
// SAFETY: as above.
unsafe impl Plain for abi::Connection {}
// SAFETY: as above.
unsafe impl Plain for abi::UplinkRun {}

/// A plain value for aya's own maps, whose trait abi does not know.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Raw<T>(pub T);

// SAFETY: what `Plain` promises is what `Pod` asks for.
unsafe impl<T: Plain + 'static> aya::Pod for Raw<T> {}

/// A map with keys `K` and values `V`.
pub struct Table<K, V> {
    name: &'static str,
    fd: OwnedFd,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Plain, V: Plain> Table<K, V> {
    /// Wraps a map whose sizes were checked to be those of `K` and `V`.
    pub fn new(name: &'static str, fd: OwnedFd) -> Table<K, V> {
        Table { name, fd, types: PhantomData }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn get(&self, key: &K) -> Result<Option<V>, Error> {
        let mut values = vec![0_u8; size_of::<V>()];
        let found = sys::lookup(self.fd(), bytes(std::slice::from_ref(key)), &mut values);
        let found = found.map_err(|e| self.fail("look up in", e))?;
        Ok(found.then(|| read::<V>(&values, 0)))
    }

    pub fn put(&self, key: &K, value: &V) -> Result<(), Error> {
        let (key, value) = (bytes(std::slice::from_ref(key)), bytes(std::slice::from_ref(value)));
        sys::update(self.fd(), key, value).map_err(|e| self.fail("write to", e))
    }

    /// Removes an entry; absent is fine.
    pub fn remove(&self, key: &K) -> Result<(), Error> {
        let removed = sys::delete(self.fd(), bytes(std::slice::from_ref(key)));
        removed.map(drop).map_err(|e| self.fail("delete from", e))
    }

    /// Removes many entries; absent is fine.
    pub fn remove_all(&self, keys: &[K]) -> Result<(), Error> {
        keys.iter().try_for_each(|key| self.remove(key))
    }

    /// Writes many entries, in order.
    pub fn put_all(&self, keys: &[K], values: &[V]) -> Result<(), Error> {
        if let ([key], [value]) = (keys, values) {
            return self.put(key, value);
        }
        for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
            sys::update_batch(self.fd(), bytes(keys), bytes(values), keys.len() as u32)
                .map_err(|e| self.fail("write to", e))?;
        }
        Ok(())
    }

    /// All entries, in the map's own order.
    pub fn entries(&self) -> Result<Vec<(K, V)>, Error> {
        let mut keys = vec![0_u8; BATCH * size_of::<K>()];
        let mut values = vec![0_u8; BATCH * size_of::<V>()];
        let mut cursor = [0; sys::CURSOR];
        let mut out = Vec::new();
        let (mut first, mut more) = (true, true);
        while more {
            let count;
            let batch = sys::lookup_batch(self.fd(), &mut cursor, first, &mut keys, &mut values, BATCH as u32);
            (count, more) = batch.map_err(|e| self.fail("read", e))?;
            out.extend((0..count as usize).map(|i| (read::<K>(&keys, i), read::<V>(&values, i))));
            first = false;
        }
        Ok(out)
    }

    fn fail(&self, what: &'static str, source: io::Error) -> Error {
        Error::Map { what, map: self.name, source }
    }
}

fn bytes<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: Plain types have no padding, so all of their bytes are initialised.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The `index`th `T` of what a map gave.
pub fn read<T: Plain>(bytes: &[u8], index: usize) -> T {
    let at = &bytes[index * size_of::<T>()..][..size_of::<T>()];
    // SAFETY: `at` holds the bytes of one T, and every bit pattern is a T.
    unsafe { std::ptr::read_unaligned(at.as_ptr().cast()) }
}
