//! Quantising: the error of each format, whole models in every recipe, interruptions, and damaged checkpoints.

use crate::running;
use crate::support::{floats, golden, ids, relative_l2};
use dwarfstar::convert::{Collector, FormatSummary, Importance, Override, Recipe, Request, Summary, quantize};
use dwarfstar::engine::{DeviceChoice, LoadOptions, RowKind};
use dwarfstar::gguf::{File, GgmlType};
use dwarfstar::gpu::adapters;
use dwarfstar::hf::Safetensors;
use dwarfstar::model::{Files, Model, NoTaps, Taps, Tensor};
use dwarfstar::quant::BlockFormat;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

static NEVER_CANCELLED: AtomicBool = AtomicBool::new(false);

fn plain(recipe: &str) -> Request<'static> {
    Request { recipe: recipe.parse().unwrap(), overrides: &[], importance: None, draft: false }
}

fn make(input: &Path, output: &Path, request: Request<'_>) -> dwarfstar::Result<Summary> {
    quantize(&Files::open(input)?, output, request, &NEVER_CANCELLED)
}

/// The relative error of `values` in `format`, and the same weighted by `importance`. `weights` is given to the quantiser.
fn errors(format: BlockFormat, values: &[f32], weights: &[f32], importance: &[f32]) -> (f64, f64) {
    let columns = importance.len();
    let mut decoded = vec![0f32; columns];
    let mut bytes = vec![0u8; format.row_bytes(columns).unwrap()];
    let mut sums = [0f64; 4];
    for row in values.chunks_exact(columns) {
        format.quantize(row, weights, &mut bytes);
        format.dequantize(&bytes, &mut decoded);
        for ((&x, &y), &w) in row.iter().zip(&decoded).zip(importance) {
            let (x, off, w) = (f64::from(x), f64::from(y) - f64::from(x), f64::from(w));
            for (sum, term) in sums.iter_mut().zip([off * off, x * x, w * off * off, w * x * x]) {
                *sum += term;
            }
        }
    }
    ((sums[0] / sums[1]).sqrt(), (sums[2] / sums[3]).sqrt())
}

/// Errors of ggml's quantisers on the same rows: the relative error without importance, and the weighted error with it.
const BASELINE: [(&str, BlockFormat, f64, f64); 15] = [
    ("gauss", BlockFormat::Q8_0, 0.0053, 0.0053),
    ("gauss", BlockFormat::Q4K, 0.0712, 0.0619),
    ("gauss", BlockFormat::Q2K, 0.2959, 0.2227),
    ("gauss", BlockFormat::Iq2Xxs, 0.3428, 0.2799),
    ("gauss", BlockFormat::Mxfp4, 0.1143, 0.1146),
    ("student4", BlockFormat::Q8_0, 0.0073, 0.0074),
    ("student4", BlockFormat::Q4K, 0.0868, 0.0771),
    ("student4", BlockFormat::Q2K, 0.3428, 0.2576),
    ("student4", BlockFormat::Iq2Xxs, 0.4178, 0.3524),
    ("student4", BlockFormat::Mxfp4, 0.1314, 0.1318),
    ("channel_scaled", BlockFormat::Q8_0, 0.0082, 0.0083),
    ("channel_scaled", BlockFormat::Q4K, 0.0945, 0.0846),
    ("channel_scaled", BlockFormat::Q2K, 0.3695, 0.2702),
    ("channel_scaled", BlockFormat::Iq2Xxs, 0.4678, 0.4098),
    ("channel_scaled", BlockFormat::Mxfp4, 0.1410, 0.1417),
];

#[test]
fn errors_are_at_most_those_of_ggml() {
    let Some(folder) = golden("../../ref/quant") else { return };
    let file = Safetensors::open(&folder.join("rows.safetensors")).unwrap();
    let (_, importance) = floats(&file, "importance");
    let ones = vec![1f32; importance.len()];
    for (rows, format, relative, weighted) in BASELINE {
        // A quarter of the rows is enough: the choice of rows changes an error by far less than its distance from the baseline.
        let values = &floats(&file, rows).1[..16 * importance.len()];
        let (plain, _) = errors(format, values, &ones, &ones);
        let (_, aware) = errors(format, values, &importance, &importance);
        println!("{rows:<15} {:<8} {plain:.4} of {relative:.4}, weighted {aware:.4} of {weighted:.4}", format.name());
        assert!(plain <= relative, "{rows} {format}: {plain:.4}, the baseline has {relative}");
        assert!(aware <= weighted, "{rows} {format} weighted: {aware:.4}, the baseline has {weighted}");
        if matches!(format, BlockFormat::Q2K | BlockFormat::Iq2Xxs) {
            assert!(aware <= 0.97 * weighted, "{rows} {format} weighted: {aware:.4} is not 3% below {weighted}");
        }
    }
}

