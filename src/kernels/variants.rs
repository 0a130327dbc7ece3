//! Every variant that a device can select, for the tests that translate them all without a GPU.

use super::attention::{Heads, MAX_PARTS, Segments, attention_coop_variant, attention_variant, merge_variant};
use super::attention_long::coop_variants;
use super::compressor::compress_variant;
use super::hc::{Ahead, asking, hc_mix_variant, hc_pre_variant, hc_sinkhorn_variant, leaving};
use super::indexer::{index_score_coop_variant, index_score_few_variant, index_score_variant, top_k_variant};
use super::kit::{Dialect, storing_half, with_formats};
use super::latents::latents_variant;
use super::linear::{Grouping, Tile, decode_runs_variant, matvec_variant};
use super::moe::{down_variant, gate_up_variant, group_variant};
use super::moe_int8::{FORMATS, down_int8_variant, gate_up_int8_variant};
use super::normed::matvec_normed_variant;
use super::quantized::{grouped, leaving_variant, matvec_int8_variant, quantizing};
use super::rings::ring_store_variant;
use super::router::{Choice, router_variant};
use super::rows::Rows;
use super::sample::sample_variant;
use crate::gpu::Variant;
use crate::quant::BlockFormat;

/// All variants for a device, with V4 Flash's head sizes and with each pool whole and split.
pub fn variants(dialect: &Dialect) -> Vec<Variant> {
    let heads = Heads { heads: 64, dim: 512, rope: 64, max_parts: MAX_PARTS };
    let mut all: Vec<Variant> =
        ["rms_norm", "mtp_join", "q_rope", "moe_combine", "stream_read"].map(|kernel| dialect.variant(kernel)).to_vec();
    // V4 Flash, V4 Pro, the most that there may be, and what the small test models have.
    let sizes = [(256, 6), (384, 6), (1024, 16), (8, 2)];
    let choices = sizes.into_iter().flat_map(|(experts, used)| [false, true].map(|hashed| Choice { experts, used, hashed }));
    all.extend(choices.clone().map(|choice| router_variant(dialect, choice)));
    if dialect.uses_half() {
        let storing = [dialect.variant("rms_norm"), hc_pre_variant(dialect, (4096, 24), false, Rows::Many(17))];
        let routers = choices.clone().take(2).map(|choice| router_variant(dialect, choice));
        all.extend(routers.chain(storing).map(storing_half));
    }
    all.push(sample_variant(dialect));
    all.push(dialect.kv_variant("kv_row"));
    all.extend([512, 4096, 8192].map(|columns| top_k_variant(dialect, columns)));
    let collapses = [(24, Rows::Few(1)), (24, Rows::Many(17)), (4, Rows::Few(1)), (4, Rows::Many(17))]
        .map(|(outputs, rows)| hc_pre_variant(dialect, (4096, outputs), outputs == 4, rows));
    all.extend(collapses.clone());
    all.extend([Rows::Few(1), Rows::Many(17)].map(|rows| hc_sinkhorn_variant(dialect, 4096, rows)));
    all.extend([24, 4].map(|outputs| asking(hc_pre_variant(dialect, (4096, outputs), outputs == 4, Rows::Few(1)), Ahead::MOST)));
    all.push(asking(hc_sinkhorn_variant(dialect, 4096, Rows::Few(1)), Ahead::MOST));
    all.extend([false, true].map(|rings| merge_variant(dialect, heads, rings)));
    let tiles = [16, 64, 128].map(|tokens| Tile::choose(dialect, tokens));
    all.extend(tiles.iter().map(|tile| group_variant(dialect, tile.tokens)));
    all.extend([1, 2, 3].map(|rings| ring_store_variant(dialect, rings)));
    let mixed = [BlockFormat::Q8_0x8, BlockFormat::F16];
    let sets = BlockFormat::ALL.iter().map(std::slice::from_ref).chain([&mixed[..]]);
    for formats in sets {
        all.push(with_formats(dialect.variant("embed"), formats));
        if dialect.caps.f16 {
            all.push(decode_runs_variant(formats));
        }
        let mixes = [(false, Rows::Few(1)), (true, Rows::Few(1)), (true, Rows::Few(16)), (true, Rows::Many(17))];
        all.extend(mixes.map(|(post, rows)| hc_mix_variant(dialect, formats, post, rows).0));
        all.extend([1, 2, 4, 8, 16].map(|tokens| matvec_variant(dialect, formats, tokens).0));
        all.extend([gate_up_variant(dialect, formats).0, down_variant(dialect, formats).0]);
        let tiles = if tiles[0].half { &tiles[..] } else { &tiles[..1] };
        for (i, flags) in [&[][..], &["EXPERTS"], &["EXPERTS", "GATE_UP"]].iter().enumerate() {
            for (j, tile) in tiles.iter().enumerate() {
                let half = tile.half && (i + j) % 2 == 1;
                // Whole stages, and rows that end within one.
                for columns in if tile.half { &[4096, 264][..] } else { &[4096] } {
                    all.push(flags.iter().fold(tile.variant(formats, *columns, half, half), |v, flag| v.flag(flag)));
                }
            }
        }
    }
    // Kernels for int8 are tried on devices that would not choose them too, where they can run.
    if dialect.caps.subgroup.is_some() {
        all.extend(choices.clone().map(|choice| quantizing(router_variant(dialect, choice), true)));
        all.extend(collapses.map(|variant| quantizing(variant, true)));
        all.push(quantizing(merge_variant(dialect, heads, true), true));
        for formats in BlockFormat::ALL.iter().map(std::slice::from_ref).chain([&mixed[..]]) {
            if let [format] = formats
                && FORMATS.contains(format)
            {
                // V4 Flash, V4 Pro, and what the small test models have.
                for sizes in [(4096, 2048), (7168, 3072), (256, 32)] {
                    let all_choices = choices.clone().map(Some).chain([None]).flat_map(|choice| [(choice, 1), (choice, 2)]);
                    let gate_ups = all_choices.filter_map(|(c, tokens)| gate_up_int8_variant(dialect, *format, sizes, c, tokens));
                    all.extend(gate_ups.map(|gate_up| gate_up.variant));
                }
                let downs = [(6, true, 1), (6, true, 2), (6, false, 1), (2, true, 1), (2, true, 2)];
                let variant = |(used, shared, tokens)| down_int8_variant(dialect, *format, 2048, (used, shared), tokens);
                all.extend(downs.into_iter().filter_map(variant).map(|v| v.0));
                let folded = [6, 2].into_iter().filter_map(|used| variant((used, true, 1)));
                all.extend(folded.filter(|v| v.1 == 16).map(|v| leaving(v.0, 1)));
            }
            for (columns, tokens, each) in [(1024, 1, 1), (4096, 2, 1), (4096, 4, 2), (8192, 16, 1), (8192, 16, 4)] {
                let variants = [false, true].map(|quantize| matvec_int8_variant(dialect, formats, columns, quantize, tokens, each).0);
                all.extend(variants.iter().map(|variant| grouped(variant.clone(), Grouping::Rows(1024))));
                all.extend(variants);
            }
        }
        let leaving = [(8192, 1), (8192, 16), (512, 2)].map(|(columns, tokens)| leaving_variant(dialect, columns, tokens).0);
        all.extend(leaving.into_iter().filter(|variant| variant.value("WG").is_some_and(|wg| wg <= dialect.caps.invocations)));
    }
    let closing = [None, Some((4, 128, 2)), Some((128, 4, 1))];
    all.extend([false, true].iter().flat_map(|&queries| closing.map(|kind| latents_variant(dialect, queries, kind))));
    for formats in [&mixed[..], &mixed[..1], &mixed[1..]] {
        let sizes = [(256, 1, 4), (1024, 1, 4), (1024, 16, 4), (1536, 2, 1)];
        let normed = sizes.map(|(columns, tokens, each)| matvec_normed_variant(dialect, formats, columns, tokens, each));
        all.extend(normed.into_iter().flatten().map(|(variant, _)| variant));
    }
    for segments in [1, 2] {
        for (ratio, page_rows) in [(4, 128), (128, 4)] {
            all.push(compress_variant(dialect, ratio, page_rows, segments, 100));
            let segments = Segments { ring: segments, ring_held: 100, pages: segments, pages_held: 100 };
            let coop = dialect.cooperative();
            for whole in [false, true] {
                if !whole || coop.is_none() {
                    all.push(attention_variant(dialect, heads, page_rows, segments, whole));
                }
            }
            all.extend(attention_coop_variant(dialect, heads, page_rows, segments));
            if let Some(shape) = coop {
                all.extend([false, true].into_iter().flat_map(|half| coop_variants(dialect, shape, heads, page_rows, segments, half)));
            }
        }
        all.push(index_score_variant(dialect, 128, 128, segments, 100).0);
        all.extend([32, 128].into_iter().filter_map(|dim| index_score_coop_variant(dialect, dim, 128, segments, 100)));
        all.extend([32, 128].into_iter().filter_map(|dim| index_score_few_variant(dialect, dim, 128, segments, 100)).map(|v| v.0));
    }
    all
}
