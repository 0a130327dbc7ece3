// units: rows of the experts' weights in units of 64 weights, one a lane, times x rounded to int8.
// needs   bindings stack as array<Stored>, rounded as array<vec4<u32>>; one of FORMAT_IQ2_XXS, FORMAT_IQ2_XXSX8, FORMAT_Q2_K, FORMAT_Q2_KX4
// declares what the file of the format declares, lib/formats/units_iq2_xxs or units_q2_k
// gives   Stored, prepare(number), unit_row(columns): bytes of a row, load_unit(byte offset of the row, unit), load_values(row of x, unit,
//         columns), dot_unit(weights, values, local index): the sum of the products
//
// Each format's file has these functions. `prepare` fills its tables in workgroup memory: PREPARING invocations, numbered from 0, call it
// before the first barrier. load_values gives the values of x that the weights of a unit multiply.

// Offsets in `rounded` of row `t` of x: of its codes in quads, of its scales in words.
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
