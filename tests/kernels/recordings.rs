//! Recordings are saved with their inputs, loaded on another device, and refused if they are damaged.

use super::adapters::each;
use dwarfstar::gpu::{Binding, Buffer, Caps, Cooperative, Gpu, OpenOptions, Recording, SavedRecording, Variant, adapters};
use dwarfstar::kernels::{KernelProfile, variants};
use dwarfstar::num::KvType;
use serde_json::{Value, json};

const COLUMNS: u32 = 64;
const ROWS: u32 = 3;

/// Normalises rows twice, with one weight that is bound at an offset. Returns the inputs too.
fn two_norms(gpu: &Gpu) -> (Recording, [Buffer; 2]) {
    let floats = |n: u32| (0..n).map(|i| (i as f32 * 0.37).sin() + 0.1).collect::<Vec<f32>>();
    let x = gpu.buffer_with("x", &floats(ROWS * COLUMNS)).unwrap();
    let weight = gpu.buffer_with("weight", &floats(2 * COLUMNS)).unwrap();
    let [y, z] = ["y", "z"].map(|label| gpu.buffer(label, u64::from(ROWS * COLUMNS) * 4).unwrap());
    let (norm, half) = (Variant::new("rms_norm").constant("WG", 64), u64::from(COLUMNS) * 4);
    let params = [COLUMNS, COLUMNS, 0, 1e-6f32.to_bits()];
    let mut recording = Recording::new();
    recording.dispatch(norm.clone(), &params, vec![x.all(), weight.slice(half, half), y.all()], [ROWS, 1, 1]);
    recording.dispatch(norm, &params, vec![y.all(), weight.slice(0, half), z.all()], [ROWS, 1, 1]);
    recording.download(z.all());
    recording.download(y.slice(4, 6));
    (recording, [x, weight])
}

#[test]
fn a_saved_recording_gives_the_same_bits_on_a_fresh_device() {
    for options in [OpenOptions::default(), OpenOptions { portable: true, checks: true, ..OpenOptions::default() }] {
        for adapter in adapters() {
            let gpu = adapter.open(options).unwrap();
            let (recording, [x, weight]) = two_norms(&gpu);
            let saved = SavedRecording::new(&recording).with_contents(&gpu, &[&x, &weight]).unwrap();
            let text = saved.to_json().unwrap();
            let results = gpu.run(&recording).unwrap();
            assert_ne!(results[0], vec![0; results[0].len()]);
            let printed = recording.to_string();
            drop((recording, x, weight, gpu));

            let fresh = adapter.open(options).unwrap();
            let read = SavedRecording::from_json(&text).unwrap();
            assert_eq!(read, saved);
            let loaded = read.load(&fresh).unwrap();
            assert_eq!(loaded.to_string(), printed);
            assert_eq!(fresh.run(&loaded).unwrap(), results);
            let empty = SavedRecording::new(&loaded).load(&fresh).unwrap();
            assert_eq!(fresh.run(&empty).unwrap(), [vec![0; results[0].len()], vec![0; 6]], "without contents it reads zeros");
        }
    }
}

#[test]
fn every_variant_is_found_again_by_its_names() {
    let best = Caps {
        subgroup: Some(32),
        dot_int8: true,
        f16: true,
        cooperative: Cooperative::Size16,
        invocations: 1024,
        workgroup_bytes: 48 << 10,
        ..Caps::portable()
    };
    let gpu = adapters()[0].open(OpenOptions::default()).unwrap();
    for caps in [Caps::portable(), Caps { cooperative: Cooperative::None, ..best.clone() }, best] {
        for (kv, exact) in [(KvType::F16, false), (KvType::F32, true)] {
            let all = variants(&KernelProfile { caps: caps.clone(), kv, exact });
            let mut recording = Recording::new();
            all.iter().for_each(|variant| recording.dispatch(variant.clone(), &0u32, Vec::<Binding>::new(), [1, 1, 1]));
            let loaded = SavedRecording::new(&recording).load(&gpu).unwrap();
            assert_eq!(loaded.dispatches().iter().map(|launch| launch.variant.clone()).collect::<Vec<_>>(), all);
        }
    }
}

