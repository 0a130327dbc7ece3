//! Runs a kernel of your own through the library: y[i] = scale x[i] + shift.
//!
//! `cargo run --release --example own_kernel [DEVICE]`, where DEVICE is a part of a name in `dwarfstar devices`.

use anyhow::{Context, Result, ensure};
use dwarfstar::gpu::{OpenOptions, Recording, Variant, adapters, grid_1d};

/// WGSL with the directives of the shader assembler. Constants and flags come from the variant, `params` and binding numbers from the
/// assembler. It could also import files of shaders/lib.
const SCALE_AND_SHIFT: &str = "
// scale_and_shift: y[i] = scale x[i] + shift.
struct Params { values: u32, scale: f32, shift: f32 }
@group(0) @binding(auto) var<storage, read> x: array<f32>;       // (values)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>; // (values)

@compute @workgroup_size(WG)
fn scale_and_shift(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.values) {
        y[id.x] = fma(params.scale, x[id.x], params.shift);
    }
}
";

/// The shader's `Params`, with the same layout. It may have 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    values: u32,
    scale: f32,
    shift: f32,
}

fn main() -> Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let found = adapters().into_iter().find(|adapter| adapter.name.contains(&wanted));
    let adapter = found.with_context(|| format!("no GPU, nor a driver in software, has {wanted:?} in its name"))?;
    let gpu = adapter.open(OpenOptions::default())?;

    let x: Vec<f32> = (0..1000u16).map(f32::from).collect();
    let input = gpu.buffer_with("x", &x)?;
    let output = gpu.buffer("y", input.bytes())?;

    let params = Params { values: 1000, scale: 2.0, shift: 1.0 };
    let variant = Variant::of_text("scale_and_shift", SCALE_AND_SHIFT)?.constant("WG", 64);
    let mut recording = Recording::new();
    recording.dispatch(variant, &params, vec![input.all(), output.all()], grid_1d(params.values.div_ceil(64)));
    recording.download(output.all());
    print(&recording.to_string());

    let y: Vec<f32> = bytemuck::pod_collect_to_vec(&gpu.run(&recording)?.concat());
    let wrong = x.iter().zip(&y).filter(|(x, y)| **y != params.scale * **x + params.shift).count();
    print(&format!("{}: y[1] = {}, y[999] = {}, {wrong} of {} values are wrong\n", gpu.name(), y[1], y[999], y.len()));
    ensure!(wrong == 0, "the kernel computed something else");
    Ok(())
}

fn print(text: &str) {
    use std::io::Write;
    // It is no failure if the reader of a pipe has closed it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
