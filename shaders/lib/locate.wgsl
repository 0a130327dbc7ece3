// Which of a launch's matrices, up to MATRICES of eight at most, a row belongs to: params.ends_bases holds (end | format << 28, byte offset)
// for each, two a vec4.

// Byte offset of row `row` in w, and its format. The search only searches: whatever it did besides, compilers would write out eight times.
fn locate(row: u32) -> vec2<u32> {
    var start = 0u;
    var entry = vec2<u32>(0u);
    for (var i = 0u; i < MATRICES; i++) {
        let pair = params.ends_bases[i >> 1u];
        entry = select(pair.xy, pair.zw, (i & 1u) == 1u);
        let end = entry.x & 0x0fffffffu;
        if (row < end) {
            break;
        }
        start = end;
    }
    let format = entry.x >> 28u;
    return vec2<u32>(entry.y + (row - start) * row_bytes(format, params.columns), format);
}
