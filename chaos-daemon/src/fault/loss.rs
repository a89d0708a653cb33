//! Which packets `drop` loses: each by a draw of its own, or by a pattern of `chaos_common::pattern`.
//!
//! A fault has one pattern. Its fields stand beside those of the fault, so that they are flags like all others; fields of
//! two patterns are an error at the second one.

use std::{fmt, ops::Range, str::FromStr};

use chaos_common::{
    draw,
    pattern::{CORRELATED, EVERY, FIRST, GILBERT},
    rule::Rule,
};
use toml::Spanned;

use super::{Field, packets::field};
use crate::config::{
    Problem, Section,
    value::{Count, Invalid, Share, deserialize_from_text},
};

/// Its fields.
pub const FIELDS: [Field; 8] = [
    field("correlation", "SHARE", "How often a packet fares like the one before"),
    field("burst_length", "NUMBER", "Lose packets in bursts, so many at a time on average"),
    field("p", "SHARE", "Gilbert-Elliott: from the good state to the bad one"),
    field("r", "SHARE", "Gilbert-Elliott: from bad to good (1 - p)"),
    field("h", "SHARE", "Gilbert-Elliott: how many pass in the bad state (none)"),
    field("k", "SHARE", "Gilbert-Elliott: how many pass in the good state (all)"),
    field("every", "NUMBER", "Every so many packets one"),
    field("first", "NUMBER", "The first packets of each connection, so many"),
];

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Each by a draw of its own.
    Independent,
    /// As often the same as the one before.
    Correlated(Share),
    /// In bursts, of so many on average if that was how it was asked for.
    Gilbert(Gilbert, Option<BurstLength>),
    /// Every n-th.
    Every(Count),
    /// The first n of each connection.
    First(Count),
}

/// The Gilbert-Elliott model in netem's letters. Probabilities, 0 to 1; `p` and `r` are not both 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gilbert {
    /// From good to bad, with each packet.
    p: f64,
    /// From bad to good.
    r: f64,
    /// That a packet passes in the bad state.
    h: f64,
    /// That a packet passes in the good state.
    k: f64,
}

impl fmt::Display for Gilbert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p, r, h, k } = self;
        for (name, value) in [("p", p), (" r", r), (" h", h), (" k", k)] {
            write!(f, "{name} {}%", (value * 1e8).round() / 1e6)?;
        }
        Ok(())
    }
}

/// How many packets a burst has on average, 1 to a million.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BurstLength(f64);

deserialize_from_text!(BurstLength, "a number of packets such as 4 or 2.5");

impl FromStr for BurstLength {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const HELP: &str = "write how many packets a burst has on average, 1 to 1000000: 4 or 2.5";
        let number: f64 = text
            .trim()
            .parse()
            .map_err(|_| Invalid::new(format!("\"{text}\" is not a number of packets"), HELP))?;
        if (1.0..=1e6).contains(&number) {
            return Ok(Self(number));
        }
        Err(Invalid::new(format!("bursts of {text} packets are out of range"), HELP))
    }
}

impl fmt::Display for BurstLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Loss {
    /// Reads the fields of the patterns. `probability` stays in the section, where every fault's is read.
    pub fn read(section: &mut Section<'_>) -> Result<Self, Problem> {
        let probability = section.look_at::<Share>("probability")?;
        let correlation = section.get::<Share>("correlation")?;
        let burst_length = section.get::<BurstLength>("burst_length")?;
        let mut letters = [None, None, None, None];
        for (letter, key) in letters.iter_mut().zip(["p", "r", "h", "k"]) {
            *letter = section.get::<Share>(key)?;
        }
        let every = section.get::<Count>("every")?;
        let first = section.get::<Count>("first")?;
        let [p, r, h, k] = &letters;
        one_pattern(
            probability.as_ref().map(Spanned::span),
            &[
                ("correlation", correlation.as_ref().map(Spanned::span)),
                ("burst_length", burst_length.as_ref().map(Spanned::span)),
                ("p", [p, r, h, k].into_iter().flatten().next().map(Spanned::span)),
                ("every", every.as_ref().map(Spanned::span)),
                ("first", first.as_ref().map(Spanned::span)),
            ],
        )?;
        if let Some(share) = correlation {
            return correlated(share, probability.is_some());
        }
        if let Some(length) = burst_length {
            return in_bursts(&length, probability.as_ref());
        }
        if letters.iter().any(Option::is_some) {
            return gilbert(&letters).map(|model| Self::Gilbert(model, None));
        }
        let counted = every.map(|n| Self::Every(n.into_inner()));
        Ok(counted.or_else(|| first.map(|n| Self::First(n.into_inner()))).unwrap_or(Self::Independent))
    }

    /// Writes the pattern into the rule. What is not by a pattern keeps the threshold of `probability`.
    pub fn encode(self, rule: &mut Rule) {
        match self {
            Self::Independent => {}
            Self::Correlated(share) => {
                rule.pattern = CORRELATED;
                rule.shares[0] = share.threshold();
            }
            Self::Gilbert(Gilbert { p, r, h, k }, _) => {
                rule.pattern = GILBERT;
                rule.threshold = draw::threshold(p / (p + r));
                rule.shares = [p, r, 1.0 - h, 1.0 - k].map(draw::threshold);
            }
            Self::Every(Count(n)) => {
                rule.pattern = EVERY;
                rule.threshold = draw::SCALE;
                rule.shares[0] = u64::from(n);
            }
            Self::First(Count(n)) => {
                rule.pattern = FIRST;
                rule.threshold = draw::SCALE;
                rule.shares[0] = u64::from(n);
            }
        }
    }
}

