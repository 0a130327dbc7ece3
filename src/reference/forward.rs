//! A whole model on the reference functions (SPEC 3), a chunk of one session at a time.

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

/// A loaded model, and optionally its draft block.
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

/// The layer number of the draft block, which nobody taps.
const DRAFT_LAYER: usize = usize::MAX;

impl Reference {
    /// Takes the weights of `model`, left in their files where they are stored as they are used.
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

    /// Runs `tokens`, all below the vocabulary size, after what `state` holds. `next_tokens`: the tokens after the first of them, for the
    /// draft block; empty without it. -> streams (T, 4, D), and the draft block's logits (next tokens, vocabulary).
    pub fn step(&self, state: &mut State, tokens: &[u32], next_tokens: &[u32], taps: &mut dyn Taps) -> (Vec<f32>, Vec<f32>) {
        let dim = self.config.dim as usize;
        let embedded = self.embedding(tokens);
        let mut x: Vec<f32> = embedded.chunks_exact(dim).flat_map(|row| row.repeat(STREAMS)).collect();
        let first = state.position;
        let mut layers = std::mem::take(&mut state.layers);
        for (l, (layer, own)) in self.layers.iter().zip(&mut layers).enumerate() {
            x = self.layer(l, layer, own, state.kv, first, tokens, &x, taps);
        }
        state.layers = layers;
        let drafted = self.draft(&mut state.draft, first, &x[..next_tokens.len() * STREAMS * dim], next_tokens);
        state.position += tokens.len() as u32;
        (x, drafted)
    }

    /// Logits of streams (T, 4, D). -> (T, vocabulary).
    pub fn logits(&self, x: &[f32]) -> Vec<f32> {
        linear(&self.output.matrix(), &hc_head(&self.head_hc.view(), &self.head_norm, x, self.constants()))
    }

    /// The draft block: row t joins streams `x[t]`, the state after the last layer, with `token[t]`, the token after it; its logits predict
    /// the token after that. -> (T, vocabulary), empty without the block or without tokens, as for a step of the last token alone.
    pub fn draft(&self, state: &mut LayerState, first: u32, x: &[f32], next_tokens: &[u32]) -> Vec<f32> {
        let Some(mtp) = self.mtp.as_ref().filter(|_| !next_tokens.is_empty()) else { return Vec::new() };
        let (dim, eps) = (self.config.dim as usize, self.config.norm_eps);
        let embedded = linear(&mtp.e_proj.matrix(), &rms_norm(&self.embedding(next_tokens), &mtp.e_norm, eps));
        let mut joined = linear(&mtp.h_proj.matrix(), &rms_norm(x, &mtp.h_norm, eps));
        for (i, stream) in joined.chunks_exact_mut(dim).enumerate() {
            let own = &embedded[i / STREAMS * dim..][..dim];
            stream.iter_mut().zip(own).for_each(|(v, e)| *v += e);
        }
        let out = self.layer(DRAFT_LAYER, &mtp.layer, state, KvType::F32, first, next_tokens, &joined, &mut NoTaps);
        let head = hc_head(&mtp.head_hc.view(), &mtp.head_norm, &out, self.constants());
        linear(&self.output.matrix(), &head)
    }

    fn layer(
        &self,
        l: usize,
        layer: &Layer,
        state: &mut LayerState,
        kv: KvType,
        first: u32,
        tokens: &[u32],
        x: &[f32],
        taps: &mut dyn Taps,
    ) -> Vec<f32> {
        let constants = self.constants();
        let (input, mixes) = hc_pre(&layer.attn_hc.view(), &layer.attn_norm, x, constants);
        taps.see(Tap::AttentionIn(l), TapData::Floats(&input));
        let y = self.attention(l, layer, state, kv, first, &input, taps);
        taps.see(Tap::AttentionOut(l), TapData::Floats(&y));
        let x = hc_post(&y, x, &mixes);

        let (input, mixes) = hc_pre(&layer.ffn_hc.view(), &layer.ffn_norm, &x, constants);
        taps.see(Tap::ExpertsIn(l), TapData::Floats(&input));
        let y = self.experts(l, layer, tokens, &input, taps);
        taps.see(Tap::ExpertsOut(l), TapData::Floats(&y));
        let x = hc_post(&y, &x, &mixes);
        taps.see(Tap::Hidden(l), TapData::Floats(&x));
        x
    }

