//! The commit of the working tree that a file lies in, as the `git` program says it: links between working trees,
//! packed references and formats to come are its business.
//!
//! kchaos is root, and the tree may be anybody's. Git refuses to look into the trees of others, because settings in a
//! tree can name programs that git starts; to overrule that as root would give whoever owns the tree a way to become
//! root. So git runs as the owner of the tree: it does not refuse, and what it might start has no more rights than the
//! owner had before. Only questions are asked that start nothing, and that read neither index nor filters: what HEAD is,
//! and what the file was there.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::unistd::geteuid;

use crate::record::Git;

/// A tree on a dead network disk must not hold a record up.
const PATIENCE: Duration = Duration::from_secs(3);

/// No experiment's file is longer, in bytes.
const MOST: u64 = crate::config::MAX_BYTES as u64 + 1;

/// The commit, and whether it has another text for this file than was run. `None` if that cannot be told: no tree, no
/// git, no commit yet.
pub fn of(path: &Path, text: &str) -> Option<Git> {
    let path = fs::canonicalize(path).ok()?;
    let (folder, name) = (path.parent()?, path.file_name()?);
    let owner = owner_of_tree(folder)?;
    let until = Instant::now() + PATIENCE;
    let head = ask(folder, owner, &["rev-parse".into(), "--verify".into(), "HEAD^{commit}".into()], until)?;
    let commit = String::from_utf8(head).ok()?.trim().to_owned();
    if commit.is_empty() || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut there = OsString::from(format!("{commit}:./"));
    there.push(name);
    // A file that the commit does not have is a modification of it.
    let committed = ask(folder, owner, &["cat-file".into(), "blob".into(), there], until);
    Some(Git { commit, modified: committed.as_deref() != Some(text.as_bytes()) })
}

/// User and group of the nearest `.git` above.
fn owner_of_tree(folder: &Path) -> Option<(u32, u32)> {
    let marks = folder.ancestors().map(|folder| folder.join(".git"));
    let mark: PathBuf = marks.into_iter().find(|mark| mark.symlink_metadata().is_ok())?;
    let owner = mark.symlink_metadata().ok()?;
    Some((owner.uid(), owner.gid()))
}

/// What git answers, if it does so in time and without complaint.
fn ask(folder: &Path, (user, group): (u32, u32), words: &[OsString], until: Instant) -> Option<Vec<u8>> {
    let mut git = Command::new("git");
    git.arg("--no-replace-objects").args(words).current_dir(folder);
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).env_clear();
    git.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    // Neither anybody's own settings, nor questions at a terminal, nor objects from another host.
    git.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_TERMINAL_PROMPT", "0"), ("GIT_NO_LAZY_FETCH", "1")]);
    git.envs([("GIT_OPTIONAL_LOCKS", "0"), ("GIT_ALLOW_PROTOCOL", "none"), ("LC_ALL", "C")]);
    // A group of its own ends with everything that it may have started.
    git.process_group(0);
    if geteuid().is_root() && user != 0 {
        // The other groups of root are given up as well; the standard library sees to that.
        git.uid(user).gid(group);
    }
    let mut child = git.spawn().ok()?;
    let out = child.stdout.take()?;
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        out.take(MOST).read_to_end(&mut said).map(|_length| said)
    });
    let ended_well = wait(&mut child, until);
    if !ended_well {
        end(&mut child);
        return None;
    }
    reader.join().ok()?.ok()
}

fn wait(child: &mut Child, until: Instant) -> bool {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => return false,
        }
    }
}

/// One that has ended by itself is reaped already, and its number may be somebody else's.
fn end(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        if let Ok(pid) = i32::try_from(child.id()) {
            let group = nix::unistd::Pid::from_raw(pid);
            // It may have ended in between; then nothing is left to do.
            let _gone = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
        let _reaped = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, chown},
        path::Path,
        process::Command,
    };

    use nix::unistd::geteuid;

    use super::of;

    fn git(folder: &Path, words: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false"]);
        command.args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false"]).args(words);
        let output = command.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A tree with one commit that has `sub/x.toml` with the text "one".
    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q"]);
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("sub/x.toml"), "one").unwrap();
        git(folder.path(), &["add", "."]);
        git(folder.path(), &["commit", "-q", "-m", "first"]);
        folder
    }

    #[test]
    fn the_commit_and_what_differs_from_it() {
        let folder = tree();
        let path = folder.path().join("sub/x.toml");
        let head = git(folder.path(), &["rev-parse", "HEAD"]);
        let found = of(&path, "one").unwrap();
        assert_eq!((head.clone(), false), (found.commit, found.modified));
        assert!(of(&path, "two").unwrap().modified, "the text that was run counts");
        let new = folder.path().join("new.toml");
        fs::write(&new, "one").unwrap();
        assert!(of(&new, "one").unwrap().modified, "the commit does not have it");
        // Packed references, a detached head, another working tree.
        git(folder.path(), &["pack-refs", "--all"]);
        assert_eq!(head, of(&path, "one").unwrap().commit);
        let other = tempfile::tempdir().unwrap();
        let linked = other.path().join("linked");
        git(folder.path(), &["worktree", "add", "-q", "--detach", linked.to_str().unwrap()]);
        assert_eq!(head, of(&linked.join("sub/x.toml"), "one").unwrap().commit);
    }

    #[test]
    fn without_a_tree_or_a_commit_there_is_nothing_to_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        fs::write(&path, "one").unwrap();
        assert_eq!(None, of(&path, "one"));
        git(folder.path(), &["init", "-q"]);
        assert_eq!(None, of(&path, "one"));
        assert_eq!(None, of(Path::new("/nowhere/x.toml"), "one"));
    }

    /// As root in the tree of a user: the answer is there, and nothing of the tree runs as root.
    #[test]
    fn a_tree_of_somebody_else_is_read_with_their_rights() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tree();
        let path = folder.path().join("sub/x.toml");
        let head = git(folder.path(), &["rev-parse", "HEAD"]);
        let ran = folder.path().join("ran");
        let trap = format!("#!/bin/sh\nid -u >> {}\n", ran.display());
        let script = folder.path().join("trap");
        fs::write(&script, trap).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        for setting in ["core.fsmonitor", "core.pager", "core.sshCommand", "diff.external"] {
            git(folder.path(), &["config", setting, script.to_str().unwrap()]);
        }
        assert!(
            Command::new("chown").args(["-R", "65534:65534"]).arg(folder.path()).status().unwrap().success()
        );
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let found = of(&path, "one").unwrap();
        assert_eq!((head, false), (found.commit, found.modified));
        assert!(!ran.exists(), "{:?}", fs::read_to_string(&ran));
        // A tree that its mark's owner may not enter: nothing is said.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        chown(folder.path(), Some(0), Some(0)).unwrap();
        assert_eq!(None, of(&path, "one"));
    }
}
