// What a kernel stores: f32, or f16 with Y_F16.
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
