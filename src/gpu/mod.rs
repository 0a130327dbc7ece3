//! Devices, buffers, shaders, recordings and what executes them: nothing that knows a model.
//!
//! A caller describes work as a [`Recording`] (which [`Variant`] of which kernel, its parameters, the buffer slices, the grid) and a
//! [`Gpu`] executes it: one encoder, one compute pass, one submit. All of that is plain data: a recording can be printed, saved
//! ([`SavedRecording`]) and run again elsewhere. The executor is behind it, in `wgpu/`, the only folder that names a type of wgpu.
//! Kernel families live in `kernels`, who calls them in `engine`; tests are the kernel tests and the unit tests of each file here.

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
