//! Brings one program of the object to a function of the kernel's. aya 0.14 has no such type of program as is needed
//! here (`BPF_MODIFY_RETURN`), and loads each only once, so this is done with the bare system call: the object is parsed
//! and linked by aya's own library, its maps are those that aya has made.

use std::{
    collections::{BTreeMap, HashSet},
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use aya_obj::{
    EbpfSectionKind, Object,
    generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_map_info, bpf_prog_info, bpf_prog_type},
};

use super::super::BpfError;

/// How a program hangs on a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// It runs first, and the function only if it says 0 (`fmod_ret`).
    Before,
    /// It runs among the security modules (BPF LSM).
    Among,
    /// It watches the beginning.
    AtStart,
    /// It watches the end.
    AtEnd,
}

impl Hang {
    const fn types(self) -> (bpf_prog_type, bpf_attach_type) {
        match self {
            Self::Before => (bpf_prog_type::BPF_PROG_TYPE_TRACING, bpf_attach_type::BPF_MODIFY_RETURN),
            Self::Among => (bpf_prog_type::BPF_PROG_TYPE_LSM, bpf_attach_type::BPF_LSM_MAC),
            Self::AtStart => (bpf_prog_type::BPF_PROG_TYPE_TRACING, bpf_attach_type::BPF_TRACE_FENTRY),
            Self::AtEnd => (bpf_prog_type::BPF_PROG_TYPE_TRACING, bpf_attach_type::BPF_TRACE_FEXIT),
        }
    }
}

/// The programs of the object, linked with the maps that are there already.
pub struct Linked {
    object: Object,
    /// The code names them by their numbers.
    _maps: BTreeMap<String, OwnedFd>,
    /// The object's types, as the kernel has them.
    types: OwnedFd,
}

/// A program at its place, for as long as this lives.
#[derive(Debug)]
pub struct Hung {
    /// First: it goes before the program.
    _link: OwnedFd,
    program: OwnedFd,
    /// Its name in the object.
    pub name: &'static str,
}

impl Hung {
    /// The instructions that the verifier walked (0 before Linux 5.16, which does not tell), and the bytes of machine code.
    pub fn cost(&self) -> io::Result<(u32, u32)> {
        let info: bpf_prog_info = info(&self.program)?;
        Ok((info.verified_insns, info.jited_prog_len))
    }

    /// How often it was not run, as it was running on the same processor: the process that it ran for had been preempted
    /// meanwhile (`__bpf_prog_enter_recur`, kernel/bpf/trampoline.c). 0 before Linux 5.12, which does not tell.
    pub fn missed(&self) -> io::Result<u64> {
        let info: bpf_prog_info = info(&self.program)?;
        Ok(info.recursion_misses)
    }
}

/// Why the kernel would not have it.
#[derive(Debug)]
pub struct Refused {
    /// "loading" or "attaching".
    pub step: &'static str,
    /// The kernel's answer.
    pub error: io::Error,
    /// The verifier's last lines.
    pub log: String,
}

impl Linked {
    /// Links the programs of `image` with these maps, by name.
    pub fn new(image: &[u8], maps: BTreeMap<String, OwnedFd>) -> Result<Self, BpfError> {
        let wrong = |what: String| BpfError::Link(what);
        let mut object = Object::parse(image).map_err(|e| wrong(e.to_string()))?;
        let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let known = mem::take(&mut object.maps);
        let with_descriptors = known.iter().map(|(name, map)| {
            let descriptor = maps.get(name).map_or(-1, AsRawFd::as_raw_fd);
            (name.as_str(), descriptor, map)
        });
        object.relocate_maps(with_descriptors, &text).map_err(|e| wrong(e.to_string()))?;
        object.relocate_calls(&text).map_err(|e| wrong(e.to_string()))?;
        let with_types = known
            .iter()
            .find(|(_, map)| map.section_kind() == EbpfSectionKind::BtfMaps)
            .and_then(|(name, _)| maps.get(name))
            .ok_or(BpfError::Absent("map with types"))?;
        let types = types_of(with_types).map_err(|e| wrong(format!("the types of a map: {e}")))?;
        Ok(Self { object, _maps: maps, types })
    }

