//! Compressed rows: when a window of tokens closes, its values are pooled into one row of a page.

use super::context::{KernelProfile, Strided};
use super::matrix::Pool;
use super::pass::{Pass, bind};
use crate::gpu::{Slice, Variant};

kernels! {
    CompressParams for "compress" in variants {
        dim: u32, rope: u32, input_stride: u32, input_offset: u32, ring: u32, max_pages: u32, first_page: u32, held_pages: u32,
        first_window: u32, eps: f32,
    }
}

/// A window that closes in this step, laid out as the shader reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Window {
    /// The row of the step that holds the window's last token.
    pub last_row: u32,
    /// The window's number in its session, from 0.
    pub index: u32,
}

/// The windows of one ratio that close in a step, and the buffers that describe the step.
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a> {
    /// The list of closing windows, those of all ratios.
    pub list: &'a Slice,
    /// Rotation of each window's first token, (cos, sin) pairs (n, R/2).
    pub angles: &'a Slice,
    /// Index in `list` of the first window of this ratio.
    pub first: u32,
    /// Number of windows of this ratio.
    pub count: u32,
    /// Rows of the step (T).
    pub rows: &'a Slice,
    /// Live words (slots): the pages of a slot whose word is 0 are not written.
    pub live: &'a Slice,
}

/// Sizes and weights of one compressor, and the pages that it writes.
#[derive(Clone, Debug)]
pub struct Compress<'a> {
    /// Tokens in a window. Windows of ratio 4 overlap, so their values and gates are two rows wide.
    pub ratio: u32,
    /// d: 512, or 128 for the indexer.
    pub dim: u32,
    /// Rotated channels.
    pub rope: u32,
    /// Epsilon of the norm.
    pub eps: f32,
    /// Rows of a session's frontier.
    pub ring: u32,
    /// Rows in a page.
    pub page_rows: u32,
    /// Pages in a session's table.
    pub max_pages: u32,
    /// ape (ratio, width) f32.
    pub ape: &'a Slice,
    /// Norm weight (d) f32.
    pub norm: &'a Slice,
    /// Frontier (slots, ring, 2 width) f32.
    pub frontier: &'a Pool,
    /// Pages (pages, page_rows, d).
    pub pages: &'a Pool,
    /// Page table (slots, max_pages).
    pub page_table: &'a Slice,
}

impl Compress<'_> {
    /// Number of values of a token, which is the number of its gates too.
    pub fn width(&self) -> u32 {
        if self.ratio == 4 { self.dim * 2 } else { self.dim }
    }
}

/// Adds to `variant` what a kernel needs that pools windows of `ratio` tokens into pages of `page_rows` rows.
pub(super) fn for_windows(variant: Variant, ratio: u32, page_rows: u32) -> Variant {
    variant.flag_if(ratio == 4, "OVERLAP").constant("RATIO", ratio).constant("PAGE_ROWS", page_rows)
}

fn compress_variant(profile: &KernelProfile, ratio: u32, page_rows: u32, segments: u32, segment_rows: u32) -> Variant {
    let variant = for_windows(profile.kv_variant("compress"), ratio, page_rows).constant("FRONTIER_SEGMENTS", segments);
    if segments > 1 { variant.flag("FRONTIER_SPLIT").constant("SEGMENT_ROWS", segment_rows) } else { variant }
}

/// Records the compression of `windows` into the pages of live slots. `inputs` has T rows, each with its values and then its gates.
pub fn record_compress(pass: &mut Pass<'_>, sizes: &Compress<'_>, windows: &Windows<'_>, inputs: &Strided) {
    let segments = sizes.frontier.segments.len() as u32;
    let variant = compress_variant(pass.profile(), sizes.ratio, sizes.page_rows, segments, sizes.frontier.units_per_segment);
    for (i, pages) in sizes.pages.segments.iter().enumerate() {
        let params = CompressParams {
            dim: sizes.dim,
            rope: sizes.rope,
            input_stride: inputs.stride,
            input_offset: inputs.offset,
            ring: sizes.ring,
            max_pages: sizes.max_pages,
            first_page: i as u32 * sizes.pages.units_per_segment,
            held_pages: sizes.pages.units_per_segment,
            first_window: windows.first,
            eps: sizes.eps,
        };
        let mut bindings = bind([windows.list, windows.rows, windows.live, &inputs.slice]);
        bindings.extend(bind([sizes.ape, sizes.norm, windows.angles, sizes.page_table, pages]));
        bindings.push(sizes.frontier.into());
        pass.launch(variant.clone(), &params, bindings, [windows.count, 1, 1]);
        pass.rec.by_position();
    }
}

fn variants(profile: &KernelProfile) -> Vec<Variant> {
    let kinds = [1, 2].into_iter().flat_map(|segments| [(4, 128, segments), (128, 4, segments)]);
    kinds.map(|(ratio, page_rows, segments)| compress_variant(profile, ratio, page_rows, segments, 100)).collect()
}
