//! The state of sessions on the GPU: rings, frontiers and pages of every layer, and the page table.
//!
//! A page has the compressed rows of 512 tokens. One number names a page in the pools of all layers, so one table per session is enough.
//! Sessions may share a page. It is copied before one of them writes to it.

use super::sizes::{Capacity, LayerSizes, PAGE_TOKENS, PoolSize, pages};
use crate::gpu::{Caps, Gpu, Slice};
use crate::kernels::Pool;
use crate::model::Config;
use crate::{Error, Result};
use std::ops::Range;

/// The state of a compressor in all sessions.
#[derive(Debug)]
pub struct CompressorCache {
    /// Values and gates of open windows.
    pub frontier: Pool,
    /// Compressed rows of closed windows.
    pub pages: Pool,
}

/// The state of a layer in all sessions.
#[derive(Debug)]
pub struct LayerCache {
    /// Keys of the sliding windows.
    pub ring: Pool,
    /// The compressor of the layer's keys, where the layer has one.
    pub compressor: Option<CompressorCache>,
    /// The compressor of the indexer's keys, where the layer has one.
    pub index: Option<CompressorCache>,
    sizes: LayerSizes,
}

impl LayerCache {
    fn new(gpu: &Gpu, sizes: &LayerSizes) -> Result<Self> {
        let compressor = |label: &str, sizes: Option<(PoolSize, PoolSize)>| {
            sizes
                .map(|(frontier, pages)| {
                    Ok(CompressorCache { frontier: allocate(gpu, label, frontier)?, pages: allocate(gpu, label, pages)? })
                })
                .transpose()
        };
        Ok(Self {
            ring: allocate(gpu, "ring", sizes.ring)?,
            compressor: compressor("compressed rows", sizes.compressor)?,
            index: compressor("index rows", sizes.index)?,
            sizes: *sizes,
        })
    }

    /// The pools in which each slot has a range of units (ring and frontiers), with the number of units of a slot.
    fn slot_pools(&self, slots: u64) -> impl Iterator<Item = (&Pool, PoolSize, u64)> {
        let compressors = [(&self.compressor, self.sizes.compressor), (&self.index, self.sizes.index)];
        let frontiers = compressors.into_iter().filter_map(|(cache, sizes)| Some((&cache.as_ref()?.frontier, sizes?.0)));
        let pools = std::iter::once((&self.ring, self.sizes.ring)).chain(frontiers);
        pools.map(move |(pool, size)| (pool, size, size.units / slots))
    }

    /// The pools of pages.
    fn page_pools(&self) -> impl Iterator<Item = (&Pool, PoolSize)> {
        let compressors = [(&self.compressor, self.sizes.compressor), (&self.index, self.sizes.index)];
        compressors.into_iter().filter_map(|(cache, sizes)| Some((&cache.as_ref()?.pages, sizes?.1)))
    }
}

/// The ranges of memory that hold `units` of a pool: one range, or one in each segment that they are in.
fn ranges(pool: &Pool, size: PoolSize, units: Range<u64>) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut first = units.start;
    while first < units.end {
        let (segment, at) = (first / size.units_per_segment, first % size.units_per_segment);
        let count = (units.end - first).min(size.units_per_segment - at);
        slices.push(pool.segments[segment as usize].part(at * size.unit, count * size.unit));
        first += count;
    }
    slices
}

fn allocate(gpu: &Gpu, label: &str, size: PoolSize) -> Result<Pool> {
    let segments = (0..size.units).step_by(size.units_per_segment.max(1) as usize).map(|first| {
        let units = size.units_per_segment.min(size.units - first);
        Ok(gpu.buffer(label, units * size.unit)?.all())
    });
    Ok(Pool { segments: segments.collect::<Result<_>>()?, units_per_segment: size.units_per_segment as u32 })
}

