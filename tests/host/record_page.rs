//! record.html in a real browser without any network: narrow and wide, light and dark.
//!
//! `KCHAOS_SCREENSHOTS=DIR` keeps what was looked at.

use std::{env, fs, io::Cursor, path::Path};

use chaos_daemon::record::{Finding, Injections, Probe, Record, Sample, State, Stop, Times, Verdict, html};
use kchaos_tests::browser::Browser;

kchaos_tests::tests! {
    needs(services): it_can_be_read_narrow_and_wide_light_and_dark;
    needs(services): what_others_have_written_does_nothing;
}

/// A service that takes longer and fails while the faults are on, and its page, which goes away.
fn record(seconds: i32) -> Record {
    let probe = |name: &str, unit: &str, well: f64, bad: f64, bound: f64| {
        let samples = (-30..seconds + 40).map(|second| {
            let broken = (8..seconds + 6).contains(&second);
            let wave = 1.0 + 0.2 * f64::from(second).sin();
            Sample {
                at: f64::from(second),
                value: (second != 20).then_some(wave * if broken { bad } else { well }),
                state: match (second, broken) {
                    (20, _) => State::Unknown,
                    (_, true) => State::Broken,
                    (_, false) => State::Well,
                },
                note: broken.then(|| "not as expected".to_owned()),
            }
        });
        Probe {
            name: name.to_owned(),
            what: "prometheus: histogram_quantile(0.99, rate(checkout_seconds_bucket[1m]))".to_owned(),
            expect: format!("< {bound}{unit}"),
            bound: Some(bound),
            unit: unit.to_owned(),
            baseline: Some(well),
            worst: Some(bad * 1.2),
            broke_at: Some(8.0),
            broken_seconds: f64::from(seconds - 2),
            recovered_at: Some(f64::from(seconds + 6)),
            held: Some(false),
            samples: samples.collect(),
            ..Probe::default()
        }
    };
    let mut page = probe("page of the shop", "", 1.0, 1.0, 1.0);
    for sample in &mut page.samples {
        sample.value = None;
    }
    let count = |second: i32| u64::try_from(second * 37 + (second % 7) * 20).unwrap();
    Record {
        experiment: "slow-postgres".to_owned(),
        hypothesis: Some("While Postgres answers 3 s late, checkout fails within 5 s".to_owned()),
        verdict: Verdict {
            verdict: Finding::Falsified,
            reason: "error rate was 18 % and < 0.5 % was expected".into(),
        },
        times: Times {
            started: Some("2026-11-23T01:30:00Z".to_owned()),
            finished: "2026-11-23T01:32:00Z".to_owned(),
            time_box_seconds: f64::from(seconds),
            on_seconds: f64::from(seconds),
            recovery_seconds: Some(6.0),
            ..Times::default()
        },
        probes: vec![
            probe("error rate", "%", 0.0005, 0.15, 0.005),
            probe("p99 latency of checkout", "s", 0.18, 3.2, 0.3),
            page,
        ],
        injections: vec![Injections {
            fault: "late answers".to_owned(),
            kind: "delay".to_owned(),
            counts: (0..=seconds).map(|second| (f64::from(second), count(second))).collect(),
        }],
        stops: vec![Stop {
            name: "users are hurt".to_owned(),
            what: "error rate > 20 % for 10s".to_owned(),
            probe: Some("error rate".to_owned()),
            bound: Some(0.2),
            stopped_at: None,
        }],
        ..Record::default()
    }
}

/// The record with text in every place that is markup if somebody is careless.
fn hostile() -> Record {
    let mut record = record(60);
    let text = || {
        "</title></style><script>document.title='owned'</script><img src=http://10.9.9.9/x> \u{202e}ab"
            .to_owned()
    };
    (record.experiment, record.hypothesis, record.verdict.reason) = (text(), Some(text()), text());
    record.file.text = format!("{}\n</code></pre>{}", text(), "long".repeat(300));
    record.tags = vec!["a".repeat(400)];
    for probe in &mut record.probes {
        (probe.name, probe.expect) = (format!("{}{}", text(), "x".repeat(200)), text());
    }
    record.injections[0].fault = text();
    record
}

fn is_near(pixel: &[u8], colour: [u8; 3]) -> bool {
    pixel.iter().zip(colour).all(|(seen, wanted)| seen.abs_diff(wanted) < 14)
}

/// How many dots of a picture have each of these colours.
fn count(png: &[u8], colours: &[[u8; 3]]) -> Vec<usize> {
    let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let pixels = bytes.chunks_exact(info.color_type.samples());
    colours
        .iter()
        .map(|colour| pixels.clone().filter(|pixel| is_near(&pixel[..3], *colour)).count())
        .collect()
}

/// Everything that sticks out of the page, but for what can be scrolled by itself.
const STICKING_OUT: &str = "[...document.querySelectorAll('body *')].filter(e => !e.closest('pre, .scroll') \
    && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 200))";

