//! Errors of system calls by name: `ECONNREFUSED`.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text};
use crate::config::section::closest;

/// An errno, 1 to 133: what the kernel hands to an application unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(nix::errno::Errno);

deserialize_from_text!(Errno, "the name of an error such as \"ECONNREFUSED\"");

const LAST: i32 = 133;
const ALIASES: [(&str, &str); 3] =
    [("EWOULDBLOCK", "EAGAIN"), ("EDEADLOCK", "EDEADLK"), ("ENOTSUP", "EOPNOTSUPP")];

impl Errno {
    /// Its number on this machine's architecture.
    pub fn number(self) -> u32 {
        (self.0 as i32).unsigned_abs()
    }

    fn all() -> impl Iterator<Item = nix::errno::Errno> {
        (1..=LAST).map(nix::errno::Errno::from_raw).filter(|e| *e != nix::errno::Errno::UnknownErrno)
    }
}

impl FromStr for Errno {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let upper = text.trim().to_ascii_uppercase();
        let name = ALIASES.iter().find(|(alias, _)| *alias == upper).map_or(upper.as_str(), |(_, name)| name);
        if let Some(errno) = Self::all().find(|e| format!("{e:?}") == name) {
            return Ok(Self(errno));
        }
        let names: Vec<String> = Self::all().map(|e| format!("{e:?}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let help = match closest(&upper, &names) {
            Some(close) => format!("did you mean \"{close}\"? Errors go by their names, see errno(3)"),
            None => "write an error's name as in errno(3): \"ECONNREFUSED\", \"ETIMEDOUT\", \"EHOSTUNREACH\""
                .into(),
        };
        Err(Invalid::new(format!("unknown errno \"{text}\""), help))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_goes_by_its_name() {
        let all: Vec<Errno> = Errno::all().map(Errno).collect();
        assert!(all.len() > 125, "{}", all.len());
        for errno in all {
            assert_eq!(Ok(errno), errno.to_string().parse());
        }
        assert_eq!("EAGAIN".parse::<Errno>(), "ewouldblock".parse());
        assert_eq!(111, "ECONNREFUSED".parse::<Errno>().unwrap().number());
    }

    #[test]
    fn suggests_what_was_meant() {
        let wrong = "ECONREFUSED".parse::<Errno>().unwrap_err();
        assert!(wrong.help.contains("ECONNREFUSED"), "{wrong:?}");
        assert!("111".parse::<Errno>().is_err());
        assert!("EUNKNOWN".parse::<Errno>().is_err());
    }
}
