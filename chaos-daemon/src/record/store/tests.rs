use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
};

use super::{FILES, JSON, Keep, MARKDOWN, Shelf, Store, StoreError};
use crate::record::{File, Finding, Record, examples};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn ids(shelf: &Shelf) -> Vec<String> {
    shelf.list().unwrap().into_iter().map(|found| found.id).collect()
}

/// A run of `experiment` that began in this minute.
fn run(experiment: &str, minute: u32) -> Record {
    let mut record = examples::falsified();
    (record.experiment, record.id) = (experiment.to_owned(), String::new());
    record.times.started = Some(format!("2026-11-23T01:{minute:02}:00Z"));
    record.times.finished = format!("2026-11-23T01:{minute:02}:30Z");
    record
}

#[test]
fn what_is_put_there_is_found_again_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("deep/records");
    let store = Store::open(&folder).unwrap();
    assert_eq!(0o750, mode(&folder));
    assert_eq!(0, fs::read_dir(&folder).unwrap().count(), "the trial is gone");
    let mut record = run("slow-postgres", 30);
    let path = store.put(&mut record).unwrap();
    assert!(record.id.starts_with("slow-postgres-20261123T013000Z-"), "{}", record.id);
    assert_eq!(path, folder.join(&record.id));
    assert_eq!(0o750, mode(&path));
    let names: BTreeSet<String> =
        fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(FILES.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), names);
    for file in FILES {
        assert_eq!(0o640, mode(&path.join(file)), "{file}");
    }
    let shelf = Shelf::new(&folder);
    for name in [&*record.id, "slow-postgres", "slow", "slow-postgres-20261123T01"] {
        assert_eq!(record, *shelf.get(name).unwrap().record, "{name}");
    }
}

#[test]
fn where_nothing_can_be_written_is_known_before() {
    for (place, said) in [("/dev/null/records", "/dev/null/records"), ("/proc/records", "/proc/records")] {
        let error = Store::open(Path::new(place)).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("KCHAOS_RECORDS"), "{error}");
    }
}

#[test]
fn a_taken_id_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut first = run("x", 1);
    store.put(&mut first).unwrap();
    let mut second = Record { tags: vec!["second".to_owned()], ..first.clone() };
    store.put(&mut second).unwrap();
    assert_ne!(first.id, second.id);
    let shelf = Shelf::new(dir.path());
    assert_eq!(first, *shelf.get(&first.id).unwrap().record);
    assert_eq!(second, *shelf.get(&second.id).unwrap().record);
    // Not even an empty folder or a link of that name.
    let taken = dir.path().join("y-20261123T013000Z-aaaa");
    symlink("/nowhere", &taken).unwrap();
    let mut third = Record { id: "y-20261123T013000Z-aaaa".to_owned(), ..run("y", 1) };
    store.put(&mut third).unwrap();
    assert!(taken.is_symlink() && third.id != "y-20261123T013000Z-aaaa");
}

#[test]
fn an_id_that_is_a_path_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("records")).unwrap();
    let mut record = Record { id: "../../evil".to_owned(), ..run("../x", 1) };
    let path = store.put(&mut record).unwrap();
    assert_eq!(Some(store.dir()), path.parent());
    assert_eq!(1, fs::read_dir(dir.path()).unwrap().count());
}

#[test]
fn many_may_write_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(dir.path()).unwrap().keeping(Keep { runs: 20, ..Keep::default() });
                for _ in 0..10 {
                    store.put(&mut run("same", 30)).unwrap();
                    assert!(Shelf::new(dir.path()).list().is_ok());
                }
            });
        }
    });
    // Two that clear up at once may take different ones for the last that is too much.
    let kept = Shelf::new(dir.path()).list().unwrap();
    assert!((15..=20).contains(&kept.len()), "{}", kept.len());
    assert!(kept.iter().all(|found| found.record.is_ok()), "{kept:?}");
    let unfinished = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(0, unfinished.count());
}

#[test]
fn the_oldest_go_and_nothing_that_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap().keeping(Keep { runs: 3, ..Keep::default() });
    let others = [
        "notes",
        "broken-20201123T013000Z-abcd",
        "foreign-20201123T013000Z-abcd",
        "newer-20201123T013000Z-abcd",
    ];
    for other in others {
        fs::create_dir(dir.path().join(other)).unwrap();
        fs::write(dir.path().join(other).join(JSON), "{\"version\": 1").unwrap();
    }
    fs::write(dir.path().join("newer-20201123T013000Z-abcd").join(JSON), "{\"version\": 999}").unwrap();
    // A record by its name, with the id of another one.
    let foreign = serde_json::to_string(&examples::falsified()).unwrap();
    fs::write(dir.path().join("foreign-20201123T013000Z-abcd").join(JSON), foreign).unwrap();
    // One to which somebody has added a picture.
    let mut kept = run("kept", 0);
    let path = store.put(&mut kept).unwrap();
    fs::write(path.join("dashboard.png"), "").unwrap();
    let mut all = Vec::new();
    for minute in 1..=6 {
        let mut record = run("x", minute);
        store.put(&mut record).unwrap();
        all.push(record.id);
    }
    let left = ids(&Shelf::new(dir.path()));
    for other in others {
        assert!(left.contains(&other.to_owned()), "{left:?}");
    }
    assert!(left.contains(&kept.id), "{left:?}");
    assert_eq!(all[3..].iter().rev().collect::<Vec<_>>(), left[..3].iter().collect::<Vec<_>>());
    assert!(all[..3].iter().all(|old| !left.contains(old)), "{left:?}");
}