    fn attention(
        &self,
        l: usize,
        layer: &Layer,
        state: &mut LayerState,
        kv: KvType,
        first: u32,
        x: &[f32],
        taps: &mut dyn Taps,
    ) -> Vec<f32> {
        let c = &self.config;
        let (dim, head_dim, heads) = (c.dim as usize, c.head_dim as usize, c.heads as usize);
        let frequencies = if layer.ratio > 0 { &self.compressed } else { &self.plain };
        let rotations: Vec<_> = (0..(x.len() / dim) as u32).map(|t| angles(first + t, frequencies)).collect();
        let query_low = rms_norm(&linear(&layer.q_a.matrix(), x), &layer.q_norm, c.norm_eps);
        taps.see(Tap::QueryLow(l), TapData::Floats(&query_low));
        let mut q = linear(&layer.q_b.matrix(), &query_low);
        normalise(&mut q, head_dim, c.norm_eps);
        for (q, rotation) in q.chunks_exact_mut(heads * head_dim).zip(&rotations) {
            q.chunks_exact_mut(head_dim).for_each(|head| rotate(head, rotation));
        }
        let mut keys = rms_norm(&linear(&layer.kv.matrix(), x), &layer.kv_norm, c.norm_eps);
        for (key, rotation) in keys.chunks_exact_mut(head_dim).zip(&rotations) {
            rotate(key, rotation);
            state.ring.push(round(kv, key.to_vec()));
        }
        if let (Some(weights), Some(own)) = (&layer.compressor, &mut state.compressor) {
            self.compress(weights, own, kv, first, x, head_dim);
        }
        let selected = self.select(layer, state, kv, first, x, &query_low, &rotations);
        if let Some(selected) = &selected {
            let flat: Vec<u32> = selected.iter().flat_map(|ids| padded(ids, c.index_top_k as usize)).collect();
            taps.see(Tap::Selected(l), TapData::Ids(&flat));
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
        for own in [&mut state.compressor, &mut state.index].into_iter().flatten() {
            own.frontier.trim();
        }
        taps.see(Tap::Heads(l), TapData::Floats(&out));
        let low = linear_grouped(&layer.out_a.matrix(), c.o_groups as usize, &out);
        taps.see(Tap::OutLow(l), TapData::Floats(&low));
        linear(&layer.out_b.matrix(), &low)
    }

    /// Takes the tokens' values and gates, and appends the rows of the windows that they close.
    fn compress(&self, weights: &Compressor, state: &mut CompressorState, kv: KvType, first: u32, x: &[f32], head_dim: usize) {
        let values = linear(&weights.kv.matrix(), x);
        let gates = linear(&weights.gate.matrix(), x);
        let width = weights.kv.matrix().rows;
        let ratio = weights.ratio;
        for (t, (values, gates)) in values.chunks_exact(width).zip(gates.chunks_exact(width)).enumerate() {
            state.frontier.push([values, gates].concat());
            let position = first + t as u32;
            if (position + 1).is_multiple_of(ratio) {
                let start = position + 1 - ratio;
                let row = pool(&candidates(state, weights, start, head_dim));
                let mut row = rms_norm(&row, &weights.norm, self.config.norm_eps);
                rotate(&mut row, &angles(start, &self.compressed));
                state.rows.push(round(kv, row));
            }
        }
    }

    /// The compressed rows that each position of a ratio-4 layer attends to, ascending.
    fn select(
        &self,
        layer: &Layer,
        state: &mut LayerState,
        kv: KvType,
        first: u32,
        x: &[f32],
        query_low: &[f32],
        rotations: &[Vec<(f32, f32)>],
    ) -> Option<Vec<Vec<u32>>> {
        let (indexer, own) = (layer.indexer.as_ref()?, state.index.as_mut()?);
        let (heads, dim) = (self.config.index_heads as usize, self.config.index_dim as usize);
        self.compress(&indexer.compressor, own, kv, first, x, dim);
        let mut q = linear(&indexer.q_b.matrix(), query_low);
        for (q, rotation) in q.chunks_exact_mut(heads * dim).zip(rotations) {
            q.chunks_exact_mut(dim).for_each(|head| rotate(head, rotation));
        }
        let weights = linear(&indexer.proj.matrix(), x);
        let rows = q.par_chunks_exact(heads * dim).zip(weights.par_chunks_exact(heads)).enumerate();
        Some(
            rows.map(|(t, (q, weights))| {
                let visible = ((first + t as u32 + 1) / layer.ratio) as usize;
                let scores = index_score(q, weights, own.rows[..visible].iter().map(|r| &r[..]));
                top_k(&scores, self.config.index_top_k as usize)
            })
            .collect(),
        )
    }

    fn experts(&self, l: usize, layer: &Layer, tokens: &[u32], x: &[f32], taps: &mut dyn Taps) -> Vec<f32> {
        let c = &self.config;
        let logits = linear(&layer.router.matrix(), x);
        let routes: Vec<Routed> = logits
            .chunks_exact(c.experts as usize)
            .zip(tokens)
            .map(|(logits, &token)| {
                let choice = match &layer.routing {
                    Router::Scored(bias) => Choice::Scored(bias),
                    Router::Hashed(table) => Choice::Named(&table.values[token as usize * table.columns..][..table.columns]),
                };
                router(logits, choice, c.experts_used as usize, c.routed_scale)
            })
            .collect();
        let chosen: Vec<u32> = routes.iter().flat_map(|r| r.experts.iter().copied()).collect();
        taps.see(Tap::Chosen(l), TapData::Ids(&chosen));
        let weights: Vec<f32> = routes.iter().flat_map(|r| r.weights.iter().copied()).collect();
        taps.see(Tap::ChosenWeights(l), TapData::Floats(&weights));
        let shared = layer.shared();
        let act = gate_up(&shared.gate, &shared.up, x, layer.limit);
        taps.see(Tap::SharedAct(l), TapData::Floats(&act));
        if taps.wants(Tap::RoutedAct(l)) {
            let rows = x.chunks_exact(c.dim as usize).zip(&routes).flat_map(|(x, route)| route.experts.iter().map(move |&e| (x, e)));
            let act: Vec<f32> = rows
                .flat_map(|(x, e)| {
                    let own = layer.expert(e, c.experts);
                    gate_up(&own.gate, &own.up, x, layer.limit)
                })
                .collect();
            taps.see(Tap::RoutedAct(l), TapData::Floats(&act));
        }
        let mut y = linear(&shared.down, &act);
        routed(|e| layer.expert(e, c.experts), c.experts, &routes, x, &mut y, layer.limit);
        y
    }
}

/// The tokens that the window starting at `start` pools (SPEC 3.2): for ratio 4 the first halves of the window before and the second
/// halves of its own, for ratio 128 its own.
fn candidates<'a>(state: &'a CompressorState, weights: &Compressor, start: u32, dim: usize) -> Candidates<'a> {
    let (ratio, width) = (weights.ratio, weights.kv.matrix().rows);
    let mut out = Candidates::default();
    let mut add = |position: u32, half: usize| {
        let row = state.frontier.row(position);
        let columns = half * dim..(half + 1) * dim;
        let ape = &weights.ape[(position % ratio) as usize * width..][columns.clone()];
        out.values.push(&row[columns.clone()]);
        out.gates.push(row[width..][columns].iter().zip(ape).map(|(g, a)| g + a).collect());
    };
    let own_half = width / dim - 1;
    if own_half == 1 && start > 0 {
        (start - ratio..start).for_each(|position| add(position, 0));
    }
    (start..start + ratio).for_each(|position| add(position, own_half));
    out
}

fn padded(ids: &[u32], len: usize) -> impl Iterator<Item = u32> {
    ids.iter().copied().chain(std::iter::repeat(u32::MAX)).take(len)
}

fn round(kv: KvType, mut row: Vec<f32>) -> Vec<f32> {
    if kv == KvType::F16 {
        row.iter_mut().for_each(|v| *v = half::f16::from_f32(v.clamp(-65504.0, 65504.0)).to_f32());
    }
    row
}
