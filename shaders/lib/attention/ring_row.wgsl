// ring_row: copies the newest rows of each session into RINGS rings indexed by position: ring[slot, position mod size] = source[t].
// needs   RINGS; binding rows; params.sources and params.places, array<vec4<u32>, 3> each
// declares bindings live, source_0 ..., ring_0 ...
// gives   store_ring_word(ring, row t, word i): copies one word; does nothing where the row has no such word or must not be stored
//
// params.sources[ring]: words of a row, words from row to row of the source, word offset of the first row, rows of a session's ring.
// params.places[ring]: first ring row of the binding, counted through all sessions; ring rows in the binding; two zeros.

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> live: array<u32>;        // (slots)
#for I RINGS
@group(0) @binding(auto) var<storage, read> source_$I: array<u32>;     // (T, stride)
@group(0) @binding(auto) var<storage, read_write> ring_$I: array<u32>; // (held, words)
#end

fn store_ring_word(ring: u32, t: u32, i: u32) {
    let row = rows[t];
    let source = params.sources[ring];
    let words = source.x;
    let size = source.w;
    let held = params.places[ring].xy;
    // Of a session's rows in this step only the last `size` are stored. Earlier ones have the same places, so their stores would race.
    let place = row.slot * size + row.position % size;
    if (i >= words || live[row.slot] == 0u || row.last_row - t >= size || place < held.x || place - held.x >= held.y) {
        return;
    }
    let to = (place - held.x) * words + i;
    let at = t * source.y + source.z + i;
    switch ring {
#for I RINGS
        case $Iu: {
            ring_$I[to] = source_$I[at];
        }
#end
        default: {}
    }
}
