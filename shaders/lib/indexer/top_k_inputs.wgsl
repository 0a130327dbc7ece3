// top_k_inputs: parameters and bindings of the kernels that choose the best-scored compressed rows.
// needs   nothing
// declares Params; bindings rows, scores, selected
// gives   what it declares, and Row by lib/rows/rows

struct Params {
    ratio: u32,
    top_k: u32,
    columns: u32,
    first_token: u32,
}

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;              // (T)
@group(0) @binding(auto) var<storage, read> scores: array<f32>;            // (n, columns)
@group(0) @binding(auto) var<storage, read_write> selected: array<u32>;    // (T, top_k)
