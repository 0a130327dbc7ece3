//! Attention in one kernel. A generated row has its keys split into parts, which workgroups take side by side, and which `attention_merge`
//! puts together. They run on cooperative matrices where the device and the heads allow it. A row of a prompt takes all its keys in one
//! workgroup, on devices that cannot run the kernels of `long`.

use super::keys::{Attention, AttentionBuffers, Heads, Segments, keys_variant, sample_heads, sample_segments};
use crate::gpu::{Binding, Variant};
use crate::kernels::context::{CoopShape, KernelProfile, WG};
use crate::kernels::cost;
use crate::kernels::int8::{binding, with_int8_output};
use crate::kernels::kv::{RINGS, RingPart, Rings, record_ring_part};
use crate::kernels::pass::{Pass, bind};
use crate::num::KvType;

kernels! {
    AttentionParams for "attention" | "attention_coop" in attention_variants {
        heads: u32, q_stride: u32, window: u32, ratio: u32, top_k: u32, ring_rows: u32, max_pages: u32, scale: f32, rope: u32, angle_set: u32,
        norm_eps: f32, staged: u32, page_bits: u32,
    }
    AttentionMergeParams for "attention_merge" in merge_variants {
        sources: [[u32; 4]; 3], places: [[u32; 4]; 3], heads: u32, window: u32, ratio: u32, top_k: u32, rope: u32, angle_set: u32,
        ring_workgroups: u32, parts: u32,
    }
}

impl Attention<'_> {
    /// Number of parts of a row that sees `keys` keys. As in `lib/attention/parts`, it depends on the row's position and on nothing else of
    /// the step.
    fn parts(&self, profile: &KernelProfile, keys: u32) -> u32 {
        keys.div_ceil(split_keys(profile, self.sizes())).min(self.max_parts)
    }
}

/// Number of heads of a workgroup.
fn heads_each(heads: u32) -> u32 {
    [8, 4, 2].into_iter().find(|n| heads.is_multiple_of(*n)).unwrap_or(1)
}

/// Number of keys that `attention` stages in workgroup memory at a time.
fn staged_keys(kv: KvType) -> u32 {
    match kv {
        KvType::F16 => 16,
        KvType::F32 => 8,
    }
}

fn attention_variant(profile: &KernelProfile, heads: Heads, page_rows: u32, segments: Segments, whole: bool) -> Variant {
    let each = heads_each(heads.heads);
    let keys = staged_keys(profile.kv);
    // Channels of a key in one load of 16 bytes.
    let channels = match profile.kv {
        KvType::F16 => 8,
        KvType::F32 => 4,
    };
    let (lanes, words) = (WG / each, heads.dim / channels);
    let words_each = words.div_ceil(lanes);
    // The kernel exchanges sums among eight lanes at least.
    let subgroup = profile.caps.subgroup.filter(|&size| size >= 8);
    let variant = Variant::new("attention")
        .constant("WG", WG)
        .flag_if(profile.kv == KvType::F16, "KV_F16")
        .flag_if(profile.kv == KvType::F16, "KEYS_BY_EIGHT")
        .flag_if(whole, "WHOLE")
        .constant("HEADS", each)
        .constant("WORDS_EACH", words_each)
        .constant("QUADS_EACH", words_each * (channels / 4))
        .constant("PIECES", (keys * words).div_ceil(WG))
        .flag_if(subgroup.is_some_and(|size| lanes > size), "WIDE")
        .constant("SPLIT_KEYS", split_keys(profile, heads))
        .constant("MAX_PARTS", heads.max_parts);
    let variant = match subgroup {
        Some(size) => variant.constant("SUBGROUP", size),
        None => variant,
    };
    keys_variant(variant, heads.dim, page_rows, segments)
}

/// Shape of a workgroup of `attention_coop`: its heads, the keys that it stages at a time, and its subgroups, each of which takes sixteen
/// channels.
const COOP_HEADS: u32 = 16;
const COOP_KEYS: u32 = 64;
const COOP_SUBGROUPS: u32 = 8;

