//! Without the rights: exit 4, and the capability's name.

use std::os::unix::process::CommandExt;

use kchaos_tests::{kchaos, kchaos::Ended};

const NOBODY: u32 = 65534;

#[test]
fn not_root() {
    for words in [
        &["check"][..],
        &["demo"],
        &["halt", "--all"],
        &["inject", "drop", "--for", "1s", "--host"],
        &["inject", "connect", "--for", "1s", "--host", "--errno", "EIO"],
    ] {
        let ended = Ended::new(kchaos().args(words).uid(NOBODY).gid(NOBODY).output().unwrap());
        assert_eq!(Some(4), ended.code, "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("CAP_BPF") && ended.stderr.contains("CAP_NET_ADMIN"), "{ended:?}");
        assert!(ended.stderr.contains("sudo"), "{ended:?}");
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
}

#[test]
fn root_without_one_capability() {
    let mut command = kchaos();
    command.args(["inject", "drop", "--for", "1s", "--host"]);
    // SAFETY: prctl is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            // Out of the bounding set, so that exec as root does not bring it back.
            const CAP_NET_ADMIN: libc::c_ulong = 12;
            match libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let ended = Ended::new(command.output().unwrap());
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("CAP_NET_ADMIN") && !ended.stderr.contains("CAP_BPF"), "{ended:?}");
}

#[test]
fn what_needs_no_rights_works_without() {
    let dir = tempfile::tempdir().unwrap();
    for words in
        [&["--help"][..], &["--version"], &["man"], &["completions", "bash"], &["inject", "drop", "--help"]]
    {
        let ended = Ended::new(
            kchaos().args(words).uid(NOBODY).gid(NOBODY).current_dir(dir.path()).output().unwrap(),
        );
        assert_eq!(Some(0), ended.code, "{words:?}: {ended:?}");
        assert!(!ended.stdout.is_empty(), "{words:?}");
    }
}
