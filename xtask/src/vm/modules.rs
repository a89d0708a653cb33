//! Kernel modules: which files a guest needs, and in what order they are loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{setup::unpacked::XZ, sh};

/// What kchaos and its tests use and some kernel has as a module.
pub const WANTED: [&str; 12] = [
    "cls_bpf",
    "sch_ingress",
    "sch_fq",
    "sch_netem",
    "act_mirred",
    "veth",
    "ifb",
    "bridge",
    "dummy",
    "tun",
    "tcp_diag",
    // A disk to read from, for `io` and `memory`.
    "loop",
];

/// Also wanted, but a kernel without it can be tested all the same.
pub const WELCOME: [&str; 1] = ["overlay"];

/// A module as it is loaded: its name and its content, not compressed.
pub struct Module {
    pub name: String,
    pub content: Vec<u8>,
}

/// Reads the modules under a folder such as `/lib/modules/6.1.0-1-amd64`, dependencies first.
pub fn read(folder: &Path) -> Result<Vec<Module>> {
    let text = |name: &str| {
        let file = folder.join(name);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let builtin = text("modules.builtin").unwrap_or_default();
    let tree = Tree::parse(&text("modules.dep")?, &builtin);
    let mut order = Vec::new();
    for name in WANTED {
        tree.resolve(name, &mut order).with_context(|| format!("in {}", folder.display()))?;
    }
    for name in WELCOME {
        if let Err(error) = tree.resolve(name, &mut order) {
            eprintln!("vm       going on without a module: {error:#}");
        }
    }
    order
        .into_iter()
        .map(|path| {
            let file = folder.join(&path);
            let content = content(&file)?;
            require_object(&content).with_context(|| format!("{} cannot be loaded", file.display()))?;
            Ok(Module { name: module_name(&path), content })
        })
        .collect()
}

/// What `modules.dep` and `modules.builtin` say.
struct Tree {
    /// File and the files it needs, by name.
    files: BTreeMap<String, (String, Vec<String>)>,
    builtin: BTreeSet<String>,
}

impl Tree {
    /// Lines of the one are `file: file file`, the nearest dependency first; of the other `file`.
    fn parse(dependencies: &str, builtin: &str) -> Self {
        let mut files = BTreeMap::new();
        for (file, needs) in dependencies.lines().filter_map(|line| line.split_once(':')) {
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            files.insert(module_name(file), (file.to_owned(), needs));
        }
        Self { files, builtin: builtin.lines().map(module_name).collect() }
    }

    /// Appends the files that a module takes, in the order of loading; none where it is built in.
    fn resolve(&self, name: &str, order: &mut Vec<String>) -> Result<()> {
        let Some((file, needs)) = self.files.get(name) else {
            if self.builtin.contains(name) {
                return Ok(());
            }
            bail!("this kernel has no module {name}");
        };
        // A line lists the dependencies' dependencies too, each after what needs it.
        for file in needs.iter().rev().chain([file]) {
            if !order.contains(file) {
                order.push(file.clone());
            }
        }
        Ok(())
    }
}

/// `kernel/net/sched/sch-fq.ko.xz` is the module `sch_fq`.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

/// Fails for what no kernel would take for a module.
fn require_object(content: &[u8]) -> Result<()> {
    if !content.starts_with(b"\x7fELF") {
        bail!("it is no kernel module");
    }
    Ok(())
}

/// A module's content; unpacked here, as not every kernel can do it by itself.
fn content(file: &Path) -> Result<Vec<u8>> {
    let mut unpack = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => XZ.command()?,
        Some("zst") => Command::new("zstd"),
        Some("gz") => Command::new("gzip"),
        _ => return fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    };
    unpack.args(["--decompress", "--stdout"]).arg(file);
    sh::output_bytes(&mut unpack)
}

#[cfg(test)]
mod tests {
    use super::{Tree, module_name, require_object};

    const DEPENDENCIES: &str = "\
kernel/drivers/net/veth.ko.xz:
kernel/net/bridge/bridge.ko.xz: kernel/net/802/stp.ko.xz kernel/net/llc/llc.ko.xz
kernel/net/802/stp.ko.xz: kernel/net/llc/llc.ko.xz
kernel/net/llc/llc.ko.xz:
kernel/net/sched/act-mirred.ko:
";

    fn order(names: &[&str]) -> Vec<String> {
        let tree = Tree::parse(DEPENDENCIES, "kernel/fs/overlayfs/overlay.ko\n");
        let mut order = Vec::new();
        for name in names {
            tree.resolve(name, &mut order).unwrap();
        }
        order.iter().map(|file| module_name(file)).collect()
    }

    #[test]
    fn what_a_module_needs_is_loaded_before_it() {
        assert_eq!(order(&["bridge"]), ["llc", "stp", "bridge"]);
        assert_eq!(order(&["veth"]), ["veth"]);
    }

    #[test]
    fn nothing_is_loaded_twice() {
        assert_eq!(order(&["stp", "bridge", "bridge", "veth"]), ["llc", "stp", "bridge", "veth"]);
    }

    #[test]
    fn a_module_that_is_built_in_takes_no_file() {
        assert!(order(&["overlay"]).is_empty());
    }

    #[test]
    fn a_module_that_is_not_there_is_named() {
        let error = Tree::parse(DEPENDENCIES, "").resolve("overlay", &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "this kernel has no module overlay");
    }

    #[test]
    fn a_damaged_module_is_refused() {
        assert!(require_object(b"\x7fELF\x02").is_ok());
        assert!(require_object(b"").is_err());
        assert!(require_object(b"\xfd7zXZ").is_err());
    }

    #[test]
    fn names_are_as_the_kernel_writes_them() {
        assert_eq!(module_name("kernel/net/sched/act-mirred.ko.zst"), "act_mirred");
        assert_eq!(order(&["act_mirred"]), ["act_mirred"]);
    }
}