/// The state of all sessions.
#[derive(Debug)]
pub struct Cache {
    /// The state of each layer.
    pub layers: Vec<LayerCache>,
    /// The state of the draft block's layer, where a draft block is loaded.
    pub draft: Option<LayerCache>,
    /// Numbers of the pages of each session (slots, max_pages).
    pub page_table: Slice,
    /// 1 while a session is live, 0 after it has stopped (slots).
    pub live: Slice,
    /// The newest id that each session sampled (slots).
    pub sampled: Slice,
    max_pages: u32,
    free_pages: Vec<u32>,
    /// Number of sessions that hold each page.
    holders: Vec<u32>,
    /// Pages of the session in each slot, or `None` for a free slot.
    slots: Vec<Option<Vec<u32>>>,
}

impl Cache {
    /// Allocates the memory for `capacity`.
    ///
    /// # Errors
    /// Where no memory is left.
    pub fn new(gpu: &Gpu, config: &Config, capacity: &Capacity, has_draft: bool) -> Result<Self> {
        let caps: &Caps = gpu.caps();
        let layer = |ratio: u32| LayerCache::new(gpu, &LayerSizes::new(config, ratio, capacity, caps)?);
        let max_pages = pages(capacity.context);
        let slots = u64::from(capacity.sessions);
        let page_count = capacity.sessions * max_pages;
        Ok(Self {
            layers: config.layers.iter().map(|l| layer(l.ratio)).collect::<Result<_>>()?,
            draft: if has_draft { Some(layer(0)?) } else { None },
            page_table: gpu.buffer("page table", slots * u64::from(max_pages) * 4)?.all(),
            live: gpu.buffer("live", slots * 4)?.all(),
            sampled: gpu.buffer("sampled", slots * 4)?.all(),
            max_pages,
            free_pages: (0..page_count).rev().collect(),
            holders: vec![0; page_count as usize],
            slots: vec![None; capacity.sessions as usize],
        })
    }

    /// The largest number of pages of a session, which is the length of its row in the page table.
    pub fn max_pages(&self) -> u32 {
        self.max_pages
    }

    /// Takes a free slot for an empty session.
    ///
    /// # Errors
    /// Where all slots are taken.
    pub fn open(&mut self) -> Result<u32> {
        let count = self.slots.len();
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.ok_or_else(|| Error::Refused(format!("all {count} session(s) that the engine has room for are in use")))?;
        self.slots[slot] = Some(Vec::new());
        Ok(slot as u32)
    }

    /// Frees a slot, and the pages that no other session holds.
    pub fn close(&mut self, slot: u32) {
        for page in self.slots[slot as usize].take().unwrap_or_default() {
            self.release(page);
        }
    }

    fn release(&mut self, page: u32) {
        let holders = &mut self.holders[page as usize];
        *holders -= 1;
        if *holders == 0 {
            self.free_pages.push(page);
        }
    }

    fn pages_of(&self, slot: u32) -> Result<&[u32]> {
        self.slots[slot as usize].as_deref().ok_or_else(|| Error::Refused(format!("session {slot} is closed")))
    }

    /// Gives session `slot` the pages for the rows that it is about to write. A page that other sessions hold too is copied.
    ///
    /// # Errors
    /// Where no page is free, which does not happen to a session within its context, or where the device fails.
    pub fn reserve(&mut self, gpu: &Gpu, slot: u32, rows: Range<u32>) -> Result<()> {
        let mut held = self.pages_of(slot)?.to_vec();
        let (written, before) = (rows.start / PAGE_TOKENS..pages(rows.end), held.clone());
        for at in written {
            let shared = held.get(at as usize).copied().filter(|page| self.holders[*page as usize] > 1);
            if shared.is_none() && (at as usize) < held.len() {
                continue;
            }
            let page = self.free_pages.pop().ok_or_else(|| Error::Refused(format!("no cache pages left for {} tokens", rows.end)))?;
            self.holders[page as usize] = 1;
            match shared {
                Some(shared) => {
                    self.copy_page(gpu, shared, page)?;
                    self.release(shared);
                    held[at as usize] = page;
                }
                None => held.push(page),
            }
        }
        if held != before {
            self.set_pages(gpu, slot, held);
        }
        Ok(())
    }

