//! What building and testing kchaos needs on a machine, how each need is checked, and what meets it.
//!
//! A check uses the thing itself: it starts the program or compiles something, and can fail.

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command},
};

use anyhow::{Context as _, Result};

use super::{
    Purpose,
    servers::SERVERS,
    source,
    unpacked::{DEPMOD, QEMU, Tool, XZ},
};
use crate::{sh, toolchain, version::Version};

/// Something that must be there.
pub struct Need {
    pub name: &'static str,
    pub why: &'static str,
    pub purpose: Purpose,
    /// What was found, or what is wrong.
    pub check: fn() -> Result<String, String>,
    pub fix: Fix,
}

/// What meets a need.
pub enum Fix {
    Packages(&'static [&'static str]),
    /// Packages with a service that nobody asked for: it is neither started nor enabled.
    Server {
        packages: &'static [&'static str],
        service: &'static str,
    },
    /// Its package, or a copy that is only unpacked where that cannot be installed.
    Tool(&'static Tool),
    StandardSource,
    /// A component of rustup, and what Debian packages it as for those who use its rustc.
    Component {
        name: &'static str,
        debian: &'static str,
    },
    Crate(&'static Crate),
}

/// A program that is compiled from the crate registry.
pub struct Crate {
    pub name: &'static str,
    pub version: &'static str,
}

/// They run for seconds, and are compiled on every new machine: with all their optimizations that takes minutes.
const QUICKLY: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

impl Crate {
    /// The command that installs it over whatever is there under its name.
    pub fn install(&self) -> Result<Command> {
        let mut command = sh::cargo()?;
        // What the user sets for our own crates is not meant for this one.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
        command.envs(QUICKLY);
        command.args(["install", self.name, "--version", self.version, "--locked", "--force"]);
        Ok(command)
    }
}

/// The last version that builds with a plain `cargo install`, on rustc's own LLVM.
const BPF_LINKER: Crate = Crate { name: "bpf-linker", version: "0.10.4" };

/// The newest version that rustc 1.95 compiles.
const CARGO_DENY: Crate = Crate { name: "cargo-deny", version: "0.20.2" };

/// All of them, in the order in which they are installed.
pub fn all() -> impl Iterator<Item = &'static Need> {
    NEEDS.iter().chain(&SERVERS)
}

const NEEDS: [Need; 13] = [
    Need {
        name: "static C library",
        why: "one binary that runs on every distribution",
        purpose: Purpose::Build,
        check: static_libc,
        fix: Fix::Packages(&["gcc", "libc6-dev"]),
    },
    Need {
        name: "standard library source",
        why: "the eBPF programs need a core of their own",
        purpose: Purpose::Build,
        check: source::check,
        fix: Fix::StandardSource,
    },
    Need {
        name: "bpf-linker",
        why: "links the eBPF programs and their type information",
        purpose: Purpose::Build,
        check: bpf_linker,
        fix: Fix::Crate(&BPF_LINKER),
    },
    Need {
        name: "ip",
        why: "the tests make network namespaces and devices",
        purpose: Purpose::Test,
        check: || first_line(sh::system("ip").arg("-V")),
        fix: Fix::Packages(&["iproute2"]),
    },
    Need {
        name: "tc",
        why: "the tests compare the host's traffic control before and after",
        purpose: Purpose::Test,
        check: || first_line(sh::system("tc").arg("-V")),
        fix: Fix::Packages(&["iproute2"]),
    },
    Need {
        name: "python3-venv",
        why: "the control API is fuzzed by a program of Python's",
        purpose: Purpose::Test,
        check: || {
            first_line(sh::system("python3").args(["-c", "import ensurepip; print(ensurepip.version())"]))
        },
        fix: Fix::Packages(&["python3-venv"]),
    },
    Need {
        name: "nft",
        why: "the benchmarks compare with nftables",
        purpose: Purpose::Test,
        check: || first_line(sh::system("nft").arg("--version")),
        fix: Fix::Packages(&["nftables"]),
    },
    Need {
        name: "rustfmt",
        why: "the tests begin with the formatting",
        purpose: Purpose::Test,
        check: || cargo_answers("fmt"),
        fix: Fix::Component { name: "rustfmt", debian: "rustfmt (rustfmt-web for rustc-web)" },
    },
    Need {
        name: "clippy",
        why: "the tests go on with the lints",
        purpose: Purpose::Test,
        check: || cargo_answers("clippy"),
        fix: Fix::Component { name: "clippy", debian: "rust-clippy (rust-web-clippy for rustc-web)" },
    },
    Need {
        name: "qemu",
        why: "boots other kernels",
        purpose: Purpose::Vm,
        check: || answers(&QEMU),
        fix: Fix::Tool(&QEMU),
    },
    Need {
        name: "depmod",
        why: "finds out which kernel module needs which",
        purpose: Purpose::Vm,
        check: || answers(&DEPMOD),
        fix: Fix::Tool(&DEPMOD),
    },
    Need {
        name: "xz",
        why: "unpacks kernel modules",
        purpose: Purpose::Vm,
        check: || answers(&XZ),
        fix: Fix::Tool(&XZ),
    },
    Need {
        name: "cargo-deny",
        why: "checks the dependencies' licences and sources",
        purpose: Purpose::Gate,
        check: cargo_deny,
        fix: Fix::Crate(&CARGO_DENY),
    },
];

