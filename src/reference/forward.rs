//! A whole model made of the reference functions (SPEC 3). It runs a chunk of one session's tokens at a time.

use super::attention::attention;
use super::compressor::{Candidates, pool};
use super::hc::{HcConstants, STREAMS, hc_head, hc_post, hc_pre};
use super::indexer::{index_score, top_k};
use super::linear::{linear, linear_grouped, normalise, rms_norm};
use super::moe::{gate_up, routed};
use super::rope::{rotate, rotate_back};
use super::router::{Choice, Routed, router};
use super::state::{CompressorState, LayerState, State};
use super::weights::{Compressor, Hc, Layer, Router, Weight};
use crate::model::{Config, Model, Mtp, NoTaps, RopeFrequencies, Tap, TapData, Taps, angles};
use crate::num::KvType;
use rayon::prelude::*;

/// A loaded model, with or without its draft block.
pub struct Reference {
    config: Config,
    embed: Weight,
    layers: Vec<Layer>,
    head_hc: Hc,
    head_norm: Vec<f32>,
    output: Weight,
    plain: RopeFrequencies,
    compressed: RopeFrequencies,
    mtp: Option<MtpBlock>,
}

struct MtpBlock {
    e_proj: Weight,
    h_proj: Weight,
    e_norm: Vec<f32>,
    h_norm: Vec<f32>,
    layer: Layer,
    head_hc: Hc,
    head_norm: Vec<f32>,
}

/// The layer number of the draft block. No tap of it exists.
const DRAFT_LAYER: usize = usize::MAX;

/// The tokens that run through the layers together, and the receiver of their activations.
struct Chunk<'a> {
    tokens: &'a [u32],
    /// Position of the first token.
    first: u32,
    /// Number format of cached rows.
    kv: KvType,
    /// Number of the layer that runs.
    layer: usize,
    taps: &'a mut dyn Taps,
}

impl Chunk<'_> {
    /// Shows activations of the layer that runs.
    fn show(&mut self, tap: fn(usize) -> Tap, values: &[f32]) {
        self.taps.see(tap(self.layer), TapData::Floats(values));
    }

    /// Shows numbers of experts or rows in the layer that runs.
    fn show_ids(&mut self, tap: fn(usize) -> Tap, ids: &[u32]) {
        self.taps.see(tap(self.layer), TapData::Ids(ids));
    }
}

impl Reference {
    /// Loads the weights of `model`. Matrices stay in the mapped file where the file stores them in the format in which they are used.
    pub fn new(model: &Model) -> Self {
        Self {
            embed: Weight::new(&model.embed),
            layers: model.layers.iter().map(Layer::new).collect(),
            head_hc: Hc::new(&model.head.hc),
            head_norm: model.head.norm.values(),
            output: Weight::new(&model.output),
            plain: model.config.plain_frequencies(),
            compressed: model.config.compressed_frequencies(),
            config: model.config.clone(),
            mtp: None,
        }
    }

    /// Adds the draft block.
    pub fn load_mtp(&mut self, mtp: &Mtp) {
        self.mtp = Some(MtpBlock {
            e_proj: Weight::new(&mtp.e_proj),
            h_proj: Weight::new(&mtp.h_proj),
            e_norm: mtp.e_norm.values(),
            h_norm: mtp.h_norm.values(),
            layer: Layer::new(&mtp.layer),
            head_hc: Hc::new(&mtp.head.hc),
            head_norm: mtp.head.norm.values(),
        });
    }

    fn constants(&self) -> HcConstants {
        HcConstants { iterations: self.config.sinkhorn_iterations as usize, hc_eps: self.config.hc_eps, norm_eps: self.config.norm_eps }
    }

    fn embedding(&self, tokens: &[u32]) -> Vec<f32> {
        let matrix = self.embed.matrix();
        let mut out = vec![0f32; tokens.len() * matrix.columns];
        for (out, &token) in out.chunks_exact_mut(matrix.columns).zip(tokens) {
            matrix.row(token as usize, out);
        }
        out
    }

