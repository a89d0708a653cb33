//! Who makes a call, and on what: a user's number, a program's name, a kind of file, a place in the file system.

use std::{fmt, path::PathBuf, str::FromStr};

use chaos_common::call::{COMM, UNIX_PATH};

use super::{Invalid, deserialize_from_text};
use crate::config::section::closest;

/// A user, by number: names mean something else in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uid(pub u32);

deserialize_from_text!(Uid, "the number of a user such as 33");

impl FromStr for Uid {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.trim().parse().map(Self).map_err(|_| {
            Invalid::new(
                format!("\"{text}\" is not the number of a user"),
                "write its number, which `id -u NAME` prints: names differ between containers",
            )
        })
    }
}

/// The name of a program as the kernel keeps it, 1 to 15 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Comm(pub String);

deserialize_from_text!(Comm, "the name of a program such as \"postgres\"");

impl Comm {
    /// As the programs compare it.
    pub fn words(&self) -> [u64; COMM / 8] {
        words(self.0.as_bytes())
    }
}

impl FromStr for Comm {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let help = "write what /proc/PID/comm shows: a name without its folder, cut after 15 bytes";
        if text.is_empty() || text.contains('/') || text.contains('\0') {
            return Err(Invalid::new(format!("\"{text}\" is not the name of a program"), help));
        }
        if text.len() >= COMM {
            let short: String = text.chars().take(COMM - 1).collect();
            return Err(Invalid::new(
                format!("\"{text}\" is longer than the kernel keeps names of programs"),
                format!("{help}: \"{short}\""),
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Padded with zeros to as many words.
fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        *word = u64::from_ne_bytes(whole);
    }
    words
}

macro_rules! file_types {
    ($($(#[$doc:meta])* $kind:ident $name:literal [$($mode:ident),*],)*) => {
        /// What a descriptor or a name stands for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FileType {
            $($(#[$doc])* $kind,)*
        }

        impl FileType {
            const ALL: &[(&str, Self)] = &[$(($name, Self::$kind)),*];

            /// The word for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The modes of such files (`S_IFMT`).
            pub const fn modes(self) -> &'static [u32] {
                match self { $(Self::$kind => &[$(libc::$mode),*],)* }
            }
        }
    };
}

file_types! {
    /// A file with contents on a file system.
    Regular "regular" [S_IFREG],
    /// A pipe, with or without a name.
    Pipe "pipe" [S_IFIFO],
    /// A socket.
    Socket "socket" [S_IFSOCK],
    /// A character or block device.
    Device "device" [S_IFCHR, S_IFBLK],
    /// A directory.
    Dir "dir" [S_IFDIR],
}

deserialize_from_text!(FileType, "a kind of file such as \"regular\"");

impl FromStr for FileType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some((_, kind)) = Self::ALL.iter().find(|(name, _)| *name == text) {
            return Ok(*kind);
        }
        let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
        let known = names.join(", ");
        let help = match closest(text, &names) {
            Some(close) => format!("did you mean \"{close}\"? Kinds of files are: {known}"),
            None => format!("kinds of files are: {known}"),
        };
        Err(Invalid::new(format!("unknown kind of file \"{text}\""), help))
    }
}

/// A file, or a directory and all below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilePath(pub PathBuf);

deserialize_from_text!(FilePath, "a path such as \"/var/lib/checkout\"");

impl FromStr for FilePath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if !text.starts_with('/') || text.contains('\0') {
            return Err(Invalid::new(
                format!("\"{text}\" is no absolute path"),
                "write the whole path as the target sees it: \"/var/lib/checkout\"",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// How a peer begins that is a unix socket.
pub const UNIX: &str = "unix:";

/// A unix socket: a path, or `@` and a name without a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixPeer(Vec<u8>);

deserialize_from_text!(UnixPeer, "a unix socket such as \"unix:/run/app.sock\"");

impl UnixPeer {
    /// As the programs compare it.
    pub fn words(&self) -> [u64; UNIX_PATH.div_ceil(8)] {
        words(&self.0)
    }
}

impl FromStr for UnixPeer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let help = "write a unix socket as \"unix:/run/app.sock\", or \"unix:@name\" for one without a file";
        let Some(path) = text.strip_prefix(UNIX) else {
            return Err(Invalid::new(
                format!("\"{text}\" is no unix socket, and others here are"),
                "give unix sockets a fault of their own",
            ));
        };
        if let Some(path) = path.strip_prefix("//") {
            return Err(Invalid::new(
                format!("\"{text}\" is a URL"),
                format!("it is compared with what the program writes, which is a path: \"{UNIX}{path}\""),
            ));
        }
        if path.ends_with('/') {
            return Err(Invalid::new(format!("\"{text}\" is a directory"), help));
        }
        let bytes = match path.strip_prefix('@') {
            Some(name) => [b"\0", name.as_bytes()].concat(),
            None => path.as_bytes().to_vec(),
        };
        if !(path.starts_with('/') || path.starts_with('@')) || path.contains('\0') || bytes.len() < 2 {
            return Err(Invalid::new(format!("\"{text}\" names no unix socket"), help));
        }
        if bytes.len() >= UNIX_PATH {
            return Err(Invalid::new(
                format!("the path of \"{text}\" is too long for a unix socket"),
                format!("it has at most {} bytes", UNIX_PATH - 1),
            ));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for UnixPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        match text.strip_prefix('\0') {
            Some(name) => write!(f, "{UNIX}@{name}"),
            None => write!(f, "{UNIX}{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_the_kernel_keeps_them() {
        let comm: Comm = "postgres".parse().unwrap();
        assert_eq!([u64::from_ne_bytes(*b"postgres"), 0], comm.words());
        assert!("a-name-of-15-by".parse::<Comm>().is_ok());
        for wrong in ["", "/bin/sh", "a-name-of-16-byt"] {
            assert!(wrong.parse::<Comm>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn unix_sockets_have_paths_or_names() {
        for text in ["unix:/run/app.sock", "unix:@app"] {
            assert_eq!(text, text.parse::<UnixPeer>().unwrap().to_string());
        }
        assert_eq!(b"\0app", &"unix:@app".parse::<UnixPeer>().unwrap().0[..]);
        for wrong in ["unix:", "unix:@", "unix:run", "10.0.0.1:80"] {
            assert!(wrong.parse::<UnixPeer>().is_err(), "{wrong}");
        }
        assert!(format!("unix:/{}", "x".repeat(200)).parse::<UnixPeer>().is_err());
    }

    #[test]
    fn paths_are_absolute_and_kinds_known() {
        assert!("var/lib".parse::<FilePath>().is_err());
        assert_eq!(Ok(FileType::Regular), "regular".parse());
        let wrong = "regulr".parse::<FileType>().unwrap_err();
        assert!(wrong.help.contains("did you mean \"regular\""), "{wrong:?}");
        assert!("-1".parse::<Uid>().is_err() && "www-data".parse::<Uid>().is_err());
    }
}