    /// Loads `program` for the function with this id, and attaches it.
    pub fn hang(&self, program: &'static str, hang: Hang, function: u32) -> Result<Hung, Refused> {
        let loaded = self.load(program, hang, function, &mut []).or_else(|_| {
            // Once more, for what the verifier has to say.
            let mut log = vec![0; 1 << 24];
            self.load(program, hang, function, &mut log).map_err(|error| {
                let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
                let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default()).into_owned();
                tracing::debug!("{program}: {error}\n{text}");
                Refused { step: "loading", error, log: last_line(&text) }
            })
        })?;
        let link =
            attach(&loaded).map_err(|error| Refused { step: "attaching", error, log: String::new() })?;
        Ok(Hung { _link: link, program: loaded, name: program })
    }

    fn load(&self, name: &str, hang: Hang, function: u32, log: &mut [u8]) -> io::Result<OwnedFd> {
        let absent = || io::Error::new(io::ErrorKind::NotFound, format!("the kernel object has no {name}"));
        let program = self.object.programs.get(name).ok_or_else(absent)?;
        let code = self.object.functions.get(&program.function_key()).ok_or_else(absent)?;
        let (kind, place) = hang.types();
        let functions = code.func_info.func_info_bytes();
        // SAFETY: zeros are a valid value of it.
        let mut attr: bpf_attr = unsafe { mem::zeroed() };
        // SAFETY: the member for this command; nothing else was written.
        let load = unsafe { &mut attr.__bindgen_anon_3 };
        for (to, from) in load.prog_name.iter_mut().zip(name.bytes().take(15)) {
            *to = from.cast_signed();
        }
        load.prog_type = kind as u32;
        load.expected_attach_type = place as u32;
        load.insns = code.instructions.as_ptr() as u64;
        load.insn_cnt = u32::try_from(code.instructions.len()).unwrap_or(u32::MAX);
        load.license = program.license.as_ptr() as u64;
        load.attach_btf_id = function;
        load.prog_btf_fd = self.types.as_raw_fd().cast_unsigned();
        load.func_info = functions.as_ptr() as u64;
        load.func_info_cnt = u32::try_from(code.func_info.len()).unwrap_or(u32::MAX);
        load.func_info_rec_size = u32::try_from(code.func_info_rec_size).unwrap_or(u32::MAX);
        if !log.is_empty() {
            load.log_level = 1;
            load.log_buf = log.as_mut_ptr() as u64;
            load.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        }
        bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)
    }
}

/// What the verifier said before it counted what it had done.
fn last_line(log: &str) -> String {
    log.lines()
        .rev()
        .find(|line| !line.starts_with("processed ") && !line.is_empty())
        .unwrap_or("")
        .to_owned()
}

fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: zeros are a valid value of it.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.raw_tracepoint.prog_fd = program.as_raw_fd().cast_unsigned();
    bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)
}

/// The types that a map was made with: its program's own, which the kernel has.
fn types_of(map: &OwnedFd) -> io::Result<OwnedFd> {
    let info: bpf_map_info = info(map)?;
    // SAFETY: zeros are a valid value of it.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.__bindgen_anon_6.__bindgen_anon_1.btf_id = info.btf_id;
    bpf(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attr)
}

/// What the kernel tells of a map or a program: structures of numbers, of which older kernels fill the beginning.
trait Info {}
impl Info for bpf_map_info {}
impl Info for bpf_prog_info {}

fn info<T: Info>(of: &OwnedFd) -> io::Result<T> {
    // SAFETY: zeros are a valid value of what has this trait.
    let mut info: T = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.info.bpf_fd = of.as_raw_fd().cast_unsigned();
    attr.info.info = &raw mut info as u64;
    attr.info.info_len = u32::try_from(size_of::<T>()).unwrap_or(0);
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// A command that answers with a descriptor.
fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let descriptor = call(command, attr)?;
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: the attributes are those of the command, and what they point to outlives the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command as i32, &raw mut *attr, size_of::<bpf_attr>()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// `bpf_get_current_ancestor_cgroup_id` (`include/uapi/linux/bpf.h`).
pub const CURRENT_ANCESTOR: u64 = 123;
/// `bpf_ktime_get_ns`, which every program may call.
pub const CLOCK: u64 = 5;
/// `bpf_spin_lock`.
pub const SPIN_LOCK: u64 = 93;

/// Whether a program on the function with this id may call a helper function: the verifier says of one which it may not
/// that it is unknown, or not for this type, and of the others that an argument is missing at most.
pub fn knows_helper(function: u32, helper: u64) -> bool {
    // r1 = 0; call helper; r0 = 0; exit
    let code = [0x01b7, helper << 32 | 0x85, 0x00b7, 0x95];
    let mut log = vec![0; 1 << 16];
    let (kind, place) = Hang::Before.types();
    // SAFETY: zeros are a valid value of it.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    // SAFETY: the member for this command; nothing else was written.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = kind as u32;
    load.expected_attach_type = place as u32;
    load.insns = code.as_ptr() as u64;
    load.insn_cnt = 4;
    load.license = c"GPL".as_ptr() as u64;
    load.attach_btf_id = function;
    load.log_level = 1;
    load.log_buf = log.as_mut_ptr() as u64;
    load.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
    let loaded = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr);
    let log = String::from_utf8_lossy(&log);
    loaded.is_ok()
        || log.contains("R1 ") && !log.contains("unknown func") && !log.contains("cannot use helper")
}
