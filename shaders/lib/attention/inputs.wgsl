// inputs: parameters and first bindings of attention and attention_coop. Rings and pages are bound after the kernel's outputs.
// needs   DIM, and lib/attention/kv for KeyWord
// declares Params; bindings rows, q_quads, kv, selected, angles
// gives   what it declares, and Row by lib/rows/rows

struct Params {
    heads: u32,
    q_stride: u32,      // floats
    window: u32,
    ratio: u32,         // 0, 4, 128
    top_k: u32,         // compressed rows at most; the indexer selects beyond it
    ring_rows: u32,
    max_pages: u32,
    scale: f32,
    rope: u32,          // R
    angle_set: u32,
    norm_eps: f32,
    staged: u32,        // keys staged at a time
    page_bits: u32,     // a page has 2^page_bits rows
}

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;            // (T)
@group(0) @binding(auto) var<storage, read> q_quads: array<vec4<f32>>;   // (T, q_stride/4)
@group(0) @binding(auto) var<storage, read> kv: array<KeyWord>;          // (T, DIM/2) pairs
@group(0) @binding(auto) var<storage, read> selected: array<u32>;        // (T, top_k)
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;    // (T, 2, R/2) (cos, sin)
