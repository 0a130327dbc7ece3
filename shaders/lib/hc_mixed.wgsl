// The mix of a row: what hc_mix left for each slice of its channels, added up in the same order whatever else is in the step.
// Declare `mix` (array<f32>) first.

#import lib/hc_slices

var<workgroup> mixed: array<f32, WG>; // the row's dot products in the first 32

fn gather_mix(t: u32, lid: u32) {
    var sum = 0.0;
    for (var slice = lid / 32u; slice < hc_slices(); slice += WG / 32u) {
        sum += mix[(t * hc_slices() + slice) * 32u + lid % 32u];
    }
    mixed[lid] = sum;
    workgroupBarrier();
    if (lid < 32u) {
        for (var part = 1u; part < WG / 32u; part++) {
            sum += mixed[part * 32u + lid];
        }
        mixed[lid] = sum;
    }
    workgroupBarrier();
}
