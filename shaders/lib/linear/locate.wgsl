// locate: finds the matrix that a row of a launch belongs to.
// needs   MATRICES, at most 8; params.columns, params.ends_bases: (row entry, byte offset) of each matrix, two a vec4; row_bytes(format,
//         columns)
// gives   locate(row): its byte offset in w, and the format of its matrix

#import lib/linear/row_entry

// The loop body stays minimal because compilers unroll it up to eight times.
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