    /// Runs `tokens`, all below the vocabulary size, after the tokens that `state` holds. `next_tokens[t]` is the token after `tokens[t]`;
    /// the draft block runs for as many rows as there are next tokens. -> streams (T, 4, D), and the draft block's logits
    /// (next tokens, vocabulary).
    pub fn step(&self, state: &mut State, tokens: &[u32], next_tokens: &[u32], taps: &mut dyn Taps) -> (Vec<f32>, Vec<f32>) {
        let dim = self.config.dim as usize;
        let embedded = self.embedding(tokens);
        let mut x: Vec<f32> = embedded.chunks_exact(dim).flat_map(|row| row.repeat(STREAMS)).collect();
        let first = state.position;
        let mut chunk = Chunk { tokens, first, kv: state.kv, layer: 0, taps };
        for (l, (layer, layer_state)) in self.layers.iter().zip(&mut state.layers).enumerate() {
            chunk.layer = l;
            x = self.layer(layer, layer_state, &x, &mut chunk);
        }
        let drafted = self.draft(&mut state.draft, first, &x[..next_tokens.len() * STREAMS * dim], next_tokens);
        state.position += tokens.len() as u32;
        (x, drafted)
    }

    /// The logits that follow from streams x (T, 4, D) after the last layer. -> (T, vocabulary).
    pub fn logits(&self, x: &[f32]) -> Vec<f32> {
        linear(&self.output.matrix(), &hc_head(&self.head_hc.view(), &self.head_norm, x, self.constants()))
    }

    /// Runs the draft block. Row t joins `x[t]`, the streams after the last layer, with `next_tokens[t]`, the token that follows; its
    /// logits predict the token after that one. -> (T, vocabulary), empty where no block is loaded or no next token is known.
    pub fn draft(&self, state: &mut LayerState, first: u32, x: &[f32], next_tokens: &[u32]) -> Vec<f32> {
        let Some(mtp) = self.mtp.as_ref().filter(|_| !next_tokens.is_empty()) else { return Vec::new() };
        let (dim, eps) = (self.config.dim as usize, self.config.norm_eps);
        let embedded = linear(&mtp.e_proj.matrix(), &rms_norm(&self.embedding(next_tokens), &mtp.e_norm, eps));
        let mut joined = linear(&mtp.h_proj.matrix(), &rms_norm(x, &mtp.h_norm, eps));
        for (i, stream) in joined.chunks_exact_mut(dim).enumerate() {
            let token = &embedded[i / STREAMS * dim..][..dim];
            stream.iter_mut().zip(token).for_each(|(v, e)| *v += e);
        }
        let mut chunk = Chunk { tokens: next_tokens, first, kv: KvType::F32, layer: DRAFT_LAYER, taps: &mut NoTaps };
        let out = self.layer(&mtp.layer, state, &joined, &mut chunk);
        let head = hc_head(&mtp.head_hc.view(), &mtp.head_norm, &out, self.constants());
        linear(&self.output.matrix(), &head)
    }

    /// One layer. x (T, 4, D) -> (T, 4, D).
    fn layer(&self, layer: &Layer, state: &mut LayerState, x: &[f32], chunk: &mut Chunk<'_>) -> Vec<f32> {
        let constants = self.constants();
        let (input, mixes) = hc_pre(&layer.attn_hc.view(), &layer.attn_norm, x, constants);
        chunk.show(Tap::AttentionIn, &input);
        let y = self.attention(layer, state, &input, chunk);
        chunk.show(Tap::AttentionOut, &y);
        let x = hc_post(&y, x, &mixes);

        let (input, mixes) = hc_pre(&layer.ffn_hc.view(), &layer.ffn_norm, &x, constants);
        chunk.show(Tap::ExpertsIn, &input);
        let y = self.experts(layer, &input, chunk);
        chunk.show(Tap::ExpertsOut, &y);
        let x = hc_post(&y, &x, &mixes);
        chunk.show(Tap::Hidden, &x);
        x
    }