impl fmt::Display for Loss {
    /// What is said behind "drop packets sent".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Independent => Ok(()),
            Self::Correlated(share) => write!(f, ", correlation {share}"),
            Self::Gilbert(_, Some(length)) => write!(f, ", bursts of {length}"),
            Self::Gilbert(model, None) => write!(f, ", Gilbert-Elliott {model}"),
            Self::Every(n) => write!(f, ", one in every {n}"),
            Self::First(n) => write!(f, ", the first {n} of each connection"),
        }
    }
}

/// Refuses fields of two patterns, and a probability where the pattern says it all.
fn one_pattern(
    probability: Option<Range<usize>>,
    fields: &[(&str, Option<Range<usize>>)],
) -> Result<(), Problem> {
    let help = "a fault has one pattern: `probability` alone, with `correlation` or with `burst_length`; or `p` with `r`, \
                `h` and `k`; or `every`; or `first`";
    let mut there: Vec<(&str, Range<usize>)> =
        fields.iter().filter_map(|(name, span)| Some((*name, span.clone()?))).collect();
    there.sort_by_key(|(_, span)| span.start);
    if let [(one, _), (other, span), ..] = &there[..] {
        let message = format!("`{one}` and `{other}` are two patterns");
        return Err(Problem::at(span.clone(), message, "a second pattern").help(help));
    }
    match (&there[..], probability) {
        ([(name @ ("p" | "every" | "first"), _)], Some(span)) => {
            let message = format!("`probability` contradicts `{name}`, which says how many are lost");
            Err(Problem::at(span, message, "a second pattern").help(help))
        }
        _ => Ok(()),
    }
}

fn correlated(share: Spanned<Share>, has_probability: bool) -> Result<Loss, Problem> {
    if share.get_ref().fraction() >= 1.0 {
        let message = "with a correlation of 100% every packet fares like the first";
        return Err(Problem::at(share.span(), message, "all or none").help("give it less than 100%"));
    }
    if !has_probability {
        return Err(without_probability("correlation", share.span()));
    }
    Ok(Loss::Correlated(share.into_inner()))
}

fn without_probability(name: &str, span: Range<usize>) -> Problem {
    let message = format!("`{name}` means nothing where every packet is lost");
    Problem::at(span, message, "without a probability").help("add a line such as probability = \"5%\"")
}

/// The simple model, all of a burst lost: bursts last 1/r packets, and p / (p + r) of all packets are in one.
fn in_bursts(length: &Spanned<BurstLength>, probability: Option<&Spanned<Share>>) -> Result<Loss, Problem> {
    let BurstLength(packets) = *length.get_ref();
    let Some(probability) = probability else {
        return Err(without_probability("burst_length", length.span()));
    };
    let lost = probability.get_ref().fraction();
    if lost >= 1.0 {
        let message = "where every packet is lost there are no bursts";
        return Err(Problem::at(probability.span(), message, "all of them")
            .help("give a share below 100%, or leave `burst_length` out"));
    }
    let r = 1.0 / packets;
    let p = r * lost / (1.0 - lost);
    if p > 1.0 {
        let message = format!(
            "bursts of {} are too short to lose {}: the packets between them are fewer than one",
            length.get_ref(),
            probability.get_ref()
        );
        let most = packets / (packets + 1.0) * 100.0;
        return Err(Problem::at(length.span(), message, "too short").help(format!(
            "bursts of {} lose at most {:.1}%; for this share they have {:.1} packets or more",
            length.get_ref(),
            (most * 10.0).floor() / 10.0,
            (lost / (1.0 - lost) * 10.0).ceil() / 10.0
        )));
    }
    Ok(Loss::Gilbert(Gilbert { p, r, h: 0.0, k: 1.0 }, Some(*length.get_ref())))
}

/// The model in its own letters, with netem's defaults.
fn gilbert(letters: &[Option<Spanned<Share>>; 4]) -> Result<Gilbert, Problem> {
    let [p, r, h, k] = letters;
    let Some(p) = p else {
        let span = letters.iter().flatten().next().map_or(0..0, Spanned::span);
        return Err(Problem::at(span, "the Gilbert-Elliott model has no `p`", "a part of it")
            .help("add a line p = \"1%\", how often the good state turns into the bad one"));
    };
    let value = |letter: &Option<Spanned<Share>>| letter.as_ref().map(|share| share.get_ref().fraction());
    let model = Gilbert {
        p: p.get_ref().fraction(),
        r: value(r).unwrap_or(1.0 - p.get_ref().fraction()),
        h: value(h).unwrap_or(0.0),
        k: value(k).unwrap_or(1.0),
    };
    if model.p == 0.0 {
        return Err(Problem::at(p.span(), "with a `p` of 0% no packet meets the bad state", "never bad")
            .help("give it more than 0%, or write `probability` for losses without bursts"));
    }
    if model.r == 0.0 {
        let span = r.as_ref().map_or_else(|| p.span(), Spanned::span);
        let message = "with an `r` of 0% the bad state never ends (without one it is 100% - p)";
        return Err(
            Problem::at(span, message, "always bad").help("give `r` more than 0%: bursts last 1/r packets")
        );
    }
    Ok(model)
}
