//! `delay`: packets arrive later, by a length of time and a spread around it. Kernel side:
//! `chaos-ebpf/src/fault/delay.rs`; the distributions: `chaos_common::delay` and [`crate::engine`]'s tables.

use std::{fmt, str::FromStr, time::Duration};

use chaos_common::{
    delay,
    rule::{Rule, action},
};
use toml::Spanned;

use super::{Fault, Field, Kind, packets};
use crate::{
    bpf::Need,
    config::{
        Packets, Problem, Section,
        value::{Direction, Invalid, Share, Span, deserialize_from_text},
    },
};

/// The kind.
pub struct Delay;

impl Kind for Delay {
    fn name(&self) -> &'static str {
        "delay"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["latency", "slow", "jitter", "lag"]
    }

    fn about(&self) -> &'static str {
        "Make packets arrive later; their order within a connection stays"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 8] = packets::fields([
            packets::field("delay", "DURATION", "By how much: 100us to 10m"),
            packets::field("jitter", "DURATION", "The spread around it, at most the delay (none)"),
            packets::field(
                "distribution",
                "uniform|normal|pareto|paretonormal",
                "How delays spread (uniform: between delay - jitter and delay + jitter)",
            ),
            packets::field(
                "correlation",
                "SHARE",
                "How often a packet gets the same delay as the one before",
            ),
        ]);
        &FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let direction = packets::direction(section)?;
        let delay = packets::wait(&section.need::<Span>("delay", "\"100ms\"")?)?;
        let jitter = section.get::<Span>("jitter")?;
        if let Some(jitter) = jitter.as_ref().filter(|jitter| jitter.get_ref().0 > delay) {
            let message = format!("the jitter of {} is larger than the delay", jitter.get_ref());
            return Err(Problem::at(jitter.span(), message, "no packet arrives before it was sent")
                .help(format!("the jitter is at most the delay, which is {}", Span(delay))));
        }
        let distribution = section.get::<Distribution>("distribution")?;
        let correlation = section.get::<Share>("correlation")?;
        let spread = [
            ("distribution", distribution.as_ref().map(Spanned::span)),
            ("correlation", correlation.as_ref().map(Spanned::span)),
        ];
        for (name, span) in spread {
            if let Some(span) = span.filter(|_| jitter.is_none()) {
                let message = format!("`{name}` means nothing without `jitter`");
                return Err(Problem::at(span, message, "every delay is the same")
                    .help("add a line such as jitter = \"10ms\""));
            }
        }
        if let Some(all) = correlation.as_ref().filter(|share| share.get_ref().fraction() >= 1.0) {
            let message = "with a correlation of 100% every packet gets the delay of the first";
            return Err(
                Problem::at(all.span(), message, "nothing is drawn again").help("give it less than 100%")
            );
        }
        let fault = DelayFault {
            direction,
            delay,
            jitter: jitter.map_or(Duration::ZERO, |jitter| jitter.into_inner().0),
            distribution: distribution.map_or(Distribution::Uniform, Spanned::into_inner),
            correlation: correlation.map(Spanned::into_inner),
        };
        Ok((Box::new(fault), Packets::read(section)?))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "delay = \"50ms\"\njitter = \"10ms\"\ndistribution = \"normal\"",
            "every request takes 50 ms longer, give or take 10 ms; none fails",
        )
    }
}

/// How delays spread around their mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distribution {
    Uniform,
    Normal,
    Pareto,
    ParetoNormal,
}

deserialize_from_text!(Distribution, "a distribution such as \"normal\"");

impl Distribution {
    const ALL: [(&'static str, Self); 4] = [
        ("uniform", Self::Uniform),
        ("normal", Self::Normal),
        ("pareto", Self::Pareto),
        ("paretonormal", Self::ParetoNormal),
    ];

    const fn number(self) -> u64 {
        match self {
            Self::Uniform => delay::UNIFORM,
            Self::Normal => delay::NORMAL,
            Self::Pareto => delay::PARETO,
            Self::ParetoNormal => delay::PARETONORMAL,
        }
    }
}

impl FromStr for Distribution {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, known)| known).ok_or_else(|| {
            Invalid::new(
                format!("unknown distribution \"{text}\""),
                "write \"uniform\", \"normal\", \"pareto\" or \"paretonormal\"",
            )
        })
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, known)| known == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

#[derive(Debug)]
struct DelayFault {
    direction: Direction,
    delay: Duration,
    jitter: Duration,
    distribution: Distribution,
    correlation: Option<Share>,
}

impl Fault for DelayFault {
    fn kind(&self) -> &'static str {
        Delay.name()
    }

    fn hooks(&self) -> u32 {
        packets::hooks(self.direction)
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::DELAY;
        rule.numbers[delay::DELAY] = packets::nanos(self.delay);
        rule.numbers[delay::JITTER] = packets::nanos(self.jitter);
        rule.numbers[delay::DISTRIBUTION] = self.distribution.number();
        rule.numbers[delay::CORRELATION] = self.correlation.map_or(0, Share::threshold);
    }

    fn describe(&self) -> String {
        let Self { direction, delay, jitter, distribution, correlation } = self;
        let mut text = format!("delay packets {direction} by {}", Span(*delay));
        if !jitter.is_zero() {
            text += &format!(", jitter {} {distribution}", Span(*jitter));
        }
        if let Some(share) = correlation {
            text += &format!(", correlation {share}");
        }
        text
    }

    fn needs(&self) -> &[Need] {
        packets::needs_to_wait(self.direction)
    }
}