    /// The attention of a layer. x (T, D) -> (T, D).
    fn attention(&self, layer: &Layer, state: &mut LayerState, x: &[f32], chunk: &mut Chunk<'_>) -> Vec<f32> {
        let c = &self.config;
        let (dim, head_dim, heads) = (c.dim as usize, c.head_dim as usize, c.heads as usize);
        let first = chunk.first;
        let frequencies = if layer.ratio > 0 { &self.compressed } else { &self.plain };
        let rotations: Vec<_> = (0..(x.len() / dim) as u32).map(|t| angles(first + t, frequencies)).collect();
        let query_low = rms_norm(&linear(&layer.q_a.matrix(), x), &layer.q_norm, c.norm_eps);
        chunk.show(Tap::QueryLow, &query_low);
        let mut q = linear(&layer.q_b.matrix(), &query_low);
        normalise(&mut q, head_dim, c.norm_eps);
        for (q, rotation) in q.chunks_exact_mut(heads * head_dim).zip(&rotations) {
            q.chunks_exact_mut(head_dim).for_each(|head| rotate(head, rotation));
        }
        let mut keys = rms_norm(&linear(&layer.kv.matrix(), x), &layer.kv_norm, c.norm_eps);
        for (key, rotation) in keys.chunks_exact_mut(head_dim).zip(&rotations) {
            rotate(key, rotation);
            state.ring.push(round(chunk.kv, key.to_vec()));
        }
        if let (Some(weights), Some(compressor)) = (&layer.compressor, &mut state.compressor) {
            self.compress(weights, compressor, x, chunk);
        }
        let selected = self.select(layer, state, x, &query_low, &rotations, chunk);
        if let Some(selected) = &selected {
            let flat: Vec<u32> = selected.iter().flat_map(|ids| padded(ids, c.index_top_k as usize)).collect();
            chunk.show_ids(Tap::Selected, &flat);
        }

        let shared: &LayerState = state;
        let mut out: Vec<f32> = q
            .par_chunks_exact(heads * head_dim)
            .enumerate()
            .flat_map_iter(|(t, q)| {
                let position = first + t as u32;
                let window = (position + 1).saturating_sub(c.window)..position + 1;
                let mut keys: Vec<&[f32]> = window.map(|p| shared.ring.row(p)).collect();
                if let Some(compressor) = &shared.compressor {
                    match &selected {
                        Some(selected) => keys.extend(selected[t].iter().map(|&i| &compressor.rows[i as usize][..])),
                        None => keys.extend(compressor.rows[..((position + 1) / layer.ratio) as usize].iter().map(|r| &r[..])),
                    }
                }
                let heads = q.chunks_exact(head_dim).zip(&layer.sinks);
                heads.flat_map(|(q, &sink)| attention(q, &keys, sink)).collect::<Vec<f32>>()
            })
            .collect();
        for (out, rotation) in out.chunks_exact_mut(heads * head_dim).zip(&rotations) {
            out.chunks_exact_mut(head_dim).for_each(|head| rotate_back(head, rotation));
        }
        state.ring.trim();
        for compressor in [&mut state.compressor, &mut state.index].into_iter().flatten() {
            compressor.frontier.trim();
        }
        chunk.show(Tap::Heads, &out);
        let low = linear_grouped(&layer.out_a.matrix(), c.o_groups as usize, &out);
        chunk.show(Tap::OutLow, &low);
        linear(&layer.out_b.matrix(), &low)
    }

    /// Stores the values and gates of the tokens, and appends the compressed rows of the windows that they close. x (T, D).
    fn compress(&self, weights: &Compressor, state: &mut CompressorState, x: &[f32], chunk: &Chunk<'_>) {
        let values = linear(&weights.kv.matrix(), x);
        let gates = linear(&weights.gate.matrix(), x);
        let width = weights.kv.matrix().rows;
        let ratio = weights.ratio;
        for (t, (values, gates)) in values.chunks_exact(width).zip(gates.chunks_exact(width)).enumerate() {
            state.frontier.push([values, gates].concat());
            let position = chunk.first + t as u32;
            if (position + 1).is_multiple_of(ratio) {
                let start = position + 1 - ratio;
                let row = pool(&candidates(state, weights, start));
                let mut row = rms_norm(&row, &weights.norm, self.config.norm_eps);
                rotate(&mut row, &angles(start, &self.compressed));
                state.rows.push(round(chunk.kv, row));
            }
        }
    }

