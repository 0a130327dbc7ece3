// The mix of a row: what hc_mix left for each of SLICES slices of its channels, added up in the same order whatever else is in the step.
// GATHERED slices fall to an invocation, and PARTS sums of them, a multiple of four, to each word. Declare `mix` (array<f32>) first.

var<workgroup> mixed: array<f32, WG>; // the row's dot products in the first 32

fn gather_mix(t: u32, lid: u32) {
    const WORDS: u32 = SLICES * 32u;
    // All loads first: only the additions wait for one another.
#for G GATHERED
    let part$G = mix[t * WORDS + min(lid + $Gu * WG, WORDS - 1u)];
#end
    var sum = 0.0;
#for G GATHERED
    sum += select(0.0, part$G, lid + $Gu * WG < WORDS);
#end
    mixed[lid] = sum;
    workgroupBarrier();
    if (lid < 32u) {
        var sums = vec4<f32>(0.0);
#for P PARTS
        sums[$P % 4] += mixed[$Pu * 32u + lid];
#end
        mixed[lid] = (sums.x + sums.y) + (sums.z + sums.w);
    }
    workgroupBarrier();
}
