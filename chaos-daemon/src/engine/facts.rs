//! What rules ask of calls beside their far ends and ports, numbered: every distinct condition is one bit
//! (`chaos_common::call`).

use std::collections::{BTreeMap, BTreeSet};

use chaos_common::{
    call::{COMM, FileTypes, MAX_CALLERS, MAX_FACTS, MAX_UNIX, MODE_SHIFT, UNIX_PATH},
    rule::Rule,
    scope::{FLAG_FILE_TYPES, FLAG_PATHS, FLAG_PROGRAMS, FLAG_USERS},
};

use crate::{
    config::{
        FaultSpec, Problem,
        value::{Comm, FilePath, FileType, Uid, UnixPeer},
    },
    fault::call::Asks,
};

/// One condition: any of these will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Path(BTreeSet<FilePath>),
    File(BTreeSet<FileType>),
    User(BTreeSet<Uid>),
    Program(BTreeSet<Comm>),
    Unix(BTreeSet<UnixPeer>),
}

/// All of an experiment's.
#[derive(Debug, Default)]
pub struct Facts {
    numbered: Vec<Fact>,
    /// By type of file.
    pub types: FileTypes,
    /// By user.
    pub users: BTreeMap<u32, u64>,
    /// By program.
    pub programs: BTreeMap<[u64; COMM / 8], u64>,
    /// By unix socket.
    pub unix: BTreeMap<[u64; UNIX_PATH.div_ceil(8)], u64>,
    /// By path, as the file has it.
    pub paths: BTreeMap<FilePath, u64>,
}

impl Facts {
    /// Those of these faults, and which of them each fault's rule wants.
    pub fn of(faults: &[FaultSpec], rules: &mut [Rule]) -> Result<Self, Problem> {
        let mut facts = Self::default();
        for (fault, rule) in faults.iter().zip(rules) {
            if let Some(asks) = fault.fault.asks() {
                rule.facts = facts.wanted(asks)?;
            }
        }
        facts.number();
        if facts.users.len() > MAX_CALLERS
            || facts.programs.len() > MAX_CALLERS
            || facts.unix.len() > MAX_UNIX
        {
            let last = faults.iter().rev().find_map(|fault| fault.fault.asks());
            let place = last.map_or(0..0, |asks| asks.place.clone());
            return Err(Problem::at(place, "the faults name too many users, programs or unix sockets", "up to here")
                .help(format!(
                    "an experiment may name {MAX_CALLERS} users, {MAX_CALLERS} programs and {MAX_UNIX} unix sockets"
                )));
        }
        Ok(facts)
    }

    /// What the programs must find out about calls.
    pub fn flags(&self) -> u32 {
        self.numbered.iter().fold(0, |flags, fact| {
            flags
                | match fact {
                    Fact::Path(_) => FLAG_PATHS,
                    Fact::File(_) => FLAG_FILE_TYPES,
                    Fact::User(_) => FLAG_USERS,
                    Fact::Program(_) => FLAG_PROGRAMS,
                    Fact::Unix(_) => 0,
                }
        })
    }

    fn wanted(&mut self, asks: &Asks) -> Result<u64, Problem> {
        let Asks { paths, files, users, programs, unix, place } = asks;
        let paths = paths.iter().map(|path| path.get_ref().clone()).collect();
        let wanted = [
            (!asks.paths.is_empty()).then_some(Fact::Path(paths)),
            (!files.is_empty()).then(|| Fact::File(files.clone())),
            (!users.is_empty()).then(|| Fact::User(users.clone())),
            (!programs.is_empty()).then(|| Fact::Program(programs.clone())),
            (!unix.is_empty()).then(|| Fact::Unix(unix.clone())),
        ];
        wanted.into_iter().flatten().try_fold(0, |mask, fact| {
            let known = self.numbered.iter().position(|other| *other == fact);
            let number = known.unwrap_or(self.numbered.len());
            if known.is_none() {
                if number >= MAX_FACTS {
                    return Err(Problem::at(
                        place.clone(),
                        "the faults ask for too many different things of calls",
                        "one too many",
                    )
                    .help(format!(
                        "an experiment may name {MAX_FACTS} different lists of paths, kinds of files, users, programs and unix \
                         sockets"
                    )));
                }
                self.numbered.push(fact);
            }
            Ok(mask | 1 << number)
        })
    }

    fn number(&mut self) {
        for (number, fact) in self.numbered.iter().enumerate() {
            let bit = 1u64 << number;
            match fact {
                Fact::Path(paths) => {
                    for path in paths {
                        *self.paths.entry(path.clone()).or_default() |= bit;
                    }
                }
                Fact::File(types) => {
                    for mode in types.iter().flat_map(|kind| kind.modes()) {
                        if let Some(facts) = self.types.facts.get_mut((mode >> MODE_SHIFT) as usize) {
                            *facts |= bit;
                        }
                    }
                }
                Fact::User(users) => {
                    for Uid(user) in users {
                        *self.users.entry(*user).or_default() |= bit;
                    }
                }
                Fact::Program(programs) => {
                    for program in programs {
                        *self.programs.entry(program.words()).or_default() |= bit;
                    }
                }
                Fact::Unix(sockets) => {
                    for socket in sockets {
                        *self.unix.entry(socket.words()).or_default() |= bit;
                    }
                }
            }
        }
    }
}