/// The device's cooperative matrices, if `attention_coop` supports them and these heads.
fn coop_shape(profile: &KernelProfile, heads: Heads) -> Option<CoopShape> {
    let shape = profile.cooperative().filter(|shape| (shape.size, shape.subgroup, shape.depth) == (16, 32, 64))?;
    let whole = heads.heads.is_multiple_of(COOP_HEADS) && heads.dim.is_multiple_of(COOP_SUBGROUPS * shape.size) && heads.dim <= 512;
    (whole && heads.rope.is_multiple_of(4) && profile.kv == KvType::F16).then_some(shape)
}

/// The least number of keys of a part, if a row has several parts.
fn split_keys(profile: &KernelProfile, heads: Heads) -> u32 {
    if coop_shape(profile, heads).is_some() { COOP_KEYS } else { 32 }
}

/// The variant of `attention_coop`, if the device and the sizes allow it.
fn attention_coop_variant(profile: &KernelProfile, heads: Heads, page_rows: u32, segments: Segments) -> Option<Variant> {
    let shape = coop_shape(profile, heads)?;
    let wg = COOP_SUBGROUPS * shape.subgroup;
    let (team, words) = (wg / COOP_HEADS, COOP_SUBGROUPS * shape.size / 8);
    let variant = shape
        .variant("attention_coop")
        .flag("KV_F16")
        .flag("KEYS_BY_EIGHT")
        .constant("WG", wg)
        .constant("SUBGROUPS", COOP_SUBGROUPS)
        .constant("CHUNKS", heads.dim / (COOP_SUBGROUPS * shape.size))
        .constant("PIECES", COOP_KEYS * words / wg)
        .constant("QUADS_EACH", heads.dim / 4 / team)
        .constant("PLAIN_EACH", (heads.dim - heads.rope) / 4 / team)
        .constant("TEAM_BITS", team.ilog2())
        .constant("SPLIT_KEYS", COOP_KEYS)
        .constant("MAX_PARTS", heads.max_parts);
    Some(keys_variant(variant, heads.dim, page_rows, segments))
}

/// Records the attention of each row in parts, which [`record_merge`] puts together.
pub fn record_parts(pass: &mut Pass<'_>, sizes: &Attention<'_>, buffers: &AttentionBuffers<'_>, keys: &[u32]) {
    let profile = pass.profile();
    let (variant, heads_each, staged) = match attention_coop_variant(profile, sizes.sizes(), sizes.page_rows, sizes.segments()) {
        Some(variant) => (variant, COOP_HEADS, COOP_KEYS),
        None => plain(profile, sizes, false),
    };
    let most_keys = keys.iter().copied().max().unwrap_or(0);
    let grid = [sizes.heads / heads_each, sizes.parts(profile, most_keys), pass.t()];
    let bindings = bindings(sizes, buffers, [buffers.partial.into(), buffers.stats.into()]);
    pass.launch(variant, &params(sizes, buffers, staged), bindings, grid);
    pass.rec.by_position();
    pass.rec.cost(cost::attention(pass.profile(), sizes.heads, sizes.dim, keys, false));
}

/// Records the attention of each row over all its keys at once.
pub fn record_whole(pass: &mut Pass<'_>, sizes: &Attention<'_>, buffers: &AttentionBuffers<'_>, keys: &[u32]) {
    let (variant, heads_each, staged) = plain(pass.profile(), sizes, true);
    let bindings = bindings(sizes, buffers, [sizes.sinks.into(), (&buffers.out.slice).into()]);
    pass.launch(variant, &params(sizes, buffers, staged), bindings, [sizes.heads / heads_each, 1, pass.t()]);
    pass.rec.by_position();
    pass.rec.cost(cost::attention(pass.profile(), sizes.heads, sizes.dim, keys, true));
}

/// The variant of `attention`, the number of heads of a workgroup, and the number of keys that it stages at a time.
fn plain(profile: &KernelProfile, sizes: &Attention<'_>, whole: bool) -> (Variant, u32, u32) {
    let variant = attention_variant(profile, sizes.sizes(), sizes.page_rows, sizes.segments(), whole);
    (variant, heads_each(sizes.heads), staged_keys(profile.kv))
}