#[test]
fn values_that_a_format_can_hold_survive_a_round_trip() {
    let values: Vec<f32> = (0..1024u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32 / 2048.0 - 1.0).collect();
    let ones = vec![1f32; values.len()];
    // Decoded values can be represented exactly, so that quantising them again must add next to no error.
    for (format, most) in [
        (BlockFormat::F32, 0.0),
        (BlockFormat::F16, 0.0),
        (BlockFormat::Bf16, 0.0),
        (BlockFormat::Q8_0, 1e-5),
        (BlockFormat::Q4K, 2e-3),
        (BlockFormat::Q2K, 1e-5),
        (BlockFormat::Iq2Xxs, 1e-5),
        (BlockFormat::Mxfp4, 0.0),
        (BlockFormat::Fp8, 0.0),
    ] {
        let mut bytes = vec![0u8; format.row_bytes(values.len()).unwrap()];
        let mut held = vec![0f32; values.len()];
        format.quantize(&values, &ones, &mut bytes);
        format.dequantize(&bytes, &mut held);
        assert!(relative_l2(&held, &values) < 0.5, "{format}");
        let (error, _) = errors(format, &held, &ones, &ones);
        println!("{format}: {error:.5}");
        assert!(error <= most, "{format}: {error}");
    }
}

fn logits(model: &Model, device: DeviceChoice, tokens: &[u32], taps: &mut dyn Taps) -> Vec<f32> {
    let options = LoadOptions { device, context: 512, exact: true, ..Default::default() };
    let mut engine = running::load(model, &options);
    let mut session = engine.open().unwrap();
    running::logits(&mut engine, &mut session, (RowKind::Prompt, tokens.len()), tokens, taps)
}

fn divergence(base: &[f32], model: &[f32], vocabulary: usize) -> f64 {
    let softmax = |row: &[f32]| {
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        let exp: Vec<f64> = row.iter().map(|&l| f64::from(l - most).exp()).collect();
        let sum: f64 = exp.iter().sum();
        exp.into_iter().map(|e| e / sum).collect::<Vec<f64>>()
    };
    let rows = base.chunks_exact(vocabulary).zip(model.chunks_exact(vocabulary));
    let each = rows.map(|(b, m)| softmax(b).iter().zip(softmax(m)).map(|(b, m)| b * (b / m).ln()).sum::<f64>());
    each.sum::<f64>() / (base.len() / vocabulary) as f64
}

#[test]
fn every_recipe_runs_and_more_bits_diverge_less() {
    let Some(folder) = golden("nano-s1") else { return };
    let file = Safetensors::open(&folder.join("golden_medium.safetensors")).unwrap();
    let tokens: Vec<u32> = ids(&file, "input_ids").iter().take(160).map(|&i| i as u32).collect();
    let source = Model::open(&folder).unwrap();
    let base = logits(&source, DeviceChoice::Cpu, &tokens, &mut NoTaps);
    let out = tempfile::tempdir().unwrap();
    let mut costs = BTreeMap::new();
    for recipe in ["f16", "q8", "mxfp4", "q4", "q2-q4", "q2"] {
        let path = out.path().join(format!("{recipe}.gguf"));
        make(&folder, &path, plain(recipe)).unwrap();
        let model = Model::open(&path).unwrap();
        let want = logits(&model, DeviceChoice::Cpu, &tokens, &mut NoTaps);
        for index in 0..adapters().len() {
            let got = logits(&model, DeviceChoice::Index(index), &tokens, &mut NoTaps);
            let error = relative_l2(&got, &want);
            assert!(error <= 1e-4, "{recipe} on adapter {index}: relative L2 {error:.1e}");
        }
        costs.insert(recipe, divergence(&base, &want, source.config.vocabulary as usize));
    }
    println!("{costs:?}");
    assert!(costs["f16"] < costs["q8"] && costs["q8"] < costs["q4"] && costs["q4"] < costs["q2"], "{costs:?}");
    assert!(costs["q2-q4"] <= costs["q2"] && costs["q8"] < costs["mxfp4"], "{costs:?}");
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// A copy of a checkpoint folder, to be damaged.
fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::write(copy.path().join(name), bytes(&folder.join(name))).unwrap();
    }
    copy
}

