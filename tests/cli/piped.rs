//! An experiment from standard input, as `kubectl exec -i` hands it on.

use std::{io::Write, process::Stdio};

use kchaos_tests::{kchaos, kchaos::Ended};

fn piped(words: &[&str], text: &[u8]) -> Ended {
    let mut command = kchaos();
    command.args(words).env("KCHAOS_SOCKET", "/nowhere/kchaos.sock");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have seen enough before the end.
    let _cut_short = child.stdin.take().unwrap().write_all(text);
    Ended::new(child.wait_with_output().unwrap())
}

const RIGHT: &[u8] = b"duration = \"1s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\n";

#[test]
fn a_dash_is_standard_input() {
    let ended = piped(&["run", "--dry-run", "-", "--output", "json"], RIGHT);
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert_eq!("experiment", ended.json()["experiment"]);
    // It was read, and found right: what is missing is the daemon.
    let ended = piped(&["apply", "-"], RIGHT);
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("kchaos daemon"), "{ended:?}");
}

#[test]
fn mistakes_name_it_and_their_place() {
    for verb in ["run", "apply", "preview"] {
        let ended = piped(&[verb, "-"], b"duration = \"1s\"\nduration = \"2s\"\n");
        assert_eq!(Some(2), ended.code, "{ended:?}");
        assert!(ended.stderr.contains("standard input") && ended.stderr.contains("2:1"), "{ended:?}");
    }
    let empty = piped(&["apply", "-"], b"");
    assert_eq!(Some(2), empty.code, "{empty:?}");
    for (what, said) in [(vec![b'#'; 2 << 20], "longer than 1 MiB"), (vec![0xff], "UTF-8")] {
        let ended = piped(&["apply", "-"], &what);
        assert_eq!(Some(2), ended.code, "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
}
