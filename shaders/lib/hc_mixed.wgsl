// The mix of a row: what hc_mix left for each slice of its channels, added up in the same order whatever else is in the step.
// GATHERED slices fall to an invocation. Declare `mix` (array<f32>) first.

#import lib/hc_slices

var<workgroup> mixed: array<f32, WG>; // the row's dot products in the first 32

fn gather_mix(t: u32, lid: u32) {
    let slices = hc_slices();
    // All loads first: only the additions wait for one another.
#for G GATHERED
    let slice$G = lid / 32u + $Gu * (WG / 32u);
    let part$G = mix[(t * slices + min(slice$G, slices - 1u)) * 32u + lid % 32u];
#end
    var sum = 0.0;
#for G GATHERED
    sum += select(0.0, part$G, slice$G < slices);
#end
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
