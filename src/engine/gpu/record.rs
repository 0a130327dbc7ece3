//! A step through the model as recordings: the embedding and two segments for each layer, then the output head and the draft block.

use super::buffers::Buffers;
use super::cache::{Cache, CompressorCache, LayerCache};
use super::layout::{Compressor, GpuModel, GpuMtp, Layer, RoutingTable};
use super::sizes::{PAGE_TOKENS, RowSizes, ring_rows};
use super::step_data::StepData;
use crate::gpu::{Recording, Slice};
use crate::kernels::{
    Ahead, Attention, AttentionBuffers, Compress, DECODE_ROWS, Grouping, HcEnter, HcLeave, HcPost, HcRows, HcWeights, IndexScore, Kit,
    KvRow, Latents, LinearNormed, LowQueries, Matrix, Moe, MoeInt8, MoeScratch, Quantized, RingStore, Rings, Router, Routing,
    SampleBuffers, SharedAct, Strided, Windows, record_attention, record_embed, record_hc_mix, record_hc_pre, record_hc_sinkhorn,
    record_index_score, record_latents, record_linear, record_linear_int8, record_linear_leaving, record_moe, record_moe_int8,
    record_mtp_join, record_rms_norm, record_router, record_sample, record_top_k,
};
use crate::model::{Config, Tap, frontier_rows};
use std::slice;

/// Everything that recording a step reads.
pub struct Recorder<'a> {
    pub kit: &'a Kit,
    pub config: &'a Config,
    pub model: &'a GpuModel,
    pub cache: &'a Cache,
    pub buffers: &'a Buffers,
    pub data: &'a StepData,
    /// Activations between kernels are f16: what a long step's matrices multiply anyway.
    pub half: bool,
}

/// The launches of half a layer, and what can be looked at behind them before the next half reuses the buffers.
pub struct Segment {
    pub recording: Recording,
    pub taps: Vec<(Tap, Slice)>,
    /// The layer that it completes.
    pub layer_done: Option<usize>,
}

/// The streams that a sub-layer reads and the ones that it writes.
struct Streams<'a> {
    now: &'a Slice,
    next: &'a Slice,
}

/// Rows of a part of the buffer `inputs`: strides are multiples of 8 floats, so that every kernel can read them as vectors.
fn stride_of(matrices: &[Matrix]) -> u32 {
    matrices.iter().map(|m| m.rows).sum::<u32>().next_multiple_of(8)
}

