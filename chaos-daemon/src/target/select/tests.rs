//! Who is selected, and who is refused, without a kernel: a directory stands for the hierarchy.

use std::{collections::BTreeSet, fs, path::Path, time::Instant};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
};
use toml::Spanned;

use super::{Member, Selection};
use crate::{
    config::{Pods, Problem, Selector, TargetSpec, value::Pick},
    target::{
        Hierarchy, TargetError, ancestors,
        containers::Containers,
        netns,
        runtime::{Container, Pod},
    },
};

/// A container of a runtime that is not there, in a pod of the namespace "shop".
fn container(id: u8, pod: &str, labels: &[(&str, &str)]) -> Container {
    let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let pod = Pod { namespace: "shop".into(), name: pod.into(), uid: "u".into(), labels };
    Container { id: format!("{id:02x}").repeat(32), name: "app".into(), runtime: "test", pod: Some(pod) }
}

fn selection(spec: TargetSpec, mount: &Path, containers: Containers, seed: u64) -> Selection {
    Selection {
        spec: Spanned::new(3..7, spec),
        hierarchy: Hierarchy::at(mount),
        seed,
        containers: Some(containers),
        namespace: None,
        picked: Vec::new(),
        spared: BTreeSet::new(),
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn spec(selector: Selector) -> Spanned<TargetSpec> {
    Spanned::new(3..7, TargetSpec { selector, pick: None, follow: true, runtime: None })
}

/// Those that are found at the start.
fn select(mount: &Path, selector: Selector) -> Result<Vec<Member>, TargetError> {
    run(Selection::new(&spec(selector), &Hierarchy::at(mount), 1))?.at_start()
}

/// Refused at its place as the whole host.
fn assert_too_wide(error: TargetError) {
    let TargetError::Mistake(Problem { message, help, span, .. }) = error else { panic!("{error}") };
    assert!(message.contains("is the whole host"), "{message}");
    assert!(help.as_ref().is_some_and(|help| help.contains("host = true")), "{help:?}");
    assert_eq!(Some(3..7), span);
}

#[test]
fn every_cgroup_below_an_unusual_mount_is_refused() {
    let mount = tempfile::tempdir().unwrap();
    for name in ["web-1", "web-2"] {
        fs::create_dir(mount.path().join(name)).unwrap();
    }
    for pattern in ["", "/*"] {
        let full = format!("{}{pattern}", mount.path().display());
        assert_too_wide(select(mount.path(), Selector::Cgroup(full)).unwrap_err());
    }
    let full = format!("{}/web-*", mount.path().display());
    assert_eq!(2, select(mount.path(), Selector::Cgroup(full)).unwrap().len());
}

#[test]
fn the_network_namespace_of_the_host_is_refused() {
    let Some(host) = netns::of_host() else { return };
    let us = std::process::id().cast_signed();
    let its = |pid: &i32| netns::of_process(*pid) == Some(host);
    let pid = [1].into_iter().chain(ancestors::of(us)).find(its).unwrap();
    let mount = tempfile::tempdir().unwrap();
    let path = format!("/proc/{pid}/ns/net");
    assert_too_wide(select(mount.path(), Selector::NetNs(path)).unwrap_err());
}

#[test]
fn another_network_namespace_is_not() {
    let mount = tempfile::tempdir().unwrap();
    let found = std::thread::scope(|scope| {
        let inside = || match unshare(CloneFlags::CLONE_NEWNET) {
            // Not for everyone.
            Err(Errno::EPERM) => None,
            answer => {
                answer.unwrap();
                Some(select(mount.path(), Selector::NetNs("/proc/thread-self/ns/net".into())))
            }
        };
        scope.spawn(inside).join().unwrap()
    });
    if let Some(found) = found {
        assert_eq!(1, found.unwrap().len());
    }
}

#[test]
fn a_container_without_a_cgroup_is_not_passed_over_in_silence() {
    let mount = tempfile::tempdir().unwrap();
    let [hit, missing] = [container(1, "hit", &[]), container(2, "missing", &[])];
    fs::create_dir(mount.path().join(&hit.id)).unwrap();
    let spec = |name: &str| {
        let pods = Pods { namespace: Some("*".into()), name: Some(name.into()), ..Pods::default() };
        TargetSpec { selector: Selector::Pod(pods), pick: None, follow: true, runtime: None }
    };
    let (_send, known) = Containers::said(vec![hit, missing]);
    let mut both = selection(spec("*"), mount.path(), known.clone(), 1);
    assert_eq!(1, both.at_start().unwrap().len());
    let name = "container app of pod shop/missing";
    assert_eq!([name], *known.without_cgroup());
    assert!(known.unfound().news(Instant::now()).is_empty(), "it has been told");

    let error = selection(spec("missing"), mount.path(), known, 1).at_start().unwrap_err();
    let TargetError::Mistake(problem) = error else { panic!("{error}") };
    assert!(problem.message.contains(name) && problem.message.contains("v2"), "{}", problem.message);
}

const CHECKOUTS: [&str; 8] = ["a-0", "a-1", "a-2", "b-0", "b-1", "b-2", "c-0", "c-1"];

/// Pods of two applications, each with a container that has a cgroup; `generation` tells those of a restart from the
/// first.
fn shop(mount: &Path, without: &[&str], generation: u8) -> Vec<Container> {
    let of = |name: &'static str, number: u8, app: &str| {
        let found = container(number + 16 * generation, name, &[("app", app), ("tier", "web")]);
        fs::create_dir_all(mount.join(&found.id)).unwrap();
        found
    };
    let checkouts = (0..).zip(CHECKOUTS).map(|(number, name)| of(name, number, "checkout"));
    let others = (8..).zip(["db-0", "db-1"]).map(|(number, name)| of(name, number, "db"));
    checkouts.chain(others).filter(|c| !without.contains(&&*c.pod.as_ref().unwrap().name)).collect()
}

/// Three pods of the application "checkout".
fn some_by_label() -> TargetSpec {
    let labels = [("app".to_owned(), "checkout".to_owned())].into();
    let pods = Pods { namespace: Some("shop".into()), labels, ..Pods::default() };
    TargetSpec { selector: Selector::Pod(pods), pick: Some(Pick::Count(3)), follow: true, runtime: None }
}

fn names(members: &[Member]) -> BTreeSet<String> {
    members.iter().map(|member| member.picked_as.clone()).collect()
}

#[test]
fn some_pods_by_label() {
    let mount = tempfile::tempdir().unwrap();
    let picked = |seed: u64, without: &[&str]| {
        let (_send, known) = Containers::said(shop(mount.path(), without, 0));
        names(&selection(some_by_label(), mount.path(), known, seed).at_start().unwrap())
    };
    let mut choices = BTreeSet::new();
    for seed in 0..20 {
        let all = picked(seed, &[]);
        assert_eq!(all, picked(seed, &[]), "one seed, one choice");
        assert_eq!(3, all.len());
        assert!(all.iter().all(|name| CHECKOUTS.iter().any(|pod| *name == format!("shop/{pod}"))), "{all:?}");
        // Whoever is not there leaves the choice among the others as it is, but for a place that becomes free.
        for absent in CHECKOUTS {
            let mut stay = all.clone();
            stay.remove(&format!("shop/{absent}"));
            let rest = picked(seed, &[absent]);
            assert!(rest.is_superset(&stay) && rest.len() == 3, "{seed}: {all:?}, without {absent} {rest:?}");
        }
        choices.insert(all);
    }
    assert!(choices.len() > 10, "{choices:?}");
    assert_eq!(CHECKOUTS.len(), choices.iter().flatten().collect::<BTreeSet<_>>().len(), "nobody is immune");
}

#[test]
fn a_pod_that_is_restarted_is_picked_again_and_nobody_in_its_place() {
    let mount = tempfile::tempdir().unwrap();
    for seed in 0..8 {
        let (send, known) = Containers::said(shop(mount.path(), &[], 0));
        let mut selection = selection(some_by_label(), mount.path(), known, seed);
        let all = names(&selection.at_start().unwrap());
        for name in CHECKOUTS {
            send.send_replace(shop(mount.path(), &[name], 0));
            let mut others = all.clone();
            others.remove(&format!("shop/{name}"));
            assert_eq!(others, names(&selection.now().unwrap()), "{seed}: while {name} is away");
            // Another container, in another cgroup.
            send.send_replace(shop(mount.path(), &[], 1));
            let now = selection.now().unwrap();
            assert_eq!(all, names(&now), "{seed}: {name} is back");
            assert!(now.iter().all(|member| member.cgroup.name.starts_with("/1")), "{now:?}");
        }
    }
}

/// An update that starts a new pod before it ends the old one, pod by pod.
#[test]
fn a_rolling_update_keeps_as_many_hit() {
    let mount = tempfile::tempdir().unwrap();
    let pod = |name: &str, id: u8| {
        let found = container(id, name, &[("app", "checkout")]);
        fs::create_dir_all(mount.path().join(&found.id)).unwrap();
        found
    };
    let mut running: Vec<Container> = (0..4).map(|n| pod(&format!("old-{n}"), n)).collect();
    let (send, known) = Containers::said(running.clone());
    let mut selection = selection(some_by_label(), mount.path(), known, 7);
    let first = names(&selection.at_start().unwrap());
    for n in 0..4 {
        running.push(pod(&format!("new-{n}"), 10 + n));
        send.send_replace(running.clone());
        assert_eq!(3, names(&selection.now().unwrap()).len(), "one too many runs");
        running.retain(|container| container.pod.as_ref().unwrap().name != format!("old-{n}"));
        send.send_replace(running.clone());
        assert_eq!(3, names(&selection.now().unwrap()).len(), "one of the old is gone");
    }
    let last = names(&selection.now().unwrap());
    assert!(first.iter().all(|name| name.contains("old")) && last.iter().all(|name| name.contains("new")));
}
