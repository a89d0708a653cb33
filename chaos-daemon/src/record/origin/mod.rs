//! Who ran an experiment, where, and from which file.
//!
//! What must stay true: what cannot be told is left out or named by its number, and is never a reason not to run.

mod git;

use std::{env, ffi::OsStr, fs, path::Path};

use nix::{
    sys::utsname::{UtsName, uname},
    unistd::getuid,
};
use sha2::{Digest, Sha256};

use super::{By, File};

/// Who runs this process. `through` is `run`, `inject` or `daemon`.
pub fn by(through: &str) -> By {
    By {
        user: user(getuid().as_raw(), |name| env::var(name).ok(), &read("/proc/self/loginuid"), &passwd()),
        host: host(),
        kernel: said(UtsName::release),
        kchaos: env!("CARGO_PKG_VERSION").to_owned(),
        through: through.to_owned(),
    }
}

/// The name of this host.
pub fn host() -> String {
    said(UtsName::nodename)
}

fn said(part: fn(&UtsName) -> &OsStr) -> String {
    uname().map_or_else(|_| "unknown".to_owned(), |name| part(&name).to_string_lossy().into_owned())
}

/// The file of an experiment: `path` is where its text was read, if it was a file.
pub fn file(path: Option<&Path>, text: &str) -> File {
    let path = path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    File {
        git: path.as_deref().and_then(|path| git::of(path, text)),
        path: path.map(|path| path.to_string_lossy().into_owned()),
        text: text.to_owned(),
        sha256: sha256(text),
    }
}

/// In hexadecimal.
fn sha256(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// What the kernel says of a user that nobody logged in as.
const NOBODY_LOGGED_IN: u32 = u32::MAX;

/// The name of the user. Of root, the one who became root: by sudo, doas or pkexec, which leave a note in the
/// environment, or else as whom they logged in, which the kernel keeps. The environment is believed of root only: it
/// is no proof, but whoever is root can write any record anyway.
fn user(uid: u32, variable: impl Fn(&str) -> Option<String>, login: &str, passwd: &str) -> String {
    if uid != 0 {
        return name_of(uid, passwd);
    }
    let named =
        ["SUDO_USER", "DOAS_USER"].into_iter().find_map(|name| variable(name).filter(|n| !n.is_empty()));
    if let Some(name) = named {
        return name;
    }
    let noted = ["SUDO_UID", "PKEXEC_UID"].into_iter().find_map(|name| variable(name)?.parse().ok());
    let logged_in = login.trim().parse().ok().filter(|uid| *uid != NOBODY_LOGGED_IN);
    name_of(noted.or(logged_in).unwrap_or(uid), passwd)
}

/// From the list itself: a static program has nobody else to ask. Users of a directory service keep their number.
fn name_of(uid: u32, passwd: &str) -> String {
    let number = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, found) = (fields.next()?, fields.next()?, fields.next()?);
        (found == number && !name.is_empty()).then(|| name.to_owned())
    });
    name.unwrap_or(number)
}

fn passwd() -> String {
    read("/etc/passwd")
}

/// Nothing, if it cannot be read.
fn read(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{by, file, user};

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n";

    fn who(uid: u32, variables: &[(&str, &str)], login: &str) -> String {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        user(uid, variable, login, PASSWD)
    }

    #[test]
    fn the_one_behind_root_is_named() {
        const NONE: &str = "4294967295";
        assert_eq!("bob", who(0, &[("SUDO_USER", "bob"), ("SUDO_UID", "1000")], NONE));
        assert_eq!("alice", who(0, &[("SUDO_UID", "1000")], NONE));
        assert_eq!("alice", who(0, &[("PKEXEC_UID", "1000")], NONE));
        assert_eq!("alice", who(0, &[("SUDO_USER", "")], "1000\n"));
        assert_eq!("root", who(0, &[], NONE));
        assert_eq!("root", who(0, &[("SUDO_UID", "x")], ""));
        // Somebody who is not root may set any variable.
        assert_eq!("alice", who(1000, &[("SUDO_USER", "root")], "0"));
        assert_eq!("4711", who(4711, &[], NONE));
    }

    #[test]
    fn this_process_has_an_origin() {
        let by = by("run");
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim(), by.kernel);
        assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(), by.host);
        assert!(!by.user.is_empty() && by.through == "run", "{by:?}");
    }

    #[test]
    fn a_text_without_a_file_has_a_hash() {
        let piped = file(None, "abc");
        assert_eq!((None, None), (piped.path, piped.git));
        assert_eq!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", piped.sha256);
        let gone = file(Some(Path::new("/nowhere/x.toml")), "");
        assert_eq!((Some("/nowhere/x.toml"), None), (gone.path.as_deref(), gone.git));
    }
}
