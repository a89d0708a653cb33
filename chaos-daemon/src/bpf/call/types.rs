//! What the running kernel has, from its own BTF: functions with their ids and numbers of arguments, and where members of
//! its structures are. Nothing is guessed: what is missing, or there twice in different ways, is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    os::fd::AsRawFd as _,
    path::Path,
};

use btf_rs::{Backend, Btf, Member, Type};
use chaos_common::offsets::Offsets;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Where the kernel shows it.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The kernel's own types.
pub struct KernelTypes(Btf);

impl KernelTypes {
    /// Reads them.
    pub fn of_this_kernel() -> Result<Self, String> {
        Self::read(Path::new(VMLINUX))
    }

    fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let bytes = fs::read(path).map_err(|e| {
            format!("{shown}: {e}; call faults need a kernel with CONFIG_DEBUG_INFO_BTF, and /sys mounted")
        })?;
        // Few of some hundred thousand types are looked at. Kernels before 6.16 do not let the file itself be mapped.
        let copied = memfd_create(c"kchaos-btf", MFdFlags::MFD_CLOEXEC).map(File::from);
        let mut copy = copied.map_err(|e| format!("memory for {shown}: {e}"))?;
        copy.write_all(&bytes).map_err(|e| format!("copying {shown}: {e}"))?;
        let copy = format!("/proc/self/fd/{}", copy.as_raw_fd());
        Btf::from_file_with_backend(copy, Backend::Mmap).map(Self).map_err(|e| format!("{shown}: {e}"))
    }

    /// The id of a function, and how many arguments it has.
    pub fn function(&self, name: &str) -> Option<(u32, usize)> {
        let ids = self.0.resolve_ids_by_name(name).ok()?;
        let mut found = ids.into_iter().filter_map(|id| match self.0.resolve_type_by_id(id).ok()? {
            Type::Func(function) => match self.0.resolve_chained_type(&function).ok()? {
                Type::FuncProto(proto) => Some((id, proto.parameters.len())),
                _ => None,
            },
            _ => None,
        });
        let first = found.next()?;
        if found.next().is_some() { None } else { Some(first) }
    }

    /// All offsets that the programs may ask for.
    pub fn offsets(&self) -> Offsets {
        // A name is looked for among all types.
        let mut known = BTreeMap::new();
        Offsets::find(|structure, way| {
            self.offset(known.entry(structure).or_insert_with(|| self.structures(structure)), way)
        })
    }

    /// The members of each structure of this name.
    fn structures(&self, name: &str) -> Vec<Vec<Member>> {
        let types = self.0.resolve_types_by_name(name).unwrap_or_default();
        types
            .into_iter()
            .filter_map(|kind| if let Type::Struct(of) = kind { Some(of.members) } else { None })
            .collect()
    }

    /// Where a member is, in bytes from the beginning of the structure. `way` names members of members.
    fn offset(&self, structures: &[Vec<Member>], way: &str) -> Option<u32> {
        let found: BTreeSet<u32> = structures.iter().filter_map(|members| self.way(members, way)).collect();
        match found.into_iter().collect::<Vec<_>>()[..] {
            [bits] if bits % 8 == 0 => Some(bits / 8),
            _ => None,
        }
    }

    /// The offset in bits.
    fn way(&self, members: &[Member], way: &str) -> Option<u32> {
        let (name, rest) = way.split_once('.').map_or((way, None), |(name, rest)| (name, Some(rest)));
        let (at, member) = self.member(members, name)?;
        match rest {
            Some(rest) => Some(at + self.way(&self.members(&member)?, rest)?),
            None if member.bitfield_size().unwrap_or(0) == 0 => Some(at),
            None => None,
        }
    }

    /// A member by its name, also in structures and unions that have none.
    fn member(&self, members: &[Member], name: &str) -> Option<(u32, Member)> {
        members.iter().find_map(|member| {
            let own = self.0.resolve_name(member).unwrap_or_default();
            if own == name {
                return Some((member.bit_offset(), member.clone()));
            }
            let inner = own.is_empty().then(|| self.members(member)).flatten()?;
            let (at, found) = self.member(&inner, name)?;
            Some((member.bit_offset() + at, found))
        })
    }

    /// The members of a member.
    fn members(&self, member: &Member) -> Option<Vec<Member>> {
        let mut kind = self.0.resolve_chained_type(member).ok()?;
        loop {
            kind = match kind {
                Type::Struct(of) | Type::Union(of) => return Some(of.members),
                Type::Typedef(of) => self.0.resolve_chained_type(&of).ok()?,
                Type::Const(of) | Type::Volatile(of) => self.0.resolve_chained_type(&of).ok()?,
                _ => return None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel that runs the tests is one that has BTF.
    #[test]
    fn finds_what_is_there_and_nothing_else() {
        let types = KernelTypes::of_this_kernel().unwrap();
        let offsets = types.offsets();
        let missing: Vec<_> = offsets.missing().collect();
        assert!(missing.iter().all(|(of, _)| *of == "cgroup"), "{missing:?}");
        assert!(offsets.sock_far_port < 64 && offsets.path_dentry == 8, "{offsets:?}");
        assert_eq!(Some(2), types.function("security_file_permission").map(|(_, arguments)| arguments));
        assert_eq!(None, types.function("security_file_permissions"));
        assert_eq!(None, types.offset(&types.structures("file"), "f_nothing"));
        assert_eq!(None, types.offset(&types.structures("no_such_structure"), "at"));
    }
}