    /// The numbers of the compressed rows that each token attends to, ascending. `None` for layers without an indexer.
    fn select(
        &self,
        layer: &Layer,
        state: &mut LayerState,
        x: &[f32],
        query_low: &[f32],
        rotations: &[Vec<(f32, f32)>],
        chunk: &Chunk<'_>,
    ) -> Option<Vec<Vec<u32>>> {
        let (indexer, index) = (layer.indexer.as_ref()?, state.index.as_mut()?);
        let (heads, dim) = (self.config.index_heads as usize, self.config.index_dim as usize);
        self.compress(&indexer.compressor, index, x, chunk);
        let mut q = linear(&indexer.q_b.matrix(), query_low);
        for (q, rotation) in q.chunks_exact_mut(heads * dim).zip(rotations) {
            q.chunks_exact_mut(dim).for_each(|head| rotate(head, rotation));
        }
        let weights = linear(&indexer.proj.matrix(), x);
        let rows = q.par_chunks_exact(heads * dim).zip(weights.par_chunks_exact(heads)).enumerate();
        let first = chunk.first;
        Some(
            rows.map(|(t, (q, weights))| {
                let visible = ((first + t as u32 + 1) / layer.ratio) as usize;
                let scores = index_score(q, weights, index.rows[..visible].iter().map(|r| &r[..]));
                top_k(&scores, self.config.index_top_k as usize)
            })
            .collect(),
        )
    }

    /// The routed experts and the shared expert of a layer. x (T, D) -> (T, D).
    fn experts(&self, layer: &Layer, x: &[f32], chunk: &mut Chunk<'_>) -> Vec<f32> {
        let c = &self.config;
        let logits = linear(&layer.router.matrix(), x);
        let routes: Vec<Routed> = logits
            .chunks_exact(c.experts as usize)
            .zip(chunk.tokens)
            .map(|(logits, &token)| {
                let choice = match &layer.routing {
                    Router::Scored(bias) => Choice::Scored(bias),
                    Router::Hashed(table) => Choice::Named(&table.values[token as usize * table.columns..][..table.columns]),
                };
                router(logits, choice, c.experts_used as usize, c.routed_scale)
            })
            .collect();
        let chosen: Vec<u32> = routes.iter().flat_map(|r| r.experts.iter().copied()).collect();
        chunk.show_ids(Tap::Chosen, &chosen);
        let weights: Vec<f32> = routes.iter().flat_map(|r| r.weights.iter().copied()).collect();
        chunk.show(Tap::ChosenWeights, &weights);
        let shared = layer.shared();
        let act = gate_up(&shared.gate, &shared.up, x, layer.limit);
        chunk.show(Tap::SharedAct, &act);
        if chunk.taps.wants(Tap::RoutedAct(chunk.layer)) {
            let rows = x.chunks_exact(c.dim as usize).zip(&routes).flat_map(|(x, route)| route.experts.iter().map(move |&e| (x, e)));
            let act: Vec<f32> = rows
                .flat_map(|(x, e)| {
                    let expert = layer.expert(e, c.experts);
                    gate_up(&expert.gate, &expert.up, x, layer.limit)
                })
                .collect();
            chunk.show(Tap::RoutedAct, &act);
        }
        let mut y = linear(&shared.down, &act);
        routed(|e| layer.expert(e, c.experts), c.experts, &routes, x, &mut y, layer.limit);
        y
    }
}

/// The values and gates that the window starting at position `start` pools (SPEC 3.2). For ratio 4 a token has two sets of `dim` channels:
/// the window pools the first set of the tokens of the window before it, and the second set of its tokens. For ratio 128 a token has one
/// set.
fn candidates<'a>(state: &'a CompressorState, weights: &Compressor, start: u32) -> Candidates<'a> {
    let (ratio, width, dim) = (weights.ratio, weights.kv.matrix().rows, weights.norm.len());
    let mut out = Candidates::default();
    let mut add = |position: u32, set: usize| {
        let row = state.frontier.row(position);
        let columns = set * dim..(set + 1) * dim;
        let ape = &weights.ape[(position % ratio) as usize * width..][columns.clone()];
        out.values.push(&row[columns.clone()]);
        out.gates.push(row[width..][columns].iter().zip(ape).map(|(g, a)| g + a).collect());
    };
    let last_set = width / dim - 1;
    if last_set == 1 && start > 0 {
        (start - ratio..start).for_each(|position| add(position, 0));
    }
    (start..start + ratio).for_each(|position| add(position, last_set));
    out
}

/// `ids`, filled up to `len` with `u32::MAX`.
fn padded(ids: &[u32], len: usize) -> impl Iterator<Item = u32> {
    ids.iter().copied().chain(std::iter::repeat(u32::MAX)).take(len)
}

/// Rounds a row to the number format of the cache.
fn round(kv: KvType, mut row: Vec<f32>) -> Vec<f32> {
    if kv == KvType::F16 {
        row.iter_mut().for_each(|v| *v = half::f16::from_f32(v.clamp(-65504.0, 65504.0)).to_f32());
    }
    row
}
