//! The places of golden files, and comparisons.

use dwarfstar::debug::environment;
use dwarfstar::hf::{Dtype, Safetensors};
use std::path::{Path, PathBuf};

/// The folder of a model's golden files: in the repository, or else in the large golden folder. Where it is absent, prints a line and
/// returns `None`.
///
/// # Panics
/// Where it is absent and `DWARFSTAR_REQUIRE_GOLDEN=1` requires it.
pub fn golden(model: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_repository = root.join("tests/data").join(model);
    if in_repository.is_dir() {
        return Some(in_repository);
    }
    let folder = environment().golden.clone().unwrap_or_else(|| root.join("../shared/golden/forward")).join(model);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(!environment().require_golden, "golden files {} are required and absent", folder.display());
    println!("SKIPPED {}", folder.display());
    None
}

/// Shape and values of a golden tensor.
pub fn floats(file: &Safetensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).unwrap_or_else(|| panic!("{} has no {name}", file.path().display()));
    assert_eq!(view.dtype, Dtype::F32, "{name}");
    (view.shape.to_vec(), view.bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
}

/// The ids in a golden tensor.
pub fn ids(file: &Safetensors, name: &str) -> Vec<i32> {
    let view = file.tensor(name).unwrap_or_else(|| panic!("{} has no {name}", file.path().display()));
    assert_eq!(view.dtype, Dtype::I32, "{name}");
    view.bytes.as_chunks::<4>().0.iter().map(|&b| i32::from_le_bytes(b)).collect()
}

/// |a - b| / |b|.
pub fn relative_l2(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |v: f64| v * v;
    let error: f64 = a.iter().zip(b).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    let size: f64 = b.iter().map(|&b| square(f64::from(b))).sum();
    (error / size).sqrt()
}

/// Asserts that `got` has the same best token as `want` in every row in which the best two logits of `want` differ by more than `gap`.
pub fn assert_same_best(got: &[f32], want: &[f32], vocabulary: usize, gap: f32, label: &str) {
    let mut compared = 0;
    for (t, (got, want)) in got.chunks_exact(vocabulary).zip(want.chunks_exact(vocabulary)).enumerate() {
        let mut sorted = want.to_vec();
        sorted.sort_by(f32::total_cmp);
        if sorted[vocabulary - 1] - sorted[vocabulary - 2] > gap {
            compared += 1;
            assert_eq!(best(got), best(want), "{label}: best token at position {t}");
        }
    }
    assert!(compared > 0, "{label}: no position has a clear best token");
}

pub fn best(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap()
}