/// Loads and runs the recording `text`, and returns the error or "it ran".
fn run(gpu: &Gpu, text: &str) -> String {
    let ran = SavedRecording::from_json(text).and_then(|saved| saved.load(gpu)).and_then(|recording| gpu.run(&recording));
    ran.map_or_else(|error| error.to_string(), |_| "it ran".into())
}

#[test]
fn damaged_recordings_give_one_line_that_says_what_is_wrong() {
    each(OpenOptions { checks: true, ..OpenOptions::default() }, |gpu| {
        let (recording, _) = two_norms(gpu);
        let good: Value = serde_json::from_str(&SavedRecording::new(&recording).to_json().unwrap()).unwrap();
        let held = gpu.held_bytes();
        let x = good["launches"][0]["bindings"][0]["one"]["buffer"].clone();
        let damages = [
            ("/format", json!("dwarfstar recording 0"), "the format is \"dwarfstar recording 0\""),
            ("/launches/1/kernel", json!("no_such"), "launch 1: there is no kernel \"no_such\""),
            ("/launches/1/kernel", json!("lib/rows/rows"), "launch 1: there is no kernel"),
            ("/launches/0/flags", json!(["NO_SUCH"]), "launch 0: rms_norm: no shader knows the name \"NO_SUCH\""),
            ("/launches/0/constants", json!([["fn", 1]]), "no shader knows the name \"fn\""),
            ("/launches/0/constants", json!([["WG", 0]]), "rms_norm[WG=0]"),
            ("/launches/0/constants", json!([["WG", 64], ["WG", 64]]), "launch 0: rms_norm: the constant WG is there twice"),
            ("/launches/0/params", json!(vec![0; 33]), "launch 0: 132 bytes of parameters, at most 128"),
            ("/launches/0/params", json!([1, 2, 3]), "takes 16 bytes of parameters, 12 were given"),
            ("/launches/0/params/0", json!(-1), "invalid value"),
            ("/launches/0/grid/1", json!(0), "launch 0: a grid of 0 workgroups"),
            ("/launches/0/grid/2", json!(65_536), "launch 0: a grid of 65536 workgroups"),
            ("/launches/0/bindings/0/one/buffer", json!(u64::MAX), "launch 0: there is no buffer 18446744073709551615"),
            ("/launches/0/bindings/0/one/bytes", json!(772), "launch 0: 772 bytes at 0 of buffer"),
            ("/launches/0/bindings/0/one/bytes", json!(0), "launch 0: 0 bytes at 0 of buffer"),
            ("/launches/0/bindings/0/one/offset", json!(u64::MAX), "launch 0: 768 bytes at 18446744073709551615 of buffer"),
            ("/launches/0/bindings/1/one/offset", json!(2), "256 bytes at 2 of buffer"),
            ("/launches/0/bindings", json!([]), "declares 3 bindings, 0 were given"),
            ("/launches/0/bindings/2/one/buffer", x.clone(), "rms_norm[WG=64] writes to buffer x and reads it through another binding"),
            ("/downloads/0/buffer", json!(u64::MAX), "a download: there is no buffer"),
            ("/downloads/1/bytes", json!(u64::MAX), "a download: 18446744073709551615 bytes at 4 of buffer"),
            ("/buffers/0/contents", json!([1, 2]), "(x) of 768 bytes has contents of 8 bytes"),
            ("/buffers/1/id", x, "two buffers have the id"),
            ("/buffers/0/bytes", json!(u64::MAX), "buffer x of 18446744073709551615 bytes is larger than this device's limit"),
            ("/buffers/0/bytes", json!("many"), "invalid type"),
            ("/launches", json!({}), "invalid type"),
        ];
        for (at, value, expected) in damages {
            let mut damaged = good.clone();
            match damaged.pointer_mut(at) {
                Some(place) => *place = value,
                None => damaged["buffers"][0]["contents"] = value,
            }
            let said = run(gpu, &damaged.to_string());
            assert!(said.contains(expected), "{at}: {said}");
        }
        let text = good.to_string();
        for end in (0..text.len()).step_by(7) {
            assert!(run(gpu, &text[..end]).starts_with("saved recording: "), "cut to {end} bytes");
        }
        assert_eq!(gpu.held_bytes(), held);
        assert_eq!(run(gpu, &text), "it ran", "the device goes on");
    });
}
