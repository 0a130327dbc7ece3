//! The variants of `moe_gate_up_int8` and `moe_down_int8`: the shapes of their workgroups, and which of them fits a device.

use crate::gpu::Variant;
use crate::kernels::context::KernelProfile;
use crate::kernels::formats::with_format;
use crate::kernels::hc::{FUSED_CHANNELS, with_hc_mix};
use crate::kernels::int8::with_int8_output;
use crate::kernels::matrix::Experts;
use crate::kernels::router::{CHOICES, Choice};
use crate::quant::BlockFormat;

/// Formats that `lib/formats/units` supports.
const FORMATS: [BlockFormat; 4] = [BlockFormat::Iq2Xxs, BlockFormat::Q2K, BlockFormat::Iq2Xxsx8, BlockFormat::Q2Kx4];

/// Number of weights of a row that one lane handles at a time.
const UNIT: u32 = 64;

/// Number of values of the rounded result that share a scale.
pub(super) const BLOCK: u32 = 32;

/// Shapes of a workgroup of `moe_gate_up_int8`: invocations, largest number of rows, and copies of the tables in workgroup memory. SMALL is
/// for devices without room for the others. LARGE, for one token, has a copy of the tables for each lane of half a subgroup, which avoids
/// bank conflicts. LONG, for several tokens, has more rows instead of more workgroups, so that tables and choice are computed no more often
/// (with 8 tokens 136 instead of 148 us a layer).
const LARGE: (u32, u32, u32) = (768, 96, 16);
const LONG: (u32, u32, u32) = (768, 768, 8);
const SMALL: (u32, u32, u32) = (256, 32, 8);

/// Shapes of a workgroup of `moe_down_int8`: number of subgroups for the shared expert, a row of which has the bytes of three rows of a
/// routed expert, and number of rows in units of eight. The first shape that fits the device is taken. For one token the first is so large
/// that all workgroups run at the same time on a large device and can have a fused hc_mix. For several tokens small workgroups are faster,
/// because some go on while others wait (with 8 tokens 66 instead of 90 us a layer, although hc_mix takes a launch of its own).
const DOWN_ONE: [(u32, u32); 3] = [(4, 2), (2, 2), (1, 1)];
const DOWN_SEVERAL: [(u32, u32); 2] = [(2, 1), (1, 1)];

/// The format of all members of the stack, if it is the same and `lib/formats/units` supports it.
pub(super) fn unit_format(stack: &Experts) -> Option<BlockFormat> {
    let format = stack.formats[0];
    (FORMATS.contains(&format) && stack.formats.iter().all(|f| *f == format)).then_some(format)
}

/// A variant of `moe_gate_up_int8`, and the number of invocations and rows of a workgroup.
#[derive(Clone, Debug)]
pub(super) struct GateUp {
    pub variant: Variant,
    pub wg: u32,
    pub rows_each: u32,
}

/// The variant for experts of `columns` columns that have `rows` rows in the smallest slice. With `choice` it does the router's work. None
/// if a row is too wide for a workgroup, or if the choice does not fit the workgroup memory.
pub(super) fn gate_up_int8_variant(
    profile: &KernelProfile,
    format: BlockFormat,
    (columns, rows): (u32, u32),
    choice: Option<Choice>,
    tokens: u32,
) -> Option<GateUp> {
    let (caps, subgroup) = (&profile.caps, profile.caps.subgroup?);
    let lanes = (columns / UNIT).next_power_of_two().max(8);
    let pairs = |most: u32| (most / BLOCK).min(most.div_ceil(rows) + 1);
    // Workgroup memory: copies of tables of 2560 bytes, for each row two sums of every subgroup and a value, and 16 bytes for each pair of
    // token and expert that a workgroup may have rows of.
    let tables = |(_, most, copies): (u32, u32, u32)| 2560 * copies + 8 * most * lanes.div_ceil(subgroup) + 4 * most + 16 * pairs(most);
    let bytes = |shape: (u32, u32, u32)| tables(shape) + choice.map_or(0, |choice| choice.workgroup_bytes(pairs(shape.1)));
    // With narrow rows some lanes of a large workgroup would have no row.
    let fits = |shape: &(u32, u32, u32)| {
        let (wg, most, _) = *shape;
        wg <= caps.invocations && bytes(*shape) <= caps.workgroup_bytes && wg.is_multiple_of(lanes) && most * lanes >= wg
    };
    let large = if tokens == 1 { LARGE } else { LONG };
    let (wg, most, copies) = [large, SMALL].into_iter().find(fits)?;
    let passes = (LARGE.1 * tokens).div_ceil(most);
    let rows_each = (LARGE.1 * tokens).div_ceil(passes).next_multiple_of(BLOCK);
    let variant = Variant::new("moe_gate_up_int8")
        .flag_if(tokens == 1, "ONE_TOKEN")
        .constant("WG", wg)
        .constant("SUBGROUP", subgroup)
        .constant("LANES", lanes)
        .constant("ROWS", most)
        .constant("PAIRS", pairs(most))
        .constant("COLUMNS", columns);
    // The other invocations prepare the tables while `choosing` invocations choose experts.
    let choosing = choice.map_or(0, |choice| choice.experts.next_multiple_of(32));
    let variant = with_tables(variant, copies, if wg >= choosing + 256 { wg - choosing } else { wg });
    let variant = match choice {
        Some(choice) => with_int8_output(choice.variant(variant.flag("ROUTED")), true),
        None => variant,
    };
    Some(GateUp { variant: with_format(variant, format), wg, rows_each })
}

