//! The process itself: what it reads when it starts, and the mounts it lives among.

use std::{
    fs,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::{Cgroup, NetNs, ends_with_us};

/// Writes what it reads when it starts.
pub fn configure(folder: &Path, image: &str) {
    let text =
        include_str!("config.toml").replace("FOLDER", folder.to_str().unwrap()).replace("IMAGE", image);
    fs::write(folder.join("config.toml"), text).unwrap();
    fs::create_dir(folder.join("cni")).unwrap();
    let network = include_str!("network.json").replace("FOLDER", folder.to_str().unwrap());
    fs::write(folder.join("cni/network.conflist"), network).unwrap();
}

/// Starts the program in a mount namespace of its own, or in the one of `mounts`.
pub fn start(folder: &Path, ns: &NetNs, cgroup: &Cgroup, mounts: Option<&fs::File>) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new("containerd");
    command.arg("--config").arg(folder.join("config.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    ends_with_us(&mut command);
    cgroup.place(&mut command);
    ns.place(&mut command);
    let mounts = mounts.map(fs::File::as_raw_fd);
    // SAFETY: only system calls on short constant paths, for which nix does not allocate, and on a descriptor that
    // outlives this function.
    unsafe {
        command.pre_exec(move || match mounts {
            Some(fd) if libc::setns(fd, libc::CLONE_NEWNS) != 0 => Err(std::io::Error::last_os_error()),
            Some(_) => Ok(()),
            None => Ok(own_mounts()?),
        });
    }
    command.spawn().expect("containerd of the package containerd")
}

fn own_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    for folder in ["/run", "/var/lib"] {
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), none)?;
    }
    Ok(())
}