/// Compiles and starts a static program.
fn static_libc() -> Result<String, String> {
    let folder = env::temp_dir().join(format!("kchaos-setup-{}", process::id()));
    let made = link_statically(&folder);
    // A leftover in the temporary folder is no reason to fail.
    let _ = fs::remove_dir_all(&folder);
    made.map_err(|error| format!("{error:#}"))
}

fn link_statically(folder: &PathBuf) -> Result<String> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let (source, program) = (folder.join("main.c"), folder.join("main"));
    fs::write(&source, "#include <stdio.h>\nint main(void) { puts(\"works\"); return 0; }\n")?;
    sh::output(Command::new("cc").arg("-static").arg(&source).arg("-o").arg(&program))?;
    sh::output(&mut Command::new(&program)).map(|answer| answer.trim().to_owned())
}

fn bpf_linker() -> Result<String, String> {
    let path = toolchain::program("bpf-linker").ok_or("it is not installed")?;
    let said = sh::output(Command::new(&path).arg("--version")).map_err(|error| format!("{error:#}"))?;
    judge_linker(&said).map_err(|problem| format!("{} {problem}", path.display()))
}

/// Which versions write type information that the kernel accepts and run on rustc's LLVM.
fn judge_linker(said: &str) -> Result<String, String> {
    match Version::find(said) {
        Some(version @ Version(0, 10, 2..)) => Ok(version.to_string()),
        Some(version) if version < Version(0, 10, 2) => Err(format!(
            "is {version}, which writes type information (BTF) that the kernel rejects; {} replaces it",
            BPF_LINKER.version
        )),
        Some(version) => {
            Err(format!("is {version}, which this was never built with; {} replaces it", BPF_LINKER.version))
        }
        None => Err(format!("does not say its version, but {:?}", said.trim())),
    }
}

fn cargo_deny() -> Result<String, String> {
    let path = toolchain::program("cargo-deny").ok_or("it is not installed")?;
    let said = sh::output(Command::new(&path).arg("--version")).map_err(|error| format!("{error:#}"))?;
    judge_deny(&said)
}

/// `deny.toml` is written for this version; what comes later reads it as well.
fn judge_deny(said: &str) -> Result<String, String> {
    let pinned = Version::find(CARGO_DENY.version).ok_or("the pinned version is no version")?;
    match Version::find(said) {
        Some(version) if version >= pinned => Ok(version.to_string()),
        Some(version) => Err(format!("it is {version}, and deny.toml needs {pinned}")),
        None => Err(format!("it does not say its version, but {:?}", said.trim())),
    }
}

fn cargo_answers(subcommand: &str) -> Result<String, String> {
    let mut cargo = sh::cargo().map_err(|error| format!("{error:#}"))?;
    first_line(cargo.args([subcommand, "--version"]))
}

fn answers(tool: &Tool) -> Result<String, String> {
    let mut command = tool.command().map_err(|error| format!("{error:#}"))?;
    first_line(command.arg("--version"))
}

/// What a program says first.
pub fn first_line(command: &mut Command) -> Result<String, String> {
    let said = sh::output(command).map_err(|error| format!("{error:#}"))?;
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{judge_deny, judge_linker};

    #[test]
    fn linkers_whose_btf_the_kernel_accepts_are_kept() {
        assert_eq!(judge_linker("bpf-linker 0.10.2").as_deref(), Ok("0.10.2"));
        assert_eq!(judge_linker("bpf-linker 0.10.4\n").as_deref(), Ok("0.10.4"));
        assert_eq!(judge_linker("bpf-linker 0.10.11").as_deref(), Ok("0.10.11"));
    }

    #[test]
    fn every_other_linker_is_replaced_and_the_reason_given() {
        for old in ["bpf-linker 0.10.1", "bpf-linker 0.9.15", "bpf-linker 0.10.0"] {
            assert!(judge_linker(old).unwrap_err().contains("BTF"), "{old}");
        }
        for new in ["bpf-linker 0.11.0", "bpf-linker 1.0.0"] {
            assert!(judge_linker(new).unwrap_err().contains("never built with"), "{new}");
        }
        assert!(judge_linker("unable to find LLVM shared lib").unwrap_err().contains("does not say"));
    }

    #[test]
    fn an_old_cargo_deny_is_replaced() {
        assert_eq!(judge_deny("cargo-deny 0.20.2").as_deref(), Ok("0.20.2"));
        assert!(judge_deny("cargo-deny 0.21.0").is_ok());
        assert!(judge_deny("cargo-deny 0.16.4").is_err());
        assert!(judge_deny("").is_err());
    }
}
