// Rows of the experts' weights by units of 64 weights, one a lane, times x rounded to int8 (lib/numbers/quantize). A format's file has
//   Stored        what `stack` is an array of
//   prepare       its tables in workgroup memory: call it by PREPARING invocations before the first barrier
//   unit_row      bytes of a row
//   load_unit     a unit of the row at a byte offset of `stack`
//   load_values   what a unit meets of a row of x
//   dot_unit      the sum of their products
// Declare stack and rounded (array<vec4<u32>>) first.

// Where the codes of row `t` of x begin, in quads, and its scales, in words.
fn values_at(t: u32, columns: u32) -> vec2<u32> {
    let first = t * (columns / 128u * 9u);
    return vec2<u32>(first, first * 4u + columns / 4u);
}

fn value_scale(i: u32) -> f32 {
    return bitcast<f32>(rounded[i >> 2u][i & 3u]);
}

fn dot16(a: vec4<u32>, b: vec4<u32>) -> i32 {
    return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}

#ifdef FORMAT_IQ2_XXS
#import lib/formats/units_iq2_xxs
#endif
#ifdef FORMAT_IQ2_XXSX8
#import lib/formats/units_iq2_xxs
#endif
#ifdef FORMAT_Q2_K
#import lib/formats/units_q2_k
#endif
#ifdef FORMAT_Q2_KX4
#import lib/formats/units_q2_k
#endif