#[test]
fn the_bytes_are_the_same_for_any_number_of_threads_and_after_an_interruption() {
    let Some(folder) = golden("nano-s1") else { return };
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name);
    make(&folder, &path("all.gguf"), plain("q2")).unwrap();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    one.install(|| make(&folder, &path("one.gguf"), plain("q2"))).unwrap();
    assert!(bytes(&path("all.gguf")) == bytes(&path("one.gguf")));

    // Another thread cancels as soon as the first tensor is complete.
    let (stop, late) = (AtomicBool::new(false), path("late.gguf"));
    let note = path("late.gguf.partial.json");
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !note.exists() {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
        one.install(|| quantize(&Files::open(&folder).unwrap(), &late, plain("q2"), &stop))
    });
    assert!(stopped.unwrap_err().to_string().contains("the same command continues from here"));
    assert!(!late.exists() && path("late.gguf.partial").exists());
    // A request with another recipe starts from the beginning. The same request continues.
    for end in [".partial", ".partial.json"] {
        std::fs::copy(path(&format!("late.gguf{end}")), path(&format!("other.gguf{end}"))).unwrap();
    }
    assert_eq!(make(&folder, &path("other.gguf"), plain("q4")).unwrap().resumed, 0);
    let summary = make(&folder, &late, plain("q2")).unwrap();
    assert!(summary.resumed > 0);
    assert!(bytes(&late) == bytes(&path("all.gguf")));
    let left: Vec<PathBuf> = std::fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn released_fp4_experts_keep_their_bytes_and_ggufs_can_be_requantised() {
    let folder = golden("nano-s1-fp").unwrap();
    let out = tempfile::tempdir().unwrap();
    let (first, second) = (out.path().join("a.gguf"), out.path().join("b.gguf"));
    let summary = make(&folder, &first, plain("mxfp4")).unwrap();
    let repacked = summary.formats[&(BlockFormat::Mxfp4 as usize)];
    assert!(repacked.tensors > 0 && repacked.error == 0.0, "{repacked:?}");
    let overrides: [Override; 2] = ["attn_q_a.weight=q4_k".parse().unwrap(), "blk.1.ffn_down_exps=q2_k".parse().unwrap()];
    let request = Request { overrides: &overrides, ..plain("mxfp4") };
    make(&first, &second, request).unwrap();
    let (a, b) = (File::open(&first).unwrap(), File::open(&second).unwrap());
    for tensor in a.tensors() {
        let other = b.tensor(&tensor.name).unwrap();
        match &tensor.name[..] {
            name if name.ends_with("attn_q_a.weight") => assert_eq!(other.kind, GgmlType::of(BlockFormat::Q4K).unwrap(), "{name}"),
            "blk.1.ffn_down_exps.weight" => assert_eq!(other.kind, GgmlType::of(BlockFormat::Q2K).unwrap()),
            name => assert!(a.bytes(tensor) == b.bytes(other), "{name}"),
        }
    }
    let none: [Override; 1] = ["no_such=q8_0".parse().unwrap()];
    let refused = make(&first, &out.path().join("c.gguf"), Request { overrides: &none, ..plain("q8") }).unwrap_err();
    assert!(refused.to_string().contains("no_such"), "{refused}");
}

