//! Arbitrary hyper-parameters. A model is bound or refused in one line. A few numbers in a file never cause a panic or very long work.

use crate::support::golden;
use dwarfstar::convert::{Shape, directory, hyper_parameters};
use dwarfstar::gguf::{File, GgmlType, Value, Writer};
use dwarfstar::hf::{Folder, Safetensors};
use dwarfstar::model::{Config, Files, Model};
use fastrand::Rng;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// A value that a faulty writer might leave.
fn odd_json(rng: &mut Rng) -> Json {
    match rng.u8(0..14) {
        0 => json!(null),
        1 => json!(-1),
        2 => json!(0),
        3 => json!(u64::MAX),
        4 => json!(1u64 << 40),
        5 => json!(1e300),
        6 => json!(-0.5),
        7 => json!("128"),
        8 => json!([]),
        9 => json!(vec![4; rng.usize(0..9)]),
        10 => json!({}),
        11 => json!(true),
        12 => json!(rng.u32(..)),
        _ => json!(rng.u32(0..600)),
    }
}

fn mutate_json(config: &mut Json, rng: &mut Rng) {
    let keys: Vec<String> = config.as_object().unwrap().keys().cloned().collect();
    for _ in 0..rng.usize(1..4) {
        let key = &keys[rng.usize(..keys.len())];
        match rng.u8(0..4) {
            0 => drop(config.as_object_mut().unwrap().remove(key)),
            1 if config[key].is_object() => {
                let inner: Vec<String> = config[key].as_object().unwrap().keys().cloned().collect();
                if let Some(inner) = inner.get(rng.usize(..inner.len().max(1))) {
                    config[key][inner] = odd_json(rng);
                }
            }
            2 if config[key].is_array() && !config[key].as_array().unwrap().is_empty() => {
                let at = rng.usize(..config[key].as_array().unwrap().len());
                config[key][at] = odd_json(rng);
            }
            _ => config[key] = odd_json(rng),
        }
    }
}

/// Checks that a model was bound, or refused in one line that contains `named`.
fn judge(bound: Result<Model, dwarfstar::Error>, named: &str, counts: &mut [usize; 2]) {
    match bound {
        Ok(model) => {
            // The frequencies of an accepted model are finite, because every kernel multiplies by them.
            let config: &Config = &model.config;
            assert!(config.plain_frequencies().iter().chain(&config.compressed_frequencies()).all(|f| f.is_finite()), "{config:?}");
            counts[0] += 1;
        }
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains('\n') && line.contains(named), "{line:?}");
            counts[1] += 1;
        }
    }
}

#[test]
fn any_config_json_binds_or_is_refused() {
    let folder = golden("nano-s1-fp").unwrap();
    let valid: Json = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let mut rng = Rng::with_seed(3);
    let mut counts = [0, 0];
    for _ in 0..20_000 {
        let mut config = valid.clone();
        mutate_json(&mut config, &mut rng);
        let open = |name: &str| Safetensors::open(&folder.join(name));
        let made = Folder::from_parts(&folder, config.to_string().as_bytes(), None, open).unwrap();
        judge(Model::bind(&Files::Folder(Arc::new(made))), "nano-s1-fp", &mut counts);
    }
    println!("config.json: {} bound, {} refused", counts[0], counts[1]);
    assert!(counts[0] > 500 && counts[1] > 5_000, "{counts:?}");
}

fn odd_value(rng: &mut Rng) -> Value {
    match rng.u8(0..9) {
        0 => Value::U32(0),
        1 => Value::U32(u32::MAX),
        2 => Value::I32(-1),
        3 => Value::U64(u64::MAX),
        4 => Value::F32(f32::NAN),
        5 => Value::F32(-1e30),
        6 => Value::String("4".into()),
        7 => Value::Bool(false),
        _ => Value::U32(rng.u32(0..600)),
    }
}

#[test]
fn any_gguf_metadata_binds_or_is_refused() {
    // The tiny synthetic model with a small vocabulary. Only headers are written; the data of tensors stays zero.
    let config = Config { vocabulary: 512, ..Shape::Tiny.config() };
    let tensors: Vec<(String, Vec<u64>, GgmlType)> = directory(&config)
        .into_iter()
        .map(|entry| {
            let kind = if entry.name.contains("tid2eid") { GgmlType::I32 } else { GgmlType::F32 };
            (entry.name, entry.shape, kind)
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutated.gguf");
    let mut rng = Rng::with_seed(4);
    let mut counts = [0, 0];
    for round in 0..3_000 {
        let mut metadata = hyper_parameters(&config);
        let mut tensors = tensors.clone();
        for _ in 0..rng.usize(0..4) {
            let at = rng.usize(..metadata.len());
            match rng.u8(0..3) {
                0 => drop(metadata.remove(at)),
                _ => metadata[at].1 = odd_value(&mut rng),
            }
        }
        if round % 3 == 0 {
            let at = rng.usize(..tensors.len());
            match rng.u8(0..3) {
                0 => drop(tensors.remove(at)),
                1 => tensors[at].1.reverse(),
                _ => tensors[at].2 = GgmlType::F16,
            }
        }
        Writer::create(&path, metadata, tensors, 32).unwrap().finish().unwrap();
        judge(Model::bind(&Files::Gguf(Arc::new(File::open(&path).unwrap()))), "mutated.gguf", &mut counts);
    }
    println!("GGUF metadata: {} bound, {} refused", counts[0], counts[1]);
    assert!(counts[0] > 300 && counts[1] > 1_000, "{counts:?}");
}
