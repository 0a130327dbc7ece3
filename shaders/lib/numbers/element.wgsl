// element: converts four results to the type that the kernel stores: f16 with Y_F16, else f32.
// needs   nothing; Y_F16 needs F16
// gives   element(four values)

#ifdef Y_F16
#import lib/numbers/half
fn element(values: vec4<f32>) -> vec4<f16> {
    return to_half(values);
}
#else
fn element(values: vec4<f32>) -> vec4<f32> {
    return values;
}
#endif
