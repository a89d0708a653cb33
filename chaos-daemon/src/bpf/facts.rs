//! What rules ask of calls, written into the programs' maps.

use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{Array, HashMap};
use chaos_common::call::{Asked, COMM, FileTypes, MAX_INODES, UNIX_PATH};

use super::{BpfError, Object};
use crate::engine::Facts;

const TYPES: &str = "KCHAOS_FILETYPES";
const USERS: &str = "KCHAOS_USERS";
const PROGRAMS: &str = "KCHAOS_PROGRAMS";
const UNIX: &str = "KCHAOS_UNIX";
const INODES: &str = "KCHAOS_INODES";
const ASKED: &str = "KCHAOS_ASKED";

impl Object {
    /// Everything but places. Before anything is attached.
    pub(super) fn fill_facts(&mut self, facts: &Facts) -> Result<(), BpfError> {
        let mut types: Array<_, FileTypes> = self.map(TYPES)?;
        types.set(0, facts.types, 0).map_err(|error| BpfError::Map { name: TYPES, error })?;
        let mut users: HashMap<_, u32, u64> = self.map(USERS)?;
        for (user, bits) in &facts.users {
            users.insert(user, bits, 0).map_err(|error| BpfError::Map { name: USERS, error })?;
        }
        let mut programs: HashMap<_, [u64; COMM / 8], u64> = self.map(PROGRAMS)?;
        for (program, bits) in &facts.programs {
            programs.insert(program, bits, 0).map_err(|error| BpfError::Map { name: PROGRAMS, error })?;
        }
        let mut unix: HashMap<_, [u64; UNIX_PATH.div_ceil(8)], u64> = self.map(UNIX)?;
        for (socket, bits) in &facts.unix {
            unix.insert(socket, bits, 0).map_err(|error| BpfError::Map { name: UNIX, error })?;
        }
        Ok(())
    }

    /// Makes inodes known, with the facts that they stand for, and notes of each what has become known. Whoever holds their
    /// descriptors keeps their addresses.
    pub fn make_known<'a>(
        &mut self,
        inodes: impl Iterator<Item = (&'a OwnedFd, u64, &'a mut u64)>,
    ) -> Result<(), BpfError> {
        let mut inodes = inodes.peekable();
        let Some(calls) = self.calls.as_ref().filter(|_| inodes.peek().is_some()) else { return Ok(()) };
        // Attached for this moment only.
        let _looking = calls.find_inodes().map_err(BpfError::Places)?;
        for (inode, facts, told) in inodes {
            let address = self.address_of(inode)?;
            let mut known: HashMap<_, u64, u64> = self.map(INODES)?;
            known.insert(address, facts, 0).map_err(|error| {
                BpfError::Places(format!(
                    "{error} (the paths of an experiment and the mounts below them may be {MAX_INODES} files)"
                ))
            })?;
            *told = facts;
        }
        Ok(())
    }

    /// The address of an inode, as the program sees it that looks on while we ask about the file.
    fn address_of(&mut self, inode: &OwnedFd) -> Result<u64, BpfError> {
        // SAFETY: no arguments.
        let thread = unsafe { libc::gettid() }.cast_unsigned();
        let who = u64::from(std::process::id()) << 32 | u64::from(thread);
        let wrong = |error| BpfError::Map { name: ASKED, error };
        let mut asked: Array<_, Asked> = self.map(ASKED)?;
        asked.set(0, Asked { who, inode: 0 }, 0).map_err(wrong)?;
        let seen = nix::sys::stat::fstat(inode.as_fd());
        let answer = asked.get(&0, 0).map_err(wrong)?;
        asked.set(0, Asked::default(), 0).map_err(wrong)?;
        match (seen, answer.inode) {
            (Ok(_), address @ 1..) => Ok(address),
            (Ok(_), 0) => Err(BpfError::Places("the kernel did not say where an inode is".to_owned())),
            (Err(error), _) => Err(BpfError::Places(format!("looking at a file: {error}"))),
        }
    }
}
