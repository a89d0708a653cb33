//! How programs are loaded: what the loader reads, and what it says of those that are refused.
//!
//! What must stay true: there is one loader in a process, made while nothing else runs in it.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use aya::{EbpfLoader, VerifierLogLevel};
use chaos_common::{
    host, offsets,
    uses::{self, Uses},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{
    call::{KernelTypes, Told},
    mapped,
};
use crate::engine::Size;

type Loader = Mutex<EbpfLoader<'static>>;

/// Makes the loader. To be called before there are threads: for a moment no file can be opened.
pub fn prepare_loader() {
    the_only_loader();
}

/// Our programs have no relocations against the kernel's BTF, but `EbpfLoader::new` of aya 0.14 always reads and parses
/// all of it (5 MiB and 100,000 types, most of the memory that a start would take), and takes it for absent if it
/// cannot be opened. So for this one call no file can be, by any thread.
fn the_only_loader() -> &'static Loader {
    static LOADER: OnceLock<Loader> = OnceLock::new();
    LOADER.get_or_init(|| {
        let limits = getrlimit(Resource::RLIMIT_NOFILE);
        let none = |hard| setrlimit(Resource::RLIMIT_NOFILE, 0, hard);
        let restore = limits.ok().filter(|(_, hard)| none(*hard).is_ok());
        let mut loader = EbpfLoader::new();
        if let Some((soft, hard)) = restore
            && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, soft, hard)
        {
            tracing::warn!("putting the limit of open files back to {soft}: {error}");
        }
        loader.btf(None);
        Mutex::new(loader)
    })
}

/// The loader, told all that differs from one load to the next.
pub(super) fn loader(
    sets_retval: bool,
    told: &'static Told,
    size: Size,
    uses: Uses,
) -> MutexGuard<'static, EbpfLoader<'static>> {
    // What a thread that panicked has told it is told anew.
    let mut loader = the_only_loader().lock().unwrap_or_else(PoisonError::into_inner);
    loader
        .override_global(host::SETS_RETVAL, if sets_retval { &1_u32 } else { &0_u32 }, true)
        .override_global(offsets::NAME, &told.offsets, true)
        .override_global(host::KNOWS_ANCESTORS, &told.knows_ancestors, true)
        .override_global(host::LOCKS, &told.locks, true)
        .override_global(uses::NAME, lasting(uses), true)
        .verifier_log_level(log_level());
    for (name, entries) in mapped::entries(size) {
        loader.map_max_entries(name, entries);
    }
    loader
}

/// The same at a place that stays, as the loader keeps the place and not what is there: one for each that there ever was, of
/// which there are few.
fn lasting(uses: Uses) -> &'static Uses {
    static KNOWN: Mutex<BTreeSet<&'static Uses>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(&uses) {
        return known;
    }
    let place: &'static Uses = Box::leak(Box::new(uses));
    known.insert(place);
    place
}

/// What the programs are told about this kernel, which does not change while we run.
pub(super) fn told(types: Option<&KernelTypes>) -> &'static Told {
    static NOTHING: Told = Told::NOTHING;
    static BY_THIS_KERNEL: OnceLock<Told> = OnceLock::new();
    types.map_or(&NOTHING, |types| BY_THIS_KERNEL.get_or_init(|| Told::by(types)))
}

/// The verifier's whole log of a program that it refuses is for `RUST_LOG=debug`: writing it takes many times as long
/// as the refusal, which old kernels give to programs that new ones take.
fn log_level() -> VerifierLogLevel {
    if tracing::enabled!(tracing::Level::DEBUG) {
        VerifierLogLevel::default()
    } else {
        VerifierLogLevel::STATS
    }
}
