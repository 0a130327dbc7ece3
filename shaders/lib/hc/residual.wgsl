// residual: a stream after a sub-layer: X'[k] = post[k] y + sum_j C[j, k] X[j].
// needs   nothing
// gives   residual(post[k], (C[0, k], ... C[3, k]), y, X[0], X[1], X[2], X[3]), four channels at a time

fn residual(weight: f32, column: vec4<f32>, y: vec4<f32>, x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>) -> vec4<f32> {
    var sum = weight * y;
    sum = fma(vec4<f32>(column.x), x0, sum);
    sum = fma(vec4<f32>(column.y), x1, sum);
    sum = fma(vec4<f32>(column.z), x2, sum);
    return fma(vec4<f32>(column.w), x3, sum);
}
