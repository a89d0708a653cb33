//! Programs for calls, brought to the kernel's functions by the first way that works: `fmod_ret` on the security
//! question, BPF LSM, `fmod_ret` on the system call.

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use aya::maps::{Array, MapData};
use chaos_common::call::Trial;

use super::{
    super::{BpfError, feature::is_tried},
    Call, Catch, Question, cannot,
    load::{Hang, Hung, Linked, Refused},
    told::Told,
    trial,
    types::KernelTypes,
    way::{Hooked, Way},
};

/// Calls that are caught, for as long as this lives.
pub struct Calls {
    hung: Vec<Hung>,
    /// What hangs where: two calls may share a program.
    known: BTreeMap<&'static str, Way>,
    hooked: Vec<Hooked>,
    remarks: Vec<String>,
    linked: Linked,
    types: KernelTypes,
    told: Told,
    trial: Array<MapData, Trial>,
}

impl Calls {
    /// Nothing is caught yet.
    pub fn new(
        image: &[u8],
        maps: BTreeMap<String, OwnedFd>,
        types: KernelTypes,
        told: Told,
        trial: Array<MapData, Trial>,
    ) -> Result<Self, BpfError> {
        let linked = Linked::new(image, maps)?;
        Ok(Self {
            hung: Vec::new(),
            known: BTreeMap::new(),
            hooked: Vec::new(),
            remarks: Vec::new(),
            linked,
            types,
            told,
            trial,
        })
    }

    /// What is caught, and how.
    pub fn hooked(&self) -> &[Hooked] {
        &self.hooked
    }

