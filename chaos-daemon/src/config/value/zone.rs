//! Time zones: `Europe/Berlin`, `UTC`, or that of the host.
//!
//! The host's own database of time zones is asked first, since it is the one that gets updates; what it does not know,
//! and all of it where there is none, as in a container that holds nothing but kchaos, comes from the database in the
//! binary. What must stay true: a zone that cannot be found is an error, and never quietly UTC.

use std::{env, fmt, path::Path, str::FromStr};

use jiff::tz::{self, TimeZone, TimeZoneDatabase};

use super::Invalid;
use crate::config::section::closest;

/// How the host's own zone is written where it has no name.
const LOCAL: &str = "local";

/// A time zone with its rules for summer time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The host's: `TZ`, or `/etc/localtime`, and UTC if there is neither (localtime(5)).
    pub fn of_host() -> Result<Self, Invalid> {
        match TimeZone::try_system() {
            Ok(zone) => Ok(Self(zone)),
            Err(_)
                if env::var_os("TZ").is_none() && Path::new("/etc/localtime").symlink_metadata().is_err() =>
            {
                Ok(Self::UTC)
            }
            Err(error) => Err(Invalid::new(
                format!("the time zone of this host cannot be read: {error}"),
                "write the zone behind the times: 10:00-12:00 Europe/Berlin",
            )),
        }
    }

    /// Its rules.
    pub const fn rules(&self) -> &TimeZone {
        &self.0
    }
}

impl FromStr for Zone {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.eq_ignore_ascii_case(LOCAL) {
            return Self::of_host();
        }
        let known = TimeZone::get(text).or_else(|_| TimeZoneDatabase::bundled().get(text));
        known.ok().filter(|zone| !zone.is_unknown()).map(Self).ok_or_else(|| unknown(text))
    }
}

fn unknown(text: &str) -> Invalid {
    let message = format!("there is no time zone \"{text}\"");
    let names: Vec<String> = tz::db()
        .available()
        .chain(TimeZoneDatabase::bundled().available())
        .map(|name| name.as_str().to_owned())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // People leave the continent out.
    let city = names
        .iter()
        .find(|name| name.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(text)));
    let help = "a zone is a name such as Europe/Berlin or UTC; without one it is the time zone of the host";
    match city.copied().or_else(|| closest(text, &names)) {
        Some(close) => Invalid::new(message, format!("did you mean {close}? {help}")),
        None => Invalid::new(message, help),
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or(LOCAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_zones_whatever_their_case() {
        for (text, shown) in [
            ("UTC", "UTC"),
            ("utc", "UTC"),
            ("Europe/Berlin", "Europe/Berlin"),
            ("asia/kolkata", "Asia/Kolkata"),
        ] {
            assert_eq!(shown, text.parse::<Zone>().unwrap().to_string());
        }
        assert_eq!(Zone::of_host(), LOCAL.parse());
    }

    #[test]
    fn the_binary_has_a_database_of_its_own() {
        assert!(TimeZoneDatabase::bundled().get("Europe/Berlin").is_ok());
    }

    #[test]
    fn an_unknown_zone_is_an_error_and_not_utc() {
        for (text, help) in [
            ("Berlin", "Europe/Berlin"),
            ("Europe/Berlni", "did you mean Europe/Berlin"),
            ("+02:00", "Europe/Berlin"),
            ("Etc/Unknown", "UTC"),
            ("../../etc/passwd", "UTC"),
            ("", "UTC"),
        ] {
            let wrong = text.parse::<Zone>().unwrap_err();
            assert!(wrong.message.contains("no time zone") && wrong.help.contains(help), "{text}: {wrong:?}");
        }
    }
}
