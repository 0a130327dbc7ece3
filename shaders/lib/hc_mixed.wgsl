// The mix of a row: what hc_mix left for each slice of its channels, added up in the same order whatever else is in the step.
// GATHERED slices fall to an invocation. Declare `mix` (array<f32>) first.

#import lib/hc_slices

var<workgroup> mixed: array<f32, WG>; // the row's dot products in the first 32

fn gather_mix(t: u32, lid: u32) {
    let slices = hc_slices();
    let words = slices * 32u;
    let first = t * words;
    // All loads first: only the additions wait for one another.
#for G GATHERED
    let part$G = mix[first + min(lid + $Gu * WG, words - 1u)];
#end
    var sum = 0.0;
#for G GATHERED
    sum += select(0.0, part$G, lid + $Gu * WG < words);
#end
    mixed[lid] = sum;
    workgroupBarrier();
    if (lid < 32u) {
        // A bound that the compiler does not know keeps this one turn's code (parts behind the slices are zero); WG / 32 is a multiple of 8.
        sum = 0.0;
        for (var part = 0u; part < min(WG / 32u, slices); part += 8u) {
#for P 8
            sum += mixed[(part + $Pu) * 32u + lid];
#end
        }
        mixed[lid] = sum;
    }
    workgroupBarrier();
}
