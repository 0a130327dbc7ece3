//! Block formats against values that other implementations decoded, bit for bit (`blocks.safetensors`, made with gguf-py and numpy), and a
//! checkpoint folder in the formats of the real release.

use dwarfstar::hf::{Dtype, Folder, Safetensors, TensorView};
use dwarfstar::num::{E2M1, e4m3_to_f32, e8m0_to_f32};
use dwarfstar::quant::{BlockFormat, GRID, fp8, mxfp4};
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn golden() -> Safetensors {
    Safetensors::open(&data("blocks.safetensors")).unwrap()
}

fn tensor<'a>(file: &'a Safetensors, name: &str) -> TensorView<'a> {
    file.tensor(name).unwrap_or_else(|| panic!("no {name}"))
}

/// The golden values as bits, so that -0 differs from 0.
fn values(file: &Safetensors, name: &str) -> Vec<u32> {
    let view = tensor(file, name);
    assert_eq!(view.dtype, Dtype::F32);
    view.bytes.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect()
}

fn decoded(format: BlockFormat, bytes: &[u8], values: usize) -> Vec<u32> {
    let mut out = vec![0.0; values];
    format.dequantize(bytes, &mut out);
    out.into_iter().map(f32::to_bits).collect()
}

#[test]
fn gguf_blocks_decode_to_the_golden_values() {
    let file = golden();
    for format in [BlockFormat::Q8_0, BlockFormat::Q2K, BlockFormat::Q4K, BlockFormat::Iq2Xxs, BlockFormat::Mxfp4] {
        let blocks = tensor(&file, &format!("{format}.bytes"));
        let expected = values(&file, &format!("{format}.values"));
        assert_eq!(blocks.shape, [16, format.block_bytes()]);
        assert_eq!(expected.len(), 16 * format.block_values());
        assert_eq!(decoded(format, blocks.bytes, expected.len()), expected, "{format}");
        // A block decodes alone as it does among others.
        let last = decoded(format, &blocks.bytes[15 * format.block_bytes()..], format.block_values());
        assert_eq!(last, expected[15 * format.block_values()..], "{format}");
    }
}

#[test]
fn the_codewords_of_iq2_xxs_equal_the_golden_table() {
    let file = golden();
    let grid = tensor(&file, "iq2_xxs.grid");
    assert!(grid.bytes.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes)).eq(GRID));
}

#[test]
fn fp8_tiles_decode_and_repack_to_the_golden_values() {
    let file = golden();
    let (codes, scales, expected) = (tensor(&file, "fp8.bytes"), tensor(&file, "fp8.scale_bytes"), values(&file, "fp8.values"));
    let &[rows, cols] = codes.shape else { panic!("{:?}", codes.shape) };
    assert_eq!(scales.shape, [rows.div_ceil(128), cols.div_ceil(128)]);
    let direct = codes.bytes.iter().enumerate().map(|(i, &code)| {
        let tile = i / cols / 128 * scales.shape[1] + i % cols / 128;
        (e4m3_to_f32(code) * e8m0_to_f32(scales.bytes[tile])).to_bits()
    });
    assert!(direct.eq(expected.iter().copied()));

    let row_bytes = BlockFormat::Fp8.row_bytes(cols).unwrap();
    let mut blocks = vec![0; rows * row_bytes];
    fp8::repack_rows(codes.bytes, scales.bytes, cols, 0..rows, &mut blocks).unwrap();
    assert_eq!(decoded(BlockFormat::Fp8, &blocks, rows * cols), expected);
}

#[test]
fn packed_fp4_decodes_and_repacks_to_the_golden_values() {
    let file = golden();
    let (codes, scales, expected) = (tensor(&file, "fp4.bytes"), tensor(&file, "fp4.scale_bytes"), values(&file, "fp4.values"));
    assert_eq!((codes.shape, scales.shape), (&[8, 64][..], &[8, 4][..]));
    let direct = (0..expected.len()).map(|i| {
        let code = (codes.bytes[i / 2] >> (4 * (i % 2))) & 15;
        (E2M1[usize::from(code)] * e8m0_to_f32(scales.bytes[i / 32])).to_bits()
    });
    assert!(direct.eq(expected.iter().copied()));

    let mut blocks = vec![0; scales.bytes.len() * BlockFormat::Mxfp4.block_bytes()];
    mxfp4::repack(codes.bytes, scales.bytes, &mut blocks).unwrap();
    // The checkpoint's FP4 has -0. GGUF decodes the same code to 0.
    let expected: Vec<u32> = expected.into_iter().map(|bits| if bits == (-0f32).to_bits() { 0 } else { bits }).collect();
    assert_eq!(decoded(BlockFormat::Mxfp4, &blocks, expected.len()), expected);
}

/// The folder has a tiny model in the formats of the real release. SPEC 8 states names, types and shapes.
#[test]
fn every_tensor_of_a_checkpoint_folder_is_found_with_its_scales() {
    let folder = Folder::open(&data("nano-s1-fp")).unwrap();
    assert_eq!(folder.config()["num_hidden_layers"].as_u64(), Some(6));
    assert_eq!(folder.config()["hc_eps"].to_string(), "1e-06");
    let mut seen = [0; 4];
    for name in folder.names() {
        let view = folder.tensor(name).unwrap();
        assert_eq!(view.name, name);
        let Some(scaled) = name.strip_suffix(".scale").filter(|_| view.dtype == Dtype::F8E8m0) else {
            seen[0] += 1;
            continue;
        };
        let weight = folder.tensor(&format!("{scaled}.weight")).unwrap();
        let &[rows, cols] = weight.shape else { panic!("{name}: {:?}", weight.shape) };
        match weight.dtype {
            Dtype::F8E4m3 => {
                assert_eq!(view.shape, [rows.div_ceil(128), cols.div_ceil(128)], "{name}");
                let mut blocks = vec![0; rows * BlockFormat::Fp8.row_bytes(cols).unwrap()];
                fp8::repack_rows(weight.bytes, view.bytes, cols, 0..rows, &mut blocks).unwrap();
                seen[1] += 1;
            }
            Dtype::I8 => {
                assert_eq!(view.shape, [rows, cols / 16], "{name}");
                let mut blocks = vec![0; view.bytes.len() * BlockFormat::Mxfp4.block_bytes()];
                mxfp4::repack(weight.bytes, view.bytes, &mut blocks).unwrap();
                assert!(decoded(BlockFormat::Mxfp4, &blocks, rows * cols * 2).iter().all(|&bits| f32::from_bits(bits).is_finite()));
                seen[2] += 1;
            }
            other => panic!("{name}: {other}"),
        }
        seen[3] += 1;
    }
    // Each of the 6 layers has 5 FP8 projections, 3 FP8 matrices of the shared expert, and 4 experts of 3 FP4 matrices. 2 layers have an
    // FP8 indexer.
    assert_eq!(seen[1..], [6 * 8 + 2, 6 * 4 * 3, 6 * 8 + 2 + 6 * 4 * 3]);
    assert_eq!(seen[0] + seen[3], folder.names().count());
}
