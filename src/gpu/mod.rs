//! Devices, buffers, shaders and recordings, and the executor that runs them. This room knows no model.
//!
//! A caller describes work as a [`Recording`] (which [`Variant`] of which kernel, its parameters, the buffer slices, the grid) and a
//! [`Gpu`] executes it: one encoder, one compute pass, one submit. All of that is plain data: a recording can be printed, saved
//! ([`SavedRecording`]) and run again elsewhere. The executor is in `wgpu/`, the only folder that names a type of wgpu.
//! The room `kernels` has the kernel families, `engine` calls them. The kernel tests and the unit tests of each file test this room.

mod adapter;
mod binding;
mod buffer;
mod caps;
mod executor;
mod lock;
mod measure;
mod recording;
mod saved;
mod shader;
mod sources;
mod upload;
mod variant;
mod wgpu;

pub use adapter::{Adapter, adapters};
pub use binding::Binding;
pub use buffer::{Buffer, Slice};
pub use caps::{AdapterKind, Caps, Cooperative, OpenOptions};
pub use executor::{Gpu, Ticket};
pub use recording::{Cost, Dispatch, Recording, Span, grid_1d};
pub use saved::SavedRecording;
pub use shader::assemble;
pub use sources::kernels;
pub use upload::{Staging, Uploader};
pub use variant::Variant;