impl Recorder<'_> {
    fn t(&self) -> u32 {
        self.data.rows.len() as u32
    }

    /// The embedding with the first layer's attention, its experts, and so on to the last layer's experts. The streams end where they began.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        let layers = &self.model.layers;
        layers.iter().enumerate().flat_map(|(l, layer)| {
            let mut attention = Recording::new();
            let [a, z] = &self.buffers.streams;
            if l == 0 {
                self.embed(&mut attention, &layer.attn_hc, a);
            }
            self.attention(&mut attention, (Some(l), layer), &self.cache.layers[l], &Streams { now: a, next: z });
            let mut experts = Recording::new();
            let next = layers.get(l + 1).map_or(&self.model.head_hc, |next| &next.attn_hc);
            self.experts(&mut experts, (Some(l), layer), next, &Streams { now: z, next: a });
            [
                Segment { recording: attention, taps: self.attention_taps(l, layer.ratio), layer_done: None },
                Segment { recording: experts, taps: self.experts_taps(l), layer_done: Some(l) },
            ]
        })
    }

    fn attention_taps(&self, l: usize, ratio: u32) -> Vec<(Tap, Slice)> {
        let (b, sizes, rows) = (self.buffers, RowSizes::new(self.config, self.kit.dialect.kv), u64::from(self.t()) * 4);
        let mut taps = vec![
            (Tap::AttentionIn(l), b.normed.part(0, rows * sizes.normed)),
            (Tap::QueryLow(l), b.low.part(0, rows * sizes.low)),
            (Tap::Heads(l), b.heads.part(0, rows * sizes.heads)),
            (Tap::OutLow(l), b.out_low.part(0, rows * sizes.out_low)),
            (Tap::AttentionOut(l), b.y.part(0, rows * sizes.y)),
        ];
        if ratio == 4 {
            taps.push((Tap::Selected(l), b.selected.part(0, rows * sizes.selected)));
        }
        taps
    }

    fn experts_taps(&self, l: usize) -> Vec<(Tap, Slice)> {
        let (b, sizes, rows) = (self.buffers, RowSizes::new(self.config, self.kit.dialect.kv), u64::from(self.t()) * 4);
        vec![
            (Tap::ExpertsIn(l), b.normed.part(0, rows * sizes.normed)),
            (Tap::Chosen(l), b.chosen.part(0, rows * sizes.routes)),
            (Tap::ChosenWeights(l), b.weights.part(0, rows * sizes.routes)),
            (Tap::SharedAct(l), b.shared.part(0, rows * sizes.shared)),
            (Tap::RoutedAct(l), b.act.part(0, rows * sizes.act)),
            (Tap::ExpertsOut(l), b.y.part(0, rows * sizes.y)),
            (Tap::Hidden(l), b.streams[0].part(0, rows * sizes.streams)),
        ]
    }

    /// Embeddings of the step's tokens, and their mix for the sub-layer of `hc`. -> streams.
    fn embed(&self, rec: &mut Recording, hc: &HcWeights, streams: &Slice) {
        let (b, t) = (self.buffers, self.t());
        record_embed(rec, self.kit, &self.model.embed, &b.rows, &self.cache.sampled, streams, t);
        record_hc_mix(rec, self.kit, hc, streams, None, &b.mix, self.data.step);
    }

    /// Input of a sub-layer (T, D).
    fn normed(&self) -> Strided {
        Strided::whole(&self.buffers.normed, self.config.dim).halved(self.half)
    }

    /// Rows of `columns` values in `slice`, where this step rounds activations to int8.
    fn int8(&self, slice: &Slice, columns: u32) -> Option<Quantized> {
        Quantized::new(&self.kit.dialect, slice, columns, self.data.step)
    }

    /// `y` = the rows of all `matrices` times `x`, which may be at hand rounded too.
    fn project(&self, rec: &mut Recording, matrices: &[Matrix], x: (&Strided, Option<&Quantized>), y: &Strided) {
        let matrices: Vec<&Matrix> = matrices.iter().collect();
        record_linear_int8(rec, self.kit, &matrices, Grouping::Shared, x, (y, None), self.data.step);
    }

    /// `matrices`, in the order of their places, to ask for in decode steps: a long one has enough to multiply meanwhile.
    fn ahead(&self, matrices: &[&Matrix]) -> Vec<Ahead> {
        if self.kit.dialect.int8() && self.data.step.are_few() { Ahead::of(matrices) } else { Vec::new() }
    }

    /// The input of a sub-layer, while `matrices` and those `behind` them are asked for, and `inputs` = the rows of all `matrices` times it.
    fn enter(&self, rec: &mut Recording, enter: &HcEnter<'_>, matrices: &[Matrix], inputs: &Strided, behind: &[&Matrix]) {
        let ahead = self.ahead(&[&matrices.iter().collect::<Vec<_>>(), behind].concat());
        record_hc_pre(rec, self.kit, enter, &ahead, HcRows::All(self.data.step));
        self.project(rec, matrices, (enter.normed, enter.normed_int8), inputs);
    }

    /// What comes before the sub-layer or the head of `weights`.
    fn entering<'s>(
        &'s self,
        weights: &'s HcWeights,
        x: &'s Slice,
        normed: &'s Strided,
        normed_int8: Option<&'s Quantized>,
    ) -> HcEnter<'s> {
        let (b, c) = (self.buffers, self.config);
        HcEnter { weights, mix: &b.mix, x, normed, normed_int8, hc_eps: c.hc_eps, norm_eps: c.norm_eps, unread: &b.unread }
    }

    /// What the residual of the sub-layer of `hc` needs, while the matrices `ahead` are asked for.
    fn weigh(&self, rec: &mut Recording, hc: &HcWeights, post: &Slice, ahead: &[&Matrix]) {
        let c = self.config;
        let constants = (c.sinkhorn_iterations, c.hc_eps, c.norm_eps);
        record_hc_sinkhorn(rec, self.kit, hc, &self.buffers.mix, post, constants, &self.ahead(ahead), self.data.step);
    }

    /// The residual, with the mix for what reads the streams next: the sub-layer or the head of `weights`.
    fn leaving<'s>(&'s self, weights: &'s HcWeights, post: &'s Slice, streams: &Streams<'s>) -> HcLeave<'s> {
        let b = self.buffers;
        let residual = HcPost { post, y: &b.y, next: streams.next };
        HcLeave { weights, x: streams.now, residual, mix: &b.mix }
    }

    fn leave(&self, rec: &mut Recording, leave: &HcLeave<'_>) {
        record_hc_mix(rec, self.kit, leave.weights, leave.x, Some(leave.residual), leave.mix, self.data.step);
    }

    /// The attention half of a layer, whose mix has been made. `number`: the layer's, unless it is the draft block's.
    fn attention(&self, rec: &mut Recording, (number, layer): (Option<usize>, &Layer), cache: &LayerCache, streams: &Streams<'_>) {
        let (b, c, kit, step) = (self.buffers, self.config, self.kit, self.data.step);
        let (normed, normed_int8) = (self.normed(), self.int8(&b.normed_int8, c.dim));
        let queries: Vec<&Matrix> = [&layer.queries].into_iter().chain(&layer.index_queries).collect();
        let behind: Vec<&Matrix> = layer.fresh.iter().chain(queries.iter().copied()).collect();
        let own = b.of_layer(number, step);
        let inputs = Strided::whole(&b.inputs, stride_of(&layer.inputs));
        self.enter(rec, &self.entering(&layer.attn_hc, streams.now, &normed, normed_int8.as_ref()), &layer.inputs, &inputs, &behind);
        let (first, count) = self.data.windows_of(layer.ratio);
        let windows = Windows { list: &b.windows, angles: &b.window_angles, first, count, rows: &b.rows, live: &self.cache.live };
        let fresh = Strided::whole(&own.fresh, stride_of(&layer.fresh));
        let project_fresh = |rec: &mut Recording| {
            if !layer.fresh.is_empty() {
                self.project(rec, &layer.fresh, (&normed, normed_int8.as_ref()), &fresh);
            }
        };
        // Compressed rows wait for them where a window closes; else only the rings do.
        let closes = windows.count > 0;
        if closes {
            project_fresh(rec);
        }
        let low = Strided::whole(&b.low, c.q_rank).halved(self.half);
        let keys = inputs.at(c.q_rank);
        let compressors = self.compressors(layer, cache, &fresh);
        let normed_queries = LinearNormed::each(kit, &queries, step);
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
        record_latents(rec, kit, &latents, step);
        let project_queries = |rec: &mut Recording, n: usize, y: &Strided| match normed_queries.as_ref().and_then(|all| all.get(n)) {
            Some(normed) => normed.record(rec, &inputs, (&layer.q_norm, c.norm_eps), y),
            None => self.project(rec, slice::from_ref(queries[n]), (&low, None), y),
        };
        // Queries run beside the launch before them: the indexer's beside the latents, the others beside its choice, if it has one to make.
        if let Some(cache) = cache.index.as_ref().filter(|_| self.selects(layer.ratio)) {
            let index_queries = Strided::whole(&own.index_queries, c.index_heads * c.index_dim);
            project_queries(rec, 1, &index_queries);
            self.select(rec, layer.ratio, cache, &index_queries, &keys.at(c.head_dim));
        }
        let queries = Strided::whole(&own.queries, c.heads * c.head_dim);
        project_queries(rec, 0, &queries);
        let heads = Strided::whole(&b.heads, c.heads * c.head_dim).halved(self.half);
        let heads_int8 = self.int8(&b.heads_int8, c.heads * c.head_dim);
        let words = kit.dialect.kv.words(c.head_dim);
        let mut stores = vec![RingStore { ring: &cache.ring, size: ring_rows(c), words, source: Strided::whole(&b.kv, words) }];
        stores.extend(compressors.iter().map(|(sizes, source)| RingStore {
            ring: sizes.frontier,
            size: sizes.ring,
            words: 2 * sizes.width(),
            source: source.clone(),
        }));
        let rings = Rings { stores, live: &self.cache.live };
        self.attend(rec, layer, cache, &queries, (&heads, heads_int8.as_ref()), &rings, |rec| {
            self.weigh(rec, &layer.attn_hc, &own.post[0], &[&layer.out_a, &layer.out_b]);
            if !closes {
                project_fresh(rec);
            }
        });

        let low = Strided::whole(&b.out_low, layer.out_a.rows).halved(self.half);
        let low_int8 = self.int8(&b.out_low_int8, layer.out_a.rows);
        let by_group = Grouping::Rows(c.o_rank);
        let rounded =
            record_linear_int8(rec, kit, &[&layer.out_a], by_group, (&heads, heads_int8.as_ref()), (&low, low_int8.as_ref()), step);
        let low_int8 = low_int8.filter(|_| rounded);
        let leave = self.leaving(&layer.ffn_hc, &own.post[0], streams);
        if !record_linear_leaving(rec, kit, &layer.out_b, (&low, low_int8.as_ref()), leave, step.count()) {
            self.project(rec, slice::from_ref(&layer.out_b), (&low, low_int8.as_ref()), &Strided::whole(&b.y, c.dim));
            self.leave(rec, &leave);
        }
    }

    /// The layer's compressor and the indexer's, each with its part of `fresh`.
    fn compressors<'s>(&'s self, layer: &'s Layer, cache: &'s LayerCache, fresh: &Strided) -> Vec<(Compress<'s>, Strided)> {
        let c = self.config;
        let mut all = Vec::new();
        let mut next = fresh.clone();
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

    /// Whether a row of the step sees more compressed rows than attention takes.
    fn selects(&self, ratio: u32) -> bool {
        (self.data.last_position + 1) / ratio > self.config.index_top_k
    }

    /// The indexer: scores, and the best rows, a tile of the step's rows at a time.
    fn select(&self, rec: &mut Recording, ratio: u32, cache: &CompressorCache, queries: &Strided, weights: &Strided) {
        let (b, c, kit) = (self.buffers, self.config, self.kit);
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
        let tile = (b.scores.bytes / 4 / u64::from(columns)) as u32;
        for first in (0..self.t()).step_by(tile.max(1) as usize) {
            let count = tile.min(self.t() - first);
            let rows = &self.data.rows[first as usize..][..count as usize];
            record_index_score(rec, kit, &sizes, &b.rows, queries, &b.angles, weights, &b.scores, columns, (self.data.step, first, rows));
            record_top_k(rec, kit, (ratio, c.index_top_k), &b.rows, &b.scores, columns, &b.selected, (first, count));
        }
    }

    /// Attention, and then the layer's rings: it and the compressors read what they held before this step.
    fn attend(
        &self,
        rec: &mut Recording,
        layer: &Layer,
        cache: &LayerCache,
        queries: &Strided,
        (out, out_int8): (&Strided, Option<&Quantized>),
        rings: &Rings<'_>,
        beside: impl FnOnce(&mut Recording),
    ) {
        let (b, c) = (self.buffers, self.config);
        // A layer without compressed rows binds its ring in their place: the kernel never reads them.
        let pages = cache.compressor.as_ref().map_or(&cache.ring, |own| &own.pages);
        let sizes = Attention {
            heads: c.heads,
            dim: c.head_dim,
            rope: c.rope_dim,
            norm_eps: c.norm_eps,
            window: c.window,
            ratio: layer.ratio,
            top_k: c.most_rows(layer.ratio),
            max_parts: b.max_parts,
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
        record_attention(rec, self.kit, &sizes, &buffers, rings, (self.data.step, &self.data.keys(c, layer.ratio)), beside);
    }

    /// The experts' half of a layer. `next`: what reads the streams afterwards.
    fn experts(&self, rec: &mut Recording, (number, layer): (Option<usize>, &Layer), next: &HcWeights, streams: &Streams<'_>) {
        let (b, c, kit, step) = (self.buffers, self.config, self.kit, self.data.step);
        let t = step.count();
        let (normed, normed_int8) = (self.normed(), self.int8(&b.normed_int8, c.dim));
        let inputs = Strided::whole(&b.inputs, stride_of(&layer.ffn_inputs));
        self.enter(rec, &self.entering(&layer.ffn_hc, streams.now, &normed, normed_int8.as_ref()), &layer.ffn_inputs, &inputs, &[]);
        let router = match &layer.routing {
            RoutingTable::Scored(bias) => Router::Scored(bias),
            RoutingTable::Hashed(table) => Router::Hashed { table, rows: &b.rows, sampled: &self.cache.sampled },
        };
        let width = c.expert_width;
        let shared_int8 = self.int8(&b.shared_int8, width);
        let (gate, limit) = (inputs.offset, layer.limit);
        let logits = inputs.at(2 * width);
        let shared = Strided::whole(&b.shared, width).halved(self.half);
        let routing = Routing {
            router,
            experts: c.experts,
            used: c.experts_used,
            scale: c.routed_scale,
            inputs: &logits,
            chosen: &b.chosen,
            weights: &b.weights,
            shared: SharedAct { gate, up: width, width, limit, act: &shared, act_int8: shared_int8.as_ref() },
        };
        let moe = Moe { gate_up: &layer.gate_up, down: &layer.down, used: c.experts_used, limit: layer.limit };
        let post = &b.of_layer(number, step).post[1];
        let leave = self.leaving(next, post, streams);
        let beside = |rec: &mut Recording| self.weigh(rec, &layer.ffn_hc, post, &[&layer.shared_down]);
        if let (Some(x), Some(act)) = (&normed_int8, &self.int8(&b.act_int8, width)) {
            let int8 = MoeInt8 { x, act, shared_down: &layer.shared_down, leave: Some(leave) };
            if !record_moe_int8(rec, kit, (&moe, &int8), &routing, &b.act, &b.normed, &b.y, t, beside) {
                self.leave(rec, &leave);
            }
            return;
        }
        beside(rec);
        record_router(rec, kit, &routing, t);
        self.project(rec, slice::from_ref(&layer.shared_down), (&shared, None), &Strided::whole(&b.y, c.dim));
        // The heads are done with: their buffer takes the experts' rows.
        let scratch = MoeScratch { act: Strided::whole(&b.act, width).halved(self.half), out: &b.heads, pairs: &b.pairs, tiles: &b.tiles };
        record_moe(rec, kit, &moe, &scratch, &normed, &b.chosen, &b.weights, &b.y, step);
        self.leave(rec, &leave);
    }

    /// Logits of the `count` rows named in `wanted`, from streams whose mix for `hc` has been made.
    pub fn head(&self, rec: &mut Recording, hc: &HcWeights, streams: &Slice, wanted: &Slice, count: u32) {
        let (b, c, kit) = (self.buffers, self.config, self.kit);
        // The wanted rows may be few, but they take the kernels of their step.
        let step = self.data.step.with_count(count);
        let normed_int8 = Quantized::new(&kit.dialect, &b.normed_int8, c.dim, step);
        let (normed, logits) = (Strided::whole(&b.normed, c.dim), Strided::whole(&b.logits, c.vocabulary));
        let (rows, ahead) = (HcRows::Wanted(wanted, count, self.data.step), self.ahead(&[&self.model.output]));
        record_hc_pre(rec, kit, &self.entering(hc, streams, &normed, normed_int8.as_ref()), &ahead, rows);
        let (x, y) = ((&normed, normed_int8.as_ref()), (&logits, None));
        record_linear_int8(rec, kit, &[&self.model.output], Grouping::Shared, x, y, step);
    }

    /// Next tokens of the first `count` rows of logits.
    pub fn sample(&self, rec: &mut Recording, count: u32) {
        let b = self.buffers;
        let buffers = SampleBuffers {
            samplers: &b.samplers,
            masks: &b.masks,
            sampled: &self.cache.sampled,
            live: &self.cache.live,
            results: &b.results,
        };
        record_sample(rec, self.kit, &b.logits, &buffers, self.config.vocabulary, count);
    }

    /// The draft block, from the last layer's streams and the tokens in `draft_rows`. Returns its launches and the streams that they leave, whose
    /// mix for the block's head has been made.
    pub fn draft(&self, mtp: &GpuMtp, cache: &LayerCache) -> (Recording, &Slice) {
        let [a, z] = &self.buffers.streams;
        let mut rec = Recording::new();
        self.draft_input(&mut rec, mtp, &Streams { now: a, next: z });
        self.attention(&mut rec, (None, &mtp.layer), cache, &Streams { now: z, next: a });
        self.experts(&mut rec, (None, &mtp.layer), &mtp.head_hc, &Streams { now: a, next: z });
        (rec, z)
    }

    /// The draft block's input and its mix: reads and overwrites `streams.now`, leaves the result in `streams.next`.
    fn draft_input(&self, rec: &mut Recording, mtp: &GpuMtp, streams: &Streams<'_>) {
        let (b, c, kit, step) = (self.buffers, self.config, self.kit, self.data.step);
        let t = step.count();
        record_embed(rec, kit, &self.model.embed, &b.draft_rows, &self.cache.sampled, streams.next, t);
        // One of the four equal streams.
        let embedded = Strided::whole(streams.next, 4 * c.dim);
        let (normed, y) = (self.normed(), Strided::whole(&b.y, c.dim));
        record_rms_norm(rec, kit, &embedded, &mtp.e_norm, &normed, c.dim, c.norm_eps, t);
        record_linear(rec, kit, &[&mtp.e_proj], Grouping::Shared, &normed, &y, step);
        let each = Strided::whole(streams.now, c.dim);
        let normed = Strided::whole(streams.next, c.dim);
        record_rms_norm(rec, kit, &each, &mtp.h_norm, &normed, c.dim, c.norm_eps, 4 * t);
        // A row has four streams, so few rows may be more products than a kernel for few rows takes at once.
        let most = if step.are_few() { DECODE_ROWS } else { 4 * t };
        for first in (0..4 * t).step_by(most as usize) {
            let rows = step.with_count(most.min(4 * t - first));
            record_linear(rec, kit, &[&mtp.h_proj], Grouping::Shared, &normed.from_row(first), &each.from_row(first), rows);
        }
        record_mtp_join(rec, kit, &b.y, streams.now, streams.next, c.dim, t);
        record_hc_mix(rec, kit, &mtp.layer.attn_hc, streams.next, None, &b.mix, step);
    }
}
