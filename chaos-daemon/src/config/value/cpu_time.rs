//! Time of CPUs: `"20%"` of one, `"150%"` for one and a half.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text};
use crate::resource::cpu::SMALLEST;

/// The most: as many CPUs as the largest machines have.
const MOST: f64 = 8192.0;

/// How many CPUs, in parts.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct CpuTime(pub f64);

deserialize_from_text!(CpuTime, "a share of one CPU such as \"20%\"");

impl FromStr for CpuTime {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const HELP: &str = "write a share of one CPU: \"20%\", or \"150%\" for one and a half";
        let wrong = |what: &str| Invalid::new(format!("\"{text}\" {what}"), HELP);
        // A plain number might be CPUs or a hundredth of one.
        let number = text.trim().strip_suffix('%').ok_or_else(|| wrong("has no %"))?;
        let percent: f64 = number.trim_end().parse().map_err(|_| wrong("is not a share"))?;
        let cpus = percent / 100.0;
        if (SMALLEST..=MOST).contains(&cpus) {
            return Ok(Self(cpus));
        }
        let smallest = Self(SMALLEST);
        Err(Invalid::new(
            format!("{text} of a CPU cannot be given"),
            format!("the least is {smallest}, as the kernel has it"),
        ))
    }
}

impl fmt::Display for CpuTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_one_cpu() {
        for (text, cpus) in [("20%", 0.2), ("150 %", 1.5), ("0.1%", 0.001)] {
            assert_eq!(Ok(CpuTime(cpus)), text.parse(), "{text}");
        }
        assert_eq!("20%", CpuTime(0.2).to_string());
        for text in ["", "20", "0.2", "0%", "0.01%", "-5%", "many%", "NaN%", "inf%"] {
            assert!(text.parse::<CpuTime>().is_err(), "{text}");
        }
    }
}
