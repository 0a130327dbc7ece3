//! Compressed rows: what a closed window of tokens leaves behind.

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

/// A window that closes in this step, as the shader sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Window {
    /// The row of the step that closes it.
    pub last_row: u32,
    /// Its number in the session.
    pub index: u32,
}

/// Closing windows of one ratio, and the step that they close in.
#[derive(Clone, Copy, Debug)]
pub struct Windows<'a> {
    /// Windows of all ratios.
    pub list: &'a Slice,
    /// (cos, sin) of their first tokens (n, R/2).
    pub angles: &'a Slice,
    /// The first of this ratio.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Rows (T).
    pub rows: &'a Slice,
    /// Which slots may be written (slots).
    pub live: &'a Slice,
}

/// Sizes and weights of one compressor, and where its rows go.
#[derive(Clone, Debug)]
pub struct Compress<'a> {
    /// Tokens in a window. A ratio of 4 overlaps: values and gates are two rows wide.
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
    /// Width of values and of gates.
    pub fn width(&self) -> u32 {
        if self.ratio == 4 { self.dim * 2 } else { self.dim }
    }
}

/// `variant` of a kernel that makes compressed rows of windows of `ratio` tokens, `page_rows` in a page.
pub(super) fn for_windows(variant: Variant, ratio: u32, page_rows: u32) -> Variant {
    variant.flag_if(ratio == 4, "OVERLAP").constant("RATIO", ratio).constant("PAGE_ROWS", page_rows)
}

fn compress_variant(profile: &KernelProfile, ratio: u32, page_rows: u32, segments: u32, segment_rows: u32) -> Variant {
    let variant = for_windows(profile.kv_variant("compress"), ratio, page_rows).constant("FRONTIER_SEGMENTS", segments);
    if segments > 1 { variant.flag("FRONTIER_SPLIT").constant("SEGMENT_ROWS", segment_rows) } else { variant }
}

/// Compressed rows of `windows`. `inputs`: T rows with values then gates. Writes pages of live slots.
pub fn record_compress(pass: &mut Pass<'_>, sizes: &Compress<'_>, windows: &Windows<'_>, inputs: &Strided) {
    let segments = sizes.frontier.segments.len() as u32;
    let variant = compress_variant(pass.profile(), sizes.ratio, sizes.page_rows, segments, sizes.frontier.held);
    for (i, pages) in sizes.pages.segments.iter().enumerate() {
        let params = CompressParams {
            dim: sizes.dim,
            rope: sizes.rope,
            input_stride: inputs.stride,
            input_offset: inputs.offset,
            ring: sizes.ring,
            max_pages: sizes.max_pages,
            first_page: i as u32 * sizes.pages.held,
            held_pages: sizes.pages.held,
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
