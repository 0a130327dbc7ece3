// ring_store: the newest rows of each session into a ring indexed by position: ring[slot, position mod size] = source[t].
// in      rows (T) Row; live (slots); source (T, source_stride) words, `words` of them at source_offset
// out     ring (slots, size, words) words; this binding holds ring rows [first, first + held)
// params  Params 32 B
// grid    x: ceil(words / WG), y: T
// needs   nothing
// cost    8 bytes a word
// source  SPEC 5 (raw ring, frontiers)
struct Params {
    words: u32,
    source_stride: u32, // words
    source_offset: u32, // words
    size: u32,          // rows of a session's ring
    first: u32,         // the binding's first ring row, counted through all sessions
    held: u32,
}

#import lib/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;        // (T)
@group(0) @binding(auto) var<storage, read> live: array<u32>;        // (slots)
@group(0) @binding(auto) var<storage, read> source: array<u32>;      // (T, source_stride)
@group(0) @binding(auto) var<storage, read_write> ring: array<u32>;  // (held, words)

@compute @workgroup_size(WG)
fn ring_store(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = wid.x * WG + lid;
    let t = wid.y;
    let row = rows[t];
    // Of a long chunk only the last `size` rows stay: earlier ones would race with them for the same place.
    let place = row.slot * params.size + row.position % params.size;
    if (i >= params.words || live[row.slot] == 0u || row.last_row - t >= params.size
        || place < params.first || place - params.first >= params.held) {
        return;
    }
    ring[(place - params.first) * params.words + i] = source[t * params.source_stride + params.source_offset + i];
}