/// Adds to `variant` what a kernel needs that imports `lib/formats/units`: `invocations` of a workgroup prepare `copies` copies of the
/// tables.
fn with_tables(variant: Variant, copies: u32, invocations: u32) -> Variant {
    let entries = if invocations >= 384 { 384u32 } else { 256 };
    variant.constant("COPIES", copies).constant("PREPARING", invocations).constant("TABLE_ROUNDS", entries.div_ceil(invocations))
}

/// The variant for `used` experts of `columns` columns, with the shared expert if `shared`, and the number of rows of a workgroup. None if
/// the workgroup would have more subgroups than the device allows.
pub(super) fn down_int8_variant(
    profile: &KernelProfile,
    format: BlockFormat,
    columns: u32,
    (used, shared): (u32, bool),
    tokens: u32,
) -> Option<(Variant, u32)> {
    let subgroup = profile.caps.subgroup?;
    let shapes = if tokens == 1 { &DOWN_ONE[..] } else { &DOWN_SEVERAL[..] };
    let wg = |parts: u32| (used + if shared { parts } else { 0 }) * subgroup;
    let &(parts, eights) = shapes.iter().find(|(parts, _)| wg(*parts) <= profile.caps.invocations)?;
    let variant = Variant::new("moe_down_int8")
        .flag_if(shared, "SHARED")
        .constant("WG", wg(parts))
        .constant("SUBGROUP", subgroup)
        .constant("EIGHTS", eights)
        .constant("USED", used)
        .constant("SHARED_PARTS", if shared { parts } else { 0 })
        .constant("COLUMNS", columns);
    Some((with_format(with_tables(variant, SMALL.2, wg(parts)), format), 8 * eights))
}

/// Like the other list of this file it is for every device that can run these variants, even one that would not choose them.
pub(super) fn gate_up_variants(profile: &KernelProfile) -> Vec<Variant> {
    let mut all = Vec::new();
    for format in FORMATS {
        // The sizes of V4 Flash, of V4 Pro, and of the small test models.
        for sizes in [(4096, 2048), (7168, 3072), (256, 32)] {
            let choices = CHOICES.map(Some).into_iter().chain([None]).flat_map(|choice| [(choice, 1), (choice, 2)]);
            all.extend(choices.filter_map(|(choice, tokens)| gate_up_int8_variant(profile, format, sizes, choice, tokens)));
        }
    }
    all.into_iter().map(|gate_up| gate_up.variant).collect()
}

pub(super) fn down_variants(profile: &KernelProfile) -> Vec<Variant> {
    let mut all = Vec::new();
    for format in FORMATS {
        let variant = |(used, shared, tokens)| down_int8_variant(profile, format, 2048, (used, shared), tokens);
        let shapes = [(6, true, 1), (6, true, 2), (6, false, 1), (2, true, 1), (2, true, 2)];
        all.extend(shapes.into_iter().filter_map(variant).map(|v| v.0));
        let folded = [6, 2].into_iter().filter_map(|used| variant((used, true, 1)));
        all.extend(folded.filter(|v| v.1 == FUSED_CHANNELS).map(|v| with_hc_mix(v.0, 1)));
    }
    all
}