#[test]
fn importance_from_the_gpu_equals_that_of_the_reference_and_lowers_the_weighted_error() {
    let Some(folder) = golden("nano-s1") else { return };
    let file = Safetensors::open(&folder.join("golden_long.safetensors")).unwrap();
    let tokens: Vec<u32> = ids(&file, "input_ids").iter().take(300).map(|&i| i as u32).collect();
    let model = Model::open(&folder).unwrap();
    let collect = |device: DeviceChoice| -> Importance {
        let mut collector = Collector::new(&model);
        logits(&model, device, &tokens, &mut collector);
        collector.finish()
    };
    let want = collect(DeviceChoice::Cpu);
    let got = collect(DeviceChoice::Index(0));
    assert_eq!(got.inputs.keys().collect::<Vec<_>>(), want.inputs.keys().collect::<Vec<_>>());
    for (name, inputs) in &want.inputs {
        let total: f32 = inputs.counts.iter().sum();
        let each = if name.contains("_exps") {
            model.config.experts_used
        } else if name.contains("output_a") {
            model.config.o_groups
        } else {
            1
        };
        assert_eq!(total as usize, tokens.len() * each as usize, "{name}");
        assert_eq!(inputs.counts, got.inputs[name].counts, "{name}");
        let error = relative_l2(&got.inputs[name].sums, &inputs.sums);
        assert!(error < 1e-3, "{name}: {error}");
    }
    // The importance of every weight that a recipe may store in blocks is known, except that of the output matrix.
    let matrices =
        |t: &&Tensor| t.rows > 1 && t.gguf_name.starts_with("blk.") && !t.gguf_name.contains("hc_") && !t.gguf_name.contains("ape");
    for tensor in model.tensors().into_iter().filter(matrices) {
        assert!(want.inputs.contains_key(&tensor.gguf_name), "{}", tensor.gguf_name);
    }

    let out = tempfile::tempdir().unwrap();
    let (blind, aware, importance) = (out.path().join("blind.gguf"), out.path().join("aware.gguf"), out.path().join("imatrix.gguf"));
    want.write(&importance).unwrap();
    let importance = Importance::open(&importance).unwrap();
    make(&folder, &blind, plain("q2")).unwrap();
    let summary = make(&folder, &aware, Request { importance: Some(&importance), ..plain("q2") }).unwrap();
    assert!(summary.formats.values().map(|f: &FormatSummary| f.with_importance).sum::<usize>() > 20);
    let weighted = |path: &Path| -> f64 {
        let made = Model::open(path).unwrap();
        let (mut error, mut power) = (0.0, 0.0);
        for (old, new) in model.layers.iter().zip(&made.layers).map(|(old, new)| (&old.experts.down, &new.experts.down)) {
            let weights = want.weights(&old.gguf_name, old.rows, old.columns).unwrap().unwrap();
            let each = old.rows / weights.len();
            for (i, (x, y)) in old.values().iter().zip(new.values()).enumerate() {
                let w = f64::from(weights[i / old.columns / each][i % old.columns]);
                error += w * f64::from(x - y).powi(2);
                power += w * f64::from(*x).powi(2);
            }
        }
        (error / power).sqrt()
    };
    let (blind, aware) = (weighted(&blind), weighted(&aware));
    println!("weighted error of the routed experts' down matrices: {blind:.4} without, {aware:.4} with importance");
    assert!(aware < 0.99 * blind, "{aware} with importance, {blind} without");
}

#[test]
fn errors_name_the_fault_of_a_damaged_checkpoint() {
    let Some(folder) = golden("nano-s1") else { return };
    let out = tempfile::tempdir().unwrap();
    let target = out.path().join("x.gguf");
    let whole = bytes(&folder.join("model.safetensors"));
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize + 8;
    let refused = |damage: &dyn Fn(&Path)| {
        let copy = copy(&folder);
        damage(copy.path());
        let error = make(copy.path(), &target, plain("q8")).unwrap_err().to_string();
        assert!(!error.contains('\n'), "{error}");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "{error}");
        error
    };
    let file = Safetensors::open(&folder.join("model.safetensors")).unwrap();
    let name = "layers.1.attn.wkv.weight";
    let view = file.tensor(name).unwrap();
    let size = if view.dtype == dwarfstar::hf::Dtype::F32 { 4 } else { 2 };
    let start = view.bytes.as_ptr() as usize - file.names().map(|t| file.tensor(t).unwrap().bytes.as_ptr() as usize).min().unwrap();
    for (what, bits) in [("NaN", 0x7fc0u16), ("inf", 0x7f80)] {
        let error = refused(&|copy| {
            let mut bytes = whole.clone();
            let at = header + start + 7 * size;
            bytes[at + size - 2..at + size].copy_from_slice(&bits.to_le_bytes());
            bytes[at..at + size - 2].fill(0);
            std::fs::write(copy.join("model.safetensors"), bytes).unwrap();
        });
        assert!(error.contains(name) && error.contains("value 7 ") && error.contains(what), "{error}");
    }
    let error = refused(&|copy| std::fs::write(copy.join("model.safetensors"), &whole[..whole.len() - 1000]).unwrap());
    assert!(error.contains("model.safetensors"), "{error}");
    let error = refused(&|copy| {
        std::fs::remove_file(copy.join("model.safetensors")).unwrap();
        let index = format!("{{\"weight_map\": {{\"{name}\": \"model-00001-of-00002.safetensors\"}}}}");
        std::fs::write(copy.join("model.safetensors.index.json"), index).unwrap();
    });
    assert!(error.contains("model-00001-of-00002.safetensors"), "{error}");
    assert!("q3".parse::<Recipe>().is_err());
}
