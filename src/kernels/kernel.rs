//! The declaration of a kernel: its name, its parameters, and every variant that a device may select.
//!
//! Parameters are plain data with the layout of the shader's `struct Params`; the tests reflect every shader and compare. The shader is the
//! file of the kernel's name under `shaders/`. The cost of a launch is computed where it is recorded, because it depends on the arguments.

use super::context::KernelProfile;
use crate::gpu::Variant;

/// Kernels that share their parameters and the code that lists their variants.
pub struct Kernel {
    /// The kernels' names.
    pub names: &'static [&'static str],
    /// Size of the parameters in bytes.
    pub bytes: usize,
    /// Members of the parameters: name and byte offset.
    pub fields: &'static [(&'static str, usize)],
    /// Lists every variant that a device may select, with the sizes of V4 Flash and with further sizes that select other code.
    pub variants: fn(&KernelProfile) -> Vec<Variant>,
}

/// Declares the kernels of a family: `Params for "kernel" | "kernel" in variants { field: type, ... }`.
macro_rules! kernels {
    ($($(#[$meta:meta])* $name:ident for $($kernel:literal)|+ in $variants:ident { $($field:ident: $ty:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
            pub struct $name { $(pub $field: $ty),* }
        )*
        /// The kernels of this file.
        pub const KERNELS: &[$crate::kernels::kernel::Kernel] = &[$($crate::kernels::kernel::Kernel {
            names: &[$($kernel),+],
            bytes: size_of::<$name>(),
            fields: &[$((stringify!($field), std::mem::offset_of!($name, $field))),*],
            variants: $variants,
        }),*];
    };
}
