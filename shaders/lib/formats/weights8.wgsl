// weights8: eight neighbouring weights of a row, and their products.
// needs   nothing
// declares Weights8
// gives   weights_of_halves(four words with eight f16), dot8(weights, four values, four values, sum so far)

struct Weights8 {
    a: vec4<f32>,
    b: vec4<f32>,
}

fn weights_of_halves(h: vec4<u32>) -> Weights8 {
    let a = vec4<f32>(unpack2x16float(h.x), unpack2x16float(h.y));
    return Weights8(a, vec4<f32>(unpack2x16float(h.z), unpack2x16float(h.w)));
}

// The order of the additions is fixed, so that a row's result does not depend on the variant.
fn dot8(weights: Weights8, xa: vec4<f32>, xb: vec4<f32>, start: f32) -> f32 {
    var sum = fma(weights.a.x, xa.x, start);
    sum = fma(weights.a.y, xa.y, sum);
    sum = fma(weights.a.z, xa.z, sum);
    sum = fma(weights.a.w, xa.w, sum);
    sum = fma(weights.b.x, xb.x, sum);
    sum = fma(weights.b.y, xb.y, sum);
    sum = fma(weights.b.z, xb.z, sum);
    return fma(weights.b.w, xb.w, sum);
}
