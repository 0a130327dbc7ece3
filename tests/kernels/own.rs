//! Kernels that a program brings along run like the built-in ones, and are not saved with a recording.

use dwarfstar::gpu::{Gpu, OpenOptions, Recording, SavedRecording, Variant, adapters, grid_1d};

/// A kernel that imports a built-in file and has a constant and parameters.
const TRIPLE: &str = "
struct Params { values: u32, shift: f32 }
@group(0) @binding(auto) var<storage, read> x: array<f32>;
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;
#import lib/reduce/workgroup

@compute @workgroup_size(WG)
fn triple(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let own = x[min(id.x, params.values - 1u)];
    let sum = workgroup_sum(select(0.0, own, id.x < params.values), lid);
    if (id.x < params.values) {
        y[id.x] = f32(TIMES) * own + params.shift;
    } else if (id.x == params.values) {
        y[id.x] = sum;
    }
}
";

/// Runs [`TRIPLE`] with one workgroup of 64: the numbers from 1 to `values`, tripled and shifted, and after them their sum.
fn tripled(gpu: &Gpu, values: u32, shift: f32) -> Recording {
    let numbers: Vec<f32> = (1..=values).map(|i| i as f32).collect();
    let x = gpu.buffer_with("x", &numbers).unwrap();
    let y = gpu.buffer("y", u64::from(values + 1) * 4).unwrap();
    let mut recording = Recording::new();
    let variant = Variant::of_text("triple", TRIPLE).unwrap().constant("WG", 64).constant("TIMES", 3);
    recording.dispatch(variant, &[values, shift.to_bits()], vec![x.all(), y.all()], grid_1d(1));
    recording.download(y.all());
    recording
}

#[test]
fn a_kernel_that_a_program_brings_along_runs_on_every_adapter() {
    for options in [OpenOptions::default(), OpenOptions { portable: true, checks: true, ..OpenOptions::default() }] {
        for adapter in adapters() {
            let gpu = adapter.open(options).unwrap();
            let got = gpu.run(&tripled(&gpu, 37, 0.5)).unwrap().concat();
            let got: Vec<f32> = got.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            let want: Vec<f32> = (1..=37).map(|i| 3.0 * i as f32 + 0.5).chain([703.0]).collect();
            assert_eq!(got, want, "{} {options:?}", adapter.name);
        }
    }
}

#[test]
fn a_saved_recording_of_such_a_kernel_is_refused() {
    for adapter in adapters() {
        let gpu = adapter.open(OpenOptions::default()).unwrap();
        let error = SavedRecording::new(&tripled(&gpu, 3, 0.0)).load(&gpu).unwrap_err().to_string();
        assert!(error.contains("there is no kernel \"triple\""), "{error}");
    }
}