fn params(sizes: &Attention<'_>, buffers: &AttentionBuffers<'_>, staged: u32) -> AttentionParams {
    AttentionParams {
        heads: sizes.heads,
        q_stride: buffers.q.stride,
        window: sizes.window,
        ratio: sizes.ratio,
        top_k: sizes.top_k,
        ring_rows: sizes.ring_rows,
        max_pages: sizes.max_pages,
        scale: 1.0 / (sizes.dim as f32).sqrt(),
        rope: sizes.rope,
        angle_set: u32::from(sizes.ratio > 0),
        norm_eps: sizes.norm_eps,
        staged,
        page_bits: sizes.page_rows.trailing_zeros(),
    }
}

/// The bindings of both kernels. `between` are those that only one of them has, between the inputs and the pools.
fn bindings(sizes: &Attention<'_>, buffers: &AttentionBuffers<'_>, between: [Binding; 2]) -> Vec<Binding> {
    let mut bindings = bind([buffers.rows, &buffers.q.slice, buffers.kv, buffers.selected, buffers.angles]);
    bindings.extend(between.into_iter().chain(sizes.pools()));
    bindings
}

/// Records the merge of all parts. The same launch writes as many rings as it can; further launches write the rest.
pub fn record_merge(pass: &mut Pass<'_>, sizes: &Attention<'_>, buffers: &AttentionBuffers<'_>, rings: &Rings<'_>) {
    let mut ring_parts = rings.parts().into_iter();
    let first = ring_parts.next().map(RingPart::filled);
    let (count, workgroups) = first.as_ref().map_or((0, 0), |part| (part.rings, part.workgroups));
    let params = AttentionMergeParams {
        sources: first.as_ref().map(|part| part.sources).unwrap_or_default(),
        places: first.as_ref().map(|part| part.places).unwrap_or_default(),
        heads: sizes.heads,
        window: sizes.window,
        ratio: sizes.ratio,
        top_k: sizes.top_k,
        rope: sizes.rope,
        angle_set: u32::from(sizes.ratio > 0),
        ring_workgroups: workgroups,
        parts: sizes.max_parts,
    };
    let mut bindings = bind([buffers.rows, buffers.partial, buffers.stats, sizes.sinks, buffers.angles, &buffers.out.slice]);
    bindings.extend(binding(buffers.out_int8));
    bindings.extend(first.into_iter().flat_map(|part| part.bindings));
    let variant = with_int8_output(merge_variant(pass.profile(), sizes.sizes(), count > 0), buffers.out_int8.is_some());
    pass.launch(variant, &params, bindings, [sizes.heads + count * workgroups, pass.t(), 1]);
    ring_parts.for_each(|part| record_ring_part(pass, part, buffers.rows));
}

/// The variant of `attention_merge`. With `rings` it writes rings too. Layers have different numbers of rings and share one variant,
/// because every further variant would start with a cold instruction cache.
fn merge_variant(profile: &KernelProfile, heads: Heads, rings: bool) -> Variant {
    let variant = profile.variant("attention_merge").constant("DIM", heads.dim).constant("MAX_PARTS", heads.max_parts);
    let variant = variant.constant("SPLIT_KEYS", split_keys(profile, heads)).constant("PARTS_EACH", heads.max_parts.div_ceil(2));
    if rings { variant.constant("RINGS", RINGS as u32) } else { variant }
}

const _: () = assert!(WG * 2 >= 512, "each invocation merges one pair of channels of a head, which may have 512 channels");

fn attention_variants(profile: &KernelProfile) -> Vec<Variant> {
    let (heads, mut all) = (sample_heads(), Vec::new());
    for (page_rows, segments) in sample_segments() {
        let has_long_kernels = profile.cooperative().is_some();
        let plain = [false, true].into_iter().filter(|whole| !whole || !has_long_kernels);
        all.extend(plain.map(|whole| attention_variant(profile, heads, page_rows, segments, whole)));
        all.extend(attention_coop_variant(profile, heads, page_rows, segments));
    }
    all
}

fn merge_variants(profile: &KernelProfile) -> Vec<Variant> {
    let mut all = [false, true].map(|rings| merge_variant(profile, sample_heads(), rings)).to_vec();
    if profile.caps.subgroup.is_some() {
        all.push(with_int8_output(merge_variant(profile, sample_heads(), true), true));
    }
    all
}