#[test]
fn the_newest_stays_whatever_its_size_and_so_does_the_one_just_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap().keeping(Keep { runs: 0, bytes: 0 });
    let mut newest = run("x", 50);
    store.put(&mut newest).unwrap();
    // The clock was set back in between.
    let mut last = run("x", 10);
    store.put(&mut last).unwrap();
    assert_eq!([newest.id.clone(), last.id], ids(&Shelf::new(dir.path()))[..]);
    let bytes: u64 =
        FILES.iter().map(|f| dir.path().join(&newest.id).join(f).metadata().unwrap().len()).sum();
    let store = store.keeping(Keep { runs: 100, bytes: bytes * 2 + bytes / 2 });
    for minute in 51..54 {
        store.put(&mut run("x", minute)).unwrap();
    }
    assert_eq!(2, ids(&Shelf::new(dir.path())).len());
}

#[test]
fn garbage_is_shown_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut good = run("good", 30);
    store.put(&mut good).unwrap();
    let whole = fs::read_to_string(dir.path().join(&good.id).join(JSON)).unwrap();
    let make = |name: &str, json: &str| {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join(JSON), json).unwrap();
    };
    make("cut", &whole[..whole.len() / 2]);
    make("empty-file", "");
    make("newer", &whole.replacen("\"version\":1", "\"version\":2", 1));
    make("other", "[1, 2]");
    fs::create_dir(dir.path().join("nothing")).unwrap();
    fs::create_dir(dir.path().join("linked-file")).unwrap();
    symlink("/etc/passwd", dir.path().join("linked-file").join(JSON)).unwrap();
    symlink(dir.path().join(&good.id), dir.path().join("linked-folder")).unwrap();
    fs::create_dir_all(dir.path().join("folder").join(JSON)).unwrap();
    fs::write(dir.path().join("a-file"), "").unwrap();
    fs::create_dir(dir.path().join("pipe")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("pipe").join(JSON), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let shelf = Shelf::new(dir.path());
    let list = shelf.list().unwrap();
    let reason = |id: &str| {
        let found = list.iter().find(|found| found.id == id).unwrap_or_else(|| panic!("no {id}"));
        found.record.as_ref().unwrap_err().clone()
    };
    for (id, said) in [
        ("cut", "no record"),
        ("empty-file", "no record"),
        ("newer", "a newer kchaos"),
        ("other", "no record"),
        ("nothing", "there is no record.json"),
        ("linked-file", "symbolic link"),
        ("linked-folder", "symbolic link"),
        ("folder", "no regular file"),
        ("pipe", "no regular file"),
    ] {
        assert!(reason(id).contains(said), "{id}: {}", reason(id));
    }
    assert_eq!(10, list.len());
    assert_eq!(good.id, list[0].id);
    assert_eq!(good, *shelf.get("good").unwrap().record);
    assert!(matches!(shelf.get("cut"), Err(StoreError::Garbage { .. })));
    assert_eq!(1, shelf.search(&["POSTGRES".to_owned()]).unwrap().len());
}

#[test]
fn a_name_must_say_which() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for (name, minute) in [("shop", 1), ("shop-eu", 2), ("shop", 3), ("cart", 4)] {
        store.put(&mut run(name, minute)).unwrap();
    }
    let shelf = Shelf::new(dir.path());
    let minute = |name: &str| shelf.get(name).unwrap().record.times.started.unwrap();
    assert_eq!("2026-11-23T01:03:00Z", minute("shop"));
    assert_eq!("2026-11-23T01:02:00Z", minute("shop-e"));
    assert_eq!("2026-11-23T01:01:00Z", minute("shop-20261123T0101"));
    let error = shelf.get("sho").unwrap_err().to_string();
    assert!(error.contains("shop, shop-eu"), "{error}");
    for none in ["", "pay", "../shop", "\u{1b}[2J"] {
        let error = shelf.get(none).unwrap_err();
        assert!(matches!(error, StoreError::Unknown { .. }), "{error}");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }
    assert!(Shelf::new(dir.path().join("none")).list().unwrap().is_empty());
    assert!(Shelf::new("/dev/null/x").list().is_err());
}

#[test]
fn words_are_found_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut record = run("slow-postgres", 1);
    let path = store.put(&mut record).unwrap();
    let other =
        Record { file: File::default(), tags: Vec::new(), hypothesis: None, result: None, ..run("other", 2) };
    store.put(&mut Record { verdict: examples::held().verdict, ..other }).unwrap();
    let shelf = Shelf::new(dir.path());
    let found = |words: &[&str]| -> Vec<String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let found = shelf.search(&words).unwrap();
        found.into_iter().map(|found| found.record.unwrap().experiment).collect()
    };
    for words in [
        &["SLOW-postgres"][..],
        &["slow", "5432"],
        &["falsified"],
        &["53 s", "falsified"],
        &["checkout.service", "slow-postgres"],
        &["delay", "falsified", "alice", "arrives"],
    ] {
        assert_eq!(["slow-postgres"], found(words)[..], "{words:?}");
    }
    assert_eq!(["other", "slow-postgres"], found(&["page"])[..], "the newest first");
    assert!(found(&["slow-postgres", "elephant"]).is_empty());
    assert_eq!(Finding::Held, shelf.get("other").unwrap().record.verdict.verdict);
    // What people have written since.
    let markdown = path.join(MARKDOWN);
    let text = fs::read_to_string(&markdown).unwrap();
    fs::write(&markdown, text.replace("TICKET", "OPS-4711 Circuit Breaker")).unwrap();
    assert_eq!(["slow-postgres"], found(&["ops-4711", "circuit", "POSTGRES"])[..]);
}
