//! Session memory on the GPU: rings, frontiers and pages of every layer, and which session holds which pages.
//!
//! A page is 512 tokens of every layer and kind at once: one number names it in all pools, so one table per session is enough. Sessions may
//! share a page; whoever writes to a shared page first gets a copy of its own.

use super::sizes::{Capacity, LayerSizes, PAGE_TOKENS, PoolSize, pages};
use crate::gpu::{Caps, Gpu, Slice};
use crate::kernels::Pool;
use crate::model::Config;
use crate::{Error, Result};
use std::ops::Range;

/// A compressor's memory.
#[derive(Debug)]
pub struct CompressorCache {
    /// Values and gates of open windows.
    pub frontier: Pool,
    /// Rows of closed ones.
    pub pages: Pool,
}

/// A layer's memory.
#[derive(Debug)]
pub struct LayerCache {
    /// Window keys.
    pub ring: Pool,
    /// The layer's compressor.
    pub compressor: Option<CompressorCache>,
    /// The indexer's.
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

    /// The pools that a slot has neighbouring units of, and how many.
    fn slot_pools(&self, slots: u64) -> impl Iterator<Item = (&Pool, PoolSize, u64)> {
        let compressors = [(&self.compressor, self.sizes.compressor), (&self.index, self.sizes.index)];
        let frontiers = compressors.into_iter().filter_map(|(cache, sizes)| Some((&cache.as_ref()?.frontier, sizes?.0)));
        let pools = std::iter::once((&self.ring, self.sizes.ring)).chain(frontiers);
        pools.map(move |(pool, size)| (pool, size, size.units / slots))
    }

    /// The pools that have pages.
    fn page_pools(&self) -> impl Iterator<Item = (&Pool, PoolSize)> {
        let compressors = [(&self.compressor, self.sizes.compressor), (&self.index, self.sizes.index)];
        compressors.into_iter().filter_map(|(cache, sizes)| Some((&cache.as_ref()?.pages, sizes?.1)))
    }
}

/// `units` of a pool: one range, or several where they lie in several segments.
fn ranges(pool: &Pool, size: PoolSize, units: Range<u64>) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut first = units.start;
    while first < units.end {
        let (segment, at) = (first / size.held, first % size.held);
        let count = (units.end - first).min(size.held - at);
        slices.push(pool.segments[segment as usize].part(at * size.unit, count * size.unit));
        first += count;
    }
    slices
}

fn allocate(gpu: &Gpu, label: &str, size: PoolSize) -> Result<Pool> {
    let segments = (0..size.units).step_by(size.held.max(1) as usize).map(|first| {
        let units = size.held.min(size.units - first);
        Ok(gpu.buffer(label, units * size.unit)?.all())
    });
    Ok(Pool { segments: segments.collect::<Result<_>>()?, held: size.held as u32 })
}

/// The memory of all sessions.
#[derive(Debug)]
pub struct Cache {
    /// Of each layer.
    pub layers: Vec<LayerCache>,
    /// Of the draft block's layer.
    pub draft: Option<LayerCache>,
    /// Pool pages of each session (slots, max_pages).
    pub page_table: Slice,
    /// 1 while a session may write its state (slots).
    pub live: Slice,
    /// The id that each session sampled last (slots).
    pub sampled: Slice,
    max_pages: u32,
    free_pages: Vec<u32>,
    /// How many sessions hold each page.
    holders: Vec<u32>,
    /// Pages of each open session; `None`: the slot is free.
    slots: Vec<Option<Vec<u32>>>,
}

impl Cache {
    /// Takes the memory for `capacity`.
    ///
    /// # Errors
    /// No memory left.
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

    /// Pages in a session's table.
    pub fn max_pages(&self) -> u32 {
        self.max_pages
    }

    /// A free slot.
    ///
    /// # Errors
    /// All are taken.
    pub fn open(&mut self) -> Result<u32> {
        let count = self.slots.len();
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.ok_or_else(|| Error::Refused(format!("all {count} session(s) that the engine has room for are in use")))?;
        self.slots[slot] = Some(Vec::new());
        Ok(slot as u32)
    }

    /// Gives a slot back, and the pages that no other session holds.
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

    /// Makes sure that session `slot` has pages of its own for the rows that it is about to write.
    ///
    /// # Errors
    /// No pages left; a session within its context always gets its own.
    pub fn reserve(&mut self, gpu: &Gpu, slot: u32, rows: Range<u32>) -> Result<()> {
        let mut own = self.pages_of(slot)?.to_vec();
        let (written, before) = (rows.start / PAGE_TOKENS..pages(rows.end), own.clone());
        for at in written {
            let shared = own.get(at as usize).copied().filter(|page| self.holders[*page as usize] > 1);
            if shared.is_none() && (at as usize) < own.len() {
                continue;
            }
            let page = self.free_pages.pop().ok_or_else(|| Error::Refused(format!("no cache pages left for {} tokens", rows.end)))?;
            self.holders[page as usize] = 1;
            match shared {
                Some(shared) => {
                    self.copy_page(gpu, shared, page)?;
                    self.release(shared);
                    own[at as usize] = page;
                }
                None => own.push(page),
            }
        }
        if own != before {
            self.set_pages(gpu, slot, own);
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

    /// Everything that session `slot` keeps behind `position` tokens, in an order that depends on the position alone.
    ///
    /// # Errors
    /// The session is closed.
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

    /// A free slot with a copy of session `slot`, which has `position` tokens: rings and frontiers are copied, pages shared.
    ///
    /// # Errors
    /// No free slot; the device fails.
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

/// The units of a slot in a pool of `each` units a slot.
fn slot_units(slot: u32, each: u64) -> Range<u64> {
    u64::from(slot) * each..(u64::from(slot) + 1) * each
}

/// Two lists of ranges with as many bytes in all, cut alike.
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
