//! Session memory on the GPU: rings, frontiers and pages of every layer, and which session holds which pages.
//!
//! A page is 512 tokens of every layer and kind at once: one number names it in all pools, so one table per session is enough.

use super::sizes::{Capacity, LayerSizes, PoolSize, pages};
use crate::gpu::{Caps, Gpu, Slice};
use crate::kernels::Pool;
use crate::model::Config;
use crate::{Error, Result};

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
        })
    }
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
        Ok(Self {
            layers: config.layers.iter().map(|l| layer(l.ratio)).collect::<Result<_>>()?,
            draft: if has_draft { Some(layer(0)?) } else { None },
            page_table: gpu.buffer("page table", slots * u64::from(max_pages) * 4)?.all(),
            live: gpu.buffer("live", slots * 4)?.all(),
            sampled: gpu.buffer("sampled", slots * 4)?.all(),
            max_pages,
            free_pages: (0..capacity.sessions * max_pages).rev().collect(),
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

    /// Gives a slot and its pages back.
    pub fn close(&mut self, slot: u32) {
        if let Some(pages) = self.slots[slot as usize].take() {
            self.free_pages.extend(pages);
        }
    }

    /// Makes sure that session `slot` has pages for `tokens` tokens.
    ///
    /// # Errors
    /// No pages left; a session within its context always gets its own.
    pub fn reserve(&mut self, gpu: &Gpu, slot: u32, tokens: u32) -> Result<()> {
        let needed = pages(tokens) as usize;
        let Some(own) = self.slots[slot as usize].as_mut() else {
            return Err(Error::Refused(format!("session {slot} is closed")));
        };
        if own.len() >= needed {
            return Ok(());
        }
        while own.len() < needed {
            let page = self.free_pages.pop().ok_or_else(|| Error::Refused(format!("no cache pages left for {tokens} tokens")))?;
            own.push(page);
        }
        let row = u64::from(slot) * u64::from(self.max_pages) * 4;
        gpu.write(&self.page_table.part(row, own.len() as u64 * 4), own);
        Ok(())
    }
}
