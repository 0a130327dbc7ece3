// Cooperative matrices of SIZE x SIZE and what they are staged in. Loads of 16 x 16 need pointers at multiples of 16 bytes, so workgroup
// variables are whole numbers of them. Vectors are staged faster; where only 8 x 8 exists, loading from arrays of vectors is not to be trusted.
#ifdef SIZE_16
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
alias Staged = vec4<f16>;
const UNIT: u32 = 4u; // f16 in a Staged
#else
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
alias Staged = f16;
const UNIT: u32 = 1u;
#endif

// Both operands, STAGED f16.
var<workgroup> staged: array<Staged, STAGED / UNIT>;

fn put(at: u32, values: vec4<f16>) {
#ifdef SIZE_16
    staged[at / 4u] = values;
#else
    staged[at] = values.x;
    staged[at + 1u] = values.y;
    staged[at + 2u] = values.z;
    staged[at + 3u] = values.w;
#endif
}
