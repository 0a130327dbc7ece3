//! What record functions know of the device and of how numbers are stored.

use crate::Result;
use crate::gpu::{Binding, Caps, Cooperative, Gpu, Slice, Variant};
use crate::num::KvType;
use crate::quant::{BlockFormat, GRID};

/// Invocations in a workgroup, unless a kernel says otherwise. Every device allows as many.
pub(super) const WG: u32 = 256;

/// Columns of a matrix of activations: its rows have `stride` floats, and the columns start at float `offset` of each row.
#[derive(Clone, Debug)]
pub struct Strided {
    /// The whole matrix.
    pub slice: Slice,
    /// Distance between rows, in floats.
    pub stride: u32,
    /// First column, in floats.
    pub offset: u32,
    /// Whether elements are f16 instead of f32. Only kernels of prompts pass f16 to each other, on devices with cooperative matrices.
    pub is_f16: bool,
}

impl Strided {
    /// All columns of the rows of `stride` floats in `slice`.
    pub fn whole(slice: &Slice, stride: u32) -> Self {
        Self { slice: slice.clone(), stride, offset: 0, is_f16: false }
    }

    /// The same columns, with f16 elements if `is_f16` and f32 elements otherwise.
    #[must_use]
    pub fn with_f16(self, is_f16: bool) -> Self {
        Self { is_f16, ..self }
    }

    /// Makes `variant` store its result in this type of element.
    pub(super) fn written_by(&self, variant: Variant) -> Variant {
        if self.is_f16 { with_f16_output(variant) } else { variant }
    }

    /// The rows from row `first` on, for f32 elements. Their first byte must be a multiple of 256, the largest binding alignment of a
    /// device.
    #[must_use]
    pub fn from_row(&self, first: u32) -> Self {
        let before = u64::from(first) * u64::from(self.stride) * 4;
        Self { slice: self.slice.part(before, self.slice.bytes - before), ..self.clone() }
    }

    /// The columns that start `offset` floats further on in each row.
    #[must_use]
    pub fn at(&self, offset: u32) -> Self {
        Self { offset: self.offset + offset, ..self.clone() }
    }
}

/// Decides which variants are chosen: the device, the type of cached rows, and whether activations stay f32.
#[derive(Clone, Debug)]
pub struct KernelProfile {
    /// The device's caps.
    pub caps: Caps,
    /// The type of cached rows.
    pub kv: KvType,
    /// Keeps all activations f32: no cooperative matrices and no rounding to int8.
    pub exact: bool,
}

impl KernelProfile {
    /// The cooperative matrices to use, if there are any and the device allows workgroups of eight subgroups.
    pub(super) fn cooperative(&self) -> Option<CoopShape> {
        let subgroup = self.caps.subgroup.filter(|size| !self.exact && size * 8 <= self.caps.invocations)?;
        let size = match self.caps.cooperative {
            Cooperative::None => return None,
            Cooperative::Size8 => 8,
            Cooperative::Size16 => 16,
        };
        // The largest matmul tile needs 45 KiB to stage 64 columns.
        let depth = if size == 16 && self.caps.workgroup_bytes >= 45 << 10 { 64 } else { 32 };
        Some(CoopShape { size, subgroup, depth })
    }

    /// Whether kernels of prompts round the operands of matrix products to f16.
    pub fn uses_f16(&self) -> bool {
        self.cooperative().is_some()
    }

    /// Whether kernels of generated rows round activations to int8 before they multiply them.
    pub fn int8(&self) -> bool {
        !self.exact && self.caps.dot_int8 && self.caps.subgroup.is_some_and(|size| size >= 8)
    }

    /// The plain variant of `kernel` with workgroups of [`WG`]. Reductions use subgroups if the device has them.
    pub(super) fn variant(&self, kernel: &'static str) -> Variant {
        self.sized_variant(kernel, WG)
    }

    /// Like [`KernelProfile::variant`], with workgroups of `wg`.
    pub(super) fn sized_variant(&self, kernel: &'static str, wg: u32) -> Variant {
        let variant = Variant::new(kernel).constant("WG", wg);
        match self.caps.subgroup {
            Some(size) => variant.constant("SUBGROUP", size),
            None => variant,
        }
    }

    /// Number of invocations that share a row in kernels that import `lib/reduce/lanes`, and number of rows of a workgroup.
    pub(super) fn lanes(&self) -> (u32, u32) {
        let lanes = self.caps.subgroup.unwrap_or(32);
        (lanes, WG / lanes)
    }

    /// Like [`KernelProfile::variant`], for kernels in which LANES invocations share a row. Also returns the number of rows of a workgroup.
    pub(super) fn lanes_variant(&self, kernel: &'static str, sums: u32) -> (Variant, u32) {
        let (lanes, rows) = self.lanes();
        (self.variant(kernel).constant("LANES", lanes).constant("SUMS", sums), rows)
    }

    /// Like [`KernelProfile::variant`], for kernels that read or write cached rows.
    pub(super) fn kv_variant(&self, kernel: &'static str) -> Variant {
        self.variant(kernel).flag_if(self.kv == KvType::F16, "KV_F16")
    }
}

/// The cooperative matrices of a device, and how kernels use them.
#[derive(Clone, Copy, Debug)]
pub(super) struct CoopShape {
    /// Rows of a matrix, which is square.
    pub size: u32,
    /// Invocations of the subgroup that holds one matrix.
    pub subgroup: u32,
    /// Columns of the operands that are staged in workgroup memory at a time.
    pub depth: u32,
}

impl CoopShape {
    /// The variant of `kernel` with the flags and constants that all cooperative kernels have in common.
    pub fn variant(self, kernel: &'static str) -> Variant {
        Variant::new(kernel)
            .flag("F16")
            .flag("COOPERATIVE")
            .flag_if(self.size == 16, "SIZE_16")
            .constant("SIZE", self.size)
            .constant("SUBGROUP", self.subgroup)
            .constant("DEPTH", self.depth)
            .constant("STEPS", self.depth / self.size)
    }
}

/// What every record function needs: the profile that chooses variants, and the tables that block formats bind.
#[derive(Clone, Debug)]
pub struct KernelContext {
    /// Decides which variants are chosen.
    pub profile: KernelProfile,
    iq2_xxs_grid: Slice,
}

impl KernelContext {
    /// Size of the tables in GPU memory, in bytes.
    pub const BYTES: u64 = size_of_val(&GRID) as u64;

    /// Makes the context for `gpu`, with cached rows of type `kv`. `exact` keeps all activations f32.
    ///
    /// # Errors
    /// There is no memory left.
    pub fn new(gpu: &Gpu, kv: KvType, exact: bool) -> Result<Self> {
        let grid = gpu.buffer_with("iq2_xxs grid", &GRID)?;
        Ok(Self { profile: KernelProfile { caps: gpu.caps().clone(), kv, exact }, iq2_xxs_grid: grid.all() })
    }

    /// The tables that `formats` need. A kernel binds them after everything else.
    pub(super) fn tables(&self, formats: &[BlockFormat]) -> Option<Binding> {
        let has_codewords = |f: &BlockFormat| matches!(f, BlockFormat::Iq2Xxs | BlockFormat::Iq2Xxsx8);
        formats.iter().any(has_codewords).then(|| Binding::from(&self.iq2_xxs_grid))
    }

    pub(super) fn variant(&self, kernel: &'static str) -> Variant {
        self.profile.variant(kernel)
    }
}

/// Makes `variant` store f16 elements.
pub(super) fn with_f16_output(variant: Variant) -> Variant {
    variant.flag("F16").flag("Y_F16")
}
