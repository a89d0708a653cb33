//! The plots, as SVG in the page.
//!
//! A drawing has no size of its own: lines and bars are stretched to the width of the page, while letters, dots and the
//! width of lines stay as they are, so that all can be read on a telephone as well as on a large screen. Places on the
//! time axis are given in percent. What must stay true: all drawings have the same margins, so that a moment stands at
//! the same place in each of them.

use maud::{Markup, html};

use super::{
    axis::{Scale, Tick, Time},
    series::{self, WIDTH},
};
use crate::record::{
    Injections, Probe, Record, State, Stop,
    plain::{self, plain},
    words,
};

/// The height of the band above a drawing that says when the faults were on.
const BAND: f64 = 16.0;
/// What is left for the name of a mark below it.
const TOP: f64 = BAND + 18.0;
/// The height of the numbers' part.
const HEIGHT: f64 = 150.0;
/// That of the bars' part.
const LOW: f64 = 90.0;
/// The height of a strip of states, alone and below numbers.
const STRIP: f64 = 30.0;
const THIN: f64 = 7.0;
/// What is left for the times below.
const BOTTOM: f64 = 26.0;
/// The width of the part with the marks of values: the same beside all drawings.
const GUTTER: f64 = 58.0;

/// What all drawings of a page have in common.
#[derive(Debug)]
pub struct Plots<'a> {
    record: &'a Record,
    time: Time,
}

/// One drawing in the making.
struct Drawing {
    /// A name for its parts, unique on the page.
    id: String,
    title: String,
    description: String,
    /// The height of what is drawn, without band, strip and times.
    height: f64,
    /// The height with all of it.
    total: f64,
    /// Marks of values.
    ticks: Vec<Tick>,
    /// A moment to be marked, and its name.
    mark: Option<(f64, String)>,
    content: Markup,
}

impl<'a> Plots<'a> {
    /// The plots of a record.
    pub fn of(record: &'a Record) -> Self {
        Self { record, time: Time::of(record) }
    }

    /// A probe over time; `index` is its place in the file.
    pub fn probe(&self, index: usize, probe: &Probe) -> Markup {
        let title = plain(&probe.name);
        let description = format!("Expected {}. {}.", words::expected(probe), words::summary(probe));
        let id = format!("probe{index}");
        let mark = probe.recovered_at.map(|at| (at, format!("back at {}", plain::moment(at))));
        let measured = probe.samples.iter().any(|sample| series::value(sample).is_some());
        let drawing = if measured {
            let stops = self.record.stops.iter();
            let stops: Vec<&Stop> = stops.filter(|stop| stop.probe.as_ref() == Some(&probe.name)).collect();
            let scale = Scale::of(probe, &stops);
            Drawing {
                height: HEIGHT,
                total: TOP + HEIGHT + 6.0 + THIN + BOTTOM,
                ticks: scale.ticks(&probe.unit),
                content: self.numbers(probe, &stops, &scale),
                id,
                title,
                description,
                mark,
            }
        } else {
            Drawing {
                height: STRIP,
                total: TOP + STRIP + BOTTOM,
                ticks: Vec::new(),
                content: self.strip(probe, TOP, STRIP),
                id,
                title,
                description,
                mark,
            }
        };
        self.draw(&drawing)
    }

    /// Injections per second of a fault; `index` is its place in the file.
    pub fn injections(&self, index: usize, fault: &Injections) -> Markup {
        let rates = series::rates(&fault.counts, &self.time);
        let scale = Scale::over(rates.bars.iter().map(|(_, rate)| *rate).chain([0.0]));
        let all = fault.counts.last().map_or(0, |(_, count)| *count);
        let path = series::bars(&rates, &self.time, &scale, LOW);
        self.draw(&Drawing {
            id: format!("fault{index}"),
            title: format!("{}: injections per second", plain(&fault.fault)),
            description: format!("{} injections in all.", plain::count(all)),
            height: LOW,
            total: TOP + LOW + BOTTOM,
            ticks: if path.is_empty() { Vec::new() } else { scale.ticks("") },
            mark: None,
            content: stretched(TOP, LOW, &html! { path.bar d=(path) {} }),
        })
    }

    fn draw(&self, drawing: &Drawing) -> Markup {
        let Drawing { id, title, description, height, total, .. } = drawing;
        let (title_id, description_id) = (format!("{id}-title"), format!("{id}-description"));
        let base = if *height == HEIGHT { TOP + HEIGHT + 6.0 + THIN } else { TOP + height };
        html! {
            div.plot {
                svg.values width=(GUTTER) height=(total) aria-hidden="true" {
                    @for tick in &drawing.ticks {
                        text x=(GUTTER - 8.0) y=(px(TOP + (1.0 - tick.share) * height + 4.0)) { (tick.label) }
                    }
                }
                svg.drawing height=(total) role="img" aria-labelledby=(format!("{title_id} {description_id}")) {
                    title id=(title_id) { (title) }
                    desc id=(description_id) { (description) }
                    (self.times(base))
                    @for tick in &drawing.ticks {
                        @let y = px(TOP + (1.0 - tick.share) * height);
                        line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
                    }
                    (drawing.content)
                    @if let Some((at, name)) = &drawing.mark { (self.marked(*at, name, base)) }
                }
            }
        }
    }

