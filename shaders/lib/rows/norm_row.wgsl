// norm_row: one row of C channels normalised: y[t] = x / sqrt(mean(x^2) + eps) * weight.
// needs   WG; params.eps; binding y (T, C); functions x_quad(i), weight_quad(i), which read quad i of x and of the weight
// gives   norm_row(row t, first quad of x, first quad of the weight, columns, local index), by a whole workgroup

#import lib/reduce/workgroup
#import lib/numbers/element

fn norm_row(t: u32, x: u32, weight: u32, columns: u32, lid: u32) {
    let quads = columns >> 2u;
    var squares = 0.0;
    for (var q = lid; q < quads; q += WG) {
        let value = x_quad(x + q);
        squares += dot(value, value);
    }
    let norm = inverseSqrt(workgroup_sum(squares, lid) / f32(columns) + params.eps);
    for (var q = lid; q < quads; q += WG) {
        y[t * quads + q] = element(x_quad(x + q) * norm * weight_quad(weight + q));
    }
}
