//! Devices, buffers, shaders, recordings and the queue: everything that touches wgpu, and nothing that knows a model.
//!
//! A caller describes work as a [`Recording`] (which [`Variant`] of which kernel, its parameters, the buffer slices, the grid) and a
//! [`Gpu`] executes it: one encoder, one compute pass, one submit. No wgpu type leaves this room. Kernel families live in `kernels`,
//! who calls them in `engine`; tests are the kernel tests and the unit tests of each file here.

mod buffer;
mod caps;
mod device;
mod disk_cache;
mod pipeline;
mod profiler;
mod queue;
mod recording;
mod shader;
mod sources;
mod submission;
mod upload;

pub use buffer::{Buffer, Slice};
pub use caps::{Caps, Cooperative};
pub use device::{Adapter, AdapterKind, Gpu, OpenOptions, adapters};
pub use profiler::Span;
pub use queue::Ticket;
pub use recording::{Cost, Dispatch, Recording, grid_1d};
pub use shader::{Variant, assemble, kernels};
pub use upload::{Staging, Uploader};