    fn set_pages(&mut self, gpu: &Gpu, slot: u32, pages: Vec<u32>) {
        let row = u64::from(slot) * u64::from(self.max_pages) * 4;
        gpu.write(&self.page_table.part(row, pages.len() as u64 * 4), &pages);
        self.slots[slot as usize] = Some(pages);
    }

    fn all_layers(&self) -> impl Iterator<Item = &LayerCache> {
        self.layers.iter().chain(&self.draft)
    }

    fn copy_page(&self, gpu: &Gpu, from: u32, to: u32) -> Result<()> {
        let page = |pool, size, page| ranges(pool, size, u64::from(page)..u64::from(page) + 1);
        let copies = self
            .all_layers()
            .flat_map(LayerCache::page_pools)
            .flat_map(|(pool, size)| page(pool, size, from).into_iter().zip(page(pool, size, to)));
        gpu.copy(&copies.collect::<Vec<_>>())
    }

    /// The ranges of memory with the state of session `slot`, which has `position` tokens. Their number and sizes depend on the position
    /// alone.
    ///
    /// # Errors
    /// Where the session is closed.
    pub fn state(&self, slot: u32, position: u32) -> Result<Vec<Slice>> {
        let held = &self.pages_of(slot)?[..pages(position) as usize];
        let slots = self.slots.len() as u64;
        let mut slices = Vec::new();
        for layer in self.all_layers() {
            slices.extend(layer.slot_pools(slots).flat_map(|(pool, size, each)| ranges(pool, size, slot_units(slot, each))));
            slices.extend(
                layer
                    .page_pools()
                    .flat_map(|(pool, size)| held.iter().flat_map(move |&page| ranges(pool, size, u64::from(page)..u64::from(page) + 1))),
            );
        }
        Ok(slices)
    }

    /// Takes a free slot for a copy of session `slot`, which has `position` tokens. Rings and frontiers are copied, pages are shared.
    ///
    /// # Errors
    /// Where no slot is free, or the device fails.
    pub fn fork(&mut self, gpu: &Gpu, slot: u32, position: u32) -> Result<u32> {
        let held = self.pages_of(slot)?[..pages(position) as usize].to_vec();
        let copy = self.open()?;
        held.iter().for_each(|page| self.holders[*page as usize] += 1);
        self.set_pages(gpu, copy, held);
        let slots = self.slots.len() as u64;
        let mut copies = Vec::new();
        for (pool, size, each) in self.all_layers().flat_map(|layer| layer.slot_pools(slots)) {
            let [from, to] = [slot, copy].map(|slot| ranges(pool, size, slot_units(slot, each)));
            copies.extend(pairs(&from, &to));
        }
        gpu.copy(&copies)?;
        Ok(copy)
    }
}

/// The units of `slot` in a pool with `each` units for every slot.
fn slot_units(slot: u32, each: u64) -> Range<u64> {
    u64::from(slot) * each..(u64::from(slot) + 1) * each
}

/// Pairs of equally long ranges to copy, from two lists of ranges that have the same total length.
fn pairs(from: &[Slice], to: &[Slice]) -> Vec<(Slice, Slice)> {
    let (mut pairs, mut at) = (Vec::new(), (0, 0));
    let (mut from, mut to) = (from.iter(), to.iter());
    let (mut source, mut target) = (from.next(), to.next());
    while let (Some(a), Some(b)) = (source, target) {
        let bytes = (a.bytes - at.0).min(b.bytes - at.1);
        pairs.push((a.part(at.0, bytes), b.part(at.1, bytes)));
        at = (at.0 + bytes, at.1 + bytes);
        if at.0 == a.bytes {
            (source, at.0) = (from.next(), 0);
        }
        if at.1 == b.bytes {
            (target, at.1) = (to.next(), 0);
        }
    }
    pairs
}
