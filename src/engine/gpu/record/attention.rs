//! The attention segment of a layer: projections, compressors, indexer, attention, output projections and the new streams.

use super::{Recorder, Streams, stride_of};
use crate::engine::gpu::cache::{CompressorCache, LayerCache};
use crate::engine::gpu::layout::{Compressor, Layer};
use crate::engine::gpu::sizes::{PAGE_TOKENS, ring_rows};
use crate::kernels::{
    Attention, AttentionBuffers, Compress, Grouping, IndexQueries, IndexScore, KvRow, Latents, LinearNormed, LowQueries, Matrix, Pass,
    Quantized, RingStore, Rings, Scores, Strided, Windows, record_attention, record_index_score, record_latents, record_linear_int8,
    record_linear_with_hc_mix, record_top_k,
};
use crate::model::frontier_rows;
use std::slice;

impl Recorder<'_> {
    /// Records the attention segment of a layer. The buffer `mix` is ready for it. The draft block's layer has no `number`.
    pub(super) fn attention(
        &self,
        pass: &mut Pass<'_>,
        (number, layer): (Option<usize>, &Layer),
        cache: &LayerCache,
        streams: &Streams<'_>,
    ) {
        let (b, c, kernels, step) = (self.buffers, self.config, self.kernels, self.data.step);
        let (normed, normed_int8) = (self.normed(), self.int8(&b.normed_int8, c.dim));
        let queries: Vec<&Matrix> = [&layer.queries].into_iter().chain(&layer.index_queries).collect();
        let read_next: Vec<&Matrix> = layer.compressor_inputs.iter().chain(queries.iter().copied()).collect();
        let inputs = Strided::whole(&b.inputs, stride_of(&layer.inputs));
        let pre = self.hc_pre_args(&layer.attn_hc, streams.now, &normed, normed_int8.as_ref());
        self.pre_and_project(pass, &pre, &layer.inputs, &inputs, &read_next);
        let (first, count) = self.data.windows_of(layer.ratio);
        let windows = Windows { list: &b.windows, angles: &b.window_angles, first, count, rows: &b.rows, live: &self.cache.live };
        let compressor_inputs = Strided::whole(b.compressor_inputs.of(number, step), stride_of(&layer.compressor_inputs));
        let project_compressor_inputs = |pass: &mut Pass<'_>| {
            if !layer.compressor_inputs.is_empty() {
                self.project(pass, &layer.compressor_inputs, (&normed, normed_int8.as_ref()), &compressor_inputs);
            }
        };
        // Where a window closes, its compressed row needs these products now. Otherwise only the rings need them, after attention.
        let closes = windows.count > 0;
        if closes {
            project_compressor_inputs(pass);
        }
        let low = Strided::whole(&b.low, c.q_rank).with_f16(self.keeps_f16);
        let keys = inputs.at(c.q_rank);
        let compressors = self.compressors(layer, cache, &compressor_inputs);
        let normed_queries = LinearNormed::each(kernels, &queries, step);
        let unnormed = LowQueries { x: inputs.clone(), rank: c.q_rank, norm: &layer.q_norm, y: &low };
        let latents = Latents {
            queries: Some(unnormed).filter(|_| normed_queries.is_none()),
            keys: keys.clone(),
            key: KvRow { dim: c.head_dim, rope: c.rope_dim, compressed: layer.ratio > 0, eps: c.norm_eps },
            kv_norm: &layer.kv_norm,
            angles: &b.angles,
            kv: &b.kv,
            compressors: compressors.clone(),
            windows,
        };
        record_latents(pass, &latents);
        let project_queries = |pass: &mut Pass<'_>, n: usize, y: &Strided| match normed_queries.as_ref().and_then(|all| all.get(n)) {
            Some(normed) => normed.record(pass, &inputs, (&layer.q_norm, c.norm_eps), y),
            None => self.project(pass, slice::from_ref(queries[n]), (&low, None), y),
        };
        // Each projection of queries is recorded where it can overlap the previous launch. The indexer's queries overlap the latents, those
        // of attention overlap the choice of the indexer, or the latents where the indexer has nothing to choose.
        if let Some(cache) = cache.index.as_ref().filter(|_| self.selects(layer.ratio)) {
            let index_queries = Strided::whole(b.index_queries.of(number, step), c.index_heads * c.index_dim);
            project_queries(pass, 1, &index_queries);
            self.select(pass, layer.ratio, cache, &index_queries, &keys.at(c.head_dim));
        }
        let queries = Strided::whole(b.queries.of(number, step), c.heads * c.head_dim);
        project_queries(pass, 0, &queries);
        let heads = Strided::whole(&b.heads, c.heads * c.head_dim).with_f16(self.keeps_f16);
        let heads_int8 = self.int8(&b.heads_int8, c.heads * c.head_dim);
        let rings = self.rings(cache, &compressors);
        let post = b.attention_post.of(number, step);
        self.attention_and_rings(pass, layer, cache, &queries, (&heads, heads_int8.as_ref()), &rings, |pass| {
            self.residual_weights(pass, &layer.attn_hc, post, &[&layer.out_a, &layer.out_b]);
            if !closes {
                project_compressor_inputs(pass);
            }
        });

        let low = Strided::whole(&b.out_low, layer.out_a.rows).with_f16(self.keeps_f16);
        let low_int8 = self.int8(&b.out_low_int8, layer.out_a.rows);
        let by_group = Grouping::Rows(c.o_rank);
        let rounded = record_linear_int8(pass, &[&layer.out_a], by_group, (&heads, heads_int8.as_ref()), (&low, low_int8.as_ref()));
        let low_int8 = low_int8.filter(|_| rounded);
        let update = self.update_args(&layer.ffn_hc, post, streams);
        if !record_linear_with_hc_mix(pass, &layer.out_b, (&low, low_int8.as_ref()), update) {
            self.project(pass, slice::from_ref(&layer.out_b), (&low, low_int8.as_ref()), &Strided::whole(&b.y, c.dim));
            self.record_update(pass, &update);
        }
    }

    /// The rings and frontiers of the layer, each with the rows that it takes.
    fn rings<'s>(&'s self, cache: &'s LayerCache, compressors: &[(Compress<'s>, Strided)]) -> Rings<'s> {
        let words = self.kernels.profile.kv.words(self.config.head_dim);
        let source = Strided::whole(&self.buffers.kv, words);
        let mut stores = vec![RingStore { ring: &cache.ring, size: ring_rows(self.config), words, source }];
        stores.extend(compressors.iter().map(|(sizes, source)| RingStore {
            ring: sizes.frontier,
            size: sizes.ring,
            words: 2 * sizes.width(),
            source: source.clone(),
        }));
        Rings { stores, live: &self.cache.live }
    }

    /// The layer's compressor and the indexer's, each with its columns of `inputs`.
    fn compressors<'s>(&'s self, layer: &'s Layer, cache: &'s LayerCache, inputs: &Strided) -> Vec<(Compress<'s>, Strided)> {
        let c = self.config;
        let mut all = Vec::new();
        let mut next = inputs.clone();
        for (weights, cache, dim) in
            [(&layer.compressor, &cache.compressor, c.head_dim), (&layer.index_compressor, &cache.index, c.index_dim)]
        {
            if let (Some(weights), Some(cache)) = (weights, cache) {
                let sizes = self.compress_sizes(layer.ratio, dim, weights, cache);
                let rest = next.at(2 * sizes.width());
                all.push((sizes, std::mem::replace(&mut next, rest)));
            }
        }
        all
    }

    fn compress_sizes<'s>(&'s self, ratio: u32, dim: u32, weights: &'s Compressor, cache: &'s CompressorCache) -> Compress<'s> {
        Compress {
            ratio,
            dim,
            rope: self.config.rope_dim,
            eps: self.config.norm_eps,
            ring: frontier_rows(ratio),
            page_rows: PAGE_TOKENS / ratio,
            max_pages: self.cache.max_pages(),
            ape: &weights.ape,
            norm: &weights.norm,
            frontier: &cache.frontier,
            pages: &cache.pages,
            page_table: &self.cache.page_table,
        }
    }

    /// Whether a row of the step sees more compressed rows than attention takes, so that the indexer must choose.
    fn selects(&self, ratio: u32) -> bool {
        (self.data.last_position + 1) / ratio > self.config.index_top_k
    }

    /// Records the indexer: the scores and the best compressed rows, for a tile of the step's rows at a time.
    fn select(&self, pass: &mut Pass<'_>, ratio: u32, cache: &CompressorCache, queries: &Strided, weights: &Strided) {
        let (b, c) = (self.buffers, self.config);
        let columns = (self.data.last_position + 1) / ratio;
        let sizes = IndexScore {
            heads: c.index_heads,
            dim: c.index_dim,
            rope: c.rope_dim,
            ratio,
            page_rows: PAGE_TOKENS / ratio,
            max_pages: self.cache.max_pages(),
            pages: &cache.pages,
            page_table: &self.cache.page_table,
        };
        let queries = IndexQueries { q: queries, angles: &b.angles, head_weights: weights };
        let tile = (b.scores.bytes / 4 / u64::from(columns)) as u32;
        for first in (0..self.t()).step_by(tile.max(1) as usize) {
            let count = tile.min(self.t() - first);
            let rows = &self.data.rows[first as usize..][..count as usize];
            let scores = Scores { rows: &b.rows, first, scores: &b.scores, columns };
            record_index_score(pass, &sizes, &queries, &scores, rows);
            record_top_k(pass, (ratio, c.index_top_k), &scores, count, &b.selected);
        }
    }

    /// Records attention, then the stores into rings and frontiers, whose former content attention and compressors read. `beside` records
    /// launches that may overlap attention.
    fn attention_and_rings(
        &self,
        pass: &mut Pass<'_>,
        layer: &Layer,
        cache: &LayerCache,
        queries: &Strided,
        (out, out_int8): (&Strided, Option<&Quantized>),
        rings: &Rings<'_>,
        beside: impl FnOnce(&mut Pass<'_>),
    ) {
        let (b, c) = (self.buffers, self.config);
        let pages = cache.compressor.as_ref().map(|compressor| &compressor.pages);
        let sizes = Attention {
            heads: c.heads,
            dim: c.head_dim,
            rope: c.rope_dim,
            norm_eps: c.norm_eps,
            window: c.window,
            ratio: layer.ratio,
            top_k: c.most_rows(layer.ratio),
            max_parts: b.counts.max_parts,
            ring_rows: ring_rows(c),
            page_rows: PAGE_TOKENS / layer.ratio.max(1),
            max_pages: self.cache.max_pages(),
            ring: &cache.ring,
            pages,
            page_table: &self.cache.page_table,
            sinks: &layer.sinks,
        };
        let buffers = AttentionBuffers {
            rows: &b.rows,
            q: queries,
            kv: &b.kv,
            selected: &b.selected,
            angles: &b.angles,
            partial: &b.partial,
            stats: &b.stats,
            scores: &b.scores,
            places: &b.places,
            out,
            out_int8,
        };
        record_attention(pass, &sizes, &buffers, rings, &self.data.keys(c, layer.ratio), beside);
    }
}
