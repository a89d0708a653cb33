//! Whether faults can act from user space here, asked before anything is applied: the files of the target's cgroups must be
//! there. Where a controller is not switched on for a cgroup, that is for its owner to do: kchaos never changes what others
//! have written into `cgroup.subtree_control`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    unistd::{AccessFlags, faccessat},
};

use super::{Act, Hold, ResourceError};
use crate::{
    config::{Experiment, Problem},
    printable::printable,
    target::{Cgroup, cgroup_of_process, is_within},
};

/// The controllers that kinds of faults take.
pub const CONTROLLERS: [&str; 3] = ["cpu", "memory", "io"];

/// Why an experiment may not start.
pub enum Refusal {
    /// What the file asks for.
    Mistake(Problem),
    /// What the host has not.
    Host(ResourceError),
}

/// Looks at every cgroup of the target, below the hierarchy that is mounted here.
pub fn check<'a>(
    experiment: &Experiment,
    mount: &Path,
    cgroups: &(impl Iterator<Item = &'a Cgroup> + Clone),
    spared: &[String],
) -> Result<(), Refusal> {
    for spec in &experiment.faults {
        let Some(Act::Hold(what)) = spec.fault.acts() else { continue };
        what.check().map_err(Refusal::Mistake)?;
        for cgroup in cgroups.clone() {
            may_be_hit(experiment, &*what, &cgroup.name, spared).map_err(Refusal::Mistake)?;
            can_be_held(&*what, mount, cgroup).map_err(|why| {
                let cgroup = printable(&cgroup.name);
                Refusal::Host(ResourceError::Unable { kind: what.kind(), cgroup, why })
            })?;
        }
    }
    Ok(())
}

/// What a cgroup is made to do, everything in it does.
fn may_be_hit(
    experiment: &Experiment,
    what: &dyn Hold,
    name: &str,
    spared: &[String],
) -> Result<(), Problem> {
    let ours = cgroup_of_process(std::process::id().cast_signed());
    let has_us = ours.is_none_or(|ours| is_within(&ours, name));
    let problem = |who: &str| {
        let message = format!("{who} runs in {}, and {} hits all of it", printable(name), what.kind());
        Problem::at(experiment.target.span(), message, "a protected target")
    };
    if has_us && what.stops_us() {
        return Err(problem("kchaos itself")
            .help("it could not end it any more: start it elsewhere (systemd-run --scope kchaos ...)"));
    }
    if experiment.allow_protected {
        return Ok(());
    }
    let help = "name a smaller cgroup; to hit it all the same, write allow_protected = true above [target]";
    if has_us {
        return Err(problem("kchaos itself").help(help));
    }
    match spared.iter().find(|protected| is_within(protected, name)) {
        Some(protected) => {
            Err(problem(&format!("something protected ({})", printable(protected))).help(help))
        }
        None => Ok(()),
    }
}

fn can_be_held(what: &dyn Hold, mount: &Path, cgroup: &Cgroup) -> Result<(), String> {
    for file in what.files() {
        let path = cgroup.path.join(file);
        match faccessat(AT_FDCWD, &path, AccessFlags::F_OK, AtFlags::AT_EACCESS) {
            Ok(()) => {}
            Err(nix::errno::Errno::ENOENT) => {
                return Err(match what.controller() {
                    Some(controller) => missing(controller, mount, &cgroup.path),
                    None => format!("it has no {file}, which takes Linux 5.2, and a cgroup below the root"),
                });
            }
            Err(errno) => return Err(format!("{}: {}", path.display(), io::Error::from(errno))),
        }
    }
    // The last one is one that is written.
    let Some(file) = what.files().last() else { return Ok(()) };
    let path = cgroup.path.join(file);
    faccessat(AT_FDCWD, &path, AccessFlags::W_OK, AtFlags::AT_EACCESS).map_err(|errno| {
        let error = io::Error::from(errno);
        format!("{} cannot be written: {error}. kchaos needs the host's hierarchy, writable, and CAP_DAC_OVERRIDE", path.display())
    })
}

/// Why a cgroup has no files of a controller, and what to do.
fn missing(controller: &str, mount: &Path, cgroup: &Path) -> String {
    if let Some(why) = absent(controller, mount) {
        return why;
    }
    let off = above(mount, cgroup)
        .into_iter()
        .find(|folder| !lists(&folder.join("cgroup.subtree_control"), controller));
    let Some(folder) = off else {
        return format!(
            "it has no files of the controller {controller}: is it a threaded cgroup, or the root of all?"
        );
    };
    let accounting = match controller {
        "cpu" => "CPUAccounting",
        "memory" => "MemoryAccounting",
        _ => "IOAccounting",
    };
    format!(
        "the controller {controller} is not switched on for it, and kchaos changes nothing that is not its own. Switch it on: \
         echo +{controller} > {}/cgroup.subtree_control, or, for a unit of systemd: systemctl set-property --runtime UNIT \
         {accounting}=yes",
        folder.display()
    )
}

/// Why a controller is not there for any cgroup of the v2 hierarchy.
pub fn absent(controller: &str, mount: &Path) -> Option<String> {
    if lists(&mount.join("cgroup.controllers"), controller) {
        return None;
    }
    let old_name = if controller == "io" { "blkio" } else { controller };
    let known = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    Some(if is_in_v1(&known, old_name) {
        format!(
            "the controller {controller} belongs to a cgroup v1 hierarchy on this host, where kchaos leaves it. Start the \
             system with cgroup v2 alone: systemd.unified_cgroup_hierarchy=1 on the kernel's command line, or \
             cgroup_no_v1=all"
        )
    } else {
        format!(
            "this kernel has no controller {controller} for cgroup v2, or it is switched off (cgroup_disable=)"
        )
    })
}

/// Whether a line of /proc/cgroups, `name hierarchy cgroups enabled`, says so: that of v2 has the number 0.
fn is_in_v1(known: &str, controller: &str) -> bool {
    known.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.next() == Some(controller) && fields.next().is_some_and(|hierarchy| hierarchy != "0")
    })
}

fn lists(file: &Path, controller: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|word| word == controller))
}

/// Those that a controller must be switched on in, from the root down.
fn above(mount: &Path, cgroup: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = cgroup
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(mount))
        .map(Path::to_owned)
        .collect();
    folders.reverse();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_of_v1_is_told_from_one_that_is_not_there() {
        let known = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t0\t90\t1\ncpuset\t3\t1\t1\n";
        assert!(is_in_v1(known, "cpu"));
        assert!(!is_in_v1(known, "memory") && !is_in_v1(known, "blkio"));
    }

    #[test]
    fn the_cgroup_that_must_switch_it_on_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("a/b"));
        fs::create_dir_all(&b).unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "cpu io memory\n").unwrap();
        fs::write(dir.path().join("cgroup.subtree_control"), "cpu memory\n").unwrap();
        fs::write(a.join("cgroup.subtree_control"), "memory\n").unwrap();
        assert!(missing("cpu", dir.path(), &b).contains(&format!("{}/cgroup.subtree_control", a.display())));
        let io = missing("io", dir.path(), &b);
        assert!(io.contains(&format!("echo +io > {}/cgroup.subtree_control", dir.path().display())), "{io}");
        assert!(missing("memory", dir.path(), &b).contains("threaded"));
    }
}
