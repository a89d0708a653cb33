use super::{code, fenced, render, text};
use crate::record::examples;

#[test]
fn the_parts_of_the_article_stand_in_their_order() {
    let page = render(&examples::falsified());
    let mut rest = &*page;
    for part in [
        "# Chaos Experiment Record: slow-postgres\n",
        "**Date:** 2026-11-23 01:30:00 UTC\n",
        "**Team:**\n",
        "**Participants:** alice (ran it, on web-1 with Linux 6.12.9)\n",
        "**Hypothesis:** While Postgres answers late",
        "**Experiment:** unit checkout.service, for 60 s of a time box of 60 s\n",
        "- late (delay): arrives 3 s later; 1\u{a0}200 hit of 5\u{a0}000 matched\n",
        "**Steady-state metrics:**\n",
        "- error rate: 0.05 % (expected `< 0.5%; while the faults were on: < 1%",
        "- page: 20 of 20 looks as expected (expected `200`",
        "**Stop condition:**\n",
        "- users are hurt: error rate > 20% for 10s\n",
        "**Result:** FAILED HYPOTHESIS\n",
        "- error rate was 18 % for 53 s, and &lt; 1% was expected\n",
        "- error rate broke at +10 s, and no other probe did\n",
        "- error rate, broken: 0.05 % before, at worst 18 %; first broke at +10 s, for 53 s at a time; back at +63 s\n",
        "- page, held: ",
        "- steady state was back 3 s after the faults went off\n",
        "**Remediation:**\n",
        "- [ ] TICKET - what - owner, by when\n",
        "**Status:** Open\n",
        "**Tags:** `postgres` `checkout`\n",
        "- SHA-256: `ba7816bf",
        "- Commit: `7d86e693c0ffee`, modified since\n",
        "- Seed of the draws: `42`\n",
        "{ echo 'seed = 42'; sudo kchaos record show slow-postgres-20261123T013000Z-abcd --format file; } | sudo kchaos run -\n",
        "```toml\nduration = \"60s\"\n",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not in the rest of\n{page}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn every_verdict_has_its_words() {
    for (record, said, status) in [
        (examples::held(), "HYPOTHESIS HELD", "Done, nothing to remedy"),
        (examples::stopped(), "STOPPED BEFORE ITS TIME", "Open"),
        (examples::inconclusive(), "INCONCLUSIVE", "Open"),
        (examples::not_asked(), "NOTHING WAS ASKED", "Open"),
    ] {
        let page = render(&record);
        assert!(page.contains(&format!("**Result:** {said}\n")), "{page}");
        assert!(page.contains(&format!("**Status:** {status}\n")), "{page}");
    }
    assert!(render(&examples::stopped()).contains("it stopped the experiment at +30 s"));
    assert!(render(&examples::inconclusive()).contains("nothing was applied"));
    assert!(render(&examples::not_asked()).contains("**Steady-state metrics:** none\n"));
}

#[test]
fn text_of_others_stays_text() {
    for (others, shown) in [
        ("<script>", "&lt;script>"),
        ("a | b", "a \\| b"),
        ("`x`", "\\`x\\`"),
        ("# x", "\\# x"),
        ("- x", "\\- x"),
        ("1. x", "1\\. x"),
        ("> x", "\\> x"),
        ("a > 5 %", "a > 5 %"),
        ("[a](https://b)", "\\[a\\](https&#58;//b)"),
        ("a\nb", "a\\\\nb"),
        ("x-1.5", "x-1.5"),
        ("\u{202e}x", "\\\\u{202e}x"),
    ] {
        assert_eq!(shown, text(others), "{others:?}");
    }
    assert_eq!("``a`b``", code("a`b"));
    assert_eq!("`` `a` ``", code("`a`"));
    assert_eq!("", code(" "));
    assert_eq!("`````toml\n````\nx\n`````\n", fenced("toml", "````\nx\n"));
}

/// No line of it begins in a way that only our own lines do, and no character is left that is obeyed.
#[test]
fn a_hostile_record_is_as_long_as_a_harmless_one() {
    let (odd, plain) = (render(&examples::odd()), render(&examples::falsified()));
    let (before, file) = odd.split_once("As it was run:").unwrap();
    let headings = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(headings(plain.split_once("As it was run:").unwrap().0), headings(before), "{before}");
    assert!(!before.replace("`` `b` ``c`` ``", "").contains("\n<"), "{before}");
    for line in before.lines() {
        // Outside of code there is no tag.
        let outside: String = line.split("```").step_by(2).collect();
        assert!(!outside.contains("<script"), "{line}");
    }
    assert!(odd.chars().all(|c| !c.is_control() || c == '\n'), "{odd}");
    assert!(!odd.contains('\u{202e}'));
    // The fence of the file is longer than the one in it.
    assert!(file.starts_with("\n\n`````toml\n") && file.ends_with("\n`````\n"), "{file}");
}