    /// What is not as it should be, in words.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// What each program has cost: its name, instructions walked by the verifier, bytes of machine code. One that hangs
    /// at several places was loaded for each: the dearest counts.
    pub fn costs(&self) -> io::Result<BTreeMap<&'static str, (u32, u32)>> {
        let mut costs = BTreeMap::new();
        for hung in &self.hung {
            let (verified, jited) = hung.cost()?;
            let most: &mut (u32, u32) = costs.entry(hung.name).or_default();
            *most = (most.0.max(verified), most.1.max(jited));
        }
        Ok(costs)
    }

    /// Lets go of everything. Answers with what is to be said of it.
    pub fn let_go(&mut self) -> Option<String> {
        let missed: u64 = self.hung.iter().filter_map(|hung| hung.missed().ok()).sum();
        self.hung.clear();
        (missed > 0).then(|| {
            format!(
                "{missed} calls passed without being asked about, and are in no count: they came while another process \
                 on the same CPU was inside of our program for such calls"
            )
        })
    }

    /// Catches a call, by the first way that works.
    pub fn catch(&mut self, call: Call) -> Result<(), BpfError> {
        self.check_offsets(call)?;
        if call.is_asked_again() {
            self.watch_those_that_ask_again(call)?;
        }
        let hooked = match call.catch() {
            Catch::Questions(questions) => self.by_questions(call, questions)?,
            Catch::SystemCalls(program, names) => self.by_system_calls(call, program, names)?,
        };
        self.hooked.push(hooked);
        Ok(())
    }

    /// What is not there must not be read.
    fn check_offsets(&self, call: Call) -> Result<(), BpfError> {
        // Who makes it, and by which program.
        let caller = ["task_struct", "mm_struct", "file"];
        let file: &[&str] = if call.has_file() { &["path", "dentry", "inode", "linux_binprm"] } else { &[] };
        let socket: &[&str] =
            if call.has_peer() || call.has_local_port() { &["socket", "sock", "msghdr"] } else { &[] };
        // Whose call it is, where no helper function says so.
        let ancestors: &[&str] = if self.told.knows_ancestors == 0 { &["css_set", "cgroup"] } else { &[] };
        let wanted = [&caller[..], file, socket, ancestors].concat();
        let missing: Vec<String> = self
            .told
            .offsets
            .missing()
            .filter(|(structure, _)| wanted.contains(structure))
            .map(|(structure, member)| format!("{structure}.{member}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(cannot(call, format!("this kernel's BTF does not say where {} is", missing.join(", "))))
    }

    fn by_questions(&mut self, call: Call, questions: &[Question]) -> Result<Hooked, BpfError> {
        let mut reasons = Vec::new();
        // Two calls may share a program: hung at two places it would decide twice.
        let taken = questions.iter().find_map(|question| self.known.get(question.program)).copied();
        for (way, prefix) in [(Way::Question, "security_"), (Way::Module, "bpf_lsm_")] {
            if !is_tried(way) || taken.is_some_and(|other| other != way) {
                continue;
            }
            match self.by_one_way(call, questions, way, prefix) {
                Ok(functions) => {
                    let remark = |why: &String| format!("{call} is caught by {}, not by {why}", way.name());
                    self.remarks.extend(reasons.iter().map(remark));
                    return Ok(Hooked { call, way, functions });
                }
                Err(why) => reasons.push(format!("{}: {why}", way.name())),
            }
        }
        Err(cannot(call, reasons.join("; ")))
    }

    fn by_one_way(
        &mut self,
        call: Call,
        questions: &[Question],
        way: Way,
        prefix: &str,
    ) -> Result<Vec<String>, String> {
        let before = self.hung.len();
        let tried = self.hang_questions(questions, way, prefix).and_then(|functions| {
            self.try_out(call)?;
            Ok(functions)
        });
        if tried.is_err() {
            self.hung.truncate(before);
        } else {
            self.known.extend(questions.iter().map(|question| (question.program, way)));
        }
        tried
    }

    fn hang_questions(
        &mut self,
        questions: &[Question],
        way: Way,
        prefix: &str,
    ) -> Result<Vec<String>, String> {
        let hang = if way == Way::Question { Hang::Before } else { Hang::Among };
        let mut functions = Vec::new();
        let mut others = Vec::new();
        for Question { program, name, arguments } in questions {
            let name = format!("{prefix}{name}");
            let Some((id, count)) = self.types.function(&name) else { continue };
            if count != *arguments {
                others.push(format!("{name} has {count} arguments and not {arguments}"));
                continue;
            }
            functions.push(name.clone());
            if self.known.get(program) == Some(&way) {
                continue;
            }
            self.hung.push(self.linked.hang(program, hang, id).map_err(|refused| said(&name, &refused))?);
        }
        if functions.is_empty() && !others.is_empty() {
            return Err(others.join(", "));
        }
        if functions.is_empty() {
            let names: Vec<String> =
                questions.iter().map(|asked| format!("{prefix}{}", asked.name)).collect();
            return Err(format!("this kernel has no {}", names.join(" nor ")));
        }
        Ok(functions)
    }

    fn by_system_calls(
        &mut self,
        call: Call,
        program: &'static str,
        names: &[&str],
    ) -> Result<Hooked, BpfError> {
        let before = self.hung.len();
        let mut functions = Vec::new();
        for name in names {
            let name = format!("{}{name}", syscall_prefix());
            let Some((id, _)) = self.types.function(&name) else { continue };
            let hung = self
                .linked
                .hang(program, Hang::Before, id)
                .map_err(|refused| cannot(call, said(&name, &refused)))?;
            self.hung.push(hung);
            functions.push(name);
        }
        if functions.is_empty() {
            return Err(cannot(
                call,
                format!("this kernel has no function {}{}", syscall_prefix(), names[0]),
            ));
        }
        if let Err(why) = self.try_out(call) {
            self.hung.truncate(before);
            return Err(cannot(call, why));
        }
        Ok(Hooked { call, way: Way::SystemCall, functions })
    }

    /// A kernel that was busy gets a second chance, and nobody takes another way because of a moment.
    fn try_out(&mut self, call: Call) -> Result<(), String> {
        trial::run(call, &mut self.trial).or_else(|why| {
            tracing::debug!("call {call}, once more: {why}");
            trial::run(call, &mut self.trial)
        })
    }

    /// System calls that ask about the same file several times are known while they last.
    fn watch_those_that_ask_again(&mut self, call: Call) -> Result<(), BpfError> {
        const PROGRAMS: [(&str, Hang); 2] =
            [("kchaos_again_begins", Hang::AtStart), ("kchaos_again_ends", Hang::AtEnd)];
        if self.known.contains_key(PROGRAMS[0].0) {
            return Ok(());
        }
        for (system_call, functions) in ASKS_AGAIN {
            let mut names = functions.iter().map(|name| name.replace("SYS_", syscall_prefix()));
            let found = names.find_map(|name| self.types.function(&name).map(|(id, _)| (name, id)));
            let Some((name, id)) = found else {
                self.remarks.push(format!(
                    "in {system_call} the kernel asks several times, and each is decided for: this kernel does not \
                     show where it begins and ends"
                ));
                continue;
            };
            for (program, hang) in PROGRAMS {
                let hung = self
                    .linked
                    .hang(program, hang, id)
                    .map_err(|refused| cannot(call, said(&name, &refused)))?;
                self.hung.push(hung);
            }
        }
        self.known.insert(PROGRAMS[0].0, Way::SystemCall);
        Ok(())
    }

    /// Hangs the program that learns addresses of inodes, for as long as the answer lives.
    pub fn find_inodes(&self) -> Result<Hung, String> {
        let name = "security_inode_getattr";
        let (id, _) = self.types.function(name).ok_or_else(|| format!("this kernel has no {name}"))?;
        self.linked.hang("kchaos_find_inode", Hang::Before, id).map_err(|refused| said(name, &refused))
    }
}

/// System calls in which the kernel asks about the same file several times, and the functions that may stand for one:
/// `SYS_` is what the functions of system calls begin with. Kernels do not show all of them in their BTF.
const ASKS_AGAIN: [(&str, &[&str]); 3] = [
    ("sendfile", &["SYS_sendfile64", "do_sendfile"]),
    ("copy_file_range", &["vfs_copy_file_range", "SYS_copy_file_range"]),
    ("splice", &["SYS_splice", "do_splice"]),
];

/// What the functions of system calls are called on this architecture: `__SYSCALL_DEFINEx` in its
/// `include/asm/syscall_wrapper.h`.
const fn syscall_prefix() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "__arm64_sys_"
    } else if cfg!(target_arch = "s390x") {
        "__s390x_sys_"
    } else if cfg!(target_arch = "riscv64") {
        "__riscv_sys_"
    } else {
        "__x64_sys_"
    }
}

fn said(function: &str, refused: &Refused) -> String {
    let Refused { step, error, log } = refused;
    let log = if log.is_empty() { String::new() } else { format!(" ({log})") };
    format!("{step} a program on {function}: {error}{log}")
}
