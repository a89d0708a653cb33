//! Without the rights: exit 4, and the capability's name.

use std::os::unix::process::CommandExt;

use kchaos_tests::{kchaos, kchaos::Ended};

const NOBODY: u32 = 65534;

#[test]
fn not_root() {
    for words in [
        &["check"][..],
        &["demo"],
        &["inject", "drop", "--for", "1s", "--host"],
        &["inject", "connect", "--for", "1s", "--host", "--errno", "EIO"],
    ] {
        let ended = Ended::new(kchaos().args(words).uid(NOBODY).gid(NOBODY).output().unwrap());
        assert_eq!(Some(4), ended.code, "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("CAP_BPF") && ended.stderr.contains("CAP_NET_ADMIN"), "{ended:?}");
        assert!(ended.stderr.contains("sudo"), "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
    let ended = Ended::new(kchaos().args(["halt", "--all"]).uid(NOBODY).gid(NOBODY).output().unwrap());
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("CAP_SYS_ADMIN"), "{ended:?}");
}

#[test]
fn root_without_one_capability() {
    const CAP_NET_ADMIN: libc::c_ulong = 12;
    const CAP_SYS_ADMIN: libc::c_ulong = 21;
    without(CAP_NET_ADMIN, &["inject", "drop", "--for", "1s", "--host"], "CAP_NET_ADMIN");
    without(CAP_SYS_ADMIN, &["halt", "--all"], "CAP_SYS_ADMIN");
}

fn without(capability: libc::c_ulong, words: &[&str], name: &str) {
    let mut command = kchaos();
    command.args(words);
    // SAFETY: prctl is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            // Out of the bounding set, so that exec as root does not bring it back.
            match libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let ended = Ended::new(command.output().unwrap());
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains(name) && !ended.stderr.contains("CAP_BPF"), "{ended:?}");
}

#[test]
fn what_needs_no_rights_works_without() {
    let dir = tempfile::tempdir().unwrap();
    for words in [
        &["--help"][..],
        &["--version"],
        &["man"],
        &["man", "inject", "drop"],
        &["completions", "bash"],
        &["inject", "drop", "--help"],
    ] {
        let ended = Ended::new(
            kchaos().args(words).uid(NOBODY).gid(NOBODY).current_dir(dir.path()).output().unwrap(),
        );
        assert_eq!(Some(0), ended.code, "{words:?}: {ended:?}");
        assert!(!ended.stdout.is_empty(), "{words:?}");
    }
}
