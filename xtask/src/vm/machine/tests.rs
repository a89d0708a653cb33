//! Every way in which a guest can end, with a shell in the place of QEMU: so anyone can run these.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Accelerator, Ending, Guest, Nobody};

/// Lets a shell's command play QEMU; "%m" is the mark of init's messages.
fn play(script: &str) -> anyhow::Result<Ending> {
    let folder = std::env::temp_dir().join(format!("kchaos-machine-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let name = format!("{:p}", script.as_ptr());
    let guest = Guest {
        image: Path::new("vmlinuz"),
        initramfs: Path::new("initramfs"),
        console: folder.join(format!("{name}.console")),
        report: folder.join(format!("{name}.report")),
        mark: "m1",
        accelerator: Accelerator::Tcg,
        counted: false,
        boot_limit: Duration::from_millis(500),
        limit: Duration::from_millis(500),
        terminal: None,
    };
    let script = script.replace("%m", "\\036m1").replace("%c", &guest.console.display().to_string());
    let mut qemu = Command::new("sh");
    qemu.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    guest.follow(qemu, &mut Nobody)
}

fn complaint(script: &'static str) -> String {
    let started = Instant::now();
    let error = format!("{:#}", play(script).expect_err(script));
    assert!(started.elapsed() < Duration::from_secs(20), "{script}");
    error
}

#[test]
fn the_commands_code_is_handed_on() {
    let ending = play("printf '%m ready\\nhello%m exit 7\\n'; exec sleep 60").unwrap();
    assert!(matches!(ending, Ending::Exited(7, _)), "{ending:?}");
}

#[test]
fn a_guest_that_never_answers_is_given_up_in_one_line() {
    let error = complaint("exec sleep 60");
    assert!(error.contains("never answered") && error.contains("vmlinuz may be damaged"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_guest_that_resets_is_booted_again() {
    let ending = play("exit 0").unwrap();
    assert!(matches!(ending, Ending::NeverStarted(_)), "{ending:?}");
    let ending = play("echo 'PANIC: double fault, error_code: 0x0' > %c; exec sleep 60").unwrap();
    assert!(matches!(&ending, Ending::NeverStarted(why) if why.contains("double fault")), "{ending:?}");
}

#[test]
fn what_qemu_complains_of_is_shown() {
    let error = complaint("echo 'qemu: could not load kernel' >&2; exit 1");
    assert!(error.contains("QEMU gave up on vmlinuz") && error.contains("could not load kernel"));
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_panic_is_a_failure_however_the_machine_ends() {
    let error =
        complaint("printf '%m ready\\n'; echo '[ 1.0] Kernel panic - not syncing: sysrq triggered' > %c");
    assert!(error.starts_with("kernel panic while the command ran: Kernel panic"), "{error}");
}

#[test]
fn a_command_that_hangs_is_ended() {
    assert!(complaint("printf '%m ready\\n'; exec sleep 60").contains("still running after 0 s"));
    assert!(complaint("printf '%m ready\\n'").contains("gone before the command ended"));
    assert!(complaint("printf '%m failed no such program\\n'").contains("no such program"));
}
