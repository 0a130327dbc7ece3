//! What a device can do, which decides the variants of kernels that it gets, and the options with which a device is opened.

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A driver that runs shaders on the CPU.
    Software,
    /// A virtual or unknown device.
    Other,
}

/// The options with which a device is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Use nothing beyond [`Caps::portable`].
    pub portable: bool,
    /// Compile shaders with bounds checks and zeroed workgroup memory.
    pub checks: bool,
    /// The largest storage binding in bytes, to imitate a smaller device.
    pub binding_cap: Option<u64>,
    /// Assume half the real subgroup size, to imitate a device whose subgroups vary in size.
    pub narrow: bool,
}

/// The cooperative matrices of a device, as far as kernels support them: f16 operands, f32 sums, one subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cooperative {
    /// No matrices, or only shapes that no kernel supports.
    None,
    /// 8x8x8 (Metal).
    Size8,
    /// 16x16x16 (Vulkan).
    Size16,
}

/// Facts about an opened device. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// The smallest subgroup size, if there are subgroup operations: a power of two, at least 8. Kernels exchange values only among so many
    /// neighbours, because real subgroups may be larger (AMD: 32 or 64).
    pub subgroup: Option<u32>,
    /// Whether the dot product of four packed int8 (`dot4I8Packed`) is as fast as one multiplication.
    pub dot_int8: bool,
    /// Whether shaders have the type `f16`.
    pub f16: bool,
    /// Cooperative matrices.
    pub cooperative: Cooperative,
    /// Whether shaders have `var<immediate>` of at least 128 bytes. If not, parameters go through a uniform buffer.
    pub immediates: bool,
    /// Whether timestamps can be taken inside a compute pass.
    pub timestamps: bool,
    /// Whether CPU and GPU share the memory.
    pub unified_memory: bool,
    /// Size of the largest storage binding.
    pub max_binding_bytes: u64,
    /// Size of the largest buffer.
    pub max_buffer_bytes: u64,
    /// Size of the workgroup memory.
    pub workgroup_bytes: u32,
    /// The largest number of invocations in a workgroup.
    pub invocations: u32,
    /// The largest number of storage bindings of a kernel.
    pub storage_bindings: u32,
}

impl Caps {
    /// The caps that every supported device has. They stand for an unknown device, and `--portable` restricts a device to them.
    pub const fn portable() -> Self {
        Self {
            subgroup: None,
            dot_int8: false,
            f16: false,
            cooperative: Cooperative::None,
            immediates: false,
            timestamps: false,
            unified_memory: true,
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            workgroup_bytes: 32 << 10,
            invocations: 256,
            storage_bindings: 16,
        }
    }

    /// One line of text with the optional features.
    pub fn summary(&self) -> String {
        let subgroup = self.subgroup.map_or_else(|| "no subgroups".into(), |n| format!("subgroups of {n}"));
        let cooperative = match self.cooperative {
            Cooperative::None => "no cooperative matrices",
            Cooperative::Size8 => "cooperative matrices 8x8",
            Cooperative::Size16 => "cooperative matrices 16x16",
        };
        let f16 = if self.f16 { "f16" } else { "no f16" };
        let int8 = if self.dot_int8 { "int8 products" } else { "no int8 products" };
        let immediates = if self.immediates { "immediates" } else { "uniform parameters" };
        format!(
            "{subgroup}, {f16}, {int8}, {cooperative}, {immediates}, bindings up to {} MiB, {} KiB workgroup memory",
            self.max_binding_bytes >> 20,
            self.workgroup_bytes >> 10
        )
    }
}