/// The height of the smallest letters in the drawings that are shown, and the smallest width of a line.
const LETTERS: &str = "Math.min(...[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height)\
    .filter(height => height > 0))";
const LINES: &str = "Math.min(...[...document.querySelectorAll('.drawing path.line')].map(e => e.getBoundingClientRect().width))";

/// Marks of time that cover each other.
const OVERLAPS: &str = "[...document.querySelectorAll('.drawing')].flatMap(d => { \
    const b = [...d.querySelectorAll('text.time')].map(e => e.getBoundingClientRect()).filter(r => r.width > 0); \
    return b.slice(1).filter((r, i) => r.left < b[i].right + 2).map(r => r.left); })";

fn look(browser: &mut Browser, name: &str, path: &Path, width: u32, colours: &str) -> Vec<u8> {
    browser.open(path, (width, 900), colours);
    // All of the page, so that all of it is in the picture.
    let height = browser.evaluate("document.documentElement.scrollHeight").as_u64().unwrap();
    browser.open(path, (width, u32::try_from(height).unwrap()), colours);
    let seen = browser.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(seen <= u64::from(width), "{name} at {width}: it is {seen} wide");
    let out = browser.evaluate(STICKING_OUT);
    assert_eq!(0, out.as_array().unwrap().len(), "{name} at {width}: {out}");
    assert_eq!(vec![format!("file://{}", path.display())], browser.requests(), "{name}");
    assert_eq!(Vec::<String>::new(), browser.complaints(), "{name}");
    let png = browser.screenshot();
    if let Some(dir) = env::var_os("KCHAOS_SCREENSHOTS") {
        fs::write(Path::new(&dir).join(format!("{name}-{width}-{colours}.png")), &png).unwrap();
    }
    png
}

fn it_can_be_read_narrow_and_wide_light_and_dark() {
    let dir = tempfile::tempdir().unwrap();
    let mut browser = Browser::start();
    for (name, seconds) in [("minute", 60), ("hour", 3600)] {
        let path = dir.path().join(format!("{name}.html"));
        fs::write(&path, html::render(&record(seconds))).unwrap();
        for width in [400, 720, 1600] {
            for (colours, line, bad, band) in [
                ("light", [0x2f, 0x5f, 0xd0], [0xc8, 0x28, 0x3c], [0xf2, 0xa9, 0x3b]),
                ("dark", [0x7a, 0xa2, 0xff], [0xff, 0x6b, 0x7d], [0xd9, 0x92, 0x2a]),
            ] {
                let png = look(&mut browser, name, &path, width, colours);
                let at_least = usize::try_from(width).unwrap();
                let seen = count(&png, &[line, bad, band]);
                // Bars and lines, dots and strips, and a band over each of four drawings.
                assert!(seen.iter().all(|dots| *dots > at_least), "{name} {width} {colours}: {seen:?}");
            }
            assert!(browser.evaluate(LETTERS).as_f64().unwrap() >= 11.0, "{name} {width}");
            assert!(browser.evaluate(LINES).as_f64().unwrap() > f64::from(width) * 0.6, "{name} {width}");
            let overlaps = browser.evaluate(OVERLAPS);
            assert_eq!(0, overlaps.as_array().unwrap().len(), "{name} {width}: {overlaps}");
        }
    }
}

fn what_others_have_written_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut browser = Browser::start();
    let path = dir.path().join("hostile.html");
    fs::write(&path, html::render(&hostile())).unwrap();
    for width in [400, 1600] {
        look(&mut browser, "hostile", &path, width, "light");
        let title = browser.evaluate("document.title");
        assert!(title.as_str().unwrap().contains("<script>"), "{title}");
        assert_eq!(0, browser.evaluate("document.querySelectorAll('script, img').length"));
    }
    // The browser would say so, if a page did ask: this one does, and its policy is not ours.
    let asks = dir.path().join("asks.html");
    fs::write(&asks, "<img src=http://10.9.9.9/x><script>console.log(1)</script>").unwrap();
    browser.open(&asks, (400, 400), "light");
    assert_eq!(2, browser.requests().len(), "{:?}", browser.requests());
    assert!(!browser.complaints().is_empty());
    // And the policy holds: markup that is smuggled in loads and starts nothing.
    let smuggled = html::render(&record(60)).replace(
        "<main>",
        "<main><img src='http://10.9.9.9/x' style='width:9999px'><script>document.title='owned'</script>",
    );
    fs::write(&asks, smuggled).unwrap();
    browser.open(&asks, (400, 400), "light");
    assert_ne!("owned", browser.evaluate("document.title"));
    let complaints = browser.complaints();
    let forbidden = complaints.iter().filter(|said| said.contains("Content Security Policy")).count();
    assert!(forbidden >= 3, "{complaints:?}");
}
