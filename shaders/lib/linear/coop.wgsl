// coop: cooperative matrices of SIZE x SIZE, and the workgroup memory that their operands are staged in.
// needs   SIZE; SIZE_16 if it is 16, else it is 8; STAGED, how many f16 both operands have in workgroup memory; F16, COOPERATIVE
// declares types Left, Right, Sums, Staged; UNIT, the f16 in a Staged; workgroup variable staged
// gives   put(number of the first f16, four values)
//
// Loads of 16 x 16 need pointers at multiples of 16 bytes, so every workgroup variable of such a kernel takes a multiple of 16 bytes.
// Vectors are staged faster. Devices with 8 x 8 stage scalars, because there a load from an array of vectors is not reliable.

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
