// Which of a launch's matrices, up to MATRICES of eight at most, a row belongs to: params.ends_bases holds (row entry, byte offset) for each,
// two a vec4.
#import lib/linear/row_entry

// Byte offset of row `row` in w, and its format. The loop body stays minimal because compilers unroll it up to eight times.
fn locate(row: u32) -> vec2<u32> {
    var start = 0u;
    var entry = vec2<u32>(0u);
    for (var i = 0u; i < MATRICES; i++) {
        let pair = params.ends_bases[i >> 1u];
        entry = select(pair.xy, pair.zw, (i & 1u) == 1u);
        let end = entry_end(entry.x);
        if (row < end) {
            break;
        }
        start = end;
    }
    let format = entry_format(entry.x);
    return vec2<u32>(entry.y + (row - start) * row_bytes(format, params.columns), format);
}
