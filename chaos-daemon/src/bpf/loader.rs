//! How programs are loaded: what the loader reads, and what it says of those that are refused.

use aya::{EbpfLoader, VerifierLogLevel};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A loader that has not read the kernel's BTF, which our programs have no relocations against. `EbpfLoader::new` of
/// aya 0.14 always reads and parses all of it (5 MiB and 100,000 types, most of the memory that a start would take)
/// and takes it for absent if it cannot be opened: so for this one call no file can be. Nothing else runs meanwhile.
pub(super) fn loader() -> EbpfLoader<'static> {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let none = |hard| setrlimit(Resource::RLIMIT_NOFILE, 0, hard);
    let restore = limits.ok().filter(|(_, hard)| none(*hard).is_ok());
    let loader = EbpfLoader::new();
    if let Some((soft, hard)) = restore
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, soft, hard)
    {
        tracing::warn!("putting the limit of open files back to {soft}: {error}");
    }
    loader
}

/// The verifier's whole log of a program that it refuses is for `RUST_LOG=debug`: writing it takes many times as long
/// as the refusal, which old kernels give to programs that new ones take.
pub(super) fn log_level() -> VerifierLogLevel {
    if tracing::enabled!(tracing::Level::DEBUG) {
        VerifierLogLevel::default()
    } else {
        VerifierLogLevel::STATS
    }
}
