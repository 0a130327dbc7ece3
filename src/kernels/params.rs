//! Parameter blocks of kernels: plain data whose layout equals the shader's `struct Params`. The tests reflect every shader and compare.

/// One parameter block as the host lays it out.
#[derive(Clone, Copy, Debug)]
pub struct ParamsLayout {
    /// The kernels that take it.
    pub kernels: &'static [&'static str],
    /// Its size.
    pub bytes: usize,
    /// Its members: name and byte offset.
    pub fields: &'static [(&'static str, usize)],
}

/// Defines parameter blocks: `Name for "kernel" { field: type, ... }`.
macro_rules! params {
    ($($(#[$meta:meta])* $name:ident for $($kernel:literal)|+ { $($field:ident: $ty:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
            pub(super) struct $name { $(pub $field: $ty),* }
        )*
        /// This family's parameter blocks.
        pub(super) const LAYOUTS: &[crate::kernels::ParamsLayout] = &[$(crate::kernels::ParamsLayout {
            kernels: &[$($kernel),+],
            bytes: size_of::<$name>(),
            fields: &[$((stringify!($field), std::mem::offset_of!($name, $field))),*],
        }),*];
    };
}