    /// The time box, the marks of times, and where the faults went on. `base` is the lower edge of what is drawn.
    fn times(&self, base: f64) -> Markup {
        let on = self.record.times.started.is_some().then_some(self.record.times.on_seconds);
        let start = self.time.share(0.0);
        html! {
            @for tick in self.time.ticks() {
                @let class = if tick.major { "time" } else { "time wide" };
                line.grid x1=(percent(tick.share)) x2=(percent(tick.share)) y1=(TOP) y2=(px(base)) {}
                text class=(class) x=(percent(tick.share)) y=(px(base + 18.0)) { (tick.label) }
            }
            @if let Some(on) = on {
                @let width = percent(self.time.share(on) - start);
                rect.on x=(percent(start)) width=(width) y="0" height=(px(base)) {}
                rect.band x=(percent(start)) width=(width) y="0" height=(BAND) {}
                text.on x=(percent(start)) dx="5" y="12" { "faults on" }
            }
            line.frame x1="0" x2="100%" y1=(px(base)) y2=(px(base)) {}
        }
    }

    /// A line through the values, dots where they were not as expected, bounds, and the states below.
    fn numbers(&self, probe: &Probe, stops: &[&Stop], scale: &Scale) -> Markup {
        let line = series::line(probe, &self.time, scale, HEIGHT);
        let dots = series::dots(probe, &self.time, scale, HEIGHT);
        let expected = format!("expected {}", probe.during.as_ref().unwrap_or(&probe.expect));
        let bound = probe.bound.filter(|bound| bound.is_finite()).map(|bound| scale.share(bound));
        let stops_at: Vec<(f64, String)> = stops
            .iter()
            .filter_map(|stop| Some((stop.bound.filter(|bound| bound.is_finite())?, stop)))
            .map(|(bound, stop)| (scale.share(bound), format!("stop: {}", stop.name)))
            .collect();
        html! {
            @if let Some(share) = bound { (level("bound", share)) }
            @for (share, _) in &stops_at { (level("stop", *share)) }
            (stretched(TOP, HEIGHT, &html! { path.line d=(line) {} path.broken d=(dots) {} }))
            @if let Some(share) = bound { (level_name("level end", share, &expected)) }
            @for (share, name) in &stops_at { (level_name("level stop", *share, name)) }
            @for stop in stops {
                @if let Some(at) = stop.stopped_at { (self.stopped(at)) }
            }
            (self.strip(probe, TOP + HEIGHT + 6.0, THIN))
        }
    }

    /// Well, broken and unknown times. Colours are not the only difference: what is well is lower.
    fn strip(&self, probe: &Probe, y: f64, height: f64) -> Markup {
        let of = |state| series::strip(probe, &self.time, state, height);
        let well = series::strip(probe, &self.time, State::Well, height * 0.5);
        stretched(
            y,
            height,
            &html! {
                g transform=(format!("translate(0 {})", height * 0.5)) { path.well d=(well) {} }
                path.bad d=(of(State::Broken)) {}
                g transform=(format!("translate(0 {})", height * 0.8)) {
                    path.unknown d=(series::strip(probe, &self.time, State::Unknown, height * 0.2)) {}
                }
            },
        )
    }

    /// A moment with its name, below the band.
    fn marked(&self, at: f64, name: &str, base: f64) -> Markup {
        let share = self.time.share(at);
        let (class, dx) = if share < 0.6 { ("mark", 5) } else { ("mark end", -5) };
        html! {
            line.mark x1=(percent(share)) x2=(percent(share)) y1=(BAND) y2=(px(base)) {}
            text class=(class) x=(percent(share)) dx=(dx) y=(BAND + 13.0) { (name) }
        }
    }

    fn stopped(&self, at: f64) -> Markup {
        let x = percent(self.time.share(at));
        html! { line.stopped x1=(x) x2=(x) y1=(TOP) y2=(TOP + HEIGHT) {} }
    }
}

/// What is stretched to the width of the page.
fn stretched(y: f64, height: f64, content: &Markup) -> Markup {
    html! {
        svg x="0" y=(px(y)) width="100%" height=(px(height)) viewBox=(format!("0 0 {WIDTH} {height}"))
            preserveAspectRatio="none" { (content) }
    }
}

/// A bound: a line over the whole width.
fn level(class: &str, share: f64) -> Markup {
    let y = px(TOP + (1.0 - share) * HEIGHT);
    html! { line class=(class) x1="0" x2="100%" y1=(y) y2=(y) {} }
}

/// Its name, at the right or the left end, above everything that is drawn.
fn level_name(class: &str, share: f64, name: &str) -> Markup {
    let y = TOP + (1.0 - share) * HEIGHT;
    // Below the line if there is no room above it.
    let y = if y < TOP + 14.0 { y + 14.0 } else { y - 5.0 };
    let (x, dx) = if class.ends_with("end") { ("100%", -4) } else { ("0", 4) };
    html! { text class=(class) x=(x) dx=(dx) y=(px(y)) { (plain::shortened(&plain(name), 34)) } }
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

fn px(length: f64) -> String {
    format!("{length:.1}")
}
