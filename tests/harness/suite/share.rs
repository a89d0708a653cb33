//! Who runs a test for which one kernel besides this machine's is enough ([`Need::Spread`]).

use super::{
    Facts, Need, Test,
    expect::{SERVERS_ON, table},
};

/// Which of these lines a test falls to: one that can run it, the same in every run. `None` if the guests of this run
/// do not share.
pub fn falls_to<'a>(test: &Test, lines: &'a [String]) -> Option<&'a str> {
    let table = table();
    let can = |line: &&String| {
        test.needs.iter().all(|need| match need {
            Need::Servers => *line == SERVERS_ON,
            Need::Any(_) | Need::Full(_) => need.met_by_line(&table, line),
            _ => true,
        })
    };
    let lines: Vec<&String> = lines.iter().filter(can).collect();
    let at = usize::try_from(fnv1a(test.name())).ok()?.checked_rem(lines.len())?;
    lines.get(at).map(|line| line.as_str())
}

/// Whether the machine itself runs a test for which one kernel is enough, in the best way. Not what its cgroups may lack the
/// controllers for.
pub fn is_left_to_host(test: &Test, facts: &Facts) -> bool {
    let table = table();
    facts.left_to.as_ref().is_some_and(|line| {
        test.needs.iter().all(|need| match need {
            Need::Guest | Need::Controllers => false,
            Need::Any(feature) | Need::Full(feature) => Need::Full(*feature).met_by_line(&table, line),
            _ => true,
        })
    })
}

/// A hash that is the same with every compiler: [FNV-1a](http://www.isthe.com/chongo/tech/comp/fnv/), 32 bits.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chaos_daemon::bpf::Feature;

    use super::{SERVERS_ON, falls_to};
    use crate::suite::{
        Facts, Level, Need, Test,
        expect::{Levels, Missing},
    };

    fn test(path: &'static str, needs: &'static [Need]) -> Test {
        Test { path, needs, run: || {} }
    }

    fn missing(needs: &'static [Need], facts: &Facts) -> Option<Missing> {
        crate::suite::expect::missing(&test("suite::a::test", needs), facts)
    }

    /// A kernel that can do everything.
    fn facts() -> Facts {
        let levels: Levels = Feature::every().map(|f| (f.id().to_owned(), Level::Yes)).collect();
        Facts::known("6.1", levels.clone(), Some(levels))
    }

    #[test]
    fn a_test_falls_to_one_guest_that_can_run_it() {
        let lines = ["5.10", "6.1", "6.12", "7.2"].map(str::to_owned);
        let paths = ["s::a", "s::b", "s::c", "s::d", "s::e", "s::f", "s::g", "s::h", "s::i", "s::j"];
        let to = |needs: &'static [Need]| -> BTreeSet<&str> {
            paths.iter().map(|path| falls_to(&test(path, needs), &lines).unwrap()).collect()
        };
        assert_eq!(4, to(&[]).len());
        assert_eq!(["6.12", "7.2"], *to(&[Need::Full(Feature::TcEgress)]).into_iter().collect::<Vec<_>>());
        assert_eq!([SERVERS_ON], *to(&[Need::Servers]).into_iter().collect::<Vec<_>>());
        assert_eq!(None, falls_to(&test("s::a", &[]), &[]));
    }

    #[test]
    fn a_guest_runs_its_share_and_alone_it_runs_everything() {
        let mut facts = facts();
        facts.spread = ["5.10", "6.12"].map(str::to_owned).to_vec();
        assert_eq!(None, missing(&[Need::Spread], &facts));
        facts.guest = true;
        let ran = ["5.10", "6.12"].map(|line| {
            line.clone_into(&mut facts.line);
            missing(&[Need::Spread], &facts).is_none()
        });
        assert!(ran == [true, false] || ran == [false, true], "{ran:?}");
        "6.1".clone_into(&mut facts.line);
        assert_eq!(Some(Some(true)), missing(&[Need::Spread], &facts).map(|m| m.foreseen));
        facts.spread.clear();
        assert_eq!(None, missing(&[Need::Spread], &facts));
    }

    #[test]
    fn a_translated_guest_runs_what_the_machine_itself_cannot() {
        let mut facts = facts();
        facts.spread = vec![facts.line.clone()];
        facts.left_to = Some("5.10".to_owned());
        assert_eq!(None, missing(&[Need::Spread], &facts), "the machine itself");
        facts.guest = true;
        let runs = |needs| missing(needs, &facts).is_none();
        assert!(!runs(&[Need::Spread]) && !runs(&[Need::Spread, Need::Any(Feature::CgroupIngress)]));
        assert!(runs(&[Need::Spread, Need::Any(Feature::TcEgress)]), "there it is degraded");
        assert!(runs(&[Need::Spread, Need::Guest]) && runs(&[]));
        facts.left_to = Some("4.19".to_owned());
        assert_eq!(None, missing(&[Need::Spread, Need::Any(Feature::TcEgress)], &facts), "nobody knows it");
    }
}
