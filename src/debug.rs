//! The environment variables of the program. No other file reads them; each variable is one typed field.

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The environment variables, read once at the first use.
#[derive(Debug, Default)]
pub struct Environment {
    /// `DWARFSTAR_MODEL`: the model that commands use when `-m` is not given.
    pub model: Option<PathBuf>,
    /// `DWARFSTAR_GOLDEN`: the folder with the large golden files of the tests.
    pub golden: Option<PathBuf>,
    /// `DWARFSTAR_REQUIRE_GOLDEN=1`: a test that lacks its golden files fails instead of skipping.
    pub require_golden: bool,
    /// `DWARFSTAR_SHADERS`: a folder laid out like `shaders/` to read shaders from instead of the built-in ones.
    pub shaders: Option<PathBuf>,
    /// `DWARFSTAR_BINDING_CAP`: the number of bytes that one binding may have at most, so that tests can imitate a smaller GPU.
    pub binding_cap: Option<u64>,
    /// `DWARFSTAR_LOG`: the least severe messages to print: off, error, warn, info, debug or trace.
    pub log: Option<String>,
}

/// The environment of this process.
pub fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| Environment {
        model: path("DWARFSTAR_MODEL"),
        golden: path("DWARFSTAR_GOLDEN"),
        require_golden: env::var("DWARFSTAR_REQUIRE_GOLDEN").is_ok_and(|v| v == "1"),
        shaders: path("DWARFSTAR_SHADERS"),
        binding_cap: env::var("DWARFSTAR_BINDING_CAP").ok().and_then(|v| v.parse().ok()),
        log: env::var("DWARFSTAR_LOG").ok(),
    })
}

fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}
