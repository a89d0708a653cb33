//! A guest's root file system: our init, the programs to run with the libraries they need, kernel modules.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{cpio::Archive, modules::Module};
use crate::{elf, sh};

/// What a guest is to do and needs for it.
pub struct Contents<'a> {
    pub init: &'a Path,
    /// They are put into /bin under their own names.
    pub programs: &'a [PathBuf],
    /// They keep their paths.
    pub files: &'a [PathBuf],
    pub modules: &'a [Module],
    pub command: &'a [String],
    pub environment: &'a [String],
    /// Of the user, for a shell: rows, columns and type.
    pub terminal: Option<&'a str>,
    /// By which init's messages are known.
    pub mark: &'a str,
}

/// With the numbers that Debian gives them.
const USERS: &[u8] = b"root:x:0:0::/tmp:/bin/sh\n\
    www-data:x:33:33::/tmp:/bin/false\n\
    nobody:x:65534:65534::/tmp:/bin/false\n";
const GROUPS: &[u8] = b"root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n";

/// Writes the file system.
pub fn build(contents: &Contents) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["/dev", "/proc", "/sys", "/tmp", "/run", "/etc", "/var", "/bin"] {
        archive.folder(folder);
    }
    // Init's own complaints need it before devtmpfs is mounted.
    archive.character_device("/dev/console", 5, 1);
    // Whoever looks up a name reads both.
    archive.file("/etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n");
    archive.file("/etc/resolv.conf", b"nameserver 127.0.0.1\n");
    // Servers do not start as somebody without a name, nor where the user is missing that they were built for.
    archive.file("/etc/passwd", USERS);
    archive.file("/etc/group", GROUPS);
    archive.file("/init", &read(contents.init)?);
    archive.file("/kchaos/mark", contents.mark.as_bytes());
    archive.file("/kchaos/arguments", &zero_ended(contents.command));
    archive.file("/kchaos/environment", &zero_ended(contents.environment));
    if let Some(terminal) = contents.terminal {
        archive.file("/kchaos/terminal", terminal.as_bytes());
    }
    for (index, Module { name, content }) in contents.modules.iter().enumerate() {
        archive.file(&format!("/kchaos/modules/{index:03}-{name}.ko"), content);
    }
    let mut libraries = BTreeSet::new();
    for program in contents.programs {
        let name = program.file_name().with_context(|| format!("{} is no program", program.display()))?;
        let content = read(program)?;
        libraries.extend(libraries_of(program, &content)?);
        archive.file(&format!("/bin/{}", name.to_string_lossy()), &content);
    }
    for file in contents.files {
        let content = read(file)?;
        libraries.extend(libraries_of(file, &content)?);
        archive.file(&file.to_string_lossy(), &content);
    }
    for library in libraries {
        archive.file(&library, &read(Path::new(&library))?);
    }
    Ok(archive.finish())
}

/// The shared libraries that a program is started with; none for what is no program.
fn libraries_of(file: &Path, content: &[u8]) -> Result<Vec<String>> {
    if !content.starts_with(b"\x7fELF") || elf::require_static(content).is_ok() {
        return Ok(Vec::new());
    }
    let said = sh::output(Command::new("ldd").arg(file).env("LC_ALL", "C"))
        .with_context(|| format!("{} cannot be taken into a guest", file.display()))?;
    Ok(parse_ldd(&said))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn zero_ended(words: &[String]) -> Vec<u8> {
    words.iter().flat_map(|word| word.bytes().chain([0])).collect()
}

/// Reads lines of `name => /path (address)` and `/path (address)`.
fn parse_ldd(said: &str) -> Vec<String> {
    said.lines()
        .filter_map(|line| {
            let file = line.split_once("=>").map_or(line, |(_, file)| file);
            file.split_whitespace().next().filter(|path| path.starts_with('/')).map(str::to_owned)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Contents, build, parse_ldd, zero_ended};
    use crate::vm::modules::Module;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let said = "\
\tlinux-vdso.so.1 (0x00007ffd3c5f0000)
\tlibmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f1f5a3f1000)
\tlibmissing.so.1 => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f1f5a5d5000)
";
        assert_eq!(parse_ldd(said), ["/lib/x86_64-linux-gnu/libmnl.so.0", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn words_may_hold_anything_but_zero() {
        assert_eq!(zero_ended(&["a b".into(), String::new(), "c\n".into()]), b"a b\0\0c\n\0");
        assert_eq!(zero_ended(&[]), b"");
    }

    #[test]
    fn a_program_comes_with_its_loader() {
        let sh = ["/bin/sh".into()];
        let module = Module { name: "veth".into(), content: b"elf".to_vec() };
        let contents = Contents {
            init: "/bin/true".as_ref(),
            programs: &sh,
            files: &["/bin/true".into()],
            modules: &[module],
            command: &["sh".into()],
            environment: &[],
            terminal: None,
            mark: "m",
        };
        let archive = build(&contents).unwrap();
        let holds = |name: &str| archive.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(holds("\0bin/sh\0") || holds("bin/sh\0"));
        assert!(holds("kchaos/modules/000-veth.ko\0"));
        assert!(holds("bin/true\0") && holds("www-data:x:33:33:"));
        assert!(holds("libc.so") || holds("ld-"), "the shell's libraries");
    }
}
